"""Reading objects, wholly, in ranges, as streams and into files."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Unpack

from polystow._arguments import (
    ReadArguments,
)
from polystow._body import AsyncWritable
from polystow._driver import ReadStream
from polystow._encryption import Encryption
from polystow._errors import NotFoundError
from polystow._progress import Progress, ProgressReadStream
from polystow._ranges import ByteRange
from polystow._reading import ReadContext
from polystow._storage._base import StorageBase
from polystow._values import (
    DEFAULT_CHUNK_SIZE_BYTES,
    ObjectInfo,
    ReadOptions,
    StatOptions,
)

_READ_ALL = ReadOptions()
_STAT = StatOptions()


class StorageReads(StorageBase):
    """The operations that read; see `Storage`."""

    def open_read(
        self,
        file_id: str,
        *,
        chunk_size_bytes: int = DEFAULT_CHUNK_SIZE_BYTES,
        progress: Progress | None = None,
        **arguments: Unpack[ReadArguments],
    ) -> AbstractAsyncContextManager[ReadStream]:
        """Read an object as a stream, in constant memory.

        Args:
            file_id: Which.
            chunk_size_bytes: The most bytes that a step of `async for` gives.
            progress: Called after each chunk with the bytes done and how many it will be.
            **arguments: The part, the version, conditions; see `ReadArguments`.

        Returns:
            To be used with `async with`; gives a `ReadStream` with `.info` and `.range`.

        Raises:
            NotFoundError: There is no such object.
            RangeNotSatisfiableError: The range begins at or after its end.
            PreconditionFailedError: See `if_match` and `if_unmodified_since`.
            NotModifiedError: See `if_none_match` and `if_modified_since`.
            UnsupportedOperationError: The mount can't do what an argument asks for.
            ValueError: `chunk_size_bytes` is below 1.
        """
        if chunk_size_bytes < 1:
            raise ValueError(f"chunk_size_bytes is {chunk_size_bytes}; 1 is the least")
        options = ReadOptions(chunk_size_bytes=chunk_size_bytes, **arguments)
        return ReadContext(self._root, self._lifecycle, file_id, options, progress)

    async def read_bytes(
        self,
        file_id: str,
        *,
        progress: Progress | None = None,
        **arguments: Unpack[ReadArguments],
    ) -> bytes:
        """Read an object, or a part of it, into memory; arguments and errors as `open_read`."""
        options = ReadOptions(**arguments) if arguments else _READ_ALL
        with self._lifecycle:
            stream = await self._root.open_read(file_id, options)
            if progress is not None:
                stream = ProgressReadStream(stream, progress)
            try:
                return await stream.read_all()
            finally:
                await stream.aclose()

    async def download(
        self,
        file_id: str,
        target: str | Path | BinaryIO | AsyncWritable,
        *,
        progress: Progress | None = None,
        concurrency: int | None = None,
        part_size_bytes: int | None = None,
        resume: bool = False,
        **arguments: Unpack[ReadArguments],
    ) -> ObjectInfo:
        """Save an object as a local file, or write it into an open one.

        A local file is there when it is complete; until then one that was there stays, and its
        folders are made. Large objects come in several ranges at once, all of one entity tag,
        and what has a CRC-32 is compared with it.

        Args:
            file_id: Which.
            target: A path; or a binary file, which is written to from where it stands, in worker
                threads unless its `write` is async, and in one stream.
            progress: Called after each chunk with the bytes done and the size.
            concurrency: How many ranges at once; None for what pays, 1 for one stream.
            part_size_bytes: How long each range is; None for what pays.
            resume: Keep what came if it fails, in two files beside the path, and go on there when
                the same object is downloaded to the same path again, also in another process. An
                object that has changed meanwhile comes anew.
            **arguments: The part, the version, conditions; see `ReadArguments`.

        Returns:
            The object.

        Raises:
            NotFoundError: There is no such object.
            PreconditionFailedError: It was changed while it came; or see `ReadArguments`.
            ChecksumMismatchError: The bytes are not those that were written.
            NoSpaceError: The disk is full.
            StorageError: The local file can't be written; or with `resume`, another download of
                the same object to the same path is under way.
            ValueError: `concurrency` or `part_size_bytes` is below 1, or `resume` without a path.
            TypeError: `target` can't be written to.
        """
        from polystow._download import Download, download_into, download_to, resume_to

        with self._lifecycle:
            limits = self._routes.route(file_id).capabilities.limits
            if concurrency is None and limits.one_stream:
                concurrency = 1
            download = Download(
                partial(self._root.open_read, file_id),
                ReadOptions(**arguments),
                limits.if_match,
                concurrency,
                part_size_bytes,
                progress,
            )
            if not isinstance(target, str | Path):
                if resume:
                    raise ValueError("resume needs a path to go on at")
                return await download_into(download, target)
            path = _absolute(target)
            if not resume:
                return await download_to(download, path)
            return await resume_to(download, path, f"{file_id} {arguments}")

    async def read_ranges(
        self,
        file_id: str,
        ranges: Iterable[ByteRange],
        *,
        concurrency: int = 8,
        version: str | None = None,
        if_match: str | None = None,
        encryption: Encryption | None = None,
    ) -> Sequence[bytes]:
        """Read several parts of an object into memory, side by side.

        Parts that overlap or are close to each other come in one request.

        Args:
            file_id: Which.
            ranges: The parts, in any order.
            concurrency: How many requests at once.
            version: Read this version.
            if_match: Read only if it has this entity tag.
            encryption: The customer's key that it is encrypted with.

        Returns:
            The bytes of each range, in the order of the ranges.

        Raises:
            NotFoundError: There is no such object.
            RangeNotSatisfiableError: A range begins at or after its end.
            PreconditionFailedError: See `if_match`; or it was changed meanwhile.
            ValueError: `concurrency` is below 1.
        """
        from polystow._ranged_reads import read_ranges

        with self._lifecycle:
            options = ReadOptions(version=version, if_match=if_match, encryption=encryption)
            read = partial(self._root.open_read, file_id)
            return await read_ranges(read, options, tuple(ranges), concurrency)

    async def stat(
        self, file_id: str, *, version: str | None = None, encryption: Encryption | None = None
    ) -> ObjectInfo:
        """What is known of an object.

        Args:
            file_id: Which.
            version: This version of it.
            encryption: The customer's key that it is encrypted with.

        Raises:
            NotFoundError: There is none.
        """
        with self._lifecycle:
            plain = version is None and encryption is None
            options = _STAT if plain else StatOptions(version, encryption)
            return await self._root.stat(file_id, options)

    async def exists(self, file_id: str, *, version: str | None = None) -> bool:
        """Whether the object is there; any other trouble than its absence is raised."""
        try:
            await self.stat(file_id, version=version)
        except NotFoundError:
            return False
        return True


def _absolute(path: str | Path) -> Path:
    # Now, since the process may change its folder meanwhile; no disk is asked.
    return Path(path).absolute()
