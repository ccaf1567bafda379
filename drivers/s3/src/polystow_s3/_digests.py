"""Digests of what is sent and read, made in worker threads where they would hold the loop.

CRC32C and CRC64NVME need `awscrt`, which the extra `polystow-s3[crt]` brings.
"""

import binascii
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Protocol, cast

import anyio
from anyio import to_thread
from attrs import Factory, define, field, frozen

from polystow import Value, combine_crc, crc32_of, in_thread
from polystow_s3._lane._sending import FileRange

if TYPE_CHECKING:
    from anyio.lowlevel import RunVar

_PIECE_BYTES = 1_048_576
_PIECES_AT_ONCE = 64
INLINE_BYTES = 65_536
"""Up to this, hashing costs less than a hop to a thread and back (about 60 µs)."""

CRT_ADVICE = "install polystow-s3[crt], which brings awscrt"


class Hasher(Protocol):
    """A digest under way, as those of hashlib."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Of all that came."""
        ...


@define
class _Crc:
    function: Callable[[bytes | memoryview, int], int]
    size: int
    value: int = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self.value = self.function(data, self.value)

    def digest(self) -> bytes:
        return self.value.to_bytes(self.size)


def _parameter_of(algorithm: "Algorithm") -> str:
    return "ContentMD5" if algorithm.name == "md5" else f"Checksum{algorithm.name.upper()}"


@frozen(eq=False, repr=False)
class Algorithm(Value):
    """A kind of digest that S3 knows.

    Attributes:
        name: As in `Checksum.algorithm`.
        size: In bytes.
        is_crc: Whether those of pieces give that of the whole.
        parameter: What botocore calls the header that carries it.
    """

    name: str
    size: int
    is_crc: bool = False
    parameter: str = field(init=False, default=Factory(_parameter_of, takes_self=True))

    @property
    def needs_crt(self) -> bool:
        """Whether awscrt makes it."""
        return self.name in {"crc32c", "crc64nvme"}

    @property
    def available(self) -> bool:
        """Whether it can be made here."""
        return not self.needs_crt or _has_crt()

    def new(self) -> Hasher:
        """Begin one."""
        if self.name == "crc32":
            return _Crc(crc32_of, self.size)
        if self.needs_crt:
            return _Crc(_crt_function(self.name), self.size)
        return cast("Hasher", hashlib.new(self.name, usedforsecurity=False))


ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("crc32", 4, is_crc=True),
        Algorithm("crc32c", 4, is_crc=True),
        Algorithm("crc64nvme", 8, is_crc=True),
        Algorithm("sha256", 32),
        Algorithm("sha1", 20),
        Algorithm("md5", 16),
    )
}


@cache
def _has_crt() -> bool:
    return find_spec("awscrt") is not None


@cache
def _crt_function(name: str) -> Callable[[bytes | memoryview, int], int]:
    checksums = import_module("awscrt.checksums")  # 12 MB that few need
    return cast("Callable[[bytes | memoryview, int], int]", getattr(checksums, name))


def base64_of(digest: bytes) -> str:
    """As in the headers of S3."""
    return binascii.b2a_base64(digest, newline=False).decode()


@frozen(slots=False, eq=False, repr=False)
class Digests(Value):
    """Of one buffer.

    Attributes:
        values: Algorithm to digest.
        sha256: The SHA-256 in hexadecimal digits, for the signature; None if it was not asked
            for.
    """

    values: Mapping[str, bytes]
    sha256: str | None = None


@cache
def _limiter(name: str) -> "RunVar[anyio.CapacityLimiter]":
    from anyio.lowlevel import RunVar  # 4 ms of imports, for those who hash much

    return RunVar(f"polystow_s3_{name}")


def _threads(name: str = "hashing", spared: int = 1) -> "anyio.CapacityLimiter":
    """The threads that hash at once: as many as there are processors, but for the event loop's.

    More of them only take the processors from the loop, and 64 uploads make others wait. The loop
    does little for what goes from files, so those who hash files spare it none.
    """
    limiter = _limiter(name)
    try:
        return limiter.get()
    except LookupError:
        threads = anyio.CapacityLimiter(max(1, (os.cpu_count() or 2) - spared))
        limiter.set(threads)
        return threads


async def digest(
    data: bytes | memoryview, algorithms: Iterable[str] = ("crc32",), *, signed: bool
) -> Digests:
    """Hash a buffer, without holding the event loop.

    Args:
        data: It must not change meanwhile.
        algorithms: Which digests to make.
        signed: Whether to make the SHA-256 for a signature that covers the body.
    """
    names = frozenset(algorithms)
    if len(data) <= INLINE_BYTES or not (names or signed):
        return digest_now(data, names, signed=signed)
    return await to_thread.run_sync(
        lambda: digest_now(data, names, signed=signed), limiter=_threads()
    )


async def digest_file(file: FileRange, algorithms: Iterable[str], *, signed: bool) -> Digests:
    """Hash bytes of a file, without holding the event loop or more than a piece of them.

    Args:
        file: Which bytes; whether they are the same when they are sent, only the service can see.
        algorithms: As for `digest`.
        signed: See there.

    Raises:
        TruncatedBodyError: The file ends before them.
    """
    names = frozenset(algorithms)
    if not (names or signed):
        return NO_DIGESTS
    hashers = {name: ALGORITHMS[name].new() for name in (names | {"sha256"} if signed else names)}
    pieces = file.pieces(_PIECE_BYTES)

    def hash_some() -> bool:
        # A cancellation waits for no more than these.
        count = 0
        for piece in islice(pieces, _PIECES_AT_ONCE):
            count += 1
            for hasher in hashers.values():
                hasher.update(piece)
        return count == _PIECES_AT_ONCE

    while await in_thread(hash_some, limiter=_threads("files", spared=0)):
        pass
    values = {name: hasher.digest() for name, hasher in hashers.items()}
    return Digests(
        {name: values[name] for name in names}, values["sha256"].hex() if signed else None
    )


NO_DIGESTS = Digests({})
"""Where none were asked for."""


def digest_now(data: bytes | memoryview, algorithms: frozenset[str], *, signed: bool) -> Digests:
    """Hash a buffer here and now."""
    if not (algorithms or signed):
        return NO_DIGESTS
    values: dict[str, bytes] = {}
    for name in algorithms:
        hasher = ALGORITHMS[name].new()
        hasher.update(data)
        values[name] = hasher.digest()
    if not signed:
        return Digests(values)
    signature = values.get("sha256") or hashlib.sha256(data).digest()
    return Digests(values, signature.hex())


@define
class WholeDigest:
    """The digest of an object, made while it goes by, in order.

    Attributes:
        name: The algorithm.
    """

    name: str
    _hasher: Hasher = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._hasher = ALGORITHMS[self.name].new()

    async def update(self, data: memoryview) -> None:
        """Take the next bytes, without holding the event loop."""
        if len(data) <= INLINE_BYTES:
            self._hasher.update(data)
        else:
            await to_thread.run_sync(self._hasher.update, data, limiter=_threads())

    @property
    def value(self) -> bytes:
        """Of all that came."""
        return self._hasher.digest()


def combine(algorithm: Algorithm, pieces: Iterable[tuple[bytes, int]]) -> bytes:
    """The CRC of a whole from those of its pieces, so that parts are hashed side by side.

    Args:
        algorithm: One that is a CRC.
        pieces: The CRC of each, and its length in bytes.
    """
    whole = 0
    for value, length in pieces:
        whole = combine_crc(algorithm.name, whole, int.from_bytes(value), length)
    return whole.to_bytes(algorithm.size)
