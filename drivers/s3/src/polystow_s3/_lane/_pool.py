"""The fast lane's connections: so many at most, waited for in order and not for ever."""

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Awaitable
from time import monotonic
from typing import Any, NamedTuple

from polystow import Outbox
from polystow_s3._lane._answer import Answer
from polystow_s3._lane._connection import Body, Connection, Origin
from polystow_s3._lane._faults import broken

_SCRATCH_BYTES = 1_048_576
_IDLE_S = 12.0
"""How long an unused connection is kept, as aiobotocore does: services close theirs after 15 s."""

_TRUSTED_S = 0.25
_STAGGER_S = 0.25
_FIRST_LOOK_S, _LAST_LOOK_S = 0.01, 1.0
_CLOSE_S = 1.0


class Limits(NamedTuple):
    """What a pool may take.

    Attributes:
        connections: How many connections there are at most.
        connect_s: How long a connection, TLS included, may take to come about, in seconds.
        read_s: How long the service may be silent, in seconds.
        wait_s: How long a request waits for a free connection, in seconds.
    """

    connections: int
    connect_s: float
    read_s: float
    wait_s: float


class _Waiter(NamedTuple):
    turn: "asyncio.Future[Connection | None]"
    deadline: float
    origin: Origin


class Pool:
    """Sends requests over a bounded number of kept connections, on one event loop.

    Args:
        limits: See there.
        tls: How to speak TLS; None for not at all.
    """

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.read_timeout_s = limits.read_s
        self._limits = limits
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._loop)
        self._idle: dict[Origin, list[Connection]] = {}
        self._idle_count = 0
        self._busy: set[Connection] = set()
        self._open: set[Connection] = set()  # that have a socket
        self._count = 0  # that are used, idle or being made
        self._waiters: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._look_s = min(_LAST_LOOK_S, max(_FIRST_LOOK_S, min(limits.read_s, limits.wait_s) / 10))
        self._all_gone: asyncio.Event | None = None
        self._closed = False

    def send(
        self,
        origin: Origin,
        method: str,
        head: bytes,
        body: Body,
    ) -> Awaitable[Answer]:
        """Send a request once, and receive its answer; see `Connection.exchange`.

        It is awaited at once: the connection is taken already.

        Raises:
            LaneError: No connection came about, or no answer.
        """
        connection = self._take(origin)
        if connection is not None:
            return connection.exchange(method, head, body)
        return self._send_later(origin, method, head, body)

    async def _send_later(self, origin: Origin, method: str, head: bytes, body: Body) -> Answer:
        connection = await self._wait_or_connect(origin)
        return await connection.exchange(method, head, body)

    # Connections

    def _take(self, origin: Origin) -> Connection | None:
        if self._waiters:
            return None
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            self._busy.add(connection)
            if self._is_fresh(connection):
                return connection
            connection.abort()
        return None

    def _is_fresh(self, connection: Connection) -> bool:
        # The loop may not have seen yet that the service has closed it.
        if monotonic() - connection.idle_since < _TRUSTED_S:
            return True
        descriptor = connection.descriptor
        if descriptor < 0:
            return False
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLHUP)
        return not poller.poll(0)

    async def _wait_or_connect(self, origin: Origin) -> Connection:
        if self._closed:
            raise broken("connect", "the client is closed")
        if not self._waiters:
            if self._count < self._limits.connections:
                self._count += 1
                return await self._connect(origin)
            if self._idle_count:  # of another origin
                self._evict()
                self._count += 1
                return await self._connect(origin)
        connection = await self._turn(origin)
        return await self._connect(origin) if connection is None else connection

    def _evict(self) -> None:
        next(idle[0] for idle in self._idle.values() if idle).abort()

    async def _turn(self, origin: Origin) -> Connection | None:
        # A connection, or the permission to make one.
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(_Waiter(turn, monotonic() + self._limits.wait_s, origin))
        self._watch()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # It was given a turn that it can't take any more.
                connection = turn.result()
                if connection is None:
                    self._permit()
                else:
                    self.released(connection)
            raise

    async def _connect(self, origin: Origin) -> Connection:
        limit = self._limits.connect_s
        connection = Connection(self, origin, self._loop)
        try:
            async with asyncio.timeout(limit):
                await self._loop.create_connection(
                    lambda: connection,
                    origin.host,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                    **self._stagger(origin.host),
                )
        except BaseException as error:
            connection.abort()
            self._permit()
            if isinstance(error, TimeoutError):
                raise broken("connect_timeout", f"after {limit:g} s") from error
            if isinstance(error, ssl.SSLError):
                raise broken("tls", f"{type(error).__name__}: {error}") from error
            if isinstance(error, OSError):
                raise broken("connect", f"{type(error).__name__}: {error}") from error
            raise
        if self._closed or connection.is_closed:
            connection.abort()
            self._permit()
            raise broken("connect", "it was closed at once")
        self._open.add(connection)
        self._busy.add(connection)
        self._watch()
        return connection

    def _stagger(self, host: str) -> dict[str, Any]:
        # A name may have several addresses (RFC 8305); other loops, such as uvloop, know no more
        # than to try one after the other.
        if _is_address(host) or not isinstance(self._loop, asyncio.BaseEventLoop):
            return {}
        return {"happy_eyeballs_delay": _STAGGER_S}

    def _permit(self) -> None:
        # A place has become free: for who waits first.
        self._count -= 1
        while self._waiters:
            turn = self._waiters.popleft().turn
            if not turn.done():
                self._count += 1
                turn.set_result(None)
                return

    # What connections tell

    def post(self, transport: asyncio.Transport, request: bytes) -> None:
        """See `Owner`."""
        self._outbox.post(transport, request, len(self._busy) - 1)

    def released(self, connection: Connection) -> None:
        """See `Owner`."""
        while self._waiters:
            if self._waiters[0].turn.done():
                self._waiters.popleft()
            elif self._waiters[0].origin != connection.origin:
                connection.abort()  # its place goes to who waits first
                return
            else:
                self._waiters.popleft().turn.set_result(connection)
                return
        self._busy.discard(connection)
        if self._closed:
            connection.abort()
            return
        connection.idle_since = monotonic()
        self._idle.setdefault(connection.origin, []).append(connection)
        self._idle_count += 1

    def discarded(self, connection: Connection) -> None:
        """See `Owner`."""
        if connection in self._busy:
            self._busy.discard(connection)
        elif connection in (idle := self._idle.get(connection.origin, [])):
            idle.remove(connection)
            self._idle_count -= 1
        else:
            return  # lost before it was used: who makes it sees that
        self._permit()

    def lost(self, connection: Connection) -> None:
        """See `Owner`."""
        self._open.discard(connection)
        if self._all_gone is not None and not self._open:
            self._all_gone.set()

    # Time

    def _watch(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        for connection in tuple(self._busy):
            connection.look(now)
        while self._waiters and (self._waiters[0].turn.done() or now >= self._waiters[0].deadline):
            turn = self._waiters.popleft().turn
            if not turn.done():
                turn.set_exception(broken("busy", f"{self._limits.wait_s:g} s"))
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since > _IDLE_S:
                idle[0].abort()
        if self._open or self._waiters:
            self._watch()

    async def aclose(self) -> None:
        """Close all connections, at once, and wait until their sockets are closed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiter in self._waiters:
            if not waiter.turn.done():
                waiter.turn.set_exception(broken("connect", "the client is closed"))
        self._waiters.clear()
        self._all_gone = asyncio.Event()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._all_gone.wait()
            except TimeoutError:
                return


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()
