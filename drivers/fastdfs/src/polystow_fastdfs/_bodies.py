"""Bodies as uploads take them: chunk after chunk, with what was already read put in front."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from io import BufferedIOBase

from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from anyio.streams.file import FileStreamAttribute

from polystow import Attempt

CHUNK_BYTES = 2 * 1024 * 1024
"""How much of a body is taken, hashed and sent at once."""

type Chunk = bytes | memoryview


class Source:
    """The chunks of a body.

    Args:
        ready: Chunks in memory, which come first; each of at most `CHUNK_BYTES`.
        stream: What follows them, if anything does.
    """

    __slots__ = ("_ready", "_stream")

    def __init__(self, ready: Sequence[Chunk], stream: ByteReceiveStream | None) -> None:
        self._ready = deque(ready)
        self._stream = stream

    @classmethod
    def of_memory(cls, data: Chunk) -> Source:
        """The chunks of what is in memory as a whole; none is copied."""
        if len(data) <= CHUNK_BYTES:
            return cls((data,) if data else (), None)
        view = memoryview(data)
        return cls([view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES)], None)

    @property
    def file(self) -> BufferedIOBase | None:
        """The file that all the rest comes from, if it is one; to be read in worker threads."""
        if self._ready or self._stream is None:
            return None
        file: object = self._stream.extra(FileStreamAttribute.file, None)  # noqa: S610 - not Django's
        return file if isinstance(file, BufferedIOBase) else None

    def ready(self) -> Chunk:
        """The next chunk if it is in memory; an empty one if not."""
        return self._ready.popleft() if self._ready else b""

    async def next(self, attempt: Attempt | None = None) -> Chunk:
        """The next chunk; an empty one at the end.

        Args:
            attempt: The attempt whose timer and slot wait meanwhile, if the caller is waited for.
        """
        if self._ready:
            return self._ready.popleft()
        if self._stream is None:
            return b""
        try:
            if attempt is None:
                return await self._stream.receive(CHUNK_BYTES)
            async with attempt.paused():
                return await self._stream.receive(CHUNK_BYTES)
        except EndOfStream:
            self._stream = None
            return b""

    async def take(self, size: int) -> list[Chunk]:
        """Chunks of at least `size` bytes together; less only at the end."""
        chunks: list[Chunk] = []
        while size > 0:
            chunk = await self.next()
            if not chunk:
                break
            chunks.append(chunk)
            size -= len(chunk)
        return chunks

    def put_back(self, chunk: Chunk) -> None:
        """Have `next` give a chunk again."""
        if chunk:
            self._ready.appendleft(chunk)
