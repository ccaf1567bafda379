"""What is said on a connection to a tracker or a storage server: one exchange at a time.

Short answers are taken whole, contents of files as they come. The rest of a long body is not
pushed through the event loop but pulled from the socket, see `_bulk`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from io import BufferedIOBase

import anyio

from polystow import Saved, WriteAt
from polystow_fastdfs import _bulk
from polystow_fastdfs._answer import State
from polystow_fastdfs._bulk import BulkReader, BulkWriter, SocketBroke
from polystow_fastdfs._faults import (
    ConnectFailed,
    ConnectionLost,
    MalformedAnswer,
    StatusFault,
    WireFault,
)
from polystow_fastdfs._watch import Watch
from polystow_fastdfs._wire import CLOSED, WRITE_AHEAD_BYTES, Wire


def server_name(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection(Wire):
    """A connection; made by `connect`, kept by a pool."""

    __slots__ = ()

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
        self._start(frame, stream=False)
        await self._wait()
        return self._take_message()

    def begin(self, frame: bytes, *, more: bool = False) -> None:
        """Start an exchange: write a request, or the first part of one.

        Args:
            frame: What to write.
            more: Whether `send`, `send_file` or `send_last` follows.

        Raises:
            ConnectionLost: If the connection is closed; nothing was sent then.
        """
        self._start(frame, stream=False, more=more)

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
        return self._take_message()

    def _take_message(self) -> bytes:
        answer = self._answer
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
        if not await self._wait(patience_s=patience_s):
            return None
        return self._take_head()

    async def head(self, patience_s: float | None = None) -> int | None:
        """Wait on for the answer that `open_stream` has begun; the same result and errors."""
        if self._answer.status < 0 and not await self._wait(patience_s=patience_s):
            return None
        return self._take_head()

    def _take_head(self) -> int:
        answer = self._answer
        self.served = True
        if answer.status:
            raise self._refused()
        return answer.left

    def take(self, max_bytes: int) -> bytes:
        """What has come of the body already, if anything has; as `receive`, without waiting."""
        return self._answer.take_chunk(max_bytes) if self._answer.buffered else b""

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
            raise self._fail(ConnectionLost(CLOSED, self.server, sent=True))
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
            self._bulk = BulkReader(self._loop, self._transport, self._wake, self._answer.left)
        assert isinstance(self._bulk, BulkReader)
        return self._bulk

    def _passed(self, bulk: BulkReader, count: int) -> None:
        self._answer.passed(count)
        if not self._answer.left:
            self._bulk = None
            bulk.close()
            self._resume_reading()

    def _start(self, frame: bytes, *, stream: bool, more: bool = False) -> None:
        transport = self._transport
        if self._error is not None or transport is None or transport.is_closing():
            raise ConnectionLost("the server closed an idle connection", self.server, sent=False)
        assert self._answer.state is State.IDLE, "a second exchange on a busy connection"
        self._answer.expect(stream=stream)
        self._sent = True
        if more:
            transport.write(frame)
        else:
            self._watch.post(transport, frame)

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
