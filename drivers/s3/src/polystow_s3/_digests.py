"""CRC32 and SHA-256 of what is sent, made in worker threads where they would hold the loop."""

import base64
import hashlib
import zlib
from typing import NamedTuple

from anyio import to_thread

INLINE_BYTES = 65_536
"""Up to this, hashing costs less than a hop to a thread and back (about 60 µs)."""


class Digests(NamedTuple):
    """Of one buffer.

    Attributes:
        crc32: Its CRC32.
        sha256: Its SHA-256 in hexadecimal digits; None if it was not asked for.
    """

    crc32: int
    sha256: str | None

    @property
    def crc32_base64(self) -> str:
        """As in the header `x-amz-checksum-crc32`."""
        return base64.b64encode(self.crc32.to_bytes(4)).decode()


async def digest(data: bytes | memoryview, *, sha256: bool) -> Digests:
    """Hash a buffer, without holding the event loop.

    Args:
        data: It must not change meanwhile.
        sha256: Whether to make the SHA-256 too, for a signature that covers the body.
    """
    if len(data) <= INLINE_BYTES:
        return digest_now(data, sha256=sha256)
    return await to_thread.run_sync(lambda: digest_now(data, sha256=sha256))


def digest_now(data: bytes | memoryview, *, sha256: bool) -> Digests:
    """Hash a buffer here and now."""
    return Digests(zlib.crc32(data), hashlib.sha256(data).hexdigest() if sha256 else None)


def crc32_hex(crc: int) -> str:
    """As in `Checksum.value`."""
    return f"{crc:08x}"
