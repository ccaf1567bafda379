"""Records of groups and storage servers, of servers of every age."""

from __future__ import annotations

import contextlib
import string
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from aiofdfs import async_fdfs_protol as fdfs
from aiofdfs.entity.group_info import Group_info
from aiofdfs.entity.storage_info import Storage_info
from hypothesis import given
from hypothesis import strategies as st

from polystow_fastdfs import StorageStatus, Tally
from polystow_fastdfs._protocol import FrameError
from polystow_fastdfs._records import (
    find_storage_id_mistake,
    list_groups,
    list_storages,
    parse_groups,
    parse_leader,
    parse_storages,
    tracker_leader,
)

MIB = 1 << 20
ADDRESS = b"127.0.0.5"
COUNTERS = list(range(100, 142))
COUNTERS[38:] = [1_700_000_000, 0, 1_700_000_001, 2**62]  # times: two known, two not

names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=16)
numbers = st.integers(0, 2**40)


def group_record(name: str, figures: list[int]) -> bytes:
    return struct.pack(f">17s{len(figures)}q", name.encode(), *figures)


def storage_record(version: str, width: int) -> bytes:
    """One storage server, as servers of a version send it."""
    since = tuple(map(int, version.split(".")))
    head = b"\x07" + (b"\x06" if since >= (6, 13) else b"")
    texts = b"100001".ljust(16, b"\0") + ADDRESS.ljust(width, b"\0")
    if since < (6, 13):
        texts += b"files.example".ljust(128, b"\0")
    texts += b"100002".ljust(16, b"\0") + version.encode()[:8].ljust(
        8 if since >= (6, 12) else 6, b"\0"
    )
    figures = [1_600_000_000, 1_600_000_001, 3, 2]
    if since >= (6, 13, 1):
        figures.append(1)
    figures += [10, 4, 256, 3, 23000]
    if since < (6, 13):
        figures.append(8888)
    return (
        head
        + texts
        + struct.pack(f">{len(figures)}q", *figures)
        + struct.pack(">3i42q?", 128, 7, 9, *COUNTERS, True)
    )


def test_statuses_are_those_of_aiofdfs() -> None:
    for status in StorageStatus:
        if status is not StorageStatus.UNKNOWN:
            assert getattr(fdfs, f"FDFS_STORAGE_STATUS_{status.name}") == status.value


def test_frames_follow_the_protocol_table() -> None:
    group = b"group1".ljust(16, b"\0")
    assert list_groups() == struct.pack(">QBB", 0, 91, 0)
    assert tracker_leader() == struct.pack(">QBB", 0, 95, 0)
    assert list_storages("group1", None) == struct.pack(">QBB", 16, 92, 0) + group
    assert list_storages("group1", "10.0.0.1") == (
        struct.pack(">QBB", 24, 92, 0) + group + b"10.0.0.1"
    )


@given(groups=st.lists(st.tuples(names, st.lists(numbers, min_size=12, max_size=12)), max_size=5))
def test_groups_of_newer_servers(groups: list[tuple[str, list[int]]]) -> None:
    found = parse_groups(b"".join(group_record(name, figures) for name, figures in groups))
    assert [group.name for group in found] == [name for name, _ in groups]
    for group, (_, figures) in zip(found, groups, strict=True):
        assert (group.total_bytes, group.free_bytes) == (figures[0] * MIB, figures[1] * MIB)
        assert (group.reserved_bytes, group.trunk_free_bytes) == (
            figures[2] * MIB,
            figures[3] * MIB,
        )
        assert (group.storage_count, group.storage_port) == (figures[4], figures[5])
        assert (group.readable_count, group.writable_count) == (figures[6], figures[7])
        assert (group.current_write, group.path_count) == (figures[8], figures[9])
        assert (group.subdir_count, group.trunk_file_id) == (figures[10], figures[11])


