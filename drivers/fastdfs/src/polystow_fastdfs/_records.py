"""The bytes of figures: pure codecs of a tracker's records of groups and storage servers.

Records have no version in them; the length of an answer tells which age of server sent it
(protocol reference, rows 90 to 92; older lengths by the server's source).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from aiofdfs import async_fdfs_protol as fdfs
from attrs import frozen

from polystow import Value
from polystow_fastdfs._figures import (
    GroupInfo,
    StorageCounters,
    StorageInfo,
    StorageStatus,
    Tally,
)
from polystow_fastdfs._protocol import GROUP_BYTES, HEADER, MAX_TIMESTAMP, FrameError, read_text

_MIB: Final = 1 << 20
_READ: Final = 4
_WRITE: Final = 2
_STORAGE_ID_BYTES: Final = 16
_GROUP_NAME: Final = struct.Struct(f">{GROUP_BYTES}s")

# aiofdfs has no constant for it.
_TRACKER_LEADER: Final = 95


def list_groups() -> bytes:
    """Frame that asks a tracker for all groups (row 91)."""
    return HEADER.pack(0, fdfs.TRACKER_PROTO_CMD_SERVER_LIST_ALL_GROUPS, 0)


def list_storages(group: str, storage_id: str | None) -> bytes:
    """Frame that asks a tracker for the storage servers of a group, or for one of them (row 92).

    Args:
        group: The group.
        storage_id: An id, or an address; at most 16 bytes. None for all.
    """
    body = _GROUP_NAME.pack(group.encode()) + (storage_id or "").encode()
    return HEADER.pack(len(body), fdfs.TRACKER_PROTO_CMD_SERVER_LIST_STORAGE, 0) + body


def tracker_leader() -> bytes:
    """Frame that asks a tracker for the leader's address (row 95)."""
    return HEADER.pack(0, _TRACKER_LEADER, 0)


def find_storage_id_mistake(storage_id: str) -> str | None:
    """Say why a text can't name a storage server in `list_storages`, or None."""
    if storage_id.isascii() and 0 < len(storage_id) <= _STORAGE_ID_BYTES:
        return None
    return f"{storage_id!r} can't be a storage server's id: 1 to {_STORAGE_ID_BYTES} ASCII bytes"


def parse_leader(body: bytes) -> str:
    """Read the leader's address, `host:port` (row 95).

    Raises:
        FrameError: If it is none.
    """
    text = read_text(body)
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal()):
        msg = f"a tracker named the leader {text!r}"
        raise FrameError(msg)
    return text


def parse_groups(body: bytes) -> tuple[GroupInfo, ...]:
    """Read groups (rows 90 and 91): 113 bytes each, 105 from servers before 6.13.1.

    Raises:
        FrameError: If the body has no such form.
    """
    for record, read in ((_GROUP, _read_group), (_OLD_GROUP, _read_old_group)):
        if len(body) % record.size == 0:
            found = _read_all(body, record, read)
            if found is not None:
                return found
    msg = f"a list of groups of {len(body)} bytes is none of records of 113 bytes, nor of 105"
    raise FrameError(msg)


def parse_storages(body: bytes) -> tuple[StorageInfo, ...]:
    """Read storage servers (row 92): 487 bytes each, 517 with the address at IPv6 size.

    Older servers send 479 or 509 bytes (6.13.0), 614 or 644 (6.12), 612 or 642 (6.11, and all
    before it).

    Raises:
        FrameError: If the body has no such form.
    """
    for layout in _LAYOUTS:
        if len(body) % layout.record.size == 0:
            found = _read_all(body, layout.record, layout.read)
            if found is not None:
                return found
    sizes = ", ".join(str(layout.record.size) for layout in _LAYOUTS)
    msg = f"a list of storage servers of {len(body)} bytes has none of these records: {sizes}"
    raise FrameError(msg)


def _read_all[T](
    body: bytes, record: struct.Struct, read: Callable[[tuple[object, ...]], T]
) -> tuple[T, ...] | None:
    try:
        return tuple(read(fields) for fields in record.iter_unpack(body))
    except FrameError:
        return None  # the length fits a layout of another age by chance


# Groups

_GROUP: Final = struct.Struct(f">{GROUP_BYTES + 1}s12q")
_OLD_GROUP: Final = struct.Struct(f">{GROUP_BYTES + 1}s11q")


def _read_group(fields: tuple[object, ...]) -> GroupInfo:
    take = _Fields(fields)
    return GroupInfo(
        name=take.name(),
        total_bytes=take.mib(),
        free_bytes=take.mib(),
        reserved_bytes=take.mib(),
        trunk_free_bytes=take.mib(),
        storage_count=take.number(),
        storage_port=take.number(),
        readable_count=take.number(),
        writable_count=take.number(),
        current_write=take.number(),
        path_count=take.number(),
        subdir_count=take.number(),
        trunk_file_id=take.number(),
    )


