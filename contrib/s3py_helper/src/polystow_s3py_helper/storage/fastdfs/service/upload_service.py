"""Uploads to FastDFS, without validation."""

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from polystow_s3py_helper._files import UploadContent
from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient
from polystow_s3py_helper.storage.fastdfs.service._files import fastdfs_files
from polystow_s3py_helper.storage.model.entities import FileAttach, UploadFile


class FastdfsUploadServiceImpl:
    """Uploads to FastDFS."""

    def __init__(self, fdfs_client: FastdfsClient) -> None:
        self._client = fdfs_client

    async def upload_stream(
        self,
        file_name: str,
        stream: BinaryIO | AsyncIterator[bytes],
        file_size: int,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload a file object, which is read in worker threads, or an async iterator.

        Raises:
            InvalidArgumentException: It has not `file_size` bytes; nothing was stored.
        """
        return await self.upload(file_name, stream, file_size, metadata)

    async def upload_bytes(
        self, file_name: str, content: bytes, metadata: dict[str, str] | None = None
    ) -> FileAttach:
        """Upload bytes."""
        return await self.upload(file_name, content, None, metadata)

    async def upload_file(
        self, file: UploadFile, metadata: dict[str, str] | None = None
    ) -> FileAttach:
        """Upload an uploaded file, as it comes, whether its size is known or not."""
        return await self.upload(file.filename or "unknown", file, file.size, metadata)

    async def upload_files(
        self, files: Sequence[UploadFile], metadata: dict[str, str] | None = None
    ) -> list[FileAttach]:
        """Upload one after the other; the first that fails ends it."""
        return [await self.upload_file(file, metadata) for file in files]

    async def upload(
        self,
        file_name: str,
        content: UploadContent,
        size: int | None,
        metadata: dict[str, str] | None,
    ) -> FileAttach:
        """Upload anything; what the others come to."""
        info = await fastdfs_files(self._client).upload(
            file_name, content, size=size, metadata=metadata
        )
        return FileAttach(file_id=info.uri.removeprefix("fastdfs://"), file_name=file_name)
