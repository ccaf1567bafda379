"""The checksums that a `DiskS3Server` knows, and how it verifies them.

User Guide, "Checking object integrity".
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Literal

import attrs

PREFIX = "x-amz-checksum-"
_HASHES = ("sha1", "sha256")
_CRCS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8}

type Support = Literal["known", "ignored", "refused"]
"""`known`: kept and verified, as AWS does; `ignored` as Ceph does, `refused` as Backblaze does."""


@attrs.frozen
class KeptChecksum:
    """A checksum as S3 keeps it.

    Attributes:
        algorithm: `crc32`, `sha256` …
        value: In base64; of parts that are not verified together with their number behind it.
        composite: Whether it is one of the parts' checksums.
    """

    algorithm: str
    value: str
    composite: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """As in answers."""
        kind = "COMPOSITE" if self.composite else "FULL_OBJECT"
        return {PREFIX + self.algorithm: self.value, PREFIX + "type": kind}


def sent_checksum(headers: Mapping[str, str]) -> KeptChecksum | None:
    """What a request, or its trailer, carries."""
    for algorithm in (*_CRCS, *_HASHES):
        value = headers.get(PREFIX + algorithm)
        if value:
            return KeptChecksum(algorithm, value)
    return None


class Summing:
    """A checksum under way.

    Args:
        algorithm: Which; one that can't be made here counts as right.
    """

    def __init__(self, algorithm: str) -> None:
        self._size = _CRCS.get(algorithm, 0)
        self._value = 0
        self._crc = _crc_function(algorithm) if self._size else None
        self._hash = hashlib.new(algorithm) if algorithm in _HASHES else None

    def update(self, block: bytes | memoryview) -> None:
        """Take a block."""
        if self._crc is not None:
            self._value = self._crc(block, self._value)
        elif self._hash is not None:
            self._hash.update(block)

    @property
    def value(self) -> str | None:
        """In base64."""
        if self._crc is not None:
            return base64.b64encode(self._value.to_bytes(self._size)).decode()
        return None if self._hash is None else base64.b64encode(self._hash.digest()).decode()


def sum_of(algorithm: str, blocks: Iterable[bytes | memoryview]) -> str | None:
    """The checksum of some blocks; None if it can't be made here."""
    summing = Summing(algorithm)
    for block in blocks:
        summing.update(block)
    return summing.value


def _crc_function(algorithm: str) -> Callable[[Any, int], int] | None:
    if algorithm == "crc32":
        return zlib.crc32
    try:
        module = import_module("awscrt.checksums")
    except ImportError:
        return None
    function: Callable[[Any, int], int] = getattr(module, algorithm)
    return function
