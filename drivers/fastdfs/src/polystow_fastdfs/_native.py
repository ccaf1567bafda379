"""What FastDFS alone can do: the typed methods of its driver.

Neither layers nor the limits of a mount count here; `Storage.native` gives the driver.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping

import anyio

from polystow import (
    Attempt,
    BackendUnavailableError,
    Content,
    DriverContext,
    InvalidPathError,
    NotFoundError,
    ObjectInfo,
    Request,
    make_body,
)
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs import _records as records
from polystow_fastdfs._antileech import file_url
from polystow_fastdfs._asking import ask_size, reading_limit_s
from polystow_fastdfs._changing import Changer
from polystow_fastdfs._cluster import Cluster, TrackerRefused, exchange
from polystow_fastdfs._config import FastdfsConfig, parse_tracker
from polystow_fastdfs._errors import to_storage_error
from polystow_fastdfs._faults import WireFault
from polystow_fastdfs._figures import GroupInfo, StorageInfo
from polystow_fastdfs._file_id import FileId, find_group_mistake
from polystow_fastdfs._info import make_info
from polystow_fastdfs._operations import NAME, Operation, Operations
from polystow_fastdfs._pool_stats import PoolStats
from polystow_fastdfs._writing import NewName, Writer


class FastdfsOperations:
    """Operations that only FastDFS has; see `FastdfsDriver`.

    Args:
        config: How to reach the cluster.
        context: From the core.
    """

    def __init__(self, config: FastdfsConfig, context: DriverContext) -> None:
        self._config = config
        policy = context.policy
        if config.retries is not None:
            policy = policy.with_attempts(config.retries + 1)
        self._policy = policy
        self._cluster = Cluster(config)
        self._writer = Writer(self._cluster, config, policy)
        self._changer = Changer(self._cluster, config, policy)
        self._operations = Operations()

    def pool_stats(self) -> tuple[PoolStats, ...]:
        """The counters of the connections to each server that was used so far."""
        return tuple(pool.stats() for pool in self._cluster.pools)

    @property
    def hedges(self) -> tuple[int, int]:
        """How many reads were sent to a second server as well, and how often that one won."""
        return self._cluster.hedging.hedges, self._cluster.hedging.won

    @property
    def cluster(self) -> Cluster:
        """The connections, for those who watch them."""
        return self._cluster

    async def aclose(self, timeout_s: float) -> None:
        """Let what is under way finish, then close all connections.

        Args:
            timeout_s: How long that may take, in seconds.
        """
        end = anyio.current_time() + timeout_s
        await self._operations.drain(timeout_s)
        await self._cluster.aclose(max(0.0, end - anyio.current_time()))

    # Files

    async def upload(
        self,
        content: Content,
        *,
        size: int | None = None,
        extension: str = "",
        filename: str | None = None,
        group: str | None = None,
        store_path_index: int | None = None,
        appendable: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write a new file, with all that FastDFS lets its clients choose (rows 11, 23 and 13).

        Args:
            content: As for `Storage.write`.
            size: Of content that doesn't tell its length, in bytes; None if it is not known.
            extension: Of the id, without its dot; up to 6 of ASCII letters, digits, `_`, `-`, `.`.
            filename: To keep in the metadata; None for none.
            group: None for the configured one, or the tracker's choice.
            store_path_index: 0 to 254; None for the configured one, -1 for the server's choice.
            appendable: Make an appender file.
            metadata: Of the user; names up to 64, values up to 256 bytes of UTF-8.

        Raises:
            InvalidPathError: The group, the store path, the extension or the name can't be used.
            InvalidMetadataError: FastDFS can't keep the metadata.
            NotFoundError: There is no such group.
            StorageError: The cluster failed; see `FastdfsDriver.write`.
        """
        name = NewName(
            label=filename or "a new file",
            group=self._config.group if group is None else group,
            path_index=(
                self._config.store_path_index if store_path_index is None else store_path_index
            ),
            extension=extension,
            filename=filename,
            metadata=metadata or {},
            appender=appendable,
        )
        with Operation(self._operations, "upload", name.label):
            name.check()
            return await self._writer.write(name, await make_body(content, size))

    async def upload_slave(
        self,
        master: str,
        prefix: str,
        content: Content,
        *,
        size: int | None = None,
        extension: str | None = None,
        filename: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write a slave file, whose id can be told from its master's (rows 21 and 13).

        `FileId.slave_id` tells the id beforehand. A slave lives on when its master is deleted, and
        keeps metadata of its own.

        Args:
            master: Id of the other file, which can be a slave itself.
            prefix: What tells this slave from others: 1 to 16 of ASCII letters, digits, `.`, `_`
                and `-`, such as `_150x150`.
            content: As for `Storage.write`; of unknown length, it is read to its end first.
            size: As for `upload`.
            extension: As for `upload`; None for the master's.
            filename: To keep in the metadata; None for none.
            metadata: As for `upload`.

        Raises:
            NotFoundError: There is no such master.
            AlreadyExistsError: It has a slave of this prefix and extension.
            InvalidPathError: The master is no id, or prefix or extension can't be used.
            InvalidMetadataError: FastDFS can't keep the metadata.
            StorageError: The cluster failed; see `FastdfsDriver.write`.
        """
        with Operation(self._operations, "upload_slave", master):
            file = FileId.parse(master)
            name = NewName(
                label=master,
                extension=file.extension if extension is None else extension,
                filename=filename,
                metadata=metadata or {},
            )
            name.check()
            file.slave_id(prefix, name.extension)
            body = await make_body(content, size)
            return await self._writer.write_slave(file, prefix, name, body)

    async def regenerate(self, path: str) -> ObjectInfo:
        """Make an appender file a normal one, which gets a new id (row 38).

        The old id stops working. The metadata move along.

        Returns:
            The file under its new id, which tells its size and checksum.

        Raises:
            NotFoundError: There is no such file.
            InvalidPathError: The path is no FastDFS id.
            UnsupportedOperationError: It is no appender file.
            StorageError: The cluster failed; the message says so if the file has a new id already.
        """
        with Operation(self._operations, "regenerate", path):
            return await self._changer.regenerate(FileId.parse(path))

    async def file_info(self, path: str, *, crc32: bool = True) -> ObjectInfo:
        """What the file's storage server knows of it, metadata excepted (row 22).

        Args:
            path: The file's id.
            crc32: Whether the checksum matters. For appender and slave files the server reads the
                file to compute it; `stat` does without from 64 MiB on.

        Raises:
            NotFoundError: There is no such file.
            InvalidPathError: The path is no FastDFS id.
            StorageError: The cluster failed.
        """
        with Operation(self._operations, "file_info", path):
            file = FileId.parse(path)
        told = file.crc32 is not None or (crc32 and not file.mistakable)
        read = told and file.crc32 is None
        frame = protocol.file_info(file.group, file.name.encode(), crc32=told)

        async def send(attempt: Attempt) -> protocol.FileFacts:
            address = await self._cluster.where_to_look(file, latest=attempt.number == 1)
            pool = self._cluster.storage(address)
            connection = pool.take_idle() or await pool.acquire()
            try:
                size = await ask_size(connection, file) if read else 0
                connection.begin(frame)
                limit_s = reading_limit_s(connection, size)
                return protocol.parse_file_info(await connection.answer(limit_s=limit_s))
            finally:
                pool.release(connection)

        facts = await self._ask("file_info", path, send)
        return make_info(
            file,
            size=facts.size,
            crc32=facts.crc32 if told else None,
            timestamp=facts.timestamp,
            source=facts.source or None,
        )

    def url(self, path: str, *, attachment: str | None = None) -> str:
        """The URL of a file where servers check no tokens; `presign` makes those with one.

        Args:
            path: The file's id.
            attachment: The name under which a browser shall save it.

        Raises:
            InvalidPathError: The path is no FastDFS id, or the attachment's name can't be used.
            UnsupportedOperationError: `base_urls` has none for the group.
        """
        with Operation(self._operations, "url", path):
            return file_url(self._config.base_urls, FileId.parse(path), attachment=attachment)

    # The cluster

    async def list_groups(self) -> tuple[GroupInfo, ...]:
        """All groups with their figures (row 91).

        Raises:
            StorageError: The cluster failed.
        """

        async def send(_: Attempt) -> tuple[GroupInfo, ...]:
            return records.parse_groups(await self._cluster.ask(records.list_groups()))

        return await self._ask("list_groups", "", send)

    async def group_info(self, group: str) -> GroupInfo:
        """The figures of one group (row 90).

        Raises:
            NotFoundError: There is no such group.
            InvalidPathError: It is no group name.
            StorageError: The cluster failed.
        """

        async def send(_: Attempt) -> GroupInfo:
            body = await self._cluster.locate(protocol.list_group(group), group)
            found = records.parse_groups(body)
            if len(found) != 1:
                message = f"{len(found)} groups in the answer to a question about one"
                raise protocol.FrameError(message)
            return found[0]

        _check("group_info", group, find_group_mistake(group))
        return await self._ask("group_info", group, send)

    async def list_storages(
        self, group: str, storage_id: str | None = None
    ) -> tuple[StorageInfo, ...]:
        """The storage servers of a group with their figures (row 92).

        Args:
            group: The group.
            storage_id: Only the server of this id, or address; None for all.

        Raises:
            NotFoundError: There is no such group, or no such server in it.
            InvalidPathError: It is no group name, or no id of a server.
            StorageError: The cluster failed.
        """

        async def send(_: Attempt) -> tuple[StorageInfo, ...]:
            frame = records.list_storages(group, storage_id)
            try:
                return records.parse_storages(await self._cluster.locate(frame, group))
            except TrackerRefused as fault:
                if fault.status != errno.ENOENT or storage_id is None:
                    raise
                message = f"the group {group!r} has no storage server {storage_id!r}"
                raise NotFoundError(message) from fault

        mistake = find_group_mistake(group)
        if mistake is None and storage_id is not None:
            mistake = records.find_storage_id_mistake(storage_id)
        _check("list_storages", group, mistake)
        return await self._ask("list_storages", group, send)

    async def tracker_leader(self) -> str:
        """Address of the tracker that leads the others, `host:port` (row 95).

        Raises:
            BackendUnavailableError: They have none at the moment.
            StorageError: The cluster failed.
        """

        async def send(_: Attempt) -> str:
            try:
                return records.parse_leader(await self._cluster.ask(records.tracker_leader()))
            except TrackerRefused as fault:
                if fault.status != errno.ENOENT:
                    raise
                message = f"the trackers have no leader at the moment (tracker {fault.server})"
                raise BackendUnavailableError(message, retryable=True) from fault

        return await self._ask("tracker_leader", "", send)

    async def active_test(self, server: str) -> None:
        """Ask one tracker or storage server whether it lives (row 111).

        Args:
            server: `host:port`, or `[ipv6]:port`.

        Raises:
            InvalidPathError: It is no address.
            StorageError: It doesn't answer.
        """
        try:
            host, port = parse_tracker(server)
        except ValueError as error:
            _check("active_test", server, str(error))
            raise

        async def send(_: Attempt) -> None:
            pool = self._cluster.storage(protocol.StorageAddress("", host, port))
            await exchange(pool, protocol.active_test())

        await self._ask("active_test", server, send)

    async def _ask[T](
        self, operation: str, path: str, send: Callable[[Attempt], Awaitable[T]]
    ) -> T:
        """Ask something that changes nothing."""

        async def once(attempt: Attempt) -> T:
            try:
                return await send(attempt)
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "none") from fault

        with Operation(self._operations, operation, path):
            return await self._policy(Request(operation, path), once)


def _check(operation: str, path: str, mistake: str | None) -> None:
    if mistake is not None:
        raise InvalidPathError(mistake).in_operation(operation, path, NAME)
