"""A body in memory in the shape that botocore and aiohttp both take without copying it.

botocore wants `read`, `seek` and `tell` (it calls `read` only to hash, which is done before);
aiohttp sends whatever can be iterated, chunk by chunk, and warns of large plain `bytes`.
"""

from collections.abc import Callable
from io import SEEK_CUR, SEEK_END, SEEK_SET

_CHUNK_BYTES = 262_144


class Payload:
    """The body of one request; each repetition iterates over it again.

    Args:
        data: The bytes; they must not change until the answer is there.
        sha256: Their SHA-256 in hexadecimal digits, if the signature is to cover them.
    """

    def __init__(self, data: memoryview, sha256: str | None) -> None:
        self.data = data
        self.sha256 = sha256
        self.on_progress: Callable[[], None] | None = None
        self._offset = 0

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

    def __aiter__(self) -> "_Chunks":
        return _Chunks(self)


class _Chunks:
    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._offset = 0

    def __aiter__(self) -> "_Chunks":
        return self

    async def __anext__(self) -> memoryview:
        payload, offset = self._payload, self._offset
        if payload.on_progress is not None:
            # Also at the end: the last chunk was taken, and now the answer has its time.
            payload.on_progress()
        if offset >= len(payload.data):
            raise StopAsyncIteration
        self._offset = offset + _CHUNK_BYTES
        return payload.data[offset : self._offset]
