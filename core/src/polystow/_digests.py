"""Digests of contents: made while the bytes pass, and combined from those of parts."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol, override

from anyio import EndOfStream, to_thread
from anyio.abc import ByteReceiveStream
from attrs import frozen

from polystow._body import Body, BytesBody
from polystow._crc32 import crc32_of
from polystow._driver import ReadStream
from polystow._errors import ChecksumMismatchError, UnsupportedOperationError
from polystow._value import Value
from polystow._values import Checksum, Part

_INLINE_BYTES = 65_536
_INLINE_CRC32_BYTES = 1_048_576


class Digest(Protocol):
    """A digest under way."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes."""
        ...

    def hexdigest(self) -> str:
        """As in `Checksum.value`."""
        ...


class Crc32:
    """zlib's CRC-32, like one of `hashlib`'s digests."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes."""
        self.value = crc32_of(data, self.value)

    def hexdigest(self) -> str:
        """As in `Checksum.value`."""
        return f"{self.value:08x}"


_DIGESTS: dict[str, Callable[[], Digest]] = {
    "crc32": Crc32,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}


def new_digest(algorithm: str) -> Digest | None:
    """A digest of an algorithm of `Checksum`; None if it can't be made here (crc32c …)."""
    make = _DIGESTS.get(algorithm)
    return None if make is None else make()


async def update_digest(digest: Digest, data: bytes | memoryview) -> None:
    """Add bytes; in a worker thread if that would hold the event loop."""
    inline = _INLINE_CRC32_BYTES if isinstance(digest, Crc32) else _INLINE_BYTES
    if len(data) <= inline:
        digest.update(data)
    else:
        await to_thread.run_sync(digest.update, data)


class WholeCheck:
    """Compares a whole content with its checksum while it is read.

    Args:
        expected: The checksum.
        digest: A new digest of its algorithm.
        length: The content's length in bytes.
    """

    __slots__ = ("_digest", "_expected", "_left")

    def __init__(self, expected: Checksum, digest: Digest, length: int) -> None:
        self._expected = expected
        self._digest = digest
        self._left = length

    async def take(self, chunk: bytes) -> None:
        """Add a chunk, before it is given on.

        Raises:
            ChecksumMismatchError: It was the last one, and the content has another digest.
        """
        await update_digest(self._digest, chunk)
        self._left -= len(chunk)
        if self._left <= 0 and self._digest.hexdigest() != self._expected.value.lower():
            raise ChecksumMismatchError(
                f"what was read has the {self._expected.algorithm} {self._digest.hexdigest()}, "
                f"the object has {self._expected.value}"
            )


def whole_check(stream: ReadStream) -> WholeCheck | None:
    """What compares a read with its object's checksum.

    None if the stream does it itself, is not of the whole object, or the checksum is not known
    or can't be made here.
    """
    if stream.verified:
        return None
    expected = stream.info.checksum
    if expected is None or stream.range.length != stream.info.size:
        return None
    digest = new_digest(expected.algorithm)
    return None if digest is None else WholeCheck(expected, digest, stream.range.length)


# Bits reversed. zlib's; RFC 3720, appendix B.4; NVM Command Set Specification, section 5.2.1.3.4.
_POLYNOMIALS: dict[str, tuple[int, int]] = {
    "crc32": (32, 0xEDB88320),
    "crc32c": (32, 0x82F63B78),
    "crc64nvme": (64, 0x9A6C9329AC4BC9B5),
}


def combine_crc32(first: int, second: int, second_length: int) -> int:
    """`combine_crc` of CRC-32s."""
    return combine_crc("crc32", first, second, second_length)


def combine_crc(algorithm: str, first: int, second: int, second_length: int) -> int:
    """The CRC of two pieces, from the CRC of each, so that parts are hashed side by side.

    The method of zlib's `crc32_combine`: appending n bytes multiplies the first CRC by x^(8n)
    modulo the polynomial, in GF(2).

    Args:
        algorithm: `"crc32"`, `"crc32c"` or `"crc64nvme"`.
        first: The CRC of the first piece.
        second: The CRC of the second piece.
        second_length: The second piece's length in bytes.
    """
    bits, polynomial = _POLYNOMIALS[algorithm]
    power = _power_of_x(8 * second_length, bits, polynomial)
    return _multiply(power, first, bits, polynomial) ^ second


