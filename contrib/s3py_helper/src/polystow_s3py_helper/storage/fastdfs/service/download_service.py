"""Downloads and archives from FastDFS."""

from collections.abc import AsyncGenerator
from typing import BinaryIO

from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient
from polystow_s3py_helper.storage.fastdfs.service._files import fastdfs_files
from polystow_s3py_helper.storage.model.entities import FileDownload


class FastdfsDownloadServiceImpl:
    """Downloads from FastDFS."""

    def __init__(self, fdfs_client: FastdfsClient) -> None:
        self._client = fdfs_client

    @property
    def client(self) -> FastdfsClient:
        """The client."""
        return self._client

    async def download_bytes(self, file_id: str) -> bytes:
        """Read all.

        Raises:
            FileNotFoundException: There is no such file.
        """
        return await fastdfs_files(self._client).read(file_id)

    async def download_to_stream(self, file_id: str, out: BinaryIO) -> None:
        """Write a file into `out`, in worker threads."""
        await fastdfs_files(self._client).read_to(file_id, out)

    async def download_to_generator(self, file_id: str) -> AsyncGenerator[bytes]:
        """Give a file as it comes."""
        async for chunk in fastdfs_files(self._client).chunks(file_id):
            yield chunk

    async def download_files_as_zip(self, files: list[FileDownload], out: BinaryIO) -> None:
        """Write an archive into `out`, as its files come; it has no end if one fails."""
        await fastdfs_files(self._client).zip_to(files, out)
