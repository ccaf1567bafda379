"""The driver: what `StorageDriver` asks for, in terms of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from polystow import (
    Attempt,
    Body,
    Capabilities,
    DeleteOptions,
    DriverContext,
    DriverInfo,
    Limits,
    MetadataOptions,
    NotFoundError,
    ObjectInfo,
    ReadOptions,
    ReadStream,
    Request,
    StatOptions,
    StorageError,
    Target,
    TransportError,
    UnsupportedOperationError,
    WriteOptions,
)
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._asking import ask_facts, ask_metadata
from polystow_fastdfs._cluster import exchange
from polystow_fastdfs._config import FastdfsConfig
from polystow_fastdfs._errors import to_storage_error
from polystow_fastdfs._failover import Changing, Reading, on_any
from polystow_fastdfs._faults import StatusFault, WireFault
from polystow_fastdfs._file_id import MAX_NAME_BYTES, FileId, accepts
from polystow_fastdfs._hedging import open_hedged, open_steadily
from polystow_fastdfs._info import BOOKKEEPING, make_info
from polystow_fastdfs._metadata import decode_metadata, encode_metadata
from polystow_fastdfs._native import FastdfsOperations
from polystow_fastdfs._operations import NAME, Operation
from polystow_fastdfs._pool import Connections
from polystow_fastdfs._reading import Download, FastdfsReadStream, start_download
from polystow_fastdfs._signing import UrlSigner
from polystow_fastdfs._writing import check_metadata


class FastdfsDriver(FastdfsOperations):
    """Files in a FastDFS cluster. The servers make the ids; paths are ids, `group/M00/…`.

    It runs on asyncio, on the event loop that it was made on, and opens no connection before it
    needs one. What no other backend has are the typed methods of `FastdfsOperations`.

    Args:
        config: How to reach the cluster.
        context: From the core.
    """

    def __init__(self, config: FastdfsConfig, context: DriverContext) -> None:
        super().__init__(config, context)
        self._info = DriverInfo(NAME, "polystow-fastdfs")
        self._capabilities = Capabilities(
            append=self,
            set_metadata=self,
            presign=UrlSigner.of(config, self._operations),
            check=self,
            bare_ids=self,
            limits=Limits(
                client_names_keys=False,
                create_only=True,
                content_type=False,
                max_key_bytes=MAX_NAME_BYTES,
                response_headers=True,
                one_stream=True,
            ),
        )

    @property
    def info(self) -> DriverInfo:
        """What it is."""
        return self._info

    @property
    def capabilities(self) -> Capabilities:
        """What else it can do."""
        return self._capabilities

    def owns_bare_id(self, path: str, /) -> bool:
        """Whether `path` has the form of a FastDFS id."""
        return accepts(path)

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open a file (row 14).

        Raises:
            NotFoundError: There is none.
            RangeNotSatisfiableError: The range begins at or after its end.
            InvalidPathError: The path is no FastDFS id.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "open_read", path):
            file = FileId.parse(path)
            return await self._policy(
                Request("open_read", path), lambda _: self._open(file, options)
            )

    async def _open(self, file: FileId, options: ReadOptions) -> ReadStream:
        cluster = self._cluster
        try:
            alone = (cluster.known_size(file.group) or await cluster.size_of(file.group)) < 2
            opening = open_steadily if alone else open_hedged
            download, part = await opening(cluster, Reading(file), options.range)
        except (WireFault, protocol.FrameError) as fault:
            raise to_storage_error(fault, "none") from fault

        return FastdfsReadStream(
            file,
            part,
            options,
            download,
            partial(self._resume, file),
            None if alone else cluster.failover_timeout_s,
        )

    async def _resume(self, file: FileId, offset: int, length: int, failed: str | None) -> Download:
        cluster = self._cluster
        if failed is not None:
            cluster.suspects.failed(failed)
            cluster.forget(file)

        async def send(_: Attempt) -> Download:
            try:
                download = await on_any(
                    cluster,
                    Reading(file),
                    lambda pool, _: start_download(pool, file, offset, length),
                )
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "none") from fault
            if download.length != length:
                download.release()
                message = "the file was changed while it was read, after a connection was lost"
                raise TransportError(message)
            return download

        with Operation(self._operations, "open_read", file.path):
            return await self._policy(Request("open_read", file.path), send)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write a new file (rows 11, 23, 24 and 13); see `Writer.write`.

        Raises:
            UnsupportedOperationError: The target is an exact path.
            TruncatedBodyError: The body has not the length that it declares.
            InvalidPathError: The name or the group can't be used.
            InvalidMetadataError: FastDFS can't keep the metadata.
            NoSpaceError: The storage server is full.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "write", target):
            if isinstance(target, str):
                message = "FastDFS makes the ids of its files: write to a NameHint (`upload`)"
                raise UnsupportedOperationError(message)
            return await self._writer.write(self._writer.name_for(target, options), body)

    async def stat(
        self,
        path: str,
        options: StatOptions,  # noqa: ARG002 - no version to choose
        /,
    ) -> ObjectInfo:
        """What is known of a file, metadata included (rows 22 and 15).

        The storage server that took the upload is asked, which knows the last changes; if it is
        down, another one.

        Raises:
            NotFoundError: There is none.
            InvalidPathError: The path is no FastDFS id.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "stat", path):
            file = FileId.parse(path)
        route = Reading(file, latest=True)

        async def send(_: Attempt) -> ObjectInfo:
            return await on_any(self._cluster, route, lambda pool, _: self._stat(file, pool))

        return await self._ask("stat", path, send)

    async def _stat(self, file: FileId, pool: Connections) -> ObjectInfo:
        connection = pool.take_idle() or await pool.acquire()
        try:
            facts, crc32 = await ask_facts(connection, file)
            metadata = decode_metadata(await ask_metadata(connection, file))
        finally:
            pool.release(connection)
        return make_info(
            file,
            size=facts.size,
            crc32=crc32,
            timestamp=facts.timestamp,
            source=facts.source or None,
            metadata=metadata,
        )

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """Delete a file and its metadata (row 12); slave files of it stay.

        Raises:
            NotFoundError: There is none, and `missing_ok` is False.
            InvalidPathError: The path is no FastDFS id.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "delete", path):
            file = FileId.parse(path)
            frame = protocol.delete(file.group, file.name.encode())
            unsure = False

            async def send(_: Attempt) -> None:
                nonlocal unsure
                try:
                    await self._change(file, frame)
                except NotFoundError as error:
                    # Of a deletion whose answer was lost, "not found" is the answer.
                    fault = error.__cause__
                    lost = unsure or (isinstance(fault, StatusFault) and fault.after_loss)
                    if not (lost or options.missing_ok):
                        raise
                except StorageError as error:
                    unsure = unsure or error.outcome == "unknown"
                    raise

            await self._policy(Request("delete", path), send)
            self._cluster.forget(file)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Replace or merge a file's metadata (row 13); its original name is kept.

        Raises:
            NotFoundError: There is no such file.
            InvalidPathError: The path is no FastDFS id.
            InvalidMetadataError: FastDFS can't keep the metadata.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "set_metadata", path):
            file = FileId.parse(path)
            check_metadata(metadata)

            async def send(_: Attempt) -> None:
                await self._set_metadata(file, metadata, options)

            await self._policy(Request("set_metadata", path), send)

    async def _set_metadata(
        self, file: FileId, metadata: Mapping[str, str], options: MetadataOptions
    ) -> None:
        name = file.name.encode()
        if options.mode == "merge":
            encoded = encode_metadata(metadata)
            await self._change(file, protocol.set_metadata(file.group, name, encoded, "merge"))
            return

        async def ask(pool: Connections, _: protocol.StorageAddress) -> bytes:
            connection = pool.take_idle() or await pool.acquire()
            try:
                return await ask_metadata(connection, file)
            finally:
                pool.release(connection)

        try:
            kept = decode_metadata(await on_any(self._cluster, Changing(file), ask))
        except (WireFault, protocol.FrameError) as fault:
            raise to_storage_error(fault, "none") from fault
        both = {key: kept[key] for key in kept.keys() & BOOKKEEPING} | dict(metadata)
        encoded = encode_metadata(both)
        await self._change(file, protocol.set_metadata(file.group, name, encoded, "overwrite"))

    async def _change(self, file: FileId, frame: bytes) -> None:
        """A change of a file that can be made twice."""
        asked = False

        async def use(pool: Connections, _: protocol.StorageAddress) -> None:
            nonlocal asked
            asked = True
            await exchange(pool, frame)

        try:
            await on_any(self._cluster, Changing(file), use)
        except (WireFault, protocol.FrameError) as fault:
            raise to_storage_error(fault, "repeatable" if asked else "none") from fault

    async def append(self, path: str, body: Body, /) -> None:
        """Add content at the end of an appender file (row 24), wholly or not at all.

        A body of unknown length is read first: up to `append_size_bytes` into memory, a longer one
        into a temporary file.

        Raises:
            NotFoundError: There is no such file.
            InvalidPathError: The path is no FastDFS id.
            UnsupportedOperationError: It is no appender file.
            FileTooLargeError: A body of unknown length is longer than `spool_max_bytes`.
            StorageError: The cluster failed; nothing was appended, unless `outcome` is "unknown".
        """
        with Operation(self._operations, "append", path):
            await self._changer.append(FileId.parse(path), body)

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        """Write content over an appender file's (row 34); it may go on after the end.

        Raises:
            NotFoundError: There is no such file.
            RangeNotSatisfiableError: `offset` is after its end.
            InvalidPathError: The path is no FastDFS id.
            UnsupportedOperationError: It is no appender file.
            FileTooLargeError: A body of unknown length is longer than `spool_max_bytes`.
            StorageError: The cluster failed; part may have been written if `outcome` is "unknown".
        """
        with Operation(self._operations, "modify", path):
            await self._changer.modify(FileId.parse(path), offset, body)

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        """Cut an appender file, or fill it with zeros, to a size (row 36).

        Raises:
            NotFoundError: There is no such file.
            InvalidPathError: The path is no FastDFS id.
            UnsupportedOperationError: It is no appender file.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "truncate", path):
            await self._changer.truncate(FileId.parse(path), size_bytes)

    async def check(self, path: str, /) -> None:
        """Ask a tracker where an upload would go, and that storage server whether it lives.

        Args:
            path: A group; empty for the configured one, or the tracker's choice.

        Raises:
            NotFoundError: There is no such group.
            StorageError: What is wrong.
        """
        group = path or self._config.group

        async def send(_: Attempt) -> None:
            address = await self._cluster.where_to_store(group)
            await exchange(self._cluster.storage(address), protocol.active_test())

        await self._ask("check", path, send)
