"""A FastDFS cluster: which tracker to ask, and the connections to all its servers.

Trackers know the same, so a query goes to one and, if that fails to answer, to the next; one that
failed is left alone for a while. An answer with an error status is an answer: it is not asked for
again elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import Final

import anyio

from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._config import FastdfsConfig, parse_tracker
from polystow_fastdfs._connection import server_name
from polystow_fastdfs._faults import (
    ClientClosed,
    ForbiddenAddress,
    StatusFault,
    WireFault,
)
from polystow_fastdfs._file_id import FileId
from polystow_fastdfs._health import Hedging, Suspects
from polystow_fastdfs._pool import Connections, Pool
from polystow_fastdfs._records import parse_groups
from polystow_fastdfs._watch import Watch

TRACKER_MEMORY_S: Final = 10.0
"""For how many seconds a tracker that failed is asked only if no other is left."""

GROUP_MEMORY_S: Final = 60.0
"""For how many seconds the number of a group's servers is taken for true."""

MAX_LOCATIONS: Final = 1024

UPLOADS_PER_ANSWER: Final = 4
"""How many uploads go where a tracker says once; few, since trackers spread uploads in turns."""

_log: Final = logging.getLogger("polystow_fastdfs")


class TrackerRefused(StatusFault):
    """A tracker, not a storage server, answered with an error status."""


class NoSuchGroup(WireFault):
    """The cluster has no group of that name."""


