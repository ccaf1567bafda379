"""Writing: from a name and a body to a new file with its metadata, or to nothing at all."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO, Final, cast

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream
from attrs import evolve, frozen

from polystow import (
    Attempt,
    Body,
    BytesBody,
    ChecksumMismatchError,
    FileObjectBody,
    FileTooLargeError,
    InvalidMetadataError,
    InvalidPathError,
    NameHint,
    ObjectInfo,
    Request,
    RequestPolicy,
    WriteOptions,
    check_filename,
)
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._bodies import Chunk, Source
from polystow_fastdfs._cluster import Cluster
from polystow_fastdfs._config import FastdfsConfig
from polystow_fastdfs._errors import to_storage_error
from polystow_fastdfs._faults import WireFault
from polystow_fastdfs._file_id import find_group_mistake
from polystow_fastdfs._info import BOOKKEEPING, ORIGINAL_NAME, bookkeeping_for, make_info
from polystow_fastdfs._metadata import encode_metadata, find_metadata_mistake
from polystow_fastdfs._reading import ask_info
from polystow_fastdfs._transfer import (
    CLEANUP_S,
    NewFile,
    Upload,
    discard,
    send_append,
    send_metadata,
    send_upload,
)

_EXTENSION: Final = re.compile(r"[A-Za-z0-9_-]{1,6}", re.ASCII)


def extension_of(filename: str) -> str:
    """The extension that a new file gets, as it is written, without its dot.

    Servers take 1 to 6 of ASCII letters, digits, `_` and `-`; of a name with any other extension
    the file gets none, and the name in its metadata keeps it.
    """
    stem, dot, extension = filename.rpartition(".")
    return extension if stem and dot and _EXTENSION.fullmatch(extension) else ""


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Check the metadata that a user gave.

    Raises:
        InvalidMetadataError: If FastDFS can't keep it, or a name is one that this driver uses.
    """
    if not metadata:
        return
    mistake = find_metadata_mistake(metadata)
    taken = BOOKKEEPING & metadata.keys()
    if mistake is None and taken:
        mistake = f"the metadata name {min(taken)!r} is kept for the file's original name"
    if mistake is not None:
        raise InvalidMetadataError(mistake)


@frozen
class _Plan:
    """What is known before the first byte is sent."""

    hint: NameHint
    group: str | None
    extension: str
    metadata: Mapping[str, str]
    filename: str | None


