"""One TCP connection to a tracker or a storage server, which carries one exchange at a time.

The rule that everything here serves: a connection is `reusable` only while nothing is owed on it
in either direction. An exchange that is cancelled, times out or goes wrong anywhere leaves the
connection in another state, so no caller can put half an answer back into a pool by forgetting.

It is an `asyncio.Protocol` and not a pair of streams because the hot path then is one write and
one wake-up: the answer is put together where it arrives, and one timer guards the waits of all
connections (`asyncio.timeout` around each read costs more than the read). The rest of
a long body is not pushed through the protocol but pulled from the socket, see `_bulk`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable
from functools import partial
from io import BufferedIOBase
from typing import Final, cast

import anyio

from polystow import Saved, WriteAt
from polystow_fastdfs import _bulk
from polystow_fastdfs._answer import Answer, State
from polystow_fastdfs._bulk import Bulk, BulkReader, BulkWriter, SocketBroke
from polystow_fastdfs._faults import (
    ConnectFailed,
    ConnectionLost,
    MalformedAnswer,
    StatusFault,
    WireFault,
    WireTimeout,
)
from polystow_fastdfs._protocol import FrameError
from polystow_fastdfs._watch import Watch

READ_SIZE_BYTES: Final = 64 * 1024
"""How much of an answer to a request that broke off is read at once."""

WRITE_AHEAD_BYTES: Final = 256 * 1024
"""Bytes of an upload that may wait for the socket before the writer does."""

_CLOSED: Final = "the server closed the connection"


def server_name(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection(asyncio.Protocol):
    """A connection; made by `connect`, kept by a pool."""

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
        self._watch = watch
        self.served = False
        self.idle_since = 0.0
        self._loop = loop
        # Of each wait for the server; who is in a hurry lowers it, at most until the release.
        self.limit_s = self.full_limit_s = network_timeout_s
        self._transport: asyncio.Transport | None = None
        self._on_lost: Callable[[Connection], None] | None = None
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
        return self._answer.state is State.IDLE and self._error is None

    def alive(self) -> bool:
        """Whether an idle connection can be used, asked of the kernel without waiting.

        The event loop reports a close one iteration late; a request that goes out in that gap is
        lost, and an upload could not be repeated. One system call closes the gap.
        """
        return self.reusable and (self._poll is None or not self._poll.poll(0))

    def on_lost(self, callback: Callable[[Connection], None]) -> None:
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

    # Exchanges

    async def call(self, frame: bytes) -> bytes:
        """Send a request, and receive its whole answer.

        Args:
            frame: One complete request.

        Returns:
            The answer's body.

        Raises:
            StatusFault: If the server answered with a status other than 0.
            WireFault: If the exchange failed; the connection is then dropped.
        """
        self.begin(frame)
        return await self.answer()

    def begin(self, frame: bytes) -> None:
        """Start an exchange: write a request, or the first part of one.

        Raises:
            ConnectionLost: If the connection is closed; nothing was sent then.
        """
        self._start(frame, stream=False)

    async def send(self, data: bytes | memoryview) -> None:
        """Write a further part of the request, and wait while the server doesn't take it.

        Args:
            data: Must not change afterwards: what the socket doesn't take at once is kept.

        Raises:
            StatusFault: If the server refused before it had the whole request.
            WireFault: If the connection broke, or took no byte for the network timeout.
        """
        self.send_last(data)
        if not self._writing_paused:
            # The socket takes what it can at once, so a large body in memory would otherwise be
            # sent without the event loop ever running: neither others nor a loss would be seen.
            await asyncio.sleep(0)
        else:
            await self._drained()
        self._check_sending()

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

    async def send_file(self, file: BufferedIOBase, size: int, crc32: int) -> BulkWriter:
        """Send further parts of the request from a file, past the event loop, except the last one.

        Args:
            file: The file, read from where it stands.
            size: How many bytes are to come.
            crc32: Of what was sent of the body before.

        Returns:
            What was read of the file, and the last piece of it.

        Raises:
            StatusFault: If the server refused before it had the whole request.
            WireFault: If the connection broke, or took no byte for the network timeout.
        """
        self._check_sending()
        transport = self._transport
        assert transport is not None
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)
            await self._drained()
            transport.set_write_buffer_limits(high=WRITE_AHEAD_BYTES)
            self._check_sending()
        self._bulk = writer = BulkWriter(self._loop, transport, file, size, crc32)
        try:
            while writer.last is None and not writer.ended:
                if not await self._in_thread(writer.send):
                    self._check_sending()
                    writer.watch(self._wake)
                    await self._drained()
                self._check_sending()
        finally:
            self._bulk = None
            writer.close()
        return writer

    async def _in_thread[T](self, function: Callable[[], T]) -> T:
        assert self._bulk is not None
        try:
            return await self._bulk.in_thread(function)
        except SocketBroke as broke:
            if self._answer.state is State.MESSAGE:
                self._read_leftovers()
                self._check_sending()
            raise self._fail(ConnectionLost(str(broke), self.server, sent=True)) from broke
        except BaseException:
            self.abort()
            raise

    def send_last(self, data: bytes | memoryview) -> None:
        """Write the last part of the request, without waiting.

        Once it is written the server may have all of it. Only `answer` may wait after that, since
        it knows what to do when it is cancelled.

        Args:
            data: As for `send`.

        Raises:
            StatusFault: If the server refused before it had the whole request.
            WireFault: If the connection broke; the server has not got all then.
        """
        self._check_sending()
        assert self._transport is not None
        self._transport.write(data)
        if self._transport.is_closing():
            self._read_leftovers()
            self._check_sending()

    def _check_sending(self) -> None:
        if self._answer.status >= 0:
            raise self._interrupted()
        if self._error is not None:
            raise self._error
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost("the connection broke", self.server, sent=self._sent)

    async def answer(self, *, keep: bool = False, limit_s: float | None = None) -> bytes:
        """Wait for the whole answer to a request that was sent completely.

        Args:
            keep: Leave the exchange open when this wait is cancelled or times out, so that
                `answer` can be called once more; the connection is still not `reusable` until it
                was.
            limit_s: How long to wait, where the server needs more than the network timeout.

        Returns:
            The answer's body.

        Raises:
            StatusFault: If the server answered with a status other than 0.
            WireFault: If there is no proper answer; the connection is then dropped.
        """
        answer = self._answer
        patience_s = self.limit_s if keep and limit_s is None else limit_s
        if answer.state is not State.DONE and not await self._wait(
            keep=keep, patience_s=patience_s
        ):
            fault = self._timeout(patience_s or self.limit_s)
            raise fault if keep else self._fail(fault)
        body = answer.take_message()
        self.served = True
        if answer.status:
            raise self._refused()
        return body

    async def open_stream(self, frame: bytes, patience_s: float | None = None) -> int | None:
        """Send a request whose answer's body is read with `receive`.

        Args:
            frame: One complete request.
            patience_s: Give up waiting after so many seconds, with the exchange left open.

        Returns:
            Length of the body in bytes; None if patience ended, and `head` may wait on.

        Raises:
            StatusFault: If the server answered with a status other than 0.
            WireFault: If the exchange failed; the connection is then dropped.
        """
        self._start(frame, stream=True)
        return await self.head(patience_s)

    async def head(self, patience_s: float | None = None) -> int | None:
        """Wait on for the answer that `open_stream` has begun; the same result and errors."""
        answer = self._answer
        if answer.status < 0 and not await self._wait(patience_s=patience_s):
            return None
        self.served = True
        if answer.status:
            raise self._refused()
        return answer.left

    async def receive(self, max_bytes: int, patience_s: float | None = None) -> bytes:
        """Take the next bytes of the body that `open_stream` announced.

        Args:
            max_bytes: Upper bound of what is returned.
            patience_s: Give up waiting after so many seconds, with the exchange left open.

        Returns:
            At least one byte, never more than the body has left; none if patience ended.

        Raises:
            WireFault: If the connection broke, or brought no byte for the network timeout.
        """
        answer = self._answer
        if not answer.buffered:
            if self._reading_paused and _bulk.CAN_PULL:
                return await self._receive_bulk(max_bytes, patience_s)
            self._resume_reading()
            if not await self._wait(patience_s=patience_s):
                return b""
        return answer.take_chunk(max_bytes)

    async def _receive_bulk(self, max_bytes: int, patience_s: float | None) -> bytes:
        answer, bulk = self._answer, self._bulk_reader()
        wanted = bulk.expect(min(max_bytes, answer.left))
        data: bytes | None = None
        while data is None:
            if not await self._wait(patience_s=bulk.SETTLE_S):
                # Enough for one large read does not come at once, so take what comes.
                bulk.expect(1)
                if not await self._wait(patience_s=patience_s):
                    return b""
            try:
                data = bulk.take(wanted)
            except OSError as error:
                fault = ConnectionLost(f"the connection broke: {error}", self.server, sent=True)
                raise self._fail(fault) from error
        if not data:
            raise self._fail(ConnectionLost(_CLOSED, self.server, sent=True))
        self._passed(bulk, len(data))
        return data

    @property
    def saves(self) -> bool:
        """Whether the next bytes of the body can be had by `save`."""
        return self._reading_paused and not self._answer.buffered and _bulk.CAN_PULL

    async def save(
        self, write: WriteAt, offset: int, max_bytes: int, crc32: int, patience_s: float | None
    ) -> Saved | None:
        """Receive the next bytes of a body into a file, past the event loop, if it `saves`.

        Args:
            write: As for `ReadStream.save`, as are the next three.
            offset: See there.
            max_bytes: See there.
            crc32: See there.
            patience_s: Give up waiting after so many seconds, with the exchange left open.

        Returns:
            What came; None if patience ended.

        Raises:
            WireFault: If the connection broke, or brought no byte for the network timeout.
            Exception: What `write` raises; the connection is dropped.
        """
        bulk = self._bulk_reader()
        max_bytes = min(max_bytes, self._answer.left)
        while True:
            saved = await self._in_thread(partial(bulk.save, write, offset, max_bytes, crc32))
            if self._error is not None:
                raise self._error
            if saved.size:
                self._passed(bulk, saved.size)
                return saved
            bulk.expect(1)
            if not await self._wait(patience_s=patience_s):
                return None

    def _bulk_reader(self) -> BulkReader:
        if self._error is not None:
            raise self._error
        if self._bulk is None:
            assert self._transport is not None
            self._bulk = BulkReader(self._loop, self._transport, self._wake)
        assert isinstance(self._bulk, BulkReader)
        return self._bulk

    def _passed(self, bulk: BulkReader, count: int) -> None:
        self._answer.passed(count)
        if not self._answer.left:
            self._bulk = None
            bulk.close()
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if self._error is None and self._transport is not None:
                self._transport.resume_reading()

    def _start(self, frame: bytes, *, stream: bool) -> None:
        transport = self._transport
        if self._error is not None or transport is None or transport.is_closing():
            raise ConnectionLost("the server closed an idle connection", self.server, sent=False)
        assert self._answer.state is State.IDLE, "a second exchange on a busy connection"
        self._answer.expect(stream=stream)
        self._sent = True
        transport.write(frame)

    def _refused(self) -> StatusFault:
        if self._answer.state is not State.IDLE:
            self.abort()
        return StatusFault(self._answer.status, self.server)

    def _interrupted(self) -> WireFault:
        # The server reads on as if what follows were a new request, so the connection is lost.
        self.abort()
        if self._answer.status:
            return StatusFault(self._answer.status, self.server)
        return MalformedAnswer("success before it had the whole request", self.server, sent=True)

    async def _wait(self, *, keep: bool = False, patience_s: float | None = None) -> bool:
        """Wait for the server; False if patience, not the network timeout, ended it."""
        if self._error is not None:
            raise self._error
        self._waiter = waiter = self._loop.create_future()
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

    def data_received(self, data: bytes) -> None:
        """Take in received bytes (called by asyncio)."""
        answer = self._answer
        try:
            news = answer.feed(data)
        except FrameError as error:
            reason = f"the server sent {error}"
            self._fail(MalformedAnswer(reason, self.server, sent=self._sent))
            return
        if answer.state is State.STREAM and not self._reading_paused:
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
        self._fail(ConnectionLost(_CLOSED, self.server, sent=self._sent))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait, and the pool (called by asyncio)."""
        if exc is not None and self._answer.state is State.MESSAGE:
            self._read_leftovers()
        reason = f"the connection broke: {exc}" if exc else _CLOSED
        self._fail(ConnectionLost(reason, self.server, sent=self._sent))
        self._poll = None
        if self._on_lost is not None:
            self._on_lost(self)

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


async def connect(
    host: str, port: int, watch: Watch, *, connect_timeout_s: float, network_timeout_s: float
) -> Connection:
    """Open a connection.

    Args:
        host: Name or address.
        port: TCP port.
        watch: Keeps its time limits.
        connect_timeout_s: Limit of the whole attempt, name resolution included, in seconds.
        network_timeout_s: Limit of each later wait for the server, in seconds.

    Raises:
        ConnectFailed: If there is no connection within the limit.
    """
    loop = asyncio.get_running_loop()
    server = server_name(host, port)
    connection: Connection | None = None
    try:
        with anyio.move_on_after(connect_timeout_s):
            _, connection = await loop.create_connection(
                lambda: Connection(loop, watch, server, network_timeout_s), host, port
            )
    except OSError as error:
        raise ConnectFailed(f"cannot connect: {error}", server, sent=False) from error
    if connection is None:
        reason = f"no connection within {connect_timeout_s:g} s"
        raise ConnectFailed(reason, server, sent=False)
    return connection
