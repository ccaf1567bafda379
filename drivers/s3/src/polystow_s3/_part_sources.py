"""Where the bytes of a write come from: memory, or a stream that is read into buffers."""

import os
from collections.abc import Callable
from io import FileIO
from typing import Protocol

import anyio
from anyio import CancelScope, EndOfStream
from anyio.abc import ByteReceiveStream

from polystow import Body, NotFoundError, PathBody, TruncatedBodyError, in_thread
from polystow_s3._digests import WholeDigest
from polystow_s3._lane._sending import FileRange

_RECEIVE_BYTES = 1_048_576


type Part = memoryview | FileRange
"""In memory, or in a file from which it can be sent."""


class Parts(Protocol):
    """Where an upload's parts come from."""

    async def take(self, size: int) -> Part | None:
        """The next `size` bytes, fewer at the end; None after it."""
        ...

    def release(self, part: Part) -> None:
        """The part was stored: its buffer can be used again."""
        ...


class MemoryParts:
    """Views of a body that is in memory already.

    Args:
        data: The body.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._offset = 0

    async def take(self, size: int) -> memoryview | None:
        """As in `Parts`."""
        part = self._data[self._offset : self._offset + size]
        self._offset += len(part)
        return part or None

    def release(self, part: Part) -> None:
        """As in `Parts`."""


class StreamParts:
    """Parts that are read into buffers, so that each can be sent again.

    Args:
        stream: The body.
        size: Its declared length in bytes; None if it is not known.
    """

    def __init__(self, stream: ByteReceiveStream, size: int | None) -> None:
        self.ended = False
        self._stream = stream
        self._size = size
        self._count = 0
        self._ahead: memoryview | None = None
        self._free: list[memoryview] = []

    async def take(self, size: int) -> memoryview | None:
        """As in `Parts`.

        Raises:
            TruncatedBodyError: The body has not the declared length.
        """
        if self._ahead is not None:
            part, self._ahead = self._ahead, None
            return part
        if self.ended:
            return None
        if self._size is not None:
            size = min(size, self._size - self._count)
        buffer = self._reusable(size)
        if buffer is None:
            buffer = await grow(self._stream, size)
            count = len(buffer)
        else:
            count = await fill(self._stream, buffer[:size])
        self._count += count
        if self._size is not None and self._count == self._size:
            await check_end(self._stream, self._size, self._count)
            self.ended = True
        elif count < size:
            self.ended = True
            if self._size is not None:
                raise TruncatedBodyError(
                    f"the body was declared as {self._size} bytes and ended after {self._count}; "
                    "nothing was stored"
                )
        return buffer[:count] if count else None

    def _reusable(self, size: int) -> memoryview | None:
        while self._free:
            buffer = self._free.pop()
            if len(buffer) >= size:
                return buffer
        return None

    def give_back(self, part: memoryview | None) -> None:
        """Let the next `take` give this part again."""
        self._ahead = part

    def release(self, part: Part) -> None:
        """As in `Parts`."""
        assert isinstance(part, memoryview)
        whole = part.obj
        assert isinstance(whole, bytearray)
        self._free.append(memoryview(whole))


class FileParts:
    """Parts of a local file, each read in one step of a worker thread.

    Args:
        body: The file.
    """

    def __init__(self, body: PathBody) -> None:
        self._body = body
        self._file: FileIO | None = None
        self._offset = 0
        self._free: list[bytearray] = []

    async def take(self, size: int) -> memoryview | None:
        """As in `Parts`.

        Raises:
            NotFoundError: The file is gone.
            TruncatedBodyError: It has not the length any more that it had.
        """
        size = min(size, self._body.size - self._offset)
        if not size:
            return None
        part = await in_thread(lambda: self._read(size))
        self._offset += size
        return part

    def _read(self, size: int) -> memoryview:
        if self._file is None:
            self._file = self._open()
        buffer = next((free for free in self._free if len(free) >= size), None)
        if buffer is None:
            buffer = bytearray(size)
        else:
            self._free.remove(buffer)
        part = memoryview(buffer)[:size]
        count = 0
        while count < size and (some := self._file.readinto(part[count:])):
            count += some
        end = self._offset + count
        at_end = end == self._body.size
        if count < size or (at_end and self._file.read(1)):
            raise _other_length(self._body.size, end, longer=at_end)
        return part

    def _open(self) -> FileIO:
        return _open(self._body)

    def release(self, part: Part) -> None:
        """As in `Parts`."""
        assert isinstance(part, memoryview)
        whole = part.obj
        assert isinstance(whole, bytearray)
        self._free.append(whole)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class FileRanges:
    """Parts of a local file that stay there, where nobody has to see their bytes.

    Args:
        body: The file.
    """

    def __init__(self, body: PathBody) -> None:
        self._body = body
        self._file: FileIO | None = None
        self._offset = 0

    async def take(self, size: int) -> Part | None:
        """As in `Parts`.

        Raises:
            NotFoundError: The file is gone.
            TruncatedBodyError: It has not the length that it had.
        """
        size = min(size, self._body.size - self._offset)
        if not size:
            return None
        file = await in_thread(self._checked)
        part = FileRange(file.fileno(), self._offset, size)
        self._offset += size
        return part

    def _checked(self) -> FileIO:
        if self._file is None:
            self._file = _open(self._body)
        found = os.fstat(self._file.fileno()).st_size
        if found != self._body.size:
            raise _other_length(self._body.size, found, longer=found > self._body.size)
        return self._file

    def release(self, part: Part) -> None:
        """As in `Parts`."""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _open(body: PathBody) -> FileIO:
    try:
        return body.path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise NotFoundError("the local file is gone", path=str(body.path)).settled() from error


def _other_length(size: int, count: int, *, longer: bool) -> TruncatedBodyError:
    word = "goes on after them" if longer else f"ended after {count}"
    return TruncatedBodyError(
        f"the body was declared as {size} bytes and {word}; nothing was stored"
    )


class DigestedParts:
    """The parts of another source, with a digest of all of them together.

    Args:
        parts: The source.
        algorithm: The digest's.
    """

    def __init__(self, parts: Parts, algorithm: str) -> None:
        self.digest = WholeDigest(algorithm)
        self._parts = parts

    async def take(self, size: int) -> Part | None:
        """As in `Parts`."""
        part = await self._parts.take(size)
        if part is not None:
            assert isinstance(part, memoryview)
            await self.digest.update(part)
        return part

    def release(self, part: Part) -> None:
        """As in `Parts`."""
        self._parts.release(part)


async def gather(stream: ByteReceiveStream, size: int) -> memoryview:
    """Read exactly `size` bytes, and the end behind them, into one buffer.

    Raises:
        TruncatedBodyError: There are fewer or more.
    """
    buffer = await grow(stream, size)
    await check_end(stream, size, len(buffer))
    return buffer


async def collect(
    body: Body, limit: int, too_large: Callable[[int], Exception], close_timeout_s: float
) -> memoryview:
    """Read a body into memory.

    Args:
        body: Of any kind.
        limit: The most bytes that are wanted.
        too_large: Makes the error for more.
        close_timeout_s: How long closing it may take.
    """
    stream = await body.open()
    try:
        if body.size is not None:
            return await gather(stream, body.size)
        chunks: list[bytes] = []
        size = 0
        while True:
            try:
                chunks.append(await stream.receive(_RECEIVE_BYTES))
            except EndOfStream:
                return memoryview(b"".join(chunks))
            size += len(chunks[-1])
            if size > limit:
                raise too_large(size)
    finally:
        with CancelScope(deadline=anyio.current_time() + close_timeout_s, shield=True):
            await stream.aclose()


async def grow(stream: ByteReceiveStream, size: int) -> memoryview:
    """Read into a new buffer until it has `size` bytes or the stream ends.

    It takes memory as they come: to make one of 16 MiB at once holds the event loop for 8 ms, and
    slow clients would hold memory for what they have not sent.
    """
    buffer = bytearray()
    while len(buffer) < size:
        try:
            buffer += await stream.receive(min(_RECEIVE_BYTES, size - len(buffer)))
        except EndOfStream:
            break
    return memoryview(buffer)


async def fill(stream: ByteReceiveStream, buffer: memoryview) -> int:
    """Read until a buffer is full or the stream ends; return how many bytes came."""
    count = 0
    while count < len(buffer):
        try:
            chunk = await stream.receive(min(_RECEIVE_BYTES, len(buffer) - count))
        except EndOfStream:
            break
        buffer[count : count + len(chunk)] = chunk
        count += len(chunk)
    return count


async def check_end(stream: ByteReceiveStream, size: int, count: int) -> None:
    """See that a stream that gave `count` bytes of `size` ends there.

    Raises:
        TruncatedBodyError: It is shorter or longer.
    """
    extra = 0
    if count == size:
        try:
            extra = len(await stream.receive(1))
        except EndOfStream:
            return
    raise _other_length(size, count, longer=bool(extra))
