"""One connection that speaks HTTP/1.1: a request at a time, its answer read where it is wanted.

An asyncio protocol with httptools as its parser (RFC 9112). The parser sees heads, small bodies
and chunked ones; a large body of known length goes from the socket straight into the reader's
buffer. Reading pauses while nobody asks for bytes. A connection of which anything is left over
(half an answer, half a request, bytes that nobody asked for) is thrown away.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import NamedTuple, Protocol, cast, override

import httptools

from polystow import in_thread
from polystow_s3._lane._answer import Answer
from polystow_s3._lane._faults import LaneError, broken
from polystow_s3._lane._pulling import CAN_PULL, Keep, Puller
from polystow_s3._lane._sending import CAN_SEND_FILES, FileRange, Sender, size_of

SMALL_BYTES = 65_536
"""Bodies up to this come with their answer, and the connection is free when it is there."""

EXPECTING_BYTES = 1_048_576
"""Request bodies from this on ask first: `Expect: 100-continue` (RFC 9110, section 10.1.1)."""

type Body = bytes | memoryview | FileRange
"""What a request carries."""

_CONTINUE_S = 1.0
_CHUNK_BYTES = 1_048_576
_TLS_CHUNK_BYTES = 262_144  # it is encrypted on the event loop, in one go
_YIELD_BYTES = 2_097_152
_MAX_HEAD_BYTES = 65_536
_NO_BODY = frozenset({204, 304})


class Origin(NamedTuple):
    """Where a connection leads.

    Attributes:
        host: A name or an address.
        port: The port.
        tls: Whether it speaks TLS.
    """

    host: str
    port: int
    tls: bool


class Owner(Protocol):
    """What a connection needs of its pool.

    Attributes:
        scratch: Where bytes arrive that have no other place; used up at once.
        read_timeout_s: How long the service may be silent, in seconds.
    """

    scratch: memoryview
    read_timeout_s: float

    def post(self, transport: asyncio.Transport, request: bytes) -> None:
        """Write a whole request, together with those of other connections."""
        ...

    def released(self, connection: "Connection") -> None:
        """The answer was wholly read: another request may be sent."""
        ...

    def discarded(self, connection: "Connection") -> None:
        """It is of no use any more."""
        ...

    def lost(self, connection: "Connection") -> None:
        """Its socket is closed."""
        ...


class Connection(asyncio.BufferedProtocol):
    """See the module.

    Args:
        owner: Its pool.
        origin: Where it leads: what the pool keeps it under.
        loop: The running event loop.
    """

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_begun",
        "_body_open",
        "_chunk_bytes",
        "_continued",
        "_error",
        "_extra",
        "_filled",
        "_head_bytes",
        "_head_only",
        "_headers",
        "_keeps",
        "_left",
        "_loop",
        "_owner",
        "_parser",
        "_puller",
        "_raw",
        "_reading_paused",
        "_sender",
        "_sent",
        "_silence_s",
        "_status",
        "_target",
        "_transport",
        "_until_close",
        "_waiter",
        "_waiting_bytes",
        "_wanted",
        "_writing_paused",
        "deadline",
        "done",
        "idle_since",
        "is_closed",
        "on_header",
        "origin",
    )

    def __init__(self, owner: Owner, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.deadline: float | None = None  # when silence becomes an error; None for no limit
        self.done = True  # the answer was wholly handed over
        self.idle_since = 0.0
        self.is_closed = False
        self._chunk_bytes = _TLS_CHUNK_BYTES if origin.tls else _CHUNK_BYTES
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._raw: dict[bytes, bytes] = {}  # headers as they come, until their head is complete
        self.on_header = self._raw.__setitem__  # called by the parser, without a step in Python
        self._waiter: asyncio.Future[None] | None = None
        self._error: LaneError | None = None
        self._writing_paused = False
        self._reading_paused = False
        self._waiting_bytes = 0
        self._silence_s = owner.read_timeout_s
        self._sender: Sender | None = None
        self._puller: Puller | None = None
        # Of the exchange that is under way; most are as here again when another one may follow.
        self._headers: dict[str, str] = {}
        self._status = 0
        self._begun = False  # the head of the final answer is there
        self._body_open = False  # its body is not
        self._head_bytes = 0
        self._head_only = False
        self._left: int | None = 0  # bytes of the body to come; None if only its end tells
        self._until_close = False
        self._keeps = False
        self._extra = False
        self._sent = True
        self._continued = False
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._target: memoryview | None = None
        self._filled = 0
        self._wanted = 0

    # Called by the event loop

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._chunk_bytes, low=SMALL_BYTES)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(broken("lost", str(exc) if exc else "the service closed it"))
        self._owner.lost(self)

    @override
    def eof_received(self) -> bool:
        if self._until_close and self._body_open:
            self._complete()
        self._fail(broken("lost", "the service closed it"))
        return False

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        if self._target is not None:
            return self._target
        scratch = self._owner.scratch
        # Never beyond the body, and for a reader no more than it asked for.
        return scratch[: min(self._left, self._wanted or SMALL_BYTES)] if self._left else scratch

    @override
    def buffer_updated(self, nbytes: int) -> None:
        if self._target is not None:
            self._target = None
            self._filled = nbytes
            self._advance(nbytes)
        elif self._left:
            self._ahead.append(bytes(self._owner.scratch[:nbytes]))
            self._ahead_bytes += nbytes
            self._advance(nbytes)
        else:
            self._parse(self._owner.scratch[:nbytes])
        if self.deadline is not None:
            self._touch()

    def _advance(self, nbytes: int) -> None:
        self._parser = None  # it has not seen these bytes
        self._left = (self._left or 0) - nbytes
        if not self._left:
            self._complete()
        elif not self._is_near:
            self._pause_reading()
            self._wake()

    @override
    def pause_writing(self) -> None:
        self._writing_paused = True

    @override
    def resume_writing(self) -> None:
        self._writing_paused = False
        if not self._sent:
            self._touch()
            self._wake()

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._begun:
            self._extra = True

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self._begun or parser is None:
            return
        status = parser.get_status_code()
        if status < 200:
            self._raw.clear()
            self._continued = True
            return
        headers = self._headers = _decoded(self._raw)
        self._status = status
        self._begun = self._body_open = True
        self._keeps = parser.should_keep_alive()
        if self._head_only or status in _NO_BODY:
            self._left = 0
        elif "transfer-encoding" in headers:
            self._left = None
        elif (length := headers.get("content-length")) is not None:
            self._left = int(length)
        else:
            self._left = None
            self._until_close = True

    def on_body(self, body: bytes) -> None:
        if self._extra or self._head_only:
            self._extra = True
            return
        self._ahead.append(body)
        self._ahead_bytes += len(body)
        if self._left is not None:
            self._left -= len(body)

    def on_message_complete(self) -> None:
        if self._begun and self._left is None and not self._until_close:
            self._left = 0

    # Receiving

    def _parse(self, data: memoryview) -> None:
        if self.done:
            self.abort()  # nobody asked for it
            return
        if not self._begun:
            self._head_bytes += len(data)
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(broken("garbled", "the service switches protocols"))
            return
        except httptools.HttpParserError as error:
            self._fail(broken("garbled", f"it is no HTTP: {error}"))
            return
        if not self._begun:
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._fail(broken("garbled", f"its head has more than {_MAX_HEAD_BYTES:,} bytes"))
            elif self._continued:
                self._wake()
            return
        self._raw.clear()  # trailers too, and what belongs to an answer that nobody asked for
        if self._left == 0:
            if self._body_open:
                self._complete()
        elif not self._is_near:
            self._pause_reading()
            self._wake()

    @property
    def _is_near(self) -> bool:
        # Whether the body is so small that it comes with its head.
        return self._left is not None and self._left + self._ahead_bytes <= SMALL_BYTES

    def _complete(self) -> None:
        self._body_open = False
        self._left = 0
        self.deadline = None
        if self._head_only:
            self._parser = None  # it waits for a body
        self._wake()

    def _finish(self) -> None:
        # The answer is complete and handed over.
        self.done = True
        if self._extra or not self._keeps or not self._sent or self.is_closed:
            self.abort()
        else:
            if self._reading_paused:
                self._resume_reading()
            self._owner.released(self)

    # The request

    async def exchange(self, method: str, head: bytes, body: Body) -> Answer:
        """Send a request, and receive its answer up to the end of the head or of a small body.

        Args:
            method: Of HTTP.
            head: The request's head, with its empty line; with `Expect: 100-continue` if the
                body has `EXPECTING_BYTES`.
            body: It may be empty; it must not change before the answer is there, nor a file be
                closed.

        Raises:
            LaneError: There is no answer.
        """
        self.done = self._begun = self._continued = False
        self._head_bytes = self._wanted = 0
        self._head_only = method == "HEAD"
        self._touch()
        transport = self._transport
        try:
            if transport is None or self._error is not None:
                raise self._error or broken("lost", "the service closed it")
            if isinstance(body, FileRange) or len(body) > SMALL_BYTES:
                self._sent = False
                transport.write(head)
                await self._send(transport, body)
            else:
                self._owner.post(transport, b"".join((head, body)) if body else head)
            while not self._begun or (self._body_open and self._is_near):
                if self._error is not None:
                    raise self._error
                self._waiter = self._loop.create_future()
                await self._waiter
            self._waiter = None
            if self._error is not None:
                raise self._error
        except BaseException:
            self._waiter = None
            self.abort()
            raise
        self.deadline = None
        headers, status = self._headers, self._status
        if self._body_open or self._ahead_bytes > SMALL_BYTES:
            return Answer(status, headers, None, self)
        data = b""
        if ahead := self._ahead:
            data = ahead[0] if len(ahead) == 1 else b"".join(ahead)
            ahead.clear()
            self._ahead_bytes = 0
        self._finish()
        return Answer(status, headers, data, None)

    async def _send(self, transport: asyncio.Transport, body: Body) -> None:
        if size_of(body) >= EXPECTING_BYTES:
            await self._ask()
            if self._begun:
                return
        if not isinstance(body, FileRange):
            await self._write(transport, memoryview(body))
        elif CAN_SEND_FILES and not self.origin.tls and not transport.get_write_buffer_size():
            await self._send_file(body)
        else:
            await self._write(transport, memoryview(await in_thread(body.read)))

    async def _send_file(self, body: FileRange) -> None:
        descriptor = self.descriptor
        if descriptor < 0:
            await self._answered()
            return
        sender = self._sender = Sender(descriptor, body)
        try:
            while sender.left and not self._begun:
                before = sender.left
                try:
                    takes_more = await in_thread(sender.send)
                except OSError:
                    # There may be an answer: a refusal. Otherwise the loss will be seen here too.
                    await self._answered()
                    return
                self._raise_error()
                if sender.left < before:
                    self._touch()
                if not takes_more and not self._begun:
                    await self._writable(sender)
        finally:
            self._sender = None
            sender.close()
        if not sender.left:
            self._sent = True
            self._touch()

    async def _answered(self) -> None:
        while not self._begun:
            await self._wait()

    async def _writable(self, sender: Sender) -> None:
        self._loop.add_writer(sender.descriptor, self._wake)
        try:
            await self._wait()
        finally:
            self._loop.remove_writer(sender.descriptor)

    async def _write(self, transport: asyncio.Transport, body: memoryview) -> None:
        unbroken, chunk_bytes = 0, self._chunk_bytes
        for offset in range(0, len(body), chunk_bytes):
            if self._begun:
                return  # an answer before the end: a refusal
            transport.write(body[offset : offset + chunk_bytes])
            unbroken += chunk_bytes
            while self._writing_paused and not self._begun:
                unbroken = 0
                await self._wait()
            if unbroken >= _YIELD_BYTES:
                unbroken = 0
                await asyncio.sleep(0)
            if self._error is not None:
                raise self._error
        self._sent = True
        self._touch()

    async def _ask(self) -> None:
        timer = self._loop.call_later(_CONTINUE_S, self._go_on)
        try:
            while not self._continued and not self._begun:
                await self._wait()
        finally:
            timer.cancel()
        self._touch()

    def _go_on(self) -> None:
        # The service does not know of 100-continue: it gets the body unasked.
        self._continued = True
        self._wake()

    # The body

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes of the body; empty at its end."""
        while not self._ahead:
            if not self._body_open:
                self._finish()
                return b""
            self._wanted = max_bytes
            await self._more()
        chunk = self._ahead.popleft()
        if len(chunk) > max_bytes:
            self._ahead.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._taken(len(chunk))
        return chunk

    async def read_into(self, buffer: memoryview) -> int:
        """The next bytes of the body, in a buffer; 0 at its end."""
        if not self._ahead and self._body_open and self._left is not None:
            self._target = buffer[: self._left]
            await self._more()
            self._taken(0)
            return self._filled
        chunk = await self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    @property
    def can_pull(self) -> bool:
        """Whether `pull` can be used: nothing of a large body stands here, and it is plain."""
        return (
            CAN_PULL
            and self._reading_paused
            and not self._ahead
            and self._left is not None
            and self._left > SMALL_BYTES
            and not self.origin.tls
            and self._error is None
            and self.descriptor >= 0
        )

    async def pull(self, keep: Keep, max_bytes: int) -> int:
        """Hand bytes of the body from the socket to a function, in a worker thread.

        Returns:
            How many; none if none came for a moment.
        """
        left = self._left or 0
        puller = self._puller = Puller(self.descriptor)
        try:
            count, trouble = await in_thread(lambda: puller.pull(keep, min(max_bytes, left)))
        except BaseException:
            self.abort()  # nobody knows how many came
            raise
        finally:
            self._puller = None
            puller.close()
        self._parser = None  # it has not seen these bytes
        self._left = left - count
        if not self._left:
            self._complete()
            self._taken(0)
        elif trouble is not None and not count:
            self._fail(broken("lost", trouble))
        if not count:
            self._raise_error()
        return count

    async def _more(self) -> None:
        self._touch()
        self._resume_reading()
        try:
            await self._wait()
        except BaseException:
            self._target = None
            self.abort()
            raise
        finally:
            self.deadline = None

    def _taken(self, count: int) -> None:
        self._ahead_bytes -= count
        if not self._ahead and not self._body_open:
            self._finish()

    # Waiting and ending

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None
        if self._error is not None:
            raise self._error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _touch(self) -> None:
        self.deadline = monotonic() + self._silence_s

    def look(self, now: float) -> None:
        """Fail if the service has been silent for too long; called every now and then."""
        if self.deadline is None:
            return
        if self._transport is not None:
            waiting = self._transport.get_write_buffer_size()
            if waiting < self._waiting_bytes:
                self.deadline = now + self._silence_s  # it takes bytes
            self._waiting_bytes = waiting
        if now >= self.deadline:
            self._fail(broken("read_timeout", f"no byte within {self._silence_s:g} s"))

    def _fail(self, error: LaneError) -> None:
        if self._error is None and not self._is_complete:
            self._error = error
        self.abort()

    @property
    def _is_complete(self) -> bool:
        return self._begun and not self._body_open

    def abort(self) -> None:
        """Close it at once; what is under way on it fails, if its answer is not there yet."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._error is None and not self._is_complete:
            self._error = broken("lost", "the connection was closed")
        self.deadline = None
        self._parser = None
        self._target = None
        for aside in (self._sender, self._puller):
            if aside is not None:
                aside.stop()
        if self._transport is not None:
            self._transport.abort()
        self._wake()
        self._owner.discarded(self)

    @property
    def descriptor(self) -> int:
        """Its socket's file descriptor; -1 if it is closed, or about to be."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return -1
        # On TLS there may be none any more, before anybody is told.
        socket = transport.get_extra_info("socket")
        return -1 if socket is None else int(socket.fileno())

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()


_NAMES: dict[bytes, str] = {}
_MAX_NAMES = 512


def _decoded(raw: dict[bytes, bytes]) -> dict[str, str]:
    return {
        _NAMES.get(name) or _lower(name): str(value, "utf-8", "surrogateescape")
        for name, value in raw.items()
    }


def _lower(name: bytes) -> str:
    text = name.decode("latin-1").lower()
    if len(_NAMES) < _MAX_NAMES and len(name) <= 64:
        _NAMES[name] = text
    return text
