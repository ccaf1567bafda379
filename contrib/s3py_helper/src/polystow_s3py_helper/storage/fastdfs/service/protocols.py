"""The protocols of the services of FastDFS."""

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO, Protocol

from polystow_s3py_helper.storage.model.entities import (
    FileAttach,
    FileBasicInfo,
    FileDownload,
    UploadFile,
)


class FastdfsUploadService(Protocol):
    """Uploads files."""

    async def upload_stream(
        self,
        file_name: str,
        stream: BinaryIO | AsyncIterator[bytes],
        file_size: int,
    ) -> FileAttach:
        """Upload a file object or an async iterator."""
        ...

    async def upload_bytes(
        self,
        file_name: str,
        content: bytes,
    ) -> FileAttach:
        """Upload bytes."""
        ...

    async def upload_file(
        self,
        file: UploadFile,
    ) -> FileAttach:
        """Upload an uploaded file."""
        ...

    async def upload_files(
        self,
        files: Sequence[UploadFile],
    ) -> list[FileAttach]:
        """Upload one after the other."""
        ...


class FastdfsDownloadService(Protocol):
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


class FastdfsDeleteService(Protocol):
    """Deletes files."""

    async def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        ...


class FastdfsInfoService(Protocol):
    """Tells of files."""

    async def get_file_info(self, file_id: str) -> FileBasicInfo:
        """What is known of a file."""
        ...
