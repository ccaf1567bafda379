"""What the driver tells of a file: from an id, a server's facts and metadata to `ObjectInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from attrs import evolve, frozen

from polystow import Checksum, ObjectHeaders, ObjectInfo, ResponseHeaders, Value
from polystow_fastdfs._file_id import FileId

ORIGINAL_NAME: Final = "OriginFileName"
ORIGINAL_EXTENSION: Final = "OriginFileExtName"
ORIGINAL_SIZE: Final = "OriginFileSize"

BOOKKEEPING: Final = frozenset({ORIGINAL_NAME, ORIGINAL_EXTENSION, ORIGINAL_SIZE})
"""Metadata that aiofdfs and s3py-helper write beside the user's own, and that users don't see."""


@frozen(slots=False, eq=False, repr=False)  # made for each file: slots take twice the time
class InfoExtra(Value):
    """What only FastDFS tells of a file: the type of `ObjectInfo.extra`.

    Attributes:
        group: Group of storage servers that keeps the file.
        store_path_index: Store path on those servers (`M00` is 0).
        source_address: Storage server that took the upload, or its id; None if unknown.
        crc32: zlib's CRC-32 of the content; None if unknown.
        appender: Whether the file can be appended to.
        trunk: Whether the file shares a trunk file with other small ones.
        slave: Whether the name was derived from a master file's.
    """

    group: str
    store_path_index: int
    source_address: str | None
    crc32: int | None
    appender: bool
    trunk: bool
    slave: bool


@lru_cache(maxsize=256)  # files come in bursts, and times in whole seconds
def _moment(unix_time_s: int) -> datetime:
    return datetime.fromtimestamp(unix_time_s, UTC)


def make_info(
    file: FileId,
    *,
    size: int | None = None,
    crc32: int | None = None,
    timestamp: int | None = None,
    source: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ObjectInfo:
    """Put together what is known of a file; what isn't given is taken from its id.

    Args:
        file: The id.
        size: Size in bytes.
        crc32: Checksum of the content.
        timestamp: Unix time of the last change, in seconds.
        source: Address of the storage server that took the upload.
        metadata: As the server keeps it, bookkeeping included; None if it was not asked for.
    """
    size = file.size if size is None else size
    crc32 = file.crc32 if crc32 is None else crc32
    created = _moment(file.created_s)
    # Only appender files change after their upload.
    modified = None if file.appender else created
    if timestamp is not None:
        modified = _moment(timestamp)
    return ObjectInfo(
        path=file.path,
        size=size,
        filename=metadata.get(ORIGINAL_NAME) if metadata else None,
        checksum=None if crc32 is None else Checksum("crc32", f"{crc32:08x}"),
        modified=modified,
        created=created,
        metadata=None if metadata is None else user_metadata(metadata),
        extra=InfoExtra(
            file.group,
            file.path_index,
            file.source if source is None else source,
            crc32,
            file.appender,
            file.trunk,
            file.slave,
        ),
    )


def with_response(info: ObjectInfo, response: ResponseHeaders | None) -> ObjectInfo:
    """A file as the headers of a read describe it."""
    if response is None:
        return info
    headers = ObjectHeaders(
        response.cache_control,
        response.content_disposition,
        response.content_encoding,
        response.content_language,
        response.expires,
    )
    return evolve(info, headers=headers, content_type=response.content_type)


def user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The user's own entries."""
    return {name: value for name, value in metadata.items() if name not in BOOKKEEPING}


def bookkeeping_for(filename: str, extension: str, size: int) -> dict[str, str]:
    """The entries that keep a file's original name, as aiofdfs writes them."""
    return {
        ORIGINAL_EXTENSION: extension,
        ORIGINAL_NAME: filename,
        ORIGINAL_SIZE: str(size),
    }
