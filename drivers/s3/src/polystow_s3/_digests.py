"""CRC32 and SHA-256 of what is sent, made in worker threads where they would hold the loop."""

import base64
import hashlib
import zlib
from functools import lru_cache
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


def combine_crc32(first: int, second: int, second_length: int) -> int:
    """The CRC32 of two pieces, from the CRC32 of each, so that parts are hashed side by side.

    The method of zlib's `crc32_combine`: appending n bytes multiplies the first CRC by x^(8n)
    modulo the polynomial, in GF(2).

    Args:
        first: The CRC32 of the first piece.
        second: The CRC32 of the second piece.
        second_length: The second piece's length in bytes.
    """
    return _multiply(_power_of_x(8 * second_length), first) ^ second


_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def _multiply(a: int, b: int) -> int:
    # Polynomials over GF(2), bits reversed as in zlib: the highest bit is x^0.
    product = 0
    mask = _ONE
    while mask:
        if a & mask:
            product ^= b
        mask >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=64)
def _power_of_x(exponent: int) -> int:
    result = _ONE
    square = _ONE >> 1
    while exponent:
        if exponent & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        exponent >>= 1
    return result
