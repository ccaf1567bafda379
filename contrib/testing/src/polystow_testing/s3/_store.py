"""What a `DiskS3Server` keeps: objects and uploads as segments on disk, or only their lengths."""

import os
import uuid
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

import attrs

from polystow_testing.s3._checksums import KeptChecksum, Support

PATTERN = bytes(range(256)) * 4096
"""What is read of discarded objects: the byte at offset n is n modulo 256. 1 MiB of it."""


class Segment:
    """A run of bytes that one request brought; its file goes when nobody refers to it.

    Args:
        path: Its file; None if the bytes were thrown away.
        size: In bytes.
    """

    def __init__(self, path: Path | None, size: int) -> None:
        self.path = path
        self.size = size
        if path is not None:
            weakref.finalize(self, _unlink, path)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


@attrs.frozen
class Content:
    """What a request's body became.

    Attributes:
        segment: Where it is.
        etag: The MD5 in hexadecimal digits, or a random text of that form.
        checksum: The one that was sent with it, if any.
    """

    segment: Segment
    etag: str
    checksum: KeptChecksum | None = None


@attrs.frozen
class StoredObject:
    """An object.

    Attributes:
        segments: Its bytes.
        size: In bytes.
        etag: Without quotes.
        modified: When it was written.
        headers: The headers that go back with it: content type, metadata.
        checksum: The one that is kept with it, if any.
    """

    segments: tuple[Segment, ...]
    size: int
    etag: str
    modified: datetime
    headers: Mapping[str, str]
    checksum: KeptChecksum | None = None


@attrs.define
class Upload:
    """A multipart upload in progress.

    Attributes:
        bucket: Where it goes.
        key: Where it goes.
        headers: As in `StoredObject`.
        algorithm: Of the checksum to keep, in lower case; empty for none.
        composite: Whether that is one of the parts' checksums.
        initiated: When it began.
        parts: Those that have come, by number.
    """

    bucket: str
    key: str
    headers: Mapping[str, str]
    algorithm: str = ""
    composite: bool = False
    initiated: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    parts: dict[int, Content] = attrs.field(factory=dict[int, Content])


class Store:
    """Buckets, objects and uploads; used by one thread.

    Args:
        directory: Where segments go.
        discard: Keep lengths only.
        digests: Make entity tags of MD5; otherwise they are random, which is faster.
        checksums: What it does with checksums.
    """

    def __init__(
        self, directory: Path, *, discard: bool, digests: bool, checksums: Support = "known"
    ) -> None:
        self.directory = directory
        self.checksums = checksums
        self.discard = discard
        self.digests = digests
        self.buckets: dict[str, dict[str, StoredObject]] = {}
        self.uploads: dict[str, Upload] = {}

    def receiver(self) -> "Receiver":
        """Something to write a request's body to."""
        path = None if self.discard else self.directory / uuid.uuid4().hex
        return Receiver(path, digests=self.digests)

    def put(
        self, bucket: str, key: str, contents: tuple[Content, ...], headers: Mapping[str, str],
        *, checksum: KeptChecksum | None = None, multipart: bool = False,
    ) -> StoredObject:  # fmt: skip
        """Put an object in place of what is there."""
        etag = contents[0].etag if contents else uuid.uuid4().hex
        if multipart:
            joined = b"".join(bytes.fromhex(content.etag) for content in contents)
            etag = f"{md5(joined, usedforsecurity=False).hexdigest()}-{len(contents)}"
        stored = StoredObject(
            segments=tuple(content.segment for content in contents),
            size=sum(content.segment.size for content in contents),
            etag=etag,
            modified=datetime.now(UTC).replace(microsecond=0),
            headers=headers,
            checksum=checksum,
        )
        self.buckets[bucket][key] = stored
        return stored

    def clear(self) -> None:
        """Drop everything but the buckets' names."""
        self.uploads.clear()
        for objects in self.buckets.values():
            objects.clear()


class Receiver:
    """Takes a body, block by block.

    Args:
        path: The file to write; None to count only.
        digests: Whether to hash it.
    """

    def __init__(self, path: Path | None, *, digests: bool) -> None:
        self._path = path
        self._file = None if path is None else path.open("wb", buffering=0)
        self._md5 = md5(usedforsecurity=False) if digests else None
        self.size = 0

    def write(self, block: bytes | memoryview) -> None:
        """Take a block."""
        self.size += len(block)
        if self._md5 is not None:
            self._md5.update(block)
        if self._file is not None:
            self._file.write(block)

    @property
    def md5(self) -> bytes | None:
        """The digest of what has come, if it is made."""
        return None if self._md5 is None else self._md5.digest()

    def finish(self, checksum: KeptChecksum | None) -> Content:
        """The content; nothing may be written after."""
        if self._file is not None:
            self._file.close()
        etag = uuid.uuid4().hex if self._md5 is None else self._md5.hexdigest()
        return Content(Segment(self._path, self.size), etag, checksum)

    def discard(self) -> None:
        """Drop what has come."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def read_blocks(
    stored: StoredObject, first: int, length: int, block_bytes: int
) -> Iterator[bytes | memoryview]:
    """The bytes of an object from `first` on, block by block."""
    return read_segments(stored.segments, first, length, block_bytes)


def read_segments(
    segments: tuple[Segment, ...], first: int, length: int, block_bytes: int
) -> Iterator[bytes | memoryview]:
    """The bytes of several segments, as of one."""
    start = 0
    for segment in segments:
        end = start + segment.size
        if length and first < end:
            take = min(end - first, length)
            yield from _segment_blocks(segment, first - start, take, first, block_bytes)
            first += take
            length -= take
        start = end


def _segment_blocks(
    segment: Segment, offset: int, length: int, absolute: int, block_bytes: int
) -> Iterator[bytes | memoryview]:
    if segment.path is None:
        pattern = memoryview(PATTERN)
        while length:
            start = absolute % 256
            block = pattern[start : start + min(length, block_bytes, len(PATTERN) - 256)]
            absolute += len(block)
            length -= len(block)
            yield block
        return
    with segment.path.open("rb", buffering=0) as file:
        file.seek(offset, os.SEEK_SET)
        while length:
            data = file.read(min(length, block_bytes))
            if not data:
                return
            length -= len(data)
            yield data
