"""What the services of all backends have in common, as protocols."""

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO, Protocol

from polystow_s3py_helper.storage.model.entities import (
    FileAttach,
    FileBasicInfo,
    FileDownload,
    UploadFile,
)


class UploadService(Protocol):
    """Uploads files where there are folders and buckets."""

    async def upload_stream(
        self,
        file_name: str,
        stream: BinaryIO | AsyncIterator[bytes],
        file_size: int,
        folder: str | None = None,
        bucket: str | None = None,
    ) -> FileAttach:
        """Upload a file object or an async iterator."""
        ...

    async def upload_bytes(
        self,
        file_name: str,
        content: bytes,
        folder: str | None = None,
        bucket: str | None = None,
    ) -> FileAttach:
        """Upload bytes."""
        ...

    async def upload_file(
        self,
        file: UploadFile,
        folder: str | None = None,
        bucket: str | None = None,
    ) -> FileAttach:
        """Upload an uploaded file."""
        ...

    async def upload_files(
        self,
        files: Sequence[UploadFile],
        folder: str | None = None,
        bucket: str | None = None,
    ) -> list[FileAttach]:
        """Upload one after the other."""
        ...


class DownloadService(Protocol):
    """Downloads files."""

    async def download_bytes(self, file_id: str) -> bytes:
        """Read all."""
        ...

    async def download_to_stream(self, file_id: str, out: BinaryIO) -> None:
        """Write a file into `out`."""
        ...

    def download_to_generator(self, file_id: str) -> AsyncIterator[bytes]:
        """Give a file as it comes."""
        ...

    async def download_files_as_zip(self, files: list[FileDownload], out: BinaryIO) -> None:
        """Write an archive into `out`."""
        ...


class DeleteService(Protocol):
    """Deletes files."""

    async def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        ...


class InfoService(Protocol):
    """Tells of files."""

    async def get_file_info(self, file_id: str) -> FileBasicInfo:
        """What is known of a file."""
        ...
