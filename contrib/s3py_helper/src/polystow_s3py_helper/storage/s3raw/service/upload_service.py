"""Uploads to S3, without validation; ids are `bucket/key`."""

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from polystow_s3py_helper._files import Files, UploadContent
from polystow_s3py_helper.storage.config.models import S3Config, S3PerfConfig
from polystow_s3py_helper.storage.model.entities import FileAttach, UploadFile
from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.service._files import s3_files
from polystow_s3py_helper.storage.utils.file_utils import hex_key


class S3RawUploadServiceImpl:
    """Uploads to S3.

    Args:
        s3_client: The client.
        config: Says the default bucket and the form of keys.
        perf_config: Has no effect: the client's own counts.
    """

    def __init__(
        self,
        s3_client: S3Client,
        config: S3Config,
        perf_config: S3PerfConfig | None = None,
    ) -> None:
        self._client = s3_client
        self._config = config
        self._perf = perf_config

    @property
    def _files(self) -> Files:
        return s3_files(self._client, self._perf)

    async def upload_stream(
        self,
        file_name: str,
        stream: BinaryIO | AsyncIterator[bytes],
        file_size: int,
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload a file object, which is read in worker threads, or an async iterator.

        Raises:
            InvalidArgumentException: It has not `file_size` bytes; nothing was stored.
        """
        return await self.upload(file_name, stream, file_size, folder, bucket, metadata)

    async def upload_bytes(
        self,
        file_name: str,
        content: bytes,
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload bytes."""
        return await self.upload(file_name, content, None, folder, bucket, metadata)

    async def upload_file(
        self,
        file: UploadFile,
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload an uploaded file, as it comes, whether its size is known or not."""
        name = file.filename or "unknown"
        return await self.upload(name, file, file.size, folder, bucket, metadata)

    async def upload_files(
        self,
        files: Sequence[UploadFile],
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> list[FileAttach]:
        """Upload one after the other; the first that fails ends it."""
        return [await self.upload_file(file, folder, bucket, metadata) for file in files]

    async def upload(
        self,
        file_name: str,
        content: UploadContent,
        size: int | None,
        folder: str | None,
        bucket: str | None,
        metadata: dict[str, str] | None,
    ) -> FileAttach:
        """Upload anything; what the others come to."""
        info = await self._files.upload(
            file_name,
            content,
            folder=folder,
            bucket=bucket or self._config.default_bucket,
            size=size,
            metadata=metadata,
            key_policy=hex_key if self._config.key_format == "hex" else None,
        )
        return FileAttach(file_id=info.uri.removeprefix("s3://"), file_name=file_name)
