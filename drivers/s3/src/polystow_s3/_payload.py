"""A body in memory in the shape that botocore and aiohttp both take without copying it.

botocore wants `read`, `seek` and `tell` (it calls `read` only to hash, which is done before);
aiohttp is taught in `_sdk` to send it chunk by chunk.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Protocol, override

from polystow_s3._digests import INLINE_BYTES
from polystow_s3._lane._sending import FileRange

_CHUNK_BYTES = 262_144


class Transport(Protocol):
    """What a payload has to know of a connection."""

    def abort(self) -> None:
        """Close it at once, without sending what is in its buffer."""
        ...


class Payload:
    """The body of one request; each repetition sends it from its beginning.

    Args:
        data: The bytes; they must not change until the answer is there.
        sha256: Their SHA-256 in hexadecimal digits, if the signature is to cover them.
        repeatable: Whether aiohttp may send it again by itself where a kept connection turns out
            to be closed.
    """

    def __init__(self, data: memoryview, sha256: str | None, *, repeatable: bool) -> None:
        self._data = data
        self.sha256 = sha256
        self.repeatable = repeatable
        self.on_progress: Callable[[], None] | None = None
        self._offset = 0
        self._transport: Transport | None = None

    @property
    def data(self) -> memoryview:
        """The bytes."""
        return self._data

    def __len__(self) -> int:
        return len(self.data)

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes from where it stands; for botocore."""
        end = len(self.data) if size is None or size < 0 else self._offset + size
        chunk = bytes(self.data[self._offset : end])
        self._offset += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to an offset; for botocore."""
        base = {SEEK_SET: 0, SEEK_CUR: self._offset, SEEK_END: len(self.data)}[whence]
        self._offset = max(0, base + offset)
        return self._offset

    def tell(self) -> int:
        """Where it stands; for botocore."""
        return self._offset

    def chunks(self, transport: Transport | None) -> Iterator[memoryview]:
        """What to send through a connection; the next chunk is asked for when one is sent."""
        self._transport = transport
        for offset in range(0, len(self.data), _CHUNK_BYTES):
            self._progress()
            yield self.data[offset : offset + _CHUNK_BYTES]
        self._progress()
        self._transport = None

    def _progress(self) -> None:
        if self.on_progress is not None:
            self.on_progress()

    def abandon(self) -> None:
        """Abort the connection if it is still being sent.

        An orderly close would wait until the server takes the rest, for ever if it has stalled.
        """
        transport, self._transport = self._transport, None
        if transport is not None:
            # One that was closed, and has sent what was left since, has no event loop any more,
            # which asyncio's `abort` does not expect (`_SelectorTransport._force_close`).
            with suppress(AttributeError):
                transport.abort()


class FilePayload(Payload):
    """Bytes of a file, which the fast lane sends from there; aiobotocore needs them in memory.

    Args:
        range: Which bytes.
        sha256: See `Payload`.
    """

    def __init__(self, range: FileRange, sha256: str | None) -> None:
        super().__init__(memoryview(b""), sha256, repeatable=True)
        self.range = range

    @override
    def __len__(self) -> int:
        return self.range.size

    def load(self) -> None:
        """Bring them to memory; blocks.

        Raises:
            TruncatedBodyError: The file ends before them.
        """
        self._data = memoryview(self.range.read())


def body_for(
    data: bytes | memoryview, sha256: str | None, params: dict[str, object], *, repeatable: bool
) -> Payload | None:
    """Put a body into a request's parameters.

    Args:
        data: The bytes.
        sha256: Their SHA-256, if the signature is to cover them.
        params: Gets `Body`.
        repeatable: Whether it does no harm if aiohttp sends it again on another connection.
    """
    if not data or (repeatable and len(data) <= INLINE_BYTES):
        # aiohttp sends plain bytes with the headers in one segment, and botocore does not ask
        # for a 100-continue first.
        params["Body"] = bytes(data)
        return None
    payload = Payload(memoryview(data), sha256, repeatable=repeatable)
    params["Body"] = payload
    return payload
