"""The connections to one server: how many there may be, who gets the next one, when they close.

There is no lock. All state changes happen between awaits, on the event loop's one thread; whoever
has to wait stands in a queue, first come, first served, and what a cancelled waiter was handed
goes to the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import monotonic
from typing import Final, Protocol

from polystow_fastdfs._connection import Connection, connect, server_name
from polystow_fastdfs._faults import ClientClosed, PoolExhausted, WireFault
from polystow_fastdfs._pool_stats import PoolStats
from polystow_fastdfs._protocol import active_test, quit_frame
from polystow_fastdfs._watch import Watch

UNSERVED_IDLE_S: Final = 30.0
"""Idle limit of a connection that never carried a request: the server closes it after 60 s."""

TRUST_S: Final = 1.0
"""For how many seconds after an answer a server is taken for alive."""


class Connections(Protocol):
    """Where an exchange gets its connection: a pool, or a pool for those in a hurry."""

    @property
    def server(self) -> str:
        """`host:port`."""
        ...

    def take_idle(self) -> Connection | None:
        """Take a connection that is ready, if there is one and nobody is ahead in the queue."""
        ...

    async def acquire(self) -> Connection:
        """Take a connection: an idle one, a new one, or the next to be released."""
        ...

    def take_trusted(self) -> Connection | None:
        """As `take_idle`, if the server has answered lately; what `acquire_tested` saves then."""
        ...

    async def acquire_tested(self) -> Connection:
        """Take a connection to a server that has answered lately, or does so now."""
        ...

    def release(self, connection: Connection) -> None:
        """Give a connection back."""
        ...


class Hurried:
    """A pool for a caller that can go elsewhere, and so waits less for this server.

    Args:
        pool: The pool.
        limit_s: Limit of each wait, for a connection as for the server, in seconds.

    Attributes:
        server: `host:port`.
        limit_s: See above.
    """

    __slots__ = ("_pool", "limit_s", "server")

    def __init__(self, pool: Pool, limit_s: float) -> None:
        self._pool = pool
        self.server = pool.server
        self.limit_s = limit_s

    def take_idle(self) -> Connection | None:
        """As `Pool.take_idle`."""
        connection = self._pool.take_idle()
        if connection is not None:
            connection.limit_s = self.limit_s
        return connection

    async def acquire(self) -> Connection:
        """As `Pool.acquire`."""
        connection = await self._pool.acquire(self.limit_s)
        connection.limit_s = self.limit_s
        return connection

    def take_trusted(self) -> Connection | None:
        """As `Pool.take_trusted`."""
        return self._pool.take_trusted()

    async def acquire_tested(self) -> Connection:
        """As `Pool.acquire_tested`."""
        connection = await self._pool.acquire_tested(self.limit_s)
        # The test was what there was to hurry for.
        connection.limit_s = connection.full_limit_s
        return connection

    def release(self, connection: Connection) -> None:
        """As `Pool.release`."""
        self._pool.release(connection)


class Pool:
    """Connections to one server.

    Args:
        host: Name or address of the server.
        port: TCP port.
        max_connections: Upper bound, connections being opened included.
        connect_timeout_s: Limit to open a connection, in seconds.
        network_timeout_s: Limit of each wait for the server, in seconds.
        idle_timeout_s: After how many unused seconds a connection closes.
        wait_timeout_s: Limit to wait for a free connection, in seconds.
        watch: Keeps the time limits; one of its own by default.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_connections: int,
        connect_timeout_s: float,
        network_timeout_s: float,
        idle_timeout_s: float,
        wait_timeout_s: float,
        watch: Watch | None = None,
    ) -> None:
        self.server = server_name(host, port)
        self._host = host
        self._port = port
        self._max = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._network_timeout_s = network_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._wait_timeout_s = wait_timeout_s
        self._loop = asyncio.get_running_loop()
        self._watch = watch or Watch(self._loop)
        self._idle: list[Connection] = []
        self._slots = 0
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self._heard_at = float("-inf")
        self._hurried: Hurried | None = None
        self._opened = self._failed = self._reused = self._waited = 0
        self._exhausted = self._expired = self._lost_idle = self._discarded = 0

    def stats(self) -> PoolStats:
        """The counters of now."""
        return PoolStats(
            server=self.server,
            idle=len(self._idle),
            in_use=self._slots - len(self._idle),
            waiting=len(self._waiters),
            opened=self._opened,
            failed=self._failed,
            reused=self._reused,
            waited=self._waited,
            exhausted=self._exhausted,
            expired=self._expired,
            lost=self._lost_idle,
            discarded=self._discarded,
        )

    def hurried(self, limit_s: float) -> Hurried:
        """The same connections, for a caller that can go elsewhere after so many seconds."""
        hurried = self._hurried
        if hurried is None or hurried.limit_s != limit_s:
            hurried = self._hurried = Hurried(self, limit_s)
        return hurried

    @property
    def idle_connections(self) -> int:
        """How many connections wait for work."""
        return len(self._idle)

    @property
    def used_slots(self) -> int:
        """How many connections are idle, in use or being opened."""
        return self._slots

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._waiters)

    def take_idle(self) -> Connection | None:
        """Take a connection that is ready, if there is one and nobody is ahead in the queue."""
        if self._waiters:
            return None
        while self._idle:
            connection = self._idle.pop()
            if connection.alive():
                self._reused += 1
                return connection
            self._lost_idle += 1
            self._drop(connection)
        return None

    async def acquire(self, limit_s: float | None = None) -> Connection:
        """Take a connection: an idle one, a new one, or the next to be released.

        Every connection taken must come back through `release`.

        Args:
            limit_s: Limit of each wait, in seconds, if it is less than the pool's own.

        Raises:
            ConnectFailed: If a new connection was due and did not come about.
            PoolExhausted: If none became free in time.
            ClientClosed: If the pool is closed.
        """
        if self._closed:
            raise self._closed_fault()
        connection = self.take_idle()
        if connection is not None:
            return connection
        if self._slots < self._max and not self._waiters:
            self._slots += 1
            return await self._connect(limit_s)
        handed_over = await self._queue(limit_s)
        if handed_over is not None:
            if handed_over.alive():
                return handed_over
            # The server closed it on the way; its slot stays ours.
            self._lost_idle += 1
            handed_over.abort()
        return await self._connect(limit_s)

    def take_trusted(self) -> Connection | None:
        """As `take_idle`, if the server has answered lately; what `acquire_tested` saves then."""
        return self.take_idle() if monotonic() - self._heard_at < TRUST_S else None

    async def acquire_tested(self, limit_s: float | None = None) -> Connection:
        """Take a connection to a server that has answered lately, or does so now.

        A process that hangs still has its connections accepted and a whole small upload taken in by
        the kernel, so that nobody knows whether it was stored. One more round trip, if the server
        was silent for a while, tells before anything is sent.

        Args:
            limit_s: As for `acquire`.

        Raises:
            WireFault: As `acquire`, or if the server did not answer; nothing is sent then.
        """
        connection = self.take_idle() or await self.acquire(limit_s)
        if monotonic() - self._heard_at < TRUST_S:
            return connection
        if limit_s is not None:
            connection.limit_s = limit_s
        try:
            await connection.call(active_test())
        except WireFault as fault:
            self.release(connection)
            fault.sent = False
            raise
        except BaseException:
            self.release(connection)
            raise
        self._heard_at = monotonic()
        return connection

    def release(self, connection: Connection) -> None:
        """Give a connection back; one on which anything is still owed is dropped instead."""
        connection.limit_s = connection.full_limit_s
        if self._closed or not connection.reusable:
            self._discarded += not connection.reusable
            self._drop(connection)
            return
        now = monotonic()
        if connection.served:
            self._heard_at = now
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = now
        self._idle.append(connection)
        if self._expiry is None:
            self._schedule_expiry()

    async def aclose(self, timeout_s: float) -> None:
        """Refuse new callers, let those under way finish, and close everything.

        Args:
            timeout_s: How long those under way may take, in seconds; then they are cut off.
        """
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(self._closed_fault())
        for connection in self._idle:
            connection.close(quit_frame())
            self._slots -= 1
        self._idle.clear()
        if not self._open:
            return
        self._drained = self._loop.create_future()
        cut = self._loop.call_later(timeout_s, self._cut_off)
        # A second chance bounds the wait even if a transport never reports its end.
        give_up = self._loop.call_later(timeout_s + 1, self._give_up)
        try:
            await self._drained
        finally:
            cut.cancel()
            give_up.cancel()
            self._cut_off()

    def _cut_off(self) -> None:
        for connection in tuple(self._open):
            connection.abort()

    def _give_up(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _closed_fault(self) -> ClientClosed:
        return ClientClosed("the driver is closed", self.server, sent=False)

    async def _connect(self, limit_s: float | None) -> Connection:
        limit = (
            self._connect_timeout_s if limit_s is None else min(limit_s, self._connect_timeout_s)
        )
        try:
            connection = await connect(
                self._host,
                self._port,
                self._watch,
                connect_timeout_s=limit,
                network_timeout_s=self._network_timeout_s,
            )
        except BaseException:
            self._failed += 1
            self._free_slot()
            raise
        self._opened += 1
        self._open.add(connection)
        connection.on_lost(partial(self._lost, connection))
        if self._closed:
            self._drop(connection)
            raise self._closed_fault()
        return connection

    async def _queue(self, limit_s: float | None) -> Connection | None:
        """Wait for a connection, or for the right to open one (None)."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        self._waited += 1
        limit = self._wait_timeout_s if limit_s is None else min(limit_s, self._wait_timeout_s)
        timer = self._loop.call_later(limit, self._expire, waiter, limit)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was this waiter's turn and its task was cancelled in the same moment.
                given = waiter.result()
                if given is None:
                    self._free_slot()
                else:
                    self.release(given)
            else:
                self._forget(waiter)
            raise
        finally:
            timer.cancel()

    def _expire(self, waiter: asyncio.Future[Connection | None], limit_s: float) -> None:
        if not waiter.done():
            self._forget(waiter)
            self._exhausted += 1
            reason = (
                f"all {self._max} connections stayed in use for {limit_s:g} s;"
                " raise max_connections_per_server, or run fewer transfers at once"
            )
            waiter.set_exception(PoolExhausted(reason, self.server, sent=False))

    def _forget(self, waiter: asyncio.Future[Connection | None]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _free_slot(self) -> None:
        """A slot became free: it goes to the next waiter, who opens a connection in it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._slots -= 1

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._free_slot()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._lost_idle += 1
            self._free_slot()
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and not self._open:
            self._drained.set_result(None)

    # Idle connections close from the oldest on, by one timer while there are any

    def _schedule_expiry(self) -> None:
        if self._idle and not self._closed:
            oldest = min(map(self._expires_at, self._idle))
            self._expiry = self._loop.call_later(oldest - monotonic(), self._close_expired)

    def _expires_at(self, connection: Connection) -> float:
        limit = self._idle_timeout_s
        if not connection.served:
            limit = min(limit, UNSERVED_IDLE_S)
        return connection.idle_since + limit

    def _close_expired(self) -> None:
        self._expiry = None
        now = monotonic()
        expired = [c for c in self._idle if self._expires_at(c) <= now]
        for connection in expired:
            self._idle.remove(connection)
            self._expired += 1
            connection.close(quit_frame())
            self._free_slot()
        self._schedule_expiry()