class Writer:
    """Writes new files.

    Args:
        cluster: Connections.
        config: Group, store path, and how to write bodies of unknown length.
        policy: Applied to each request.
    """

    def __init__(self, cluster: Cluster, config: FastdfsConfig, policy: RequestPolicy) -> None:
        self._cluster = cluster
        self._config = config
        self._policy = policy

    async def write(self, hint: NameHint, body: Body, options: WriteOptions) -> ObjectInfo:
        """Write a new file.

        Args:
            hint: Original name; its container is the group. FastDFS has no folders.
            body: Content.
            options: Metadata; the name to keep, if it is another than the hint's.

        Returns:
            The new file. Its path is the id that FastDFS has made.

        Raises:
            StorageError: If it failed. Nothing is left on the servers then, unless `outcome` is
                "unknown" or the message says so.
        """
        plan = self._plan(hint, options)
        if isinstance(body, BytesBody):
            return await self._write_known(plan, Source.of_memory(body.data), body.size)
        stream = await body.open()
        try:
            source = Source((), stream)
            if body.size is not None:
                return await self._write_known(plan, source, body.size)
            return await self._write_unknown(plan, source)
        finally:
            await _close(stream)

    def _plan(self, hint: NameHint, options: WriteOptions) -> _Plan:
        check_filename(hint.filename)
        check_metadata(options.metadata)
        filename = (options.filename or hint.filename) if self._config.keep_filename else None
        if filename is not None:
            mistake = find_metadata_mistake({ORIGINAL_NAME: filename})
            if mistake is not None:
                message = f"the file name can't be kept: {mistake}; shorten it, or set"
                raise InvalidPathError(f"{message} keep_filename to false")
        group = hint.container or self._config.group
        mistake = None if group is None else find_group_mistake(group)
        if mistake is not None:
            raise InvalidPathError(mistake)
        return _Plan(hint, group, extension_of(hint.filename), options.metadata, filename)

    # Bodies of known length

    async def _write_known(self, plan: _Plan, source: Source, size: int) -> ObjectInfo:
        new = await self._upload(plan, source, size, appender=False)
        try:
            _verify(new, size)
            return await self._complete(plan, new, size)
        except BaseException as error:
            await discard(self._cluster, new, error)
            raise

    async def _upload(self, plan: _Plan, source: Source, size: int, *, appender: bool) -> NewFile:
        job = Upload(source, size, plan.extension.encode(), appender)
        wanted = self._config.store_path_index

        async def send(attempt: Attempt) -> NewFile:
            try:
                address = await self._cluster.where_to_store(plan.group)
                path_index = address.path_index if wanted < 0 else wanted
                assert path_index is not None
                return await send_upload(self._cluster, address, path_index, job, attempt)
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "once" if job.begun else "none") from fault

        return await self._policy(Request("write", str(plan.hint), idempotent=False), send)

    async def _complete(
        self, plan: _Plan, new: NewFile, size: int, *, timestamp: int | None = None
    ) -> ObjectInfo:
        """Set the metadata of a file that is there."""
        metadata = dict(plan.metadata)
        if plan.filename is not None:
            metadata.update(bookkeeping_for(plan.filename, plan.extension, size))
        if metadata:
            frame = protocol.set_metadata(
                new.id.group, new.id.name.encode(), encode_metadata(metadata), "overwrite"
            )

            async def send(_: Attempt) -> None:
                try:
                    await send_metadata(new, frame)
                except WireFault as fault:
                    error = to_storage_error(fault, "repeatable")
                    error.outcome = "failed"  # the file is deleted again
                    error.message = f"the metadata could not be set: {error.message}"
                    raise error from fault

            await self._policy(Request("write", new.id.path), send)
        return make_info(new.id, size=size, crc32=new.crc32, timestamp=timestamp, metadata=metadata)

    # Bodies of unknown length

    async def _write_unknown(self, plan: _Plan, source: Source) -> ObjectInfo:
        part = await source.take(self._config.append_size_bytes)
        more = await source.next()
        if not more:
            return await self._write_known(plan, Source(part, None), sum(map(len, part)))
        source.put_back(more)
        if self._config.unknown_length == "spool":
            return await self._write_spooled(plan, part, source)
        return await self._write_appender(plan, part, source)

    async def _write_appender(self, plan: _Plan, part: list[Chunk], source: Source) -> ObjectInfo:
        size = sum(map(len, part))
        new = await self._upload(plan, Source(part, None), size, appender=True)
        try:
            while part := await source.take(self._config.append_size_bytes):
                size += sum(map(len, part))
                new = await self._append(new, part)
            facts = await self._ask_info(new)
            if facts.size != size:
                message = f"the server has {facts.size} bytes of {size} that were sent"
                raise ChecksumMismatchError(message)
            return await self._complete(plan, new, size, timestamp=facts.timestamp)
        except BaseException as error:
            await discard(self._cluster, new, error)
            raise

    async def _append(self, new: NewFile, part: list[Chunk]) -> NewFile:
        async def send(_: Attempt) -> None:
            await send_append(new, part)

        await self._policy(Request("write", new.id.path, idempotent=False), send)
        return evolve(new, crc32=_crc32(part, new.crc32))

    async def _ask_info(self, new: NewFile) -> protocol.FileFacts:
        async def send(_: Attempt) -> protocol.FileFacts:
            try:
                return await ask_info(new.pool, new.id, crc32=False)
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "none") from fault

        return await self._policy(Request("write", new.id.path), send)

    async def _write_spooled(self, plan: _Plan, part: list[Chunk], source: Source) -> ObjectInfo:
        async with _temporary_file(self._config) as file:
            size = 0
            chunk: Chunk = b"".join(part)
            part.clear()
            while chunk:
                size += len(chunk)
                if size > self._config.spool_max_bytes:
                    limit = self._config.spool_max_bytes
                    message = f"a body of unknown length has more than spool_max_bytes, {limit}"
                    raise FileTooLargeError(message)
                await to_thread.run_sync(file.write, chunk)
                chunk = await source.next()
            stream = await FileObjectBody(file, size, 0).open()
            return await self._write_known(plan, Source((), stream), size)


def _crc32(chunks: list[Chunk], start: int) -> int:
    for chunk in chunks:
        start = zlib.crc32(chunk, start)
    return start


def _verify(new: NewFile, size: int) -> None:
    """Compare the id that the server made with what was sent."""
    if new.id.crc32 not in (None, new.crc32) or new.id.size not in (None, size):
        raise ChecksumMismatchError(
            f"sent were {size} bytes with the crc32 {new.crc32:08x}; the server's id says"
            f" {new.id.size} bytes, {new.id.crc32 or 0:08x}"
        )


async def _close(stream: ByteReceiveStream) -> None:
    with anyio.move_on_after(CLEANUP_S, shield=True):
        await stream.aclose()


@asynccontextmanager
async def _temporary_file(config: FastdfsConfig) -> AsyncGenerator[BinaryIO]:
    def make() -> BinaryIO:
        return cast("BinaryIO", tempfile.TemporaryFile(dir=config.spool_directory))

    file = await to_thread.run_sync(make)
    try:
        yield file
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(file.close)
