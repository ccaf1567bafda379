"""Downloads and archives from S3; ids are `bucket/key`."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import BinaryIO, Protocol

from polystow_s3py_helper._files import Files, last_part
from polystow_s3py_helper.storage.config.models import S3PerfConfig
from polystow_s3py_helper.storage.model.entities import FileDownload
from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.service._files import s3_files

_DRIVE = re.compile(r"([A-Za-z]:)+")


class BinaryWriteable(Protocol):
    """What an archive is written to."""

    def write(self, data: bytes, /) -> int:
        """Take all of `data`."""
        ...

    def flush(self) -> None:
        """Write out what is held back."""
        ...


class AsyncQueueWriter:
    """A file object whose pieces another task takes from `queue`; None is the end.

    It holds what is not taken yet, and never refuses a piece. `stream_zip` does without it.

    Args:
        maxsize: Has no effect: a limit would have to refuse, since `write` can't wait.
    """

    def __init__(self, maxsize: int = 16) -> None:
        self.maxsize = maxsize
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False

    def write(self, data: bytes) -> int:
        """Put a piece into the queue.

        Raises:
            RuntimeError: It is closed.
        """
        if self._closed:
            raise RuntimeError("Writer already closed")
        if data:
            self.queue.put_nowait(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    async def close(self) -> None:
        """Put the end into the queue, once."""
        if not self._closed:
            self._closed = True
            await self.queue.put(None)


class S3RawDownloadServiceImpl:
    """Downloads from S3.

    Args:
        s3_client: The client.
        perf_config: Says the size of chunks; None for the client's.
    """

    def __init__(self, s3_client: S3Client, perf_config: S3PerfConfig | None = None) -> None:
        self._client = s3_client
        self._perf = perf_config

    @property
    def _files(self) -> Files:
        return s3_files(self._client, self._perf)

    @property
    def client(self) -> S3Client:
        """The client."""
        return self._client

    async def download_bytes(self, file_id: str) -> bytes:
        """Read all.

        Raises:
            FileNotFoundException: There is no such file.
        """
        return await self._files.read(file_id)

    async def download_to_stream(self, file_id: str, out: BinaryIO) -> None:
        """Write a file into `out`, in worker threads."""
        await self._files.read_to(file_id, out)

    async def download_to_generator(self, file_id: str) -> AsyncGenerator[bytes]:
        """Give a file as it comes."""
        async for chunk in self._files.chunks(file_id):
            yield chunk

    @staticmethod
    def safe_zip_entry_name(file_download: FileDownload) -> str:
        """The name of a file in an archive: it can't leave the folder that it is unpacked in."""
        raw = file_download.file_name or last_part(file_download.file_id)
        parts = [_DRIVE.sub("", part, count=1) for part in raw.replace("\\", "/").split("/")]
        return "/".join(part for part in parts if part.strip(" .")) or "unknown"

    async def download_files_as_zip(self, files: list[FileDownload], out: BinaryWriteable) -> None:
        """Write an archive into `out`, as its files come; it has no end if one fails."""
        await self._files.zip_to(files, out)

    async def stream_zip(self, files: list[FileDownload]) -> AsyncGenerator[bytes]:
        """An archive, made while it is read, for a streaming response."""
        async for chunk in self._files.zip_chunks(files):
            yield chunk
