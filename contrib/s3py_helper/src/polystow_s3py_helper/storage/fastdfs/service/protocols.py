"""The protocols of the services of FastDFS, which has no folders and buckets."""

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO, Protocol

from polystow_s3py_helper._protocols import DeleteService, DownloadService, InfoService
from polystow_s3py_helper.storage.model.entities import FileAttach, UploadFile


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


class FastdfsDownloadService(DownloadService, Protocol):
    """Downloads files of FastDFS."""


class FastdfsDeleteService(DeleteService, Protocol):
    """Deletes files of FastDFS."""


class FastdfsInfoService(InfoService, Protocol):
    """Tells of files of FastDFS."""
