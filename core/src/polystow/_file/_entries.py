"""What is kept beside an object's data, and how both become visible at one moment.

The name of an entry is the *identity* of the data file that it belongs to: the time of its last
change and its size. A writer puts the entry there first and renames the data into place after;
that rename commits both. Until then nobody looks the entry up, and a moment later nobody looks up
the old one. Data that another tool has put there or edited has an identity without an entry.
"""

import json
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from attrs import frozen

from polystow._file._grammar import Components, text_of
from polystow._value import Value
from polystow._values import NO_METADATA

_VERSION = 1
_BUMPS_NS = (0, *(10**exponent for exponent in range(11)))
_CLOSE_NS = 10_000_000_000


class Identity(NamedTuple):
    """Which of the files that were ever at a place: no two of one place have the same.

    Attributes:
        mtime_ns: The time of the last change, in nanoseconds since 1970.
        size: In bytes.
    """

    mtime_ns: int
    size: int

    @property
    def etag(self) -> str:
        """As entity tag and as name of an entry."""
        return f"{self.mtime_ns & 0xFFFF_FFFF_FFFF_FFFF:016x}-{self.size:x}"


@frozen(eq=False, repr=False)
class Entry(Value):
    """What is kept beside an object's data.

    Attributes:
        content_type: As it was written; None to tell it from the name.
        filename: The original name.
        metadata: The user's own.
        crc32: Of the data, in hexadecimal digits; None where it was never computed.
    """

    content_type: str | None = None
    filename: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    crc32: str | None = None


def identity_of(status: os.stat_result) -> Identity:
    """The identity of a data file."""
    return Identity(status.st_mtime_ns, status.st_size)


def candidate_times(now_ns: int, current: Identity | None) -> Iterator[int]:
    """Times for a new data file, until the file system keeps one that is free.

    They begin a little later than the current file's where the clock has not moved on (some file
    systems keep full seconds), and jump further each time.

    Args:
        now_ns: The clock.
        current: The file that is to be replaced.
    """
    start = now_ns
    if current is not None and 0 <= current.mtime_ns - now_ns < _CLOSE_NS:
        start = current.mtime_ns + 1
    for bump in _BUMPS_NS:
        yield start + bump


def encode_entry(entry: Entry, components: Components) -> bytes:
    """An entry as it is stored; the key is there for people who look into the file."""
    fields = {
        "version": _VERSION,
        "key": text_of(components),
        "content_type": entry.content_type,
        "filename": entry.filename,
        "metadata": dict(entry.metadata),
        "crc32": entry.crc32,
    }
    return json.dumps(fields).encode()


def decode_entry(data: bytes) -> Entry:
    """An entry as it was stored.

    Raises:
        ValueError: It is none.
    """
    fields: object = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    known = cast("dict[str, object]", fields)
    metadata = known.get("metadata")
    if known.get("version") != _VERSION or not isinstance(metadata, dict):
        raise ValueError(f"it is not of version {_VERSION}")
    pairs = cast("dict[str, object]", metadata)
    return Entry(
        content_type=_text(known.get("content_type")),
        filename=_text(known.get("filename")),
        metadata={name: str(value) for name, value in pairs.items()} or NO_METADATA,
        crc32=_text(known.get("crc32")),
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no text")
