"""An answer of HTTP, whose body is there already or read as it is wanted."""

from typing import Protocol

from polystow_s3._lane._faults import broken
from polystow_s3._lane._pulling import Keep

_CHUNK_BYTES = 262_144
_MAX_DIGITS = 19


class Source(Protocol):
    """The connection that a body comes from.

    Attributes:
        done: Whether all of it was read, and the connection belongs to somebody else.
    """

    done: bool

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes; empty at the end."""
        ...

    async def read_into(self, buffer: memoryview) -> int:
        """The next bytes, in a buffer; 0 at the end."""
        ...

    @property
    def can_pull(self) -> bool:
        """Whether `pull` can be used now."""
        ...

    async def pull(self, keep: Keep, max_bytes: int) -> int:
        """Hand the next bytes to a function in a worker thread; 0 if none came for a moment."""
        ...

    def abort(self) -> None:
        """Throw it away."""
        ...


class Answer:
    """An answer: its head, and its body or where that comes from.

    Args:
        status: The HTTP status.
        headers: Names in lower case; of several of one name the last.
        body: The whole body; None if it has to be read.
        source: Where it is read from.
    """

    __slots__ = ("_source", "body", "headers", "status")

    def __init__(
        self, status: int, headers: dict[str, str], body: bytes | None, source: Source | None
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._source = source

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes, up to `max_bytes`; empty at the end.

        Raises:
            LaneError: The connection broke, or the service fell silent.
        """
        source = self._source
        if source is None:
            if not (body := self.body):
                return b""
            self.body = body[max_bytes:]
            return body[:max_bytes] if len(body) > max_bytes else body
        chunk = await source.read(max_bytes)
        if source.done:
            self._source = None
        return chunk

    async def read_into(self, buffer: memoryview) -> int:
        """As `read`, without a copy of a large body: how many bytes are in the buffer.

        Raises:
            LaneError: As there.
        """
        source = self._source
        if source is None:
            chunk = await self.read(len(buffer))
            buffer[: len(chunk)] = chunk
            return len(chunk)
        count = await source.read_into(buffer)
        if source.done:
            self._source = None
        return count

    @property
    def can_pull(self) -> bool:
        """Whether `pull` can be used now."""
        return self._source is not None and self._source.can_pull

    async def pull(self, keep: Keep, max_bytes: int) -> int:
        """As `read`, without a step of the event loop for each piece.

        Args:
            keep: Called in a worker thread with each piece.
            max_bytes: How many bytes to take at most.

        Returns:
            How many were handed on; 0 if none came for a moment, so that they have to be waited
            for.

        Raises:
            LaneError: As there.
            Exception: What `keep` raises; the rest can't be read then.
        """
        source = self._source
        assert source is not None
        count = await source.pull(keep, max_bytes)
        if source.done:
            self._source = None
        return count

    async def read_all(self, max_bytes: int) -> bytes:
        """The whole body.

        Raises:
            LaneError: As `read`; or it is longer than `max_bytes`.
        """
        told = self.headers.get("content-length", "0")
        if self._source is not None and (len(told) > _MAX_DIGITS or int(told) > max_bytes):
            self.close()
            raise broken("garbled", f"it says to have {told[:80]} bytes")
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read(_CHUNK_BYTES):
            size += len(piece)
            if size > max_bytes:
                self.close()
                raise broken("garbled", f"it has more than {max_bytes} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Throw the connection away, if the body was not wholly read."""
        source, self._source = self._source, None
        self.body = None
        if source is not None:
            source.abort()