class _Tracker:
    __slots__ = ("failed_until", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.failed_until = 0.0


class Cluster:
    """The connections to one cluster; opens none before it needs one.

    Args:
        config: Addresses, limits and timeouts.
    """

    def __init__(self, config: FastdfsConfig) -> None:
        self._config = config
        self._pools: dict[tuple[str, int], Pool] = {}
        self._closed = False
        self._watch = Watch(asyncio.get_running_loop())
        self._trackers = [_Tracker(self._pool(*parse_tracker(t))) for t in config.trackers]
        self._preferred = 0
        networks = config.allowed_networks
        self._allowed = None if networks is None else [ip_network(one) for one in networks]
        self._sizes: dict[str, tuple[int, float]] = {}
        self._locations: OrderedDict[
            tuple[str, str], tuple[protocol.StorageAddress, bool, float]
        ] = OrderedDict()
        self._choices: dict[str | None, tuple[protocol.StorageAddress, int, float]] = {}
        self.now = monotonic
        self.failover_timeout_s = config.failover_timeout_s
        self.suspects = Suspects(monotonic, config.failover_timeout_s)
        self.hedging = Hedging(config.hedge_share, config.hedge_least_s, config.failover_timeout_s)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools of all servers that were used so far."""
        return tuple(self._pools.values())

    def storage(self, address: protocol.StorageAddress) -> Pool:
        """The connections to a storage server.

        Raises:
            ForbiddenAddress: If it is outside the allowed networks.
        """
        pool = self._pools.get((address.host, address.port))
        if pool is not None:
            return pool
        if self._allowed is not None:
            host = ip_address(address.host)
            if not any(host in network for network in self._allowed):
                reason = "a tracker names it as storage server; it is in none of allowed_networks"
                server = server_name(address.host, address.port)
                raise ForbiddenAddress(reason, server, sent=False)
        return self._pool(address.host, address.port)

    def _pool(self, host: str, port: int) -> Pool:
        pool = self._pools.get((host, port))
        if pool is None:
            config = self._config
            pool = Pool(
                host,
                port,
                max_connections=config.max_connections_per_server,
                connect_timeout_s=config.connect_timeout_s,
                network_timeout_s=config.network_timeout_s,
                idle_timeout_s=config.idle_timeout_s,
                wait_timeout_s=config.pool_timeout_s,
                watch=self._watch,
            )
            if self._closed:
                raise ClientClosed("the driver is closed", pool.server, sent=False)
            self._pools[host, port] = pool
        return pool

    # How many servers there are, and where files are, remembered for a while

    def known_size(self, group: str) -> int | None:
        """As `size_of`, if that is remembered."""
        known = self._sizes.get(group)
        return known[0] if known is not None and monotonic() < known[1] else None

    async def size_of(self, group: str) -> int:
        """How many storage servers a group has, those that are down included.

        Raises:
            NoSuchGroup: If the cluster has no such group.
            TrackerRefused: If the tracker refuses for another reason.
            WireFault: If no tracker could be asked.
        """
        known = self.known_size(group)
        if known is not None:
            return known
        body = await self.locate(protocol.list_group(group), group)
        try:
            size = sum(one.storage_count for one in parse_groups(body))
        except protocol.FrameError:
            size = 2  # figures of an unknown age: there may be others, and asking for them tells
        self._sizes[group] = (size, monotonic() + GROUP_MEMORY_S)
        return size

    def remember(
        self, file: FileId, address: protocol.StorageAddress, *, source: bool = False
    ) -> None:
        """A file is at a storage server, as was seen.

        Args:
            file: The file.
            address: The server.
            source: Whether it is the one that takes the file's changes.
        """
        ttl = self._config.location_ttl_s
        if ttl:
            locations = self._locations
            locations[file.group, file.name] = (address, source, monotonic() + ttl)
            if len(locations) > MAX_LOCATIONS:
                locations.popitem(last=False)

    def recall(self, file: FileId, *, source: bool = False) -> protocol.StorageAddress | None:
        """Where a file is, if that is remembered; `source` as for `remember`."""
        known = self._locations.get((file.group, file.name))
        if known is None or (source and not known[1]):
            return None
        if known[2] < monotonic():
            self.forget(file)
            return None
        return known[0]

    def forget(self, file: FileId) -> None:
        """A file may be elsewhere."""
        self._locations.pop((file.group, file.name), None)

    async def store_at(self, group: str | None) -> protocol.StorageAddress:
        """Where to upload to, as a tracker says now or said for one of the last few uploads.

        Arguments and errors are those of `where_to_store`.
        """
        known = self._choices.get(group)
        if known is not None:
            address, left, until = known
            if left and monotonic() < until and not self.suspects.known:
                self._choices[group] = address, left - 1, until
                return address
        address = await self.where_to_store(group)
        ttl = self._config.location_ttl_s
        if ttl:
            self._choices[group] = address, UPLOADS_PER_ANSWER - 1, monotonic() + ttl
        return address

    def forget_choice(self, group: str | None) -> None:
        """Uploads may have to go elsewhere; `group` as for `store_at`."""
        self._choices.pop(group, None)

    # Questions to the trackers

    async def where_to_store(self, group: str | None) -> protocol.StorageAddress:
        """Ask where to upload to.

        Args:
            group: The group, or None to let the tracker choose.

        Raises:
            NoSuchGroup: If there is none of that name.
            TrackerRefused: If no storage server takes files.
            WireFault: If no tracker could be asked.
        """
        body = await self.locate(protocol.query_store(group), group)
        return protocol.parse_store_address(body)

    async def where_to_read(self, file: FileId) -> protocol.StorageAddress:
        """Ask where to read a file; what changes an existing file goes to its source instead.

        Replicas lag behind by seconds. The tracker knows which servers have a new file, but not
        which have the last append, so appender files are read where they are changed.

        Raises:
            NoSuchGroup: If the cluster has no such group.
            TrackerRefused: If no storage server of the group is up.
            WireFault: If no tracker could be asked.
        """
        return await self.where_to_look(file, latest=file.appender)

    async def where_to_change(self, file: FileId) -> protocol.StorageAddress:
        """Ask where to change or delete a file, or to read what was changed last.

        Raises:
            NoSuchGroup: If the cluster has no such group.
            TrackerRefused: If no storage server of the group is up.
            WireFault: If no tracker could be asked.
        """
        frame = protocol.query_update(file.group, file.name.encode())
        return protocol.parse_fetch_address(await self.locate(frame, file.group))

    async def where_to_look(self, file: FileId, *, latest: bool) -> protocol.StorageAddress:
        """Ask where to learn of a file.

        Args:
            file: The file.
            latest: Ask for the server that has the last changes, if it is up; else for any.

        Raises:
            NoSuchGroup: If the cluster has no such group.
            TrackerRefused: If no storage server of the group is up.
            WireFault: If no tracker could be asked.
        """
        if latest:
            with contextlib.suppress(TrackerRefused):
                return await self.where_to_change(file)
        frame = protocol.query_fetch(file.group, file.name.encode())
        return protocol.parse_fetch_address(await self.locate(frame, file.group))

    async def locate(self, frame: bytes, group: str | None) -> bytes:
        """Ask a tracker for something of a group.

        Raises:
            NoSuchGroup: If the cluster has no such group.
            TrackerRefused: If the tracker refuses for another reason.
            WireFault: If no tracker could be asked.
        """
        try:
            return await self.ask(frame)
        except TrackerRefused as fault:
            if fault.status == protocol.STATUS_NOT_FOUND and group is not None:
                # The same status for a group that is down: a file in it is not "not found".
                await self._check_group(group)
            raise

    async def _check_group(self, group: str) -> None:
        try:
            await self.ask(protocol.list_group(group))
        except TrackerRefused as fault:
            if fault.status == protocol.STATUS_NOT_FOUND:
                reason = f"the cluster has no group {group!r}"
                raise NoSuchGroup(reason, fault.server, sent=True) from None
            raise

    async def ask(self, frame: bytes) -> bytes:
        """Ask a tracker, and another one if it does not answer.

        Raises:
            TrackerRefused: If it answers with an error status.
            WireFault: If no tracker could be asked.
        """
        tracker = self._trackers[self._preferred]
        if tracker.failed_until:
            return await self._ask_in_turn(frame, self._by_hope())
        try:
            return await self._exchange(tracker, frame, last=len(self._trackers) == 1)
        except (ClientClosed, StatusFault):
            raise
        except WireFault as fault:
            self._note_failure(tracker, fault)
            others = [index for index in self._by_hope() if self._trackers[index] is not tracker]
            if not others:
                raise
            return await self._ask_in_turn(frame, others)

    async def _ask_in_turn(self, frame: bytes, indexes: list[int]) -> bytes:
        last: WireFault | None = None
        for index in indexes:
            tracker = self._trackers[index]
            try:
                body = await self._exchange(tracker, frame, last=index == indexes[-1])
            except (ClientClosed, StatusFault):
                raise
            except WireFault as fault:
                last = fault
                self._note_failure(tracker, fault)
            else:
                self._preferred = index
                tracker.failed_until = 0.0
                return body
        assert last is not None
        raise last

    def _by_hope(self) -> list[int]:
        """All trackers: those that work in their order, then the failed, longest ago first."""
        now = monotonic()
        count = len(self._trackers)
        rotated = [(self._preferred + step) % count for step in range(count)]

        def penalty(index: int) -> float:
            failed_until = self._trackers[index].failed_until
            return failed_until if failed_until > now else 0.0

        return sorted(rotated, key=penalty)

    def _note_failure(self, tracker: _Tracker, fault: WireFault) -> None:
        now = monotonic()
        known, tracker.failed_until = tracker.failed_until > now, now + TRACKER_MEMORY_S
        if len(self._trackers) > 1 and not known:
            _log.warning("tracker %s; asking another one for %g s", fault, TRACKER_MEMORY_S)

    async def _exchange(self, tracker: _Tracker, frame: bytes, *, last: bool) -> bytes:
        pool = tracker.pool if last else tracker.pool.hurried(self.failover_timeout_s)
        try:
            return await exchange(pool, frame)
        except StatusFault as fault:
            raise TrackerRefused(fault.status, fault.server) from None
        except asyncio.CancelledError:
            # It may have been a time limit that ran out on a tracker that hangs.
            self._preferred = (self._preferred + 1) % len(self._trackers)
            raise

    async def aclose(self, timeout_s: float) -> None:
        """Let what is under way finish, then close all connections.

        Args:
            timeout_s: How long that may take, in seconds.
        """
        self._closed = True
        async with anyio.create_task_group() as closing:
            for pool in self._pools.values():
                closing.start_soon(pool.aclose, timeout_s)
        self._watch.close()


async def exchange(pool: Connections, frame: bytes) -> bytes:
    """One request and its answer, both short, on a connection of `pool`.

    Raises:
        StatusFault: If the server answered with a status other than 0.
        WireFault: If the exchange failed.
    """
    connection = pool.take_idle() or await pool.acquire()
    try:
        return await connection.call(frame)
    finally:
        pool.release(connection)
