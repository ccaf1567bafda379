"""The server as tests see it: a cluster in a thread of its own, with a typed remote control."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs

from polystow_testing._context import ServerContext
from polystow_testing.fastdfs._cluster import Cluster
from polystow_testing.fastdfs._faults import Faults
from polystow_testing.fastdfs._files import StoredFile, describe_file, put_file
from polystow_testing.fastdfs._metadata import from_mapping
from polystow_testing.fastdfs._node import Node, NodeStats
from polystow_testing.fastdfs._options import FastdfsOptions
from polystow_testing.fastdfs._waiting import Waiters
from polystow_testing.fastdfs._wire import Endpoint


class FastdfsServer(ServerContext):
    """A FastDFS cluster on loopback, for tests: `with` and `async with` (asyncio and trio).

    It serves from its own thread with its own event loop, so a client that blocks its loop doesn't
    block the server. All methods may be called from any thread and return at once, save for
    `wait_until`. It stores in memory unless `storage_dir` is given.

    Args:
        groups: Number of storage servers by name of group. Default: one server in "group1".
        options: Everything else as one value, see `FastdfsOptions`; `groups` and the keyword
            arguments below go before it.
        host: IPv4 loopback address; default "127.0.0.1".
        tracker_count: Default 1.
        store_path_count: Store paths of each storage server; default 1.
        storage_dir: Directory for contents; default None keeps them in memory.
        replication_delay_s: Seconds until a new file is on other storage servers; default 0.
        capacity_bytes: Space of each group; default None, no limit.
        network_timeout_s: See `FastdfsOptions`; default 60.
        ipv6_size_replies: Addresses in fields of 45 and 46 bytes; default False.
        old_download_range: Downloads past the end fail, as before 6.15.4; default False.
        old_fetch_all: One port only in answers to command 105; default False.
        old_records: Figures of groups and storage servers as 6.12 sends them; default False.
        distinct_addresses: One loopback address per storage server; default False.

    Attributes:
        options: What it was built with.
        faults: What goes wrong; add `Fault` values to it at any time.

    Raises:
        ValueError: An option is out of its range.

    Example:
        >>> with FastdfsServer({"group1": 2}) as server:
        ...     file_id = server.put(b"hello", ext="txt")
        ...     server.get(file_id)
        b'hello'
    """

    def __init__(
        self,
        groups: Mapping[str, int] | None = None,
        *,
        options: FastdfsOptions | None = None,
        host: str | None = None,
        tracker_count: int | None = None,
        store_path_count: int | None = None,
        storage_dir: str | Path | None = None,
        replication_delay_s: float | None = None,
        capacity_bytes: int | None = None,
        network_timeout_s: float | None = None,
        ipv6_size_replies: bool | None = None,
        old_download_range: bool | None = None,
        old_fetch_all: bool | None = None,
        old_records: bool | None = None,
        distinct_addresses: bool | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "groups": groups,
            "host": host,
            "tracker_count": tracker_count,
            "store_path_count": store_path_count,
            "storage_dir": storage_dir,
            "replication_delay_s": replication_delay_s,
            "capacity_bytes": capacity_bytes,
            "network_timeout_s": network_timeout_s,
            "ipv6_size_replies": ipv6_size_replies,
            "old_download_range": old_download_range,
            "old_fetch_all": old_fetch_all,
            "old_records": old_records,
            "distinct_addresses": distinct_addresses,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        self.options = attrs.evolve(options or FastdfsOptions(), **changes)
        self.faults = Faults()
        self._cluster: Cluster | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._waiters = Waiters()

    # Life

    def start(self) -> None:
        """Bind, listen and serve.

        Raises:
            RuntimeError: It is running already.
            OSError: An address can't be bound.
        """
        if self._thread is not None:
            message = "this FastdfsServer is running already"
            raise RuntimeError(message)
        cluster = Cluster(self.options, self.faults)
        for node in cluster.nodes:
            node.on_change = self._waiters.wake
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(cluster, ready), name="polystow-fastdfs", daemon=True
        )
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        self._cluster = cluster

    def stop(self) -> None:
        """Close everything and forget all files; harmless when it isn't running.

        Raises:
            ExceptionGroup: The server itself has failed in some request: a defect of
                polystow-testing.
        """
        thread, loop, cluster = self._thread, self._loop, self._cluster
        if thread is None or loop is None or cluster is None:
            return
        asyncio.run_coroutine_threadsafe(cluster.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        self._thread = self._loop = self._cluster = None
        if errors := [error for node in cluster.nodes for error in node.errors]:
            message = "the FastDFS server failed in requests"
            raise ExceptionGroup(message, errors)

    def _run(self, cluster: Cluster, ready: Future[None]) -> None:
        with asyncio.Runner() as runner:
            loop = self._loop = runner.get_loop()
            try:
                runner.run(cluster.start())
            except BaseException as error:  # noqa: BLE001 - raised again by start()
                ready.set_exception(error)
                return
            ready.set_result(None)
            loop.run_forever()

    def _running(self) -> Cluster:
        if self._cluster is None:
            message = "this FastdfsServer is not running: use it in a with statement"
            raise RuntimeError(message)
        return self._cluster

    def _call[T](self, function: Callable[[Cluster], T]) -> T:
        """Run `function` in the server's thread."""
        cluster = self._running()

        async def call() -> T:
            return function(cluster)

        return self._await(call())

    def _await[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    # Addresses

    @property
    def trackers(self) -> list[str]:
        """Addresses of the trackers, "host:port"; those that are stopped too."""
        return [str(node.endpoint) for node in self._running().trackers]

    def storages(self, group: str | None = None) -> list[str]:
        """Return the addresses of all storage servers, or of those of `group`."""
        return [
            str(node.endpoint)
            for node in self._running().storages
            if group in (None, node.group_name)
        ]

    def advertise(self, address: str, public: str | None) -> None:
        """Let the trackers send clients of one storage server elsewhere, such as to a proxy.

        File ids and everything else stay as they are.

        Args:
            address: The storage server, "host:port".
            public: What clients are told, "host:port"; None for the server's own address.

        Raises:
            ValueError: There is no server at `address`.
        """
        host, _, port = (public or address).rpartition(":")
        endpoint = Endpoint(host, int(port))

        def tell(cluster: Cluster) -> None:
            cluster.node(address).advertised = None if public is None else endpoint

        self._call(tell)

    # Files

    def put(
        self,
        data: bytes,
        *,
        ext: str = "",
        metadata: Mapping[str, str] | None = None,
        group: str | None = None,
        appender: bool = False,
    ) -> str:
        """Store a file without the network, on all storage servers of its group at once.

        Args:
            data: Its content.
            ext: Extension without the dot, up to 6 characters.
            metadata: Names and values; None for none.
            group: Default: the first.
            appender: Make an appender file.

        Returns:
            The file id.

        Raises:
            ValueError: There is no such group, `ext` is too long, or `metadata` can't be stored.
        """

        def store(cluster: Cluster) -> str:
            chosen = next(iter(cluster.groups)) if group is None else group
            return put_file(cluster.groups[chosen], data, ext, block, appender=appender)

        block = from_mapping(metadata or {})
        if len(ext.encode()) > 6 or "/" in ext:
            message = f"ext={ext!r}: give up to 6 characters, without '/'"
            raise ValueError(message)
        if group is not None and group not in self.options.groups:
            message = f"no group {group!r}; there are {', '.join(self.options.groups)}"
            raise ValueError(message)
        return self._call(store)

    def get(self, file_id: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: There is none of this id.
            ValueError: `file_id` is not of the form "group/name".
        """
        return self._call(lambda cluster: cluster.file(file_id)[1].content.read())

    def file(self, file_id: str) -> StoredFile:
        """Describe a file; errors as for `get`."""
        return self._call(lambda cluster: describe_file(*cluster.file(file_id)))

    def files(self, group: str | None = None) -> list[StoredFile]:
        """Describe all files, or those of `group`, the oldest first."""
        return self._call(
            lambda cluster: [
                describe_file(one, file)
                for one in cluster.groups.values()
                if group in (None, one.name)
                for file in one.files.values()
            ]
        )

    def delete(self, file_id: str) -> None:
        """Remove a file behind its clients' backs; errors as for `get`."""

        def remove(cluster: Cluster) -> None:
            group, file = cluster.file(file_id)
            group.delete(file)

        self._call(remove)

    def finish_replication(self) -> None:
        """Bring all files to all storage servers of their groups now."""

        def finish(cluster: Cluster) -> None:
            for group in cluster.groups.values():
                group.finish_replication()

        self._call(finish)

    # What has happened

    def stats(self) -> list[NodeStats]:
        """Return the counts of all servers, trackers first."""
        return self._call(lambda cluster: [node.stats() for node in cluster.nodes])

    def request_count(self, command: int | None = None, *, on: str | None = None) -> int:
        """Return how many requests have arrived.

        Args:
            command: Only those of this number; None for all.
            on: Only at these servers: "tracker", "storage", "host:port" or a group's name.
        """
        return sum(
            count
            for stats in self._stats_on(on)
            for number, count in stats.requests.items()
            if command in (None, number)
        )

    def open_connections(self, *, on: str | None = None) -> int:
        """Return how many connections are open (at the servers of `on`)."""
        return sum(stats.connections_open for stats in self._stats_on(on))

    def opened_connections(self, *, on: str | None = None) -> int:
        """Return how many connections have ever been accepted (at the servers of `on`)."""
        return sum(stats.connections_opened for stats in self._stats_on(on))

    def _stats_on(self, on: str | None) -> list[NodeStats]:
        return [s for s in self.stats() if on in (None, s.role, s.address, s.group)]

    def wait_until(
        self, condition: Callable[[list[NodeStats]], bool], *, timeout_s: float = 5.0
    ) -> None:
        """Wait until the counts satisfy `condition`; blocks the calling thread.

        `condition` runs in the server's thread, first at once and then after every change of the
        counts; it must not call the server.

        Raises:
            TimeoutError: It doesn't within `timeout_s` seconds.
        """
        cluster = self._running()
        future = self._call(
            lambda _: self._waiters.add(lambda: condition([node.stats() for node in cluster.nodes]))
        )
        try:
            future.result(timeout_s)
        except FutureTimeoutError:
            if future.done():
                # The condition itself has raised it.
                raise
            self._call(lambda _: self._waiters.remove(future))
            message = f"the condition did not come true within {timeout_s} s: {self.stats()}"
            raise TimeoutError(message) from None

    async def wait_until_async(
        self, condition: Callable[[list[NodeStats]], bool], *, timeout_s: float = 5.0
    ) -> None:
        """Do as `wait_until`, without blocking the event loop (asyncio or trio)."""
        await anyio.to_thread.run_sync(lambda: self.wait_until(condition, timeout_s=timeout_s))

    # Outages

    def stop_node(self, address: str, *, noticed: bool = True) -> None:
        """Kill one tracker or storage server: it refuses connections and closes those it has.

        Its files stay, as they are the group's.

        Args:
            address: "host:port".
            noticed: Whether the trackers know at once, as they do of a killed server. If not,
                they go on handing its address out.

        Raises:
            ValueError: There is no server at `address`.
        """

        async def stop(node: Node) -> None:
            await node.stop_listening()
            node.close_connections()
            node.is_known_stopped = noticed

        self._await(stop(self._running().node(address)))

    def start_node(self, address: str) -> None:
        """Start a stopped server again, on the same port; harmless when it runs.

        Raises:
            ValueError: There is no server at `address`.
            OSError: The port has been taken meanwhile.
        """
        cluster = self._running()
        self._await(cluster.listen(cluster.node(address)))

    def freeze_node(self, address: str) -> None:
        """Let one server hang, as if its process was sent SIGSTOP, until `thaw_node`.

        It accepts connections and bytes, as a kernel does for a process that is stopped, and
        answers nothing. Trackers go on handing its address out.

        Raises:
            ValueError: There is no server at `address`.
        """
        self._call(lambda cluster: cluster.node(address).freeze())

    def thaw_node(self, address: str) -> None:
        """Let a frozen server go on; it first serves what has come in meanwhile.

        Raises:
            ValueError: There is no server at `address`.
        """
        self._call(lambda cluster: cluster.node(address).thaw())

    def refuse_connections(self, address: str) -> None:
        """Let one server refuse new connections and serve those it has, until `start_node`.

        Raises:
            ValueError: There is no server at `address`.
        """
        self._await(self._running().node(address).stop_listening())

    def close_connections(self, address: str | None = None, *, reset: bool = False) -> int:
        """Close all open connections of one server, or of all.

        Args:
            address: "host:port"; None for all servers.
            reset: Send TCP resets in place of orderly ends.

        Returns:
            How many there were.

        Raises:
            ValueError: There is no server at `address`.
        """

        def close(cluster: Cluster) -> int:
            nodes = cluster.nodes if address is None else [cluster.node(address)]
            return sum(node.close_connections(reset=reset) for node in nodes)

        return self._call(close)
