"""Which ranges a download fetches, how many at once, and what it notes to be resumed."""

import json
from collections.abc import Sequence
from typing import Self, cast

from attrs import asdict, field, frozen

from polystow._ranges import ByteRange, ContentRange
from polystow._value import Value
from polystow._values import ObjectInfo

MIN_PART_BYTES = 8 * 1_048_576
MAX_PART_BYTES = 64 * 1_048_576
MAX_CONCURRENCY = 4
_PARTS_PER_TASK = 4


@frozen(eq=False, repr=False)
class Transfer(Value):
    """How a download is cut: decided by `plan_transfer`, and kept in the journal.

    Attributes:
        offset: Where in the object it begins.
        length: How many bytes it has.
        part_size_bytes: The length of every part but the last.
        concurrency: How many parts are fetched at once.
    """

    offset: int
    length: int
    part_size_bytes: int
    concurrency: int

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-self.length // self.part_size_bytes)

    def part_length(self, index: int) -> int:
        """The length of a part."""
        return min(self.part_size_bytes, self.length - index * self.part_size_bytes)

    def part_offset(self, index: int) -> int:
        """Where in the object a part begins."""
        return self.offset + index * self.part_size_bytes

    def range(self, first: int, last: int) -> ByteRange:
        """The range of these parts and all between them."""
        return ByteRange(
            self.part_offset(first), self.part_offset(last) + self.part_length(last) - 1
        )


def plan_transfer(
    part: ContentRange,
    *,
    concurrency: int | None,
    part_size_bytes: int | None,
    resumable: bool,
) -> Transfer:
    """How to fetch a part of an object, or all of it.

    Args:
        part: What is fetched.
        concurrency: How many ranges at once; None for what pays.
        part_size_bytes: How long each; None for what pays.
        resumable: Whether each finished part is noted, so that a single task has several too.
    """
    if concurrency is None:
        concurrency = max(1, min(MAX_CONCURRENCY, part.length // MIN_PART_BYTES))
    if part_size_bytes is None:
        wanted = -(-part.length // (concurrency * _PARTS_PER_TASK))
        part_size_bytes = min(max(wanted, MIN_PART_BYTES), MAX_PART_BYTES)
        if concurrency == 1 and not resumable:
            part_size_bytes = max(1, part.length)
    parts = -(-part.length // part_size_bytes)
    return Transfer(part.offset, part.length, part_size_bytes, max(1, min(concurrency, parts)))


def _plain(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


@frozen(eq=False, repr=False)
class Identity(Value):
    """What tells one content of an object from another.

    Attributes:
        etag: See `ObjectInfo`, as for the others.
        checksum: The algorithm and the value.
        version: See there.
        size: See there.
    """

    etag: str | None
    checksum: tuple[str, ...] | None = field(converter=_plain)
    version: str | None
    size: int | None

    @classmethod
    def of(cls, info: ObjectInfo, size: int | None) -> Self:
        """That of an object of `size` bytes."""
        return cls(info.etag, info.checksum, info.version, size)

    @property
    def certain(self) -> bool:
        """Whether another content would have another one."""
        return self.etag is not None or self.checksum is not None or self.version is not None

    @property
    def crc32(self) -> str | None:
        """The CRC-32 of the whole content, if it tells that."""
        checksum = self.checksum
        return checksum[1] if checksum is not None and checksum[0] == "crc32" else None

    def differs(self, other: "Identity") -> bool:
        """Whether two are of different contents; what one of them does not tell is no difference.

        A ranged read tells less than a whole one on some backends.
        """
        pairs = (
            (self.etag, other.etag),
            (self.checksum, other.checksum),
            (self.version, other.version),
            (self.size, other.size),
        )
        return any(a is not None and b is not None and a != b for a, b in pairs)


@frozen(eq=False, repr=False)
class Journal(Value):
    """What a download that can be resumed has noted.

    Attributes:
        identity: Of the object.
        transfer: How it is cut.
        finished: The CRC-32 of each part that is on the disk.
    """

    identity: Identity
    transfer: Transfer
    finished: dict[int, int]

    def header(self) -> bytes:
        """Its first line."""
        return json.dumps([asdict(self.identity), asdict(self.transfer)]).encode() + b"\n"

    @staticmethod
    def line(index: int, crc32: int) -> bytes:
        """The line of a finished part."""
        return f"{index} {crc32}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """Read it; None if it is none. A last line that was not written to its end is dropped."""
        header, *lines = text.split(b"\n")[:-1] or [b""]
        try:
            identity, transfer = cast("Sequence[dict[str, object]]", json.loads(header))
            journal = cls(
                Identity(**identity),  # type: ignore[arg-type]
                Transfer(**transfer),  # type: ignore[arg-type]
                {},
            )
            for line in lines:
                index, crc32 = map(int, line.split())
                journal.finished[index] = crc32
            within = all(0 <= index < journal.transfer.parts for index in journal.finished)
        except (ValueError, TypeError, ZeroDivisionError):
            return None
        return journal if within else None
