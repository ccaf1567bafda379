"""Looking at a body's first bytes before it is written, without losing them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple, override

from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from attrs import define, field

from polystow._body import Body, BytesBody
from polystow._errors import StorageError


class Peeked(NamedTuple):
    """What was seen.

    Attributes:
        head: The first bytes; fewer than were asked for if there are no more, or if reading them
            failed: then the body fails in the same way when it is read.
        body: To be written instead of the one that was looked at.
    """

    head: bytes
    body: Body


@asynccontextmanager
async def peeked(body: Body, length: int, *, first_only: bool = False) -> AsyncGenerator[Peeked]:
    """Look at the first bytes of a body.

    One that can't be replayed is opened once, and closed on leaving if nobody took it over.

    Args:
        body: The body.
        length: How many.
        first_only: Don't wait for more than the first piece of it.
    """
    if isinstance(body, BytesBody):
        yield Peeked(bytes(body.data[:length]), body)
        return
    if body.replayable:
        try:
            async with await body.open() as stream:
                head = (await _Head.read(stream, length, first_only)).data
        except (StorageError, OSError):
            head = b""
        yield Peeked(head, body)
        return
    stream = await body.open()
    opened = _PeekedBody(body, stream, await _Head.read(stream, length, first_only))
    try:
        yield Peeked(opened.head.data, opened)
    finally:
        if not opened.taken:
            await stream.aclose()


@define(eq=False)
class _Head:
    data: bytes
    failure: Exception | None

    @classmethod
    async def read(cls, stream: ByteReceiveStream, length: int, first_only: bool) -> "_Head":
        data = b""
        try:
            while len(data) < length and not (data and first_only):
                data += await stream.receive(length - len(data))
        except EndOfStream:
            return cls(data, None)
        except Exception as error:  # noqa: BLE001 - raised where the body is read
            return cls(data, error)
        return cls(data, None)


@define(eq=False)
class _PeekedBody:
    body: Body
    stream: ByteReceiveStream
    head: _Head
    taken: bool = field(default=False, init=False)

    @property
    def size(self) -> int | None:
        return self.body.size

    @property
    def replayable(self) -> bool:
        return False

    async def open(self) -> ByteReceiveStream:
        if self.taken:
            return await self.body.open()  # which refuses, and says why
        self.taken = True
        return _PeekedStream(self.stream, self.head)


class _PeekedStream(ByteReceiveStream):
    def __init__(self, stream: ByteReceiveStream, head: _Head) -> None:
        self._stream = stream
        self._rest = head.data
        self._failure = head.failure

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if self._rest:
            chunk, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
            return chunk
        if self._failure is not None:
            raise self._failure
        return await self._stream.receive(max_bytes)

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()
