"""Stored files as tests see them, and how they get there without the network."""

from collections.abc import Mapping

import attrs

from polystow_testing.fastdfs._group import Group, GroupFile
from polystow_testing.fastdfs._metadata import to_mapping


@attrs.frozen(kw_only=True)
class StoredFile:
    """A file in a group.

    Attributes:
        file_id: "group/M00/...".
        size_bytes: Size now.
        crc32: Of the content now, unsigned.
        created: Unix time in seconds.
        source: Address ("host:port") of the storage server that took the upload.
        is_appender: Whether it can be appended to.
        is_slave: Whether it is a slave file.
        metadata: Names and values, or None when it has none.
    """

    file_id: str
    size_bytes: int
    crc32: int
    created: int
    source: str
    is_appender: bool
    is_slave: bool
    metadata: Mapping[str, str] | None


def put_file(group: Group, data: bytes, ext: str, metadata: bytes | None, *, appender: bool) -> str:
    """Store `data` on all storage servers of `group`; return the file id."""
    spool = group.store.spool()
    spool.write(data)
    file = group.create(
        spool,
        source=group.endpoints[0],
        path_index=group.next_path_index(),
        extension=ext,
        appender=appender,
    )
    file.replicated_at = float("-inf")
    file.metadata = metadata
    return f"{group.name}/{file.name}"


def describe_file(group: Group, file: GroupFile) -> StoredFile:
    """Return what tests may know of `file`."""
    return StoredFile(
        file_id=f"{group.name}/{file.name}",
        size_bytes=file.content.size_bytes,
        crc32=file.content.crc32(),
        created=file.created,
        source=str(file.source),
        is_appender=file.is_appender,
        is_slave=file.is_slave,
        metadata=None if file.metadata is None else to_mapping(file.metadata),
    )
