"""Writing: from a name and a body to a new file with its metadata, or to nothing at all."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from attrs import evolve, field, frozen

from polystow import (
    AlreadyExistsError,
    Attempt,
    Body,
    BytesBody,
    ChecksumMismatchError,
    InvalidMetadataError,
    InvalidPathError,
    NameHint,
    ObjectInfo,
    Request,
    RequestPolicy,
    StorageError,
    Value,
    WriteOptions,
    check_filename,
    crc32_of,
)
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._asking import MAX_CRC_BYTES
from polystow_fastdfs._bodies import Chunk, Source
from polystow_fastdfs._cluster import Cluster
from polystow_fastdfs._config import MAX_PATH_INDEX, FastdfsConfig
from polystow_fastdfs._errors import to_storage_error
from polystow_fastdfs._failover import Beside, Route, Storing, on_any
from polystow_fastdfs._faults import WireFault
from polystow_fastdfs._file_id import FileId, check_extension, find_group_mistake
from polystow_fastdfs._info import BOOKKEEPING, ORIGINAL_NAME, bookkeeping_for, make_info
from polystow_fastdfs._metadata import encode_metadata, find_metadata_mistake
from polystow_fastdfs._reading import ask_info
from polystow_fastdfs._spool import Opener, open_source, sized, spooled
from polystow_fastdfs._transfer import (
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


@frozen(
    kw_only=True, slots=False, eq=False, repr=False
)  # made for each upload: slots take twice the time
class NewName(Value):
    """What a new file shall be, as far as its server lets the client choose.

    Attributes:
        label: What errors say that it is about.
        group: None for the configured one, or the tracker's choice.
        path_index: Store path on the server, -1 for its own choice.
        extension: Without its dot.
        filename: Kept in the metadata; None for none.
        metadata: The user's.
        appender: Whether it can be appended to.
    """

    label: str
    group: str | None = None
    path_index: int = -1
    extension: str = ""
    filename: str | None = None
    metadata: Mapping[str, str] = field(factory=dict[str, str])
    appender: bool = False

    def check(self) -> None:
        """Check it before anything is sent.

        Raises:
            InvalidPathError: The group, the store path, the extension or the name can't be used.
            InvalidMetadataError: FastDFS can't keep the metadata.
        """
        check_metadata(self.metadata)
        check_extension(self.extension)
        mistake = None if self.group is None else find_group_mistake(self.group)
        if mistake is None and not -1 <= self.path_index <= MAX_PATH_INDEX:
            mistake = f"the store path {self.path_index} is not one of 0 to {MAX_PATH_INDEX}"
        if mistake is None and self.filename is not None:
            check_filename(self.filename)
            mistake = find_metadata_mistake({ORIGINAL_NAME: self.filename})
            if mistake is not None:
                mistake = f"the file name can't be kept: {mistake}; shorten it, or set"
                mistake += " keep_filename to false"
        if mistake is not None:
            raise InvalidPathError(mistake)


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

    def name_for(self, hint: NameHint, options: WriteOptions) -> NewName:
        """What `StorageDriver.write` asks for; FastDFS has no folders."""
        check_filename(hint.filename)
        return NewName(
            label=str(hint),
            group=hint.container or self._config.group,
            path_index=self._config.store_path_index,
            extension=extension_of(hint.filename),
            filename=(options.filename or hint.filename) if self._config.keep_filename else None,
            metadata=options.metadata,
            appender=options.appendable,
        )

    async def write(self, name: NewName, body: Body) -> ObjectInfo:
        """Write a new file (rows 11, 23, 24 and 13).

        Args:
            name: What it shall be.
            body: Content.

        Returns:
            The new file. Its path is the id that FastDFS has made.

        Raises:
            StorageError: If it failed. Nothing is left on the servers then, unless `outcome` is
                "unknown" or the message says so.
        """
        name.check()
        if body.size is not None:
            return await self._write_known(name, body, body.size)
        async with open_source(body) as source:
            return await self._write_unknown(name, source)

    async def write_slave(
        self, master: FileId, prefix: str, name: NewName, body: Body
    ) -> ObjectInfo:
        """Write a slave file of another one (rows 21 and 13).

        Args:
            master: The other one.
            prefix: Tells this slave from others.
            name: Extension, metadata and name to keep; the rest is its master's.
            body: Content.

        Raises:
            NotFoundError: There is no such master.
            AlreadyExistsError: It has such a slave.
            StorageError: As for `write`.
        """
        name.check()
        slave = master.slave_id(prefix, name.extension)
        async with sized(body, self._config) as whole, open_source(whole) as source:
            size = whole.size
            assert size is not None
            head = protocol.upload_slave(
                master=master.name.encode(),
                prefix=prefix.encode(),
                extension=name.extension.encode(),
                size=size,
            )
            job = Upload(source, size, lambda _: head)
            try:
                new = await self._upload(name.label, job, Beside(master, job.replay))
            except StorageError as error:
                if error.outcome == "unknown" or isinstance(error, AlreadyExistsError):
                    error.message += f"; it would be {slave.path}"
                raise
            async with self._undone_on_failure(new):
                wanted = size <= MAX_CRC_BYTES
                facts = await self._ask_info(new, crc32=wanted)
                _verify(new, size, facts.size, facts.crc32 if wanted else None)
                return await self._complete(name, new, size, timestamp=facts.timestamp)

    # Bodies of known length

    async def _write_known(self, name: NewName, body: Body, size: int) -> ObjectInfo:
        if isinstance(body, BytesBody):
            # The hot path does without context managers.
            source = Source.of_memory(body.data)
            new = await self._upload_new(name, Opener(body), source, size, appender=name.appender)
        else:
            async with Opener(body) as opener:
                source = await opener.open()
                new = await self._upload_new(name, opener, source, size, appender=name.appender)
        try:
            _verify(new, size, new.id.size, new.id.crc32)
            return await self._complete(name, new, size)
        except BaseException as error:
            await discard(self._cluster, new, error)
            raise

    @asynccontextmanager
    async def _undone_on_failure(self, new: NewFile) -> AsyncGenerator[None]:
        try:
            yield
        except BaseException as error:
            await discard(self._cluster, new, error)
            raise

    def _upload_new(
        self,
        name: NewName,
        opener: Opener,
        source: Source,
        size: int,
        *,
        appender: bool,
    ) -> Awaitable[NewFile]:
        extension = name.extension.encode()

        def head(path_index: int) -> bytes:
            wanted = name.path_index if name.path_index >= 0 else path_index
            return protocol.upload(
                size=size, extension=extension, path_index=wanted, appender=appender
            )

        reopen = opener.open if opener.replayable and self._config.replay_uploads else None
        job = Upload(source, size, head, reopen)
        return self._upload(name.label, job, Storing(name.group, job.replay))

    def _upload(self, label: str, job: Upload, route: Route) -> Awaitable[NewFile]:
        cluster = self._cluster

        async def send(attempt: Attempt) -> NewFile:
            try:
                return await on_any(
                    cluster,
                    route,
                    lambda pool, address: send_upload(cluster, pool, address, job, attempt),
                )
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "once" if job.begun else "none") from fault

        return self._policy(Request("write", label, idempotent=False), send)

    async def _complete(
        self, name: NewName, new: NewFile, size: int, *, timestamp: int | None = None
    ) -> ObjectInfo:
        """Set the metadata of a file that is there."""
        metadata: Mapping[str, str] = name.metadata
        if name.filename is not None:
            metadata = dict(metadata) | bookkeeping_for(name.filename, name.extension, size)
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

    async def _write_unknown(self, name: NewName, source: Source) -> ObjectInfo:
        part = await source.take(self._config.append_size_bytes)
        more = await source.next()
        if not more:
            whole = BytesBody(b"".join(part))
            return await self._write_known(name, whole, whole.size)
        source.put_back(more)
        if self._config.unknown_length == "appender" or name.appender:
            return await self._write_appender(name, part, source)
        async with spooled(part, source, self._config) as file:
            assert file.size is not None
            return await self._write_known(name, file, file.size)

    async def _write_appender(self, name: NewName, part: list[Chunk], source: Source) -> ObjectInfo:
        size = sum(map(len, part))
        first = BytesBody(b"".join(part))
        begin = Source.of_memory(first.data)
        new = await self._upload_new(name, Opener(first), begin, size, appender=True)
        async with self._undone_on_failure(new):
            while part := await source.take(self._config.append_size_bytes):
                size += sum(map(len, part))
                new = await self._append(new, part)
            facts = await self._ask_info(new, crc32=False)
            _verify(new, size, facts.size, None)
            return await self._complete(name, new, size, timestamp=facts.timestamp)

    async def _append(self, new: NewFile, part: list[Chunk]) -> NewFile:
        async def send(_: Attempt) -> None:
            await send_append(new, part)

        await self._policy(Request("write", new.id.path, idempotent=False), send)
        return evolve(new, crc32=_crc32(part, new.crc32))

    async def _ask_info(self, new: NewFile, *, crc32: bool) -> protocol.FileFacts:
        async def send(_: Attempt) -> protocol.FileFacts:
            try:
                return await ask_info(new.pool, new.id, crc32=crc32)
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "none") from fault

        return await self._policy(Request("write", new.id.path), send)


def _crc32(chunks: list[Chunk], start: int) -> int:
    for chunk in chunks:
        start = crc32_of(chunk, start)
    return start


def _verify(new: NewFile, size: int, found_size: int | None, found_crc32: int | None) -> None:
    """Compare what the server has, as far as it tells, with what was sent."""
    if found_size not in (None, size) or found_crc32 not in (None, new.crc32):
        told = "" if found_crc32 is None else f" with the crc32 {found_crc32:08x}"
        raise ChecksumMismatchError(
            f"sent were {size} bytes with the crc32 {new.crc32:08x}, and the server has"
            f" {found_size} bytes{told}"
        )
