"""What is told of an object that was found."""

import mimetypes
from datetime import UTC, datetime, timedelta

from polystow._file._entries import Entry, Identity
from polystow._file._store import Stored
from polystow._values import Checksum, ObjectInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_NO_ENTRY = Entry()


def describe(path: str, stored: Stored) -> ObjectInfo:
    """What is known of an object; the first call reads the system's table of media types."""
    identity = stored.identity
    entry = stored.entry or _NO_ENTRY
    return ObjectInfo(
        path=path,
        size=identity.size,
        filename=entry.filename,
        content_type=entry.content_type or guess_content_type(path),
        etag=identity.etag,
        checksum=None if entry.crc32 is None else Checksum("crc32", entry.crc32),
        modified=modified_at(identity.mtime_ns),
        metadata=entry.metadata,
    )


def describe_listed(path: str, identity: Identity) -> ObjectInfo:
    """What a listing tells of an object."""
    return ObjectInfo(
        path=path,
        size=identity.size,
        etag=identity.etag,
        modified=modified_at(identity.mtime_ns),
    )


def modified_at(mtime_ns: int) -> datetime | None:
    """A time of the file system; None for one that no calendar has."""
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None


def guess_content_type(path: str) -> str | None:
    """The media type that a name's ending tells; of a compressed file, that of the compression."""
    # The dot and slash keep `data:,x` from being read as a URL.
    content_type, encoding = mimetypes.guess_type("./" + path.rpartition("/")[2])
    if encoding is None:
        return content_type
    return _COMPRESSED.get(encoding, "application/octet-stream")
