"""One TCP connection as the event loop has it: what arrives, what is lost, how long is waited.

The rule that everything here serves: a connection is `reusable` only while nothing is owed on it
in either direction. A wait that is cancelled, times out or goes wrong anywhere leaves the
connection in another state, so no caller can put half an answer back into a pool by forgetting.

It is a protocol of asyncio and not a pair of streams because the hot path then is one write and
one wake-up: the answer is put together where it arrives, and one timer guards the waits of all
connections (`asyncio.timeout` around each read costs more than the read). All connections of an
event loop read into one buffer: for a `Protocol`, asyncio allocates 256 KiB for every packet, which
can cost as much as sending the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable
from typing import Final, cast

from polystow_fastdfs import _bulk
from polystow_fastdfs._answer import Answer, State
from polystow_fastdfs._bulk import Bulk
from polystow_fastdfs._faults import ConnectionLost, MalformedAnswer, WireFault, WireTimeout
from polystow_fastdfs._protocol import FrameError
from polystow_fastdfs._watch import Watch

READ_SIZE_BYTES: Final = 64 * 1024
"""How much of an answer to a request that broke off is read at once."""

WRITE_AHEAD_BYTES: Final = 256 * 1024
"""Bytes of an upload that may wait for the socket before the writer does."""

CLOSED: Final = "the server closed the connection"

# As in `_answer`.
_IDLE, _STREAM = State.IDLE, State.STREAM


class Wire(asyncio.BufferedProtocol):
    """A connection, without what is said on it.

    Args:
        loop: The event loop.
        watch: Keeps its time limits, and the buffer to read into.
        server: `host:port`.
        network_timeout_s: Limit of each wait for the server, in seconds.

    Attributes:
        server: `host:port`.
        deadline: When the wait of now is over; for the watch.
        limit_s: Of each wait for the server. Who is in a hurry lowers it, at most until the
            release.
        full_limit_s: What it is then again.
        served: Whether the server has answered a request on it.
        idle_since: When it was released last; for the pool.
    """

    __slots__ = (
        "_answer",
        "_bulk",
        "_drain",
        "_error",
        "_loop",
        "_on_lost",
        "_patient",
        "_poll",
        "_reading_paused",
        "_sent",
        "_transport",
        "_waiter",
        "_watch",
        "_writing_paused",
        "deadline",
        "full_limit_s",
        "idle_since",
        "limit_s",
        "served",
        "server",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watch: Watch,
        server: str,
        network_timeout_s: float,
    ) -> None:
        self.server = server
        self.deadline = 0.0
        self.limit_s = self.full_limit_s = network_timeout_s
        self.served = False
        self.idle_since = 0.0
        self._loop = loop
        self._watch = watch
        self._transport: asyncio.Transport | None = None
        self._on_lost: Callable[[], None] | None = None
        self._poll: select.poll | None = None
        self._answer = Answer()
        self._bulk: Bulk | None = None
        self._error: WireFault | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._patient = True
        self._sent = False
        self._reading_paused = False
        self._writing_paused = False

    # State, as the pool sees it

    @property
    def reusable(self) -> bool:
        """Whether nothing is owed on the connection and the server has not closed it."""
        return self._answer.state is _IDLE and self._error is None

    def alive(self) -> bool:
        """Whether an idle connection can be used, asked of the kernel without waiting.

        The event loop reports a close one iteration late; a request that goes out in that gap is
        lost, and an upload could not be repeated. One system call closes the gap.
        """
        if self._answer.state is not _IDLE or self._error is not None:
            return False
        return self._poll is None or not self._poll.poll(0)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, when the connection is gone."""
        self._on_lost = callback

    def abort(self) -> None:
        """Drop the connection at once; whatever waits on it fails."""
        self._fail(ConnectionLost("the connection was dropped", self.server, sent=self._sent))

    def close(self, farewell: bytes) -> None:
        """Close an idle connection, after a last frame that has no answer."""
        if self._transport is not None and self.reusable:
            self._error = ConnectionLost("the connection is closed", self.server, sent=False)
            self._transport.write(farewell)
            self._transport.close()

    # Waits

    async def _wait(self, *, keep: bool = False, patience_s: float | None = None) -> bool:
        """Wait for the server; False if patience, not the network timeout, ended it."""
        if self._error is not None:
            raise self._error
        waiter: asyncio.Future[bool] = asyncio.Future(loop=self._loop)
        self._waiter = waiter
        self._patient = patience_s is None
        self._watch.begin(self, self.limit_s if patience_s is None else patience_s)
        try:
            in_time: bool = await waiter
        except BaseException as reason:
            # Timeout, loss and cancellation alike: the rest of the answer is still to come.
            if not (keep and isinstance(reason, asyncio.CancelledError)):
                self.abort()
            raise
        finally:
            self._waiter = None
            self._watch.end(self)
        return in_time

    def overdue(self) -> None:
        """Give up a wait whose time is over (called by the watch)."""
        if self._patient:
            self._fail(self._timeout(self.limit_s))
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    def _timeout(self, limit_s: float) -> WireTimeout:
        return WireTimeout(f"no progress for {limit_s:g} s", self.server, sent=self._sent)

    async def _drained(self) -> None:
        self._drain = self._loop.create_future()
        self._patient = True
        self._watch.begin(self, self.limit_s)
        try:
            await self._drain
        except BaseException:
            self.abort()
            raise
        finally:
            self._drain = None
            self._watch.end(self)

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._error is None and self._transport is not None:
                self._transport.resume_reading()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_AHEAD_BYTES)
        socket = transport.get_extra_info("socket")
        # Windows has no poll; its event loop reads ahead and so sees a close by itself.
        if socket is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(socket.fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio has no idea of it
        """Where to put what arrives (called by asyncio)."""
        return self._watch.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what arrived (called by asyncio)."""
        answer = self._answer
        try:
            news = answer.feed(self._watch.buffer[:nbytes])
        except FrameError as error:
            reason = f"the server sent {error}"
            self._fail(MalformedAnswer(reason, self.server, sent=self._sent))
            return
        if answer.state is _STREAM and not self._reading_paused:
            ahead = answer.left - answer.buffered if _bulk.CAN_PULL else answer.buffered
            if ahead >= _bulk.MIN_BULK_BYTES and self._transport is not None:
                self._reading_paused = True
                self._transport.pause_reading()
        if news:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    def pause_writing(self) -> None:
        """Note that the socket doesn't keep up (called by asyncio)."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Let the writer go on (called by asyncio)."""
        self._writing_paused = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    def eof_received(self) -> None:
        """Note that the server will send no more (called by asyncio)."""
        self._fail(ConnectionLost(CLOSED, self.server, sent=self._sent))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait, and the pool (called by asyncio)."""
        if exc is not None and self._answer.state is State.MESSAGE:
            self._read_leftovers()
        reason = f"the connection broke: {exc}" if exc else CLOSED
        self._fail(ConnectionLost(reason, self.server, sent=self._sent))
        self._poll = None
        if self._on_lost is not None:
            self._on_lost()

    def _read_leftovers(self) -> None:
        """Take what came before writing failed, and the event loop did not get to read.

        A server that refuses a large body answers, and resets the connection under the rest of it
        (protocol reference, "Quirks"); the answer says why.
        """
        assert self._transport is not None
        socket = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError, FrameError):
            while data := os.read(socket.fileno(), READ_SIZE_BYTES):
                if self._answer.feed(data):
                    break
        if self._answer.status >= 0:
            self._wake()

    def _fail(self, fault: WireFault) -> WireFault:
        if self._error is None:
            self._error = fault
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None
        for future in (self._waiter, self._drain):
            if future is not None and not future.done():
                future.set_exception(self._error)
        if self._transport is not None:
            self._transport.abort()
        return self._error