def _multiply(a: int, b: int, bits: int, polynomial: int) -> int:
    # Polynomials over GF(2), bits reversed as in zlib: the highest bit is x^0.
    product = 0
    mask = 1 << (bits - 1)
    while mask:
        if a & mask:
            product ^= b
        mask >>= 1
        b = (b >> 1) ^ polynomial if b & 1 else b >> 1
    return product


@lru_cache(maxsize=64)
def _power_of_x(exponent: int, bits: int, polynomial: int) -> int:
    result = 1 << (bits - 1)
    square = result >> 1
    while exponent:
        if exponent & 1:
            result = _multiply(square, result, bits, polynomial)
        square = _multiply(square, square, bits, polynomial)
        exponent >>= 1
    return result


async def verified(body: Body, checksum: Checksum) -> Body:
    """A body whose stream fails instead of giving its last chunk if its digest is another one.

    Content in memory is compared here and now, and stays as it is.

    Raises:
        UnsupportedOperationError: The algorithm can't be computed here.
        ChecksumMismatchError: The content in memory has another digest.
    """
    digest = new_digest(checksum.algorithm)
    if digest is None:
        raise UnsupportedOperationError(
            f"the backend does not verify {checksum.algorithm!r}, and it can't be computed here: "
            f"give one of {', '.join(_DIGESTS)}"
        )
    if isinstance(body, BytesBody):
        await update_digest(digest, body.data)
        _compare(digest, checksum)
        return body
    return _VerifiedBody(body, checksum)


def check_parts(parts: Sequence[Part], expected: Checksum) -> None:
    """Compare the checksum of an object with those of the parts that it will be made of.

    Raises:
        UnsupportedOperationError: It can't be told from theirs: each needs a CRC of that kind.
        ChecksumMismatchError: It is another one.
    """
    algorithm = expected.algorithm
    told = [
        (int(part.checksum.value, 16), part.size)
        for part in sorted(parts, key=lambda part: part.number)
        if part.checksum is not None and part.checksum.algorithm == algorithm
    ]
    if algorithm not in _POLYNOMIALS or len(told) != len(parts):
        raise UnsupportedOperationError(
            f"the backend does not verify the {algorithm} of an upload in parts, and only a CRC "
            "can be told from those of the parts; leave checksum out"
        )
    found = 0
    for value, size in told:
        found = combine_crc(algorithm, found, value, size)
    if found != int(expected.value, 16):
        raise ChecksumMismatchError(
            f"the parts make a content with another {algorithm} than {expected.value}; nothing "
            "was stored"
        )


def _compare(digest: Digest, expected: Checksum) -> None:
    found = digest.hexdigest()
    if found != expected.value.lower():
        raise ChecksumMismatchError(
            f"the content has the {expected.algorithm} {found}, {expected.value} was expected; "
            "nothing was stored"
        )


@frozen(eq=False, repr=False)
class _VerifiedBody(Value):
    body: Body
    checksum: Checksum

    @property
    def size(self) -> int | None:
        return self.body.size

    @property
    def replayable(self) -> bool:
        return self.body.replayable

    async def open(self) -> ByteReceiveStream:
        digest = new_digest(self.checksum.algorithm)
        assert digest is not None
        return _VerifiedStream(await self.body.open(), digest, self.checksum)


class _VerifiedStream(ByteReceiveStream):
    """Holds each chunk back until it is seen whether more follow.

    So whoever sends on what it receives has not sent the last of a wrong content.
    """

    def __init__(self, stream: ByteReceiveStream, digest: Digest, expected: Checksum) -> None:
        self._stream = stream
        self._digest = digest
        self._expected = expected
        self._held = b""
        self._ended = False

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if not self._held and not self._ended:
            self._held = await self._next(max_bytes)
        if not self._ended and len(self._held) <= max_bytes:
            following = await self._next(max_bytes)
            chunk, self._held = self._held, following
        else:
            chunk, self._held = self._held[:max_bytes], self._held[max_bytes:]
        if not chunk:
            raise EndOfStream
        return chunk

    async def _next(self, max_bytes: int) -> bytes:
        try:
            chunk = await self._stream.receive(max_bytes)
        except EndOfStream:
            _compare(self._digest, self._expected)
            self._ended = True
            return b""
        await update_digest(self._digest, chunk)
        return chunk

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()
