"""What all services of s3py-helper do with files, over one storage."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import BinaryIO, Protocol, cast

from anyio import to_thread
from attrs import frozen

from polystow import KeyPolicy, ObjectInfo, Storage, StorageError, ZipMember
from polystow_s3py_helper.storage.exceptions.storage_exceptions import exception_of, translated
from polystow_s3py_helper.storage.model.entities import FileDownload, UploadFile

type UploadContent = bytes | BinaryIO | AsyncIterator[bytes] | UploadFile


class Writable(Protocol):
    """What archives and downloads are written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""
        ...


@frozen
class Files:
    """Files of one storage under the ids of s3py-helper.

    Attributes:
        storage: The storage.
        uri: From an id of s3py-helper to one of the storage; it raises s3py-helper's exceptions.
        chunk_size_bytes: The most bytes that a step of a download gives.
    """

    storage: Storage
    uri: Callable[[str], str]
    chunk_size_bytes: int

    async def upload(
        self,
        file_name: str,
        content: UploadContent,
        *,
        folder: str | None = None,
        bucket: str | None = None,
        size: int | None = None,
        metadata: dict[str, str] | None = None,
        key_policy: KeyPolicy | None = None,
    ) -> ObjectInfo:
        """Write a new file."""
        with translated(f"Failed to upload file '{file_name}'"):
            return await self.storage.upload(
                file_name,
                content,
                folder=folder,
                container=bucket,
                size=size,
                metadata=metadata,
                key_policy=key_policy,
            )

    async def read(self, file_id: str) -> bytes:
        """All of a file."""
        uri = self.uri(file_id)
        with translated(f"Failed to download file '{file_id}'"):
            return await self.storage.read_bytes(uri)

    async def read_to(self, file_id: str, out: Writable) -> None:
        """A file into `out`, written in worker threads."""
        async for chunk in self.chunks(file_id):
            await to_thread.run_sync(out.write, chunk)

    async def chunks(self, file_id: str) -> AsyncGenerator[bytes]:
        """A file, chunk by chunk."""
        uri = self.uri(file_id)
        try:
            async with self.storage.open_read(
                uri, chunk_size_bytes=self.chunk_size_bytes
            ) as stream:
                async for chunk in stream:
                    yield chunk
        except StorageError as error:
            raise exception_of(error, f"Failed to download file '{file_id}'") from error

    async def delete(self, file_id: str, *, missing_ok: bool) -> None:
        """Delete a file."""
        uri = self.uri(file_id)
        with translated(f"Failed to delete file '{file_id}'"):
            await self.storage.delete(uri, missing_ok=missing_ok)

    async def info(self, file_id: str) -> ObjectInfo:
        """What is known of a file."""
        uri = self.uri(file_id)
        with translated(f"Failed to get info for '{file_id}'"):
            return await self.storage.stat(uri)

    async def zip_to(self, files: Sequence[FileDownload], out: Writable) -> None:
        """An archive of files into `out`; without its end if one of them fails."""
        stream = self.storage.zip(self._members(files))
        with translated("Failed to make the archive"):
            await stream.save(cast("BinaryIO", out))

    async def zip_chunks(self, files: Sequence[FileDownload]) -> AsyncGenerator[bytes]:
        """An archive of files, chunk by chunk."""
        stream = self.storage.zip(self._members(files))
        try:
            async for chunk in stream:
                yield chunk
        except StorageError as error:
            raise exception_of(error, "Failed to make the archive") from error
        finally:
            await stream.aclose()

    def _members(self, files: Iterable[FileDownload]) -> list[ZipMember]:
        return [
            ZipMember(self.uri(file.file_id), file.file_name or last_part(file.file_id))
            for file in files
        ]


def last_part(file_id: str) -> str:
    """What stands behind the last slash."""
    return file_id.rpartition("/")[2]


async def limited(
    file: UploadFile, check: Callable[[int], None], chunk_size_bytes: int = 1_048_576
) -> AsyncGenerator[bytes]:
    """The content of an uploaded file, whose size is checked as it is read."""
    total = 0
    while chunk := await file.read(chunk_size_bytes):
        total += len(chunk)
        check(total)
        yield chunk
