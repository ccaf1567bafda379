"""The models of s3py-helper, and the uploaded file that it takes."""

from datetime import datetime
from enum import Enum
from typing import Protocol

from pydantic import BaseModel


class FileAttach(BaseModel):
    """A file that was uploaded: its id and its original name."""

    file_id: str
    file_name: str


class FileDownload(BaseModel):
    """A file of an archive: its id, and its name there."""

    file_id: str
    file_name: str | None = None


class FileBasicInfo(BaseModel):
    """What is known of a file.

    Attributes:
        file_id: Its id.
        file_name: Its original name, decoded.
        file_size: In bytes.
        last_modify_time: With a time zone.
        storage_class: On S3.
        metadata: The user's own.
    """

    file_id: str
    file_name: str | None = None
    file_size: int | None = None
    last_modify_time: datetime | None = None
    storage_class: str | None = None
    metadata: dict[str, str] | None = None


class FileType(str, Enum):  # noqa: UP042 - a member's text is as in s3py-helper
    """Kinds of files."""

    ALL = "ALL"
    PDF = "PDF"
    IMAGE = "IMAGE"


class UploadFile(Protocol):
    """An uploaded file, such as FastAPI's, which need not be installed."""

    @property
    def filename(self) -> str | None:
        """Its name, as the client gave it."""
        ...

    @property
    def size(self) -> int | None:
        """In bytes, if it is known."""
        ...

    async def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes; empty at the end."""
        ...
