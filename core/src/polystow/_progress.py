"""Progress of transfers: bodies and streams that tell how much of them has passed."""

from collections.abc import Callable
from typing import override

from anyio.abc import ByteReceiveStream
from attrs import frozen

from polystow._body import Body
from polystow._driver import ReadStream
from polystow._value import Value

type Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the size, or None where that is not known."""


@frozen(eq=False, repr=False)
class ProgressBody(Value):
    """A body that tells how much of it was read.

    Attributes:
        body: The body.
        report: Who is told.
    """

    body: Body
    report: Progress

    @property
    def size(self) -> int | None:
        """Its length in bytes, if known."""
        return self.body.size

    @property
    def replayable(self) -> bool:
        """As the body; the count begins anew."""
        return self.body.replayable

    async def open(self) -> ByteReceiveStream:
        """Open it, and count."""
        return _ProgressStream(await self.body.open(), self.report, self.body.size)


class _ProgressStream(ByteReceiveStream):
    def __init__(self, stream: ByteReceiveStream, report: Progress, size: int | None) -> None:
        self._stream = stream
        self._report = report
        self._size = size
        self._done = 0

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        chunk = await self._stream.receive(max_bytes)
        self._done += len(chunk)
        self._report(self._done, self._size)
        return chunk

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()


class ProgressReadStream(ReadStream):
    """A read that tells how much of it has come.

    Args:
        stream: The read.
        report: Who is told; the size is that of the part that is read.
    """

    def __init__(self, stream: ReadStream, report: Progress) -> None:
        self.info = stream.info
        self.range = stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._counted = _ProgressStream(stream, report, stream.range.length)

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._counted.receive(max_bytes)

    @override
    async def aclose(self) -> None:
        await self._counted.aclose()
