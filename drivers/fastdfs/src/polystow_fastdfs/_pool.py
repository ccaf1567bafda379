"""The connections to one server: how many there may be, who gets the next one, when they close.

There is no lock. All state changes happen between awaits, on the event loop's one thread; whoever
has to wait stands in a queue, first come, first served, and what a cancelled waiter was handed
goes to the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from polystow_fastdfs._connection import Connection, connect, server_name
from polystow_fastdfs._faults import ClientClosed, PoolExhausted
from polystow_fastdfs._protocol import quit_frame

UNSERVED_IDLE_S: Final = 30.0
"""Idle limit of a connection that never carried a request: the server closes it after 60 s."""


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
        self._idle: list[Connection] = []
        self._slots = 0
        self._open: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False
        self._drained: asyncio.Future[None] | None = None

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
                return connection
            self._drop(connection)
        return None

    async def acquire(self) -> Connection:
        """Take a connection: an idle one, a new one, or the next to be released.

        Every connection taken must come back through `release`.

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
            return await self._connect()
        handed_over = await self._queue()
        if handed_over is not None:
            if handed_over.alive():
                return handed_over
            # The server closed it on the way; its slot stays ours.
            handed_over.abort()
        return await self._connect()

    def release(self, connection: Connection) -> None:
        """Give a connection back; one on which anything is still owed is dropped instead."""
        if self._closed or not connection.reusable:
            self._drop(connection)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = self._loop.time()
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

    async def _connect(self) -> Connection:
        try:
            connection = await connect(
                self._host,
                self._port,
                connect_timeout_s=self._connect_timeout_s,
                network_timeout_s=self._network_timeout_s,
            )
        except BaseException:
            self._free_slot()
            raise
        self._open.add(connection)
        connection.on_lost(self._lost)
        if self._closed:
            self._drop(connection)
            raise self._closed_fault()
        return connection

    async def _queue(self) -> Connection | None:
        """Wait for a connection, or for the right to open one (None)."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        timer = self._loop.call_later(self._wait_timeout_s, self._expire, waiter)
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

    def _expire(self, waiter: asyncio.Future[Connection | None]) -> None:
        if not waiter.done():
            self._forget(waiter)
            reason = (
                f"all {self._max} connections stayed in use for {self._wait_timeout_s:g} s;"
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
            self._free_slot()
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and not self._open:
            self._drained.set_result(None)

    # Idle connections close from the oldest on, by one timer while there are any

    def _schedule_expiry(self) -> None:
        if self._idle and not self._closed:
            oldest = min(map(self._expires_at, self._idle))
            self._expiry = self._loop.call_at(oldest, self._close_expired)

    def _expires_at(self, connection: Connection) -> float:
        limit = self._idle_timeout_s
        if not connection.served:
            limit = min(limit, UNSERVED_IDLE_S)
        return connection.idle_since + limit

    def _close_expired(self) -> None:
        self._expiry = None
        now = self._loop.time()
        expired = [c for c in self._idle if self._expires_at(c) <= now]
        for connection in expired:
            self._idle.remove(connection)
            connection.close(quit_frame())
            self._free_slot()
        self._schedule_expiry()
