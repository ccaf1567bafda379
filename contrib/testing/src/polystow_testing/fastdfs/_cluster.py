"""All nodes of a server and what they share; used within one event loop only."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from functools import partial
from pathlib import Path

from polystow_testing.fastdfs._connection import Connection
from polystow_testing.fastdfs._contents import ContentStore, DiskStore, MemoryStore
from polystow_testing.fastdfs._faults import Faults
from polystow_testing.fastdfs._file_ids import split_file_id
from polystow_testing.fastdfs._group import Group, GroupFile
from polystow_testing.fastdfs._node import Node
from polystow_testing.fastdfs._options import FastdfsOptions
from polystow_testing.fastdfs._storage import Storage
from polystow_testing.fastdfs._tracker import Tracker
from polystow_testing.fastdfs._wire import IPV4_WIDTHS, IPV6_WIDTHS

PORT_ATTEMPTS = 20


class Cluster:
    """Trackers, storage servers and groups, built as `options` say.

    Args:
        options: What to build.
        faults: What goes wrong.
    """

    def __init__(self, options: FastdfsOptions, faults: Faults) -> None:
        self.options = options
        widths = IPV6_WIDTHS if options.ipv6_size_replies else IPV4_WIDTHS
        self.groups: dict[str, Group] = {}
        self.storages: list[Storage] = []
        for name, count in sorted(options.groups.items()):
            group = Group(
                name,
                _content_store(options.storage_dir, name),
                path_count=options.store_path_count,
                replication_delay_s=options.replication_delay_s,
                capacity_bytes=options.capacity_bytes,
            )
            self.groups[name] = group
            self.storages += [
                Storage(
                    group,
                    old_download_range=options.old_download_range,
                    faults=faults,
                    widths=widths,
                    network_timeout_s=options.network_timeout_s,
                )
                for _ in range(count)
            ]
        self.trackers = [
            Tracker(
                self.groups,
                self.storages,
                leader=self._leader,
                old_fetch_all=options.old_fetch_all,
                old_records=options.old_records,
                faults=faults,
                widths=widths,
                network_timeout_s=options.network_timeout_s,
            )
            for _ in range(options.tracker_count)
        ]
        self.nodes: list[Node] = [*self.trackers, *self.storages]
        self._sweeper: asyncio.Task[None] | None = None

    def _leader(self) -> str:
        running = [tracker for tracker in self.trackers if tracker.is_running]
        return str((running or self.trackers)[0].endpoint)

    async def start(self) -> None:
        """Bind and listen everywhere."""
        sockets: list[socket.socket] = []
        try:
            # One by one, so that those before a failing one are closed.
            for tracker in self.trackers:
                sockets.append(tracker.bind(self.options.host))  # noqa: PERF401
            for group in self.groups.values():
                sockets += self._bind_group(group)
        except BaseException:
            for bound in sockets:
                bound.close()
            raise
        for node, bound in zip(self.nodes, sockets, strict=True):
            await self.listen(node, bound)
        if self.options.network_timeout_s is not None:
            self._sweeper = asyncio.create_task(self._sweep(self.options.network_timeout_s))

    def _bind_group(self, group: Group) -> list[socket.socket]:
        storages = [storage for storage in self.storages if storage.group is group]
        if self.options.distinct_addresses:
            sockets = self._bind_on_one_port(storages)
        else:
            sockets = [storage.bind(self.options.host) for storage in storages]
        group.endpoints = [storage.endpoint for storage in storages]
        return sockets

    def _bind_on_one_port(self, storages: list[Storage]) -> list[socket.socket]:
        first = ipaddress.IPv4Address(self.options.host) + 1
        hosts = [str(first + self.storages.index(storage)) for storage in storages]
        for attempt in range(PORT_ATTEMPTS):
            sockets: list[socket.socket] = []
            port = 0
            try:
                for storage, host in zip(storages, hosts, strict=True):
                    sockets.append(storage.bind(host, port))
                    port = storage.endpoint.port
            except OSError as error:
                for bound in sockets:
                    bound.close()
                # Another process may have the port on a later address: try the next free one.
                if error.errno != errno.EADDRINUSE or attempt == PORT_ATTEMPTS - 1:
                    raise
            else:
                return sockets
        raise AssertionError

    async def listen(self, node: Node, bound: socket.socket | None = None) -> None:
        """Let `node` accept connections, at `bound` or where it was before."""
        loop = asyncio.get_running_loop()
        await node.listen(partial(Connection, node, loop), bound)

    async def stop(self) -> None:
        """Stop listening, close all connections and wait until they are gone."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for node in self.nodes:
            await node.stop_listening()
            node.close_connections()
        # Aborted transports report their loss from callbacks that are already scheduled.
        while any(node.connections for node in self.nodes):  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _sweep(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, timeout_s / 4))
            for node in self.nodes:
                node.close_silent_connections(loop.time())

    def node(self, address: str) -> Node:
        """Return the node at "host:port".

        Raises:
            ValueError: There is none.
        """
        for node in self.nodes:
            if str(node.endpoint) == address:
                return node
        known = ", ".join(str(node.endpoint) for node in self.nodes)
        message = f"no server at {address!r}; there are {known}"
        raise ValueError(message)

    def file(self, file_id: str) -> tuple[Group, GroupFile]:
        """Return a stored file with its group.

        Raises:
            FileNotFoundError: There is none of this id.
        """
        group_name, name = split_file_id(file_id)
        group = self.groups.get(group_name)
        file = None if group is None else group.files.get(name)
        if group is None or file is None:
            message = f"no file {file_id!r} is stored"
            raise FileNotFoundError(message)
        return group, file


def _content_store(root: Path | None, group: str) -> ContentStore:
    return MemoryStore() if root is None else DiskStore(root / group)
