"""One client's connection: bytes to conversations, replies to bytes, and the faults on the way."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

from polystow_testing.fastdfs._contents import CHUNK_BYTES, FileSlice
from polystow_testing.fastdfs._faults import (
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    CloseOnConnect,
    DelayAccept,
    DelayReply,
    ReplyAction,
    SplitReply,
    Stall,
    StopReading,
)
from polystow_testing.fastdfs._node import Node
from polystow_testing.fastdfs._requests import (
    FIRST_BUFFER_BYTES,
    Conversation,
    Pause,
    Payload,
    Refusal,
    Reply,
)
from polystow_testing.fastdfs._wire import HEADER_BYTES, Header, decode_header

JOIN_LIMIT_BYTES = 64 * 1024
BUSY_BUFFER_LIMIT_BYTES = 1024 * 1024
_LINGER_NONE = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Serves one connection of `node`.

    A request is handled within `data_received`, without a task: only replies that are streamed
    from disk or that a fault delays need one.
    """

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._loop = loop
        self._buffer = bytearray()
        self._conversation: Conversation | None = None
        self._header = Header(0, 0)
        self._wanted = HEADER_BYTES
        self._payload: Payload | None = None
        self._body_taken = 0
        self._reply_action: ReplyAction | None = None
        self._is_busy = False
        self._is_closed = False
        self._waiting_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, unless a fault is to hit new connections."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waiting_since = self._loop.time()
        self._node.connections.add(self)
        self._node.connections_opened += 1
        self._node.connections_most = max(self._node.connections_most, len(self._node.connections))
        match self._node.faults.on_connect(self._node.labels):
            case CloseOnConnect():
                self._close()
            case DelayAccept(delay_s=delay_s):
                self._is_busy = True
                self._loop.call_later(delay_s, self._go_on)
            case None:
                pass
        if self._node.is_frozen:
            transport.pause_reading()
        self._node.on_change()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Drop what the client has left half done."""
        self._is_closed = True
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None
        if self._task is not None:
            self._task.cancel()
        self._node.connections.discard(self)
        self._node.on_change()

    def pause_writing(self) -> None:
        """Make `_drain` wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let `_drain` go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def abort(self, *, reset: bool = False) -> None:
        """Close at once, with a TCP reset if wished."""
        if reset:
            sock: socket.socket = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self._is_closed = True
        self._transport.abort()

    def freeze(self) -> None:
        """Read no more, like a process that is stopped; what is already sent goes out."""
        self._transport.pause_reading()

    def thaw(self) -> None:
        """Read on."""
        if not self._is_closed and not self._is_busy:
            self._transport.resume_reading()

    def close_if_silent(self, since: float) -> None:
        """Close if the client has owed the rest of a request since before `since`."""
        if self._waiting_since is not None and self._waiting_since < since:
            self._close()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes of the client."""
        payload = self._payload
        if payload is not None and not self._buffer and len(data) <= payload.length:
            # The common case of a large upload: no copy through the buffer.
            self._feed(payload, data)
        else:
            self._buffer += data
        if not self._is_busy:
            self._advance()
        elif len(self._buffer) > BUSY_BUFFER_LIMIT_BYTES:
            self._transport.pause_reading()
        is_owed = self._conversation is not None or bool(self._buffer)
        self._waiting_since = self._loop.time() if is_owed and not self._is_busy else None

    def _feed(self, payload: Payload, data: bytes) -> None:
        if payload.sink is not None:
            payload.sink.write(data)
        payload.length -= len(data)
        self._body_taken += len(data)

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _advance(self) -> None:
        """Handle what has arrived, up to the end of one request.

        What follows a request in the same segment waits for more bytes, as with a real storage
        server (protocol facts, "No pipelining"). Trackers were seen to go on.
        """
        while not self._is_busy and not self._is_closed:
            received: bytes | None = None
            if self._payload is not None:
                if self._payload.length:
                    if not self._buffer:
                        return
                    self._feed(self._payload, self._take(self._payload.length))
                    continue
                self._payload = None
                received = b""
            elif len(self._buffer) < self._wanted:
                return
            else:
                received = self._take(self._wanted)
                if self._conversation is None:
                    self._begin(decode_header(received))
                    received = None
                else:
                    self._body_taken += len(received)
            if (reply := self._step(received)) is not None:
                self._finish(reply)
                if not self._node.pipelines:
                    return

    def _begin(self, header: Header) -> None:
        node = self._node
        self._header = header
        self._body_taken = 0
        self._reply_action = None
        node.requests[header.command] += 1
        action = node.faults.on_request(node.labels, header.command)
        if header.body_length < 0:
            self._conversation = _drained(Reply(raw=b"", close=True), 0)
        elif isinstance(action, AnswerStatus | AnswerBytes | CloseDuringRequest | StopReading):
            self._conversation = _faulty(header, action)
        else:
            self._conversation = node.conversation(header)
            self._reply_action = action
        node.on_change()

    def _step(self, received: bytes | None) -> Reply | None:
        """Resume the conversation; return its reply, or None when it wants more bytes."""
        conversation = self._conversation
        assert conversation is not None
        try:
            # Sending None is how a generator is started.
            wish = next(conversation) if received is None else conversation.send(received)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
        except Refusal as refusal:
            return self._refuse(refusal)
        except Exception as error:  # noqa: BLE001 - reported when the server stops
            self._node.errors.append(error)
            return Reply(raw=b"", close=True)
        if isinstance(wish, Payload):
            self._payload = wish
        elif isinstance(wish, Pause):
            self._is_busy = True
            self._transport.pause_reading()
        else:
            self._wanted = wish
        return None

    def _refuse(self, refusal: Refusal) -> Reply | None:
        """Answer with an error, after as much of the body as the real server reads at first.

        Whatever the client sends beyond that is taken for the next request's header: "the socket
        desynchronises or resets" (protocol facts, "Quirks").
        """
        reply = Reply(status=refusal.status, close=refusal.close)
        rest = min(self._header.body_length, FIRST_BUFFER_BYTES) - self._body_taken
        if rest <= 0:
            return reply
        self._conversation = _drained(reply, rest)
        return self._step(None)

    def _finish(self, reply: Reply) -> None:
        self._conversation = None
        self._wanted = HEADER_BYTES
        if self._reply_action is not None or isinstance(reply.body, FileSlice):
            self._is_busy = True
            self._task = self._loop.create_task(self._send(reply, self._reply_action))
            return
        head, body = reply.head(), reply.body
        if not body:
            self._transport.write(head)
        elif len(body) <= JOIN_LIMIT_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])
        if reply.close:
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        self._transport.close()

    def _go_on(self) -> None:
        self._is_busy = False
        self._task = None
        if not self._is_closed and not self._node.is_frozen:
            self._transport.resume_reading()
            # Here the client may well have sent its next request already.
            self._advance()

    async def _send(self, reply: Reply, action: ReplyAction | None) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            # The client may go away at any time; connection_lost sees to the rest.
            match action:
                case CloseConnection(after_bytes=count, reset=reset):
                    await self._write(reply, limit=count)
                    if reset:
                        self.abort(reset=True)
                    else:
                        self._close()
                    return
                case Stall(after_bytes=count):
                    await self._write(reply, limit=count)
                    await self._loop.create_future()
                case SplitReply(piece_bytes=size, delay_s=delay_s):
                    await self._write_pieces(reply, size, delay_s)
                case DelayReply(delay_s=delay_s):
                    await asyncio.sleep(delay_s)
                    await self._write(reply)
                case None:
                    await self._write(reply)
            if reply.close:
                self._close()
            self._go_on()

    async def _write(self, reply: Reply, limit: int | None = None) -> None:
        if limit is None and isinstance(reply.body, FileSlice):
            part = reply.body
            with part.path.open("rb") as file:
                self._transport.write(reply.head())
                await self._loop.sendfile(self._transport, file, part.offset, part.length)
            return
        for chunk in _chunks(reply, limit):
            self._transport.write(chunk)
            await self._drain()

    async def _write_pieces(self, reply: Reply, size: int, delay_s: float) -> None:
        for chunk in _chunks(reply, None):
            for start in range(0, len(chunk), size):
                self._transport.write(chunk[start : start + size])
                await asyncio.sleep(delay_s)
                await self._drain()

    async def _drain(self) -> None:
        if self._writable is not None:
            await self._writable


def _chunks(reply: Reply, limit: int | None) -> Iterator[bytes]:
    """Yield a reply in pieces of bounded size, at most `limit` bytes in all."""
    total = len(reply.head()) + reply.body_length
    left = total if limit is None else min(limit, total)
    for chunk in _all_chunks(reply):
        if left <= 0:
            return
        yield chunk[:left]
        left -= len(chunk)


def _all_chunks(reply: Reply) -> Iterator[bytes]:
    yield reply.head()
    if isinstance(reply.body, FileSlice):
        left = reply.body.length
        with reply.body.path.open("rb") as file:
            file.seek(reply.body.offset)
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
    else:
        view = memoryview(reply.body)
        for start in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])


def _drained(reply: Reply, length: int) -> Conversation:
    yield Payload(None, length)
    return reply


def _faulty(
    header: Header, action: AnswerStatus | AnswerBytes | CloseDuringRequest | StopReading
) -> Conversation:
    """Stand in for the server's own conversation."""
    match action:
        case AnswerStatus(status=status, close=close):
            yield Payload(None, header.body_length)
            return Reply(status=status, close=close)
        case AnswerBytes(data=data, close=close):
            yield Payload(None, header.body_length)
            return Reply(raw=data, close=close)
        case CloseDuringRequest(after_bytes=count):
            yield Payload(None, min(count, header.body_length))
            return Reply(raw=b"", close=True)
        case StopReading(after_bytes=count):
            yield Payload(None, min(count, header.body_length))
            yield Pause.FOREVER
            return Reply(raw=b"")