@given(
    groups=st.lists(
        st.tuples(names, st.lists(numbers, min_size=11, max_size=11)), min_size=1, max_size=5
    )
)
def test_groups_of_older_servers(groups: list[tuple[str, list[int]]]) -> None:
    found = parse_groups(b"".join(group_record(name, figures) for name, figures in groups))
    assert [group.name for group in found] == [name for name, _ in groups]
    for group, (_, figures) in zip(found, groups, strict=True):
        assert (group.total_bytes, group.reserved_bytes) == (figures[0] * MIB, None)
        assert group.readable_count == group.writable_count == figures[6]
        assert (group.current_write, group.trunk_file_id) == (figures[7], figures[10])


def test_many_old_groups_are_not_taken_for_new_ones_of_the_same_length() -> None:
    body = b"".join(group_record(f"g{n}", [1] * 11) for n in range(113))
    assert len(body) % 113 == 0
    assert [group.name for group in parse_groups(body)] == [f"g{n}" for n in range(113)]


@pytest.mark.parametrize("width", [16, 46])
@pytest.mark.parametrize(
    ("version", "size"),
    [("6.16.1", 487), ("6.13.1", 487), ("6.13.0", 479), ("6.12.4", 614), ("6.11.0", 612)],
)
@pytest.mark.parametrize("count", [0, 1, 3, 32])
def test_storages_of_servers_of_every_age(version: str, size: int, width: int, count: int) -> None:
    record = storage_record(version, width)
    assert len(record) == size + width - 16
    found = parse_storages(record * count)
    assert len(found) == count
    for storage in found:
        new = version > "6.13"
        assert (storage.status, storage.version) == (StorageStatus.ACTIVE, version)
        assert (storage.readable, storage.writable) == ((True, True) if new else (None, None))
        assert (storage.storage_id, storage.source_id) == ("100001", "100002")
        assert (storage.host, storage.port) == ("127.0.0.5", 23000)
        assert storage.joined == datetime.fromtimestamp(1_600_000_000, UTC)
        assert (storage.total_bytes, storage.free_bytes) == (3 * MIB, 2 * MIB)
        assert storage.reserved_bytes == (MIB if version > "6.13.0" else None)
        assert (storage.upload_priority, storage.path_count, storage.current_path) == (10, 4, 3)
        assert (storage.allocated_connections, storage.connections) == (128, 7)
        assert storage.most_connections == 9
        assert storage.counters.upload == Tally(100, 101)
        assert storage.counters.download == Tally(112, 113)
        assert storage.counters.upload_bytes == Tally(120, 121)
        assert storage.counters.file_write == Tally(136, 137)
        assert storage.last_source_update == datetime.fromtimestamp(1_700_000_000, UTC)
        assert (storage.last_sync_update, storage.last_heartbeat) == (None, None)
        assert storage.trunk_server


def test_older_records_are_those_that_aiofdfs_knows() -> None:
    group: Any = Group_info
    storage: Any = Storage_info
    assert group().get_fmt_size() == len(group_record("g", [0] * 11))
    assert storage().get_fmt_size() == len(storage_record("6.11.0", 16))


def test_unknown_status_is_no_error() -> None:
    record = b"\x0c" + storage_record("6.16.1", 16)[1:]
    assert parse_storages(record)[0].status is StorageStatus.UNKNOWN


@given(data=st.binary(max_size=1100))
def test_no_answer_breaks_a_parser(data: bytes) -> None:
    for parse in (parse_groups, parse_storages, parse_leader):
        with contextlib.suppress(FrameError):
            parse(data)


def test_answer_of_another_length_is_refused_with_the_lengths_that_are_known() -> None:
    with pytest.raises(FrameError, match="113 bytes, nor of 105"):
        parse_groups(bytes(100))
    with pytest.raises(FrameError, match="487, 479"):
        parse_storages(bytes(100))


@pytest.mark.parametrize("text", [b"10.0.0.1:22122", b"[::1]:22122"])
def test_leader(text: bytes) -> None:
    assert parse_leader(text) == text.decode()


@pytest.mark.parametrize("text", [b"", b":1", b"host", b"host:", b"h:x", b"\xff:1"])
def test_what_is_no_leader_is_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        parse_leader(text)


def test_storage_ids_that_trackers_refuse() -> None:
    assert find_storage_id_mistake("127.0.0.1") is None
    for text in ("", "x" * 17, "ä"):
        assert "1 to 16" in (find_storage_id_mistake(text) or "")