def _read_old_group(fields: tuple[object, ...]) -> GroupInfo:
    take = _Fields(fields)
    name, total, free, trunk_free = take.name(), take.mib(), take.mib(), take.mib()
    count, port = take.number(), take.number()
    take.number()  # a port for HTTP, or in 6.13.0 alone how many are readable
    active = take.number()
    return GroupInfo(
        name=name,
        total_bytes=total,
        free_bytes=free,
        reserved_bytes=None,
        trunk_free_bytes=trunk_free,
        storage_count=count,
        storage_port=port,
        readable_count=active,
        writable_count=active,
        current_write=take.number(),
        path_count=take.number(),
        subdir_count=take.number(),
        trunk_file_id=take.number(),
    )


# Storage servers


@frozen(eq=False, repr=False)
class _Layout(Value):
    """The record of one age of servers.

    Attributes:
        address_bytes: 16, or 46 at IPv6 size.
        version_bytes: 6 or 8.
        has_mode: Since 6.13 it says what a server is for, and no more has a domain and an HTTP
            port.
        has_reserved: Since 6.13.1 it tells the reserved space.
    """

    address_bytes: int
    version_bytes: int = 8
    has_mode: bool = True
    has_reserved: bool = True

    @property
    def record(self) -> struct.Struct:
        domain = "" if self.has_mode else "128s"
        numbers = 10 if self.has_reserved or not self.has_mode else 9
        return struct.Struct(
            f">B{'B' if self.has_mode else ''}{_STORAGE_ID_BYTES}s{self.address_bytes}s{domain}"
            f"{_STORAGE_ID_BYTES}s{self.version_bytes}s{numbers}q3i42q?"
        )

    def read(self, fields: tuple[object, ...]) -> StorageInfo:
        take = _Fields(fields)
        status = take.number()
        mode = take.number() if self.has_mode else None
        storage_id, host = take.text(), take.name()
        if not self.has_mode:
            take.text()
        source_id, version = take.text(), take.text()
        joined, started, total, free = take.time(), take.time(), take.mib(), take.mib()
        reserved = take.mib() if self.has_reserved else None
        priority, paths, subdirs, path = (take.number() for _ in range(4))
        port = take.number()
        if not self.has_mode:
            take.number()
        allocated, connections, most = (take.number() for _ in range(3))
        return StorageInfo(
            status=_STATUSES.get(status, StorageStatus.UNKNOWN),
            readable=None if mode is None else bool(mode & _READ),
            writable=None if mode is None else bool(mode & _WRITE),
            storage_id=storage_id,
            host=host,
            port=port,
            source_id=source_id,
            version=version,
            joined=joined,
            started=started,
            total_bytes=total,
            free_bytes=free,
            reserved_bytes=reserved,
            upload_priority=priority,
            path_count=paths,
            subdir_count=subdirs,
            current_path=path,
            allocated_connections=allocated,
            connections=connections,
            most_connections=most,
            counters=StorageCounters(**{name: take.tally() for name in _COUNTERS}),
            last_source_update=take.time(),
            last_sync_update=take.time(),
            last_synced=take.time(),
            last_heartbeat=take.time(),
            trunk_server=bool(take.number()),
        )


_STATUSES: Final = {status.value: status for status in StorageStatus}
_COUNTERS: Final = tuple(StorageCounters.__annotations__)
_LAYOUTS: Final = tuple(
    layout
    for width in (16, 46)
    for layout in (
        _Layout(width),
        _Layout(width, has_reserved=False),
        _Layout(width, has_mode=False, has_reserved=False),
        _Layout(width, 6, has_mode=False, has_reserved=False),
    )
)


class _Fields:
    """The fields of a record, taken one after the other."""

    def __init__(self, fields: tuple[object, ...]) -> None:
        self._fields: Iterator[object] = iter(fields)

    def number(self) -> int:
        value = next(self._fields)
        assert isinstance(value, int)
        return value

    def mib(self) -> int:
        return self.number() * _MIB

    def text(self) -> str:
        value = next(self._fields)
        assert isinstance(value, bytes)
        return read_text(value)

    def name(self) -> str:
        text = self.text()
        if not text.isprintable() or not text:
            msg = f"a record has the name {text!r}"
            raise FrameError(msg)
        return text

    def time(self) -> datetime | None:
        seconds = self.number()
        return datetime.fromtimestamp(seconds, UTC) if 0 < seconds <= MAX_TIMESTAMP else None

    def tally(self) -> Tally:
        return Tally(self.number(), self.number())
