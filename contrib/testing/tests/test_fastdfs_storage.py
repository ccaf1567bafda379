import contextlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.fastdfs._file_ids import parse_name

MISSING = "group1/M00/00/00/" + "A" * 34
DATA = b"hello world"


@pytest.fixture(params=["memory", "disk"])
def fastdfs_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FastdfsServer]:
    with FastdfsServer(storage_dir=tmp_path if request.param == "disk" else None) as server:
        yield server


@pytest.fixture
def plain(fastdfs_server: FastdfsServer) -> str:
    return fastdfs_server.put(DATA, ext="txt")


@pytest.fixture
def appender(fastdfs_server: FastdfsServer) -> str:
    return fastdfs_server.put(DATA, ext="txt", appender=True)


def info(wire: Any, body: bytes, flags: int = 0) -> tuple[int, int, int, str]:
    status, answer = wire.call(22, body, flags)
    assert status == 0
    size, modified, crc32 = struct.unpack(">qqQ", answer[:24])
    return size, modified, crc32, answer[24:].rstrip(b"\0").decode()


@pytest.mark.parametrize("command", [11, 23])
@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4096])
def test_an_upload_is_stored_under_a_new_id_that_describes_it(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, command: int, data: bytes
) -> None:
    status, body = storage.call(command, bodies.upload(data))
    assert status == 0
    file_id = bodies.file_id(body)
    assert len(body) == 60
    assert file_id.endswith(".txt")
    stamp = parse_name(file_id.split("/", 1)[1]).stamp
    assert stamp.source_ip == "127.0.0.1"
    assert stamp.crc32 == zlib.crc32(data)
    assert stamp.size_bytes == (len(data) if command == 11 else None)
    assert stamp.is_appender == (command == 23)
    assert fastdfs_server.get(file_id) == data


def test_two_uploads_of_one_content_have_two_ids(storage: Any, bodies: Any) -> None:
    first, second = (storage.call(11, bodies.upload(DATA)).body for _ in range(2))
    assert first != second


def test_the_hundred_and_first_file_goes_into_the_next_directory(
    fastdfs_server: FastdfsServer,
) -> None:
    names = [fastdfs_server.put(b"") for _ in range(101)]
    assert names[99].startswith("group1/M00/00/00/")
    assert names[100].startswith("group1/M00/00/01/")


@pytest.mark.parametrize(
    ("ext", "tail"),
    [(b"", "0123456"), (b"a", "01234.a"), (b"tar.gz", ".tar.gz"), (b"a\0b", "01234.a")],
)
def test_the_tail_of_an_id_is_digits_and_extension(
    storage: Any, bodies: Any, ext: bytes, tail: str
) -> None:
    name = bodies.file_id(storage.call(11, bodies.upload(b"x", ext)).body)
    found = name[-7:]
    assert "".join("0" if c.isdigit() else c for c in found) == "".join(
        "0" if c.isdigit() else c for c in tail
    )


@pytest.mark.parametrize("command", [11, 23])
@pytest.mark.parametrize(
    "change",
    [
        {"path": 1},
        {"size": 4},
        {"size": 2},
        {"size": -1},
        {"ext": b"a/b"},
        {"ext": b"a b"},
        {"ext": b"a+b"},
        {"ext": b"\xc3\xa9"},
    ],
)
def test_a_malformed_upload_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, command: int, change: dict[str, Any]
) -> None:
    assert storage.call(command, bodies.upload(b"abc", **change)).status == 22
    assert storage.is_closed()


def test_a_download_returns_the_part_asked_for(storage: Any, bodies: Any, plain: str) -> None:
    assert storage.call(14, bodies.download(plain)) == (0, DATA)
    assert storage.call(14, bodies.download(plain, 2)) == (0, DATA[2:])
    assert storage.call(14, bodies.download(plain, 2, 3)) == (0, DATA[2:5])
    assert storage.call(14, bodies.download(plain, 2, 2**63 - 1)) == (0, DATA[2:])


@pytest.mark.parametrize(("offset", "length"), [(11, 0), (12, 1), (-3, 0), (0, -1)])
def test_a_download_outside_the_file_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, plain: str, offset: int, length: int
) -> None:
    assert storage.call(14, bodies.download(plain, offset, length)).status == 22
    assert storage.is_closed()


@pytest.mark.parametrize("appender", [False, True])
def test_an_empty_file_cannot_be_downloaded(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, appender: bool
) -> None:
    empty = fastdfs_server.put(b"", appender=appender)
    assert storage.call(14, bodies.download(empty)).status == 22
    assert storage.is_closed()


def test_before_6_15_4_a_download_past_the_end_is_refused(dial: Any, bodies: Any) -> None:
    with FastdfsServer(old_download_range=True) as server:
        file_id = server.put(DATA)
        wire = dial(server.storages()[0])
        assert wire.call(14, bodies.download(file_id, 2, 9)) == (0, DATA[2:])
        assert wire.call(14, bodies.download(file_id, 2, 10)).status == 22
        assert wire.is_closed()


def test_large_files_go_there_and_back_and_the_connection_stays_usable(
    storage: Any, bodies: Any
) -> None:
    data = bytes(range(251)) * 40_000
    file_id = bodies.file_id(storage.call(11, bodies.upload(data)).body)
    assert storage.call(14, bodies.download(file_id)) == (0, data)
    assert (
        storage.call(14, bodies.download(file_id, 5_000_000, 300_001)).body
        == (data[5_000_000:5_300_001])
    )
    assert not storage.is_closed()


def test_a_request_may_arrive_in_small_pieces(storage: Any, bodies: Any, plain: str) -> None:
    message = struct.pack(">qBB", 60, 22, 0) + bodies.file(plain)
    for start in range(0, len(message), 7):
        storage.socket.sendall(message[start : start + 7])
    assert storage.answer().status == 0


def test_file_info_tells_size_time_crc32_and_source(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, plain: str
) -> None:
    created = fastdfs_server.file(plain).created
    assert info(storage, bodies.file(plain))[:1] == (11,)
    size, modified, crc32, source = info(storage, bodies.file(plain))
    assert (size, modified, source) == (11, created, "127.0.0.1")
    assert crc32 & 0xFFFFFFFF == zlib.crc32(DATA)


def test_crc32_is_sign_extended(storage: Any, fastdfs_server: FastdfsServer, bodies: Any) -> None:
    data = b"a"
    assert zlib.crc32(data) >> 31
    crc32 = info(storage, bodies.file(fastdfs_server.put(data)))[2]
    assert crc32 == 0xFFFFFFFF_00000000 | zlib.crc32(data)


def test_the_crc32_of_an_appender_is_computed_unless_skipped(
    storage: Any, bodies: Any, appender: str
) -> None:
    assert storage.call(24, bodies.append(appender, b"!")).status == 0
    assert info(storage, bodies.file(appender))[2] & 0xFFFFFFFF == zlib.crc32(DATA + b"!")
    assert info(storage, bodies.file(appender), flags=1)[2] == 0


@pytest.mark.parametrize(
    ("command", "make"),
    [
        (12, lambda b: b.file(MISSING)),
        (13, lambda b: b.metadata(MISSING, b"O", b"a\x02b")),
        (14, lambda b: b.download(MISSING)),
        (15, lambda b: b.file(MISSING)),
        (21, lambda b: b.slave(MISSING, b"_s", b"jpg", b"x")),
        (22, lambda b: b.file(MISSING)),
        (24, lambda b: b.append(MISSING, b"x")),
        (34, lambda b: b.modify(MISSING, 0, b"x")),
        (36, lambda b: b.truncate(MISSING, 0)),
        (38, lambda b: b.name(MISSING)),
    ],
)
def test_a_missing_file_is_answered_with_2_and_the_connection_stays_open(
    storage: Any, bodies: Any, command: int, make: Any
) -> None:
    assert storage.call(command, make(bodies)).status == 2
    assert not storage.is_closed()


@pytest.mark.parametrize("command", [12, 15, 22])
@pytest.mark.parametrize(
    "name", ["M01/00/00/", "X00/00/00/", "M00/aa/00/", "M00/00/00/../", "M0", ""]
)
def test_a_bad_name_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, command: int, name: str
) -> None:
    body = bodies.group() + name.encode() + (b"A" * 34 if len(name) > 3 else b"")
    assert storage.call(command, body).status == 22
    assert storage.is_closed()


@pytest.mark.parametrize("command", [12, 14, 15, 22])
def test_another_group_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, plain: str, command: int
) -> None:
    body = bodies.group("group2") + bodies.name(plain)
    assert storage.call(command, bytes(16) + body if command == 14 else body).status == 22
    assert storage.is_closed()


@pytest.mark.parametrize("command", [77, 101])
def test_an_unknown_command_is_answered_with_22_and_closed(storage: Any, command: int) -> None:
    assert storage.call(command).status == 22
    assert storage.is_closed()


def test_a_deleted_file_is_gone_with_its_metadata_and_its_slaves_stay(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any
) -> None:
    master = fastdfs_server.put(DATA, ext="txt", metadata={"a": "b"})
    slave = bodies.file_id(storage.call(21, bodies.slave(master, b"_s", b"jpg", b"small")).body)
    assert storage.call(12, bodies.file(master)) == (0, b"")
    for command in (12, 15, 22):
        assert storage.call(command, bodies.file(master)).status == 2
    assert [file.file_id for file in fastdfs_server.files()] == [slave]


def test_a_slave_is_named_after_its_master(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, plain: str
) -> None:
    status, body = storage.call(21, bodies.slave(plain, b"_s", b"jpg", b"small"))
    assert status == 0
    slave = bodies.file_id(body)
    assert slave == plain.removesuffix(".txt") + "_s.jpg"
    assert fastdfs_server.get(slave) == b"small"
    assert info(storage, bodies.file(slave))[2] & 0xFFFFFFFF == zlib.crc32(b"small")
    assert info(storage, bodies.file(slave), flags=1)[2] == 0
    assert storage.call(21, bodies.slave(plain, b"_s", b"jpg", b"again")).status == 17


def test_a_slave_with_a_short_name_passes_for_a_normal_file(
    storage: Any, bodies: Any, plain: str
) -> None:
    slave = bodies.file_id(storage.call(21, bodies.slave(plain, b"_n", b"", b"small")).body)
    size, _, crc32, _ = info(storage, bodies.file(slave))
    assert (size, crc32 & 0xFFFFFFFF) == (5, zlib.crc32(DATA))


@pytest.mark.parametrize(
    ("prefix", "ext"), [(b"", b"jpg"), (b"-m", b""), (b"_/s", b"jpg"), (b"_s", b"a/b")]
)
def test_a_bad_slave_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, plain: str, prefix: bytes, ext: bytes
) -> None:
    assert storage.call(21, bodies.slave(plain, prefix, ext, b"x")).status == 22
    assert storage.is_closed()


def test_an_appender_grows_changes_and_shrinks(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, appender: str
) -> None:
    assert storage.call(24, bodies.append(appender, b"XYZ")) == (0, b"")
    assert fastdfs_server.get(appender) == b"hello worldXYZ"
    assert storage.call(34, bodies.modify(appender, 2, b"--")) == (0, b"")
    assert storage.call(34, bodies.modify(appender, 13, b"END")) == (0, b"")
    assert fastdfs_server.get(appender) == b"he--o worldXYEND"
    assert storage.call(36, bodies.truncate(appender, 4)) == (0, b"")
    assert fastdfs_server.get(appender) == b"he--"
    assert storage.call(36, bodies.truncate(appender, 6)) == (0, b"")
    assert storage.call(14, bodies.download(appender)) == (0, b"he--\0\0")


def test_a_change_of_nothing_echoes_the_request(storage: Any, bodies: Any, appender: str) -> None:
    for command, body in (
        (24, bodies.append(appender, b"")),
        (34, bodies.modify(appender, 2, b"")),
        (36, bodies.truncate(appender, len(DATA))),
    ):
        assert storage.call(command, body) == (0, body)


@pytest.mark.parametrize(
    ("command", "make"),
    [
        (34, lambda b, f: b.modify(f, 12, b"x")),
        (34, lambda b, f: b.modify(f, 12, b"")),
        (34, lambda b, f: b.modify(f, -1, b"x")),
        (36, lambda b, f: b.truncate(f, -1)),
        (24, lambda b, f: b.append(f, b"x")[:-1]),
    ],
)
def test_a_bad_change_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, appender: str, command: int, make: Any
) -> None:
    assert storage.call(command, make(bodies, appender)).status == 22
    assert storage.is_closed()


@pytest.mark.parametrize(
    ("command", "make"),
    [
        (24, lambda b, f: b.append(f, b"x")),
        (34, lambda b, f: b.modify(f, 0, b"x")),
        (36, lambda b, f: b.truncate(f, 0)),
        (38, lambda b, f: b.name(f)),
    ],
)
def test_a_normal_file_cannot_be_changed(
    storage: Any, bodies: Any, plain: str, command: int, make: Any
) -> None:
    assert storage.call(command, make(bodies, plain)).status == 22
    assert storage.is_closed()


def test_a_regenerated_appender_is_a_normal_file_under_a_new_name(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any
) -> None:
    old = fastdfs_server.put(DATA, ext="txt", appender=True, metadata={"a": "b"})
    new = bodies.file_id(storage.call(38, bodies.name(old)).body)
    stamp = parse_name(new.split("/", 1)[1]).stamp
    assert (stamp.is_appender, stamp.size_bytes, stamp.crc32) == (False, 11, zlib.crc32(DATA))
    assert new[-7:] == old[-7:]
    assert storage.call(14, bodies.download(new)) == (0, DATA)
    assert storage.call(22, bodies.file(old)).status == 2
    assert storage.call(15, bodies.file(new)).status == 2
    assert storage.call(24, bodies.append(new, b"x")).status == 22


def test_metadata_is_overwritten_merged_and_returned_sorted(
    storage: Any, bodies: Any, plain: str
) -> None:
    body = bodies.file(plain)
    assert storage.call(15, body).status == 2
    steps = (
        (b"O", b"b\x021\x01a\x022", b"a\x022\x01b\x021"),
        (b"M", b"c\x023\x01a\x02new", b"a\x02new\x01b\x021\x01c\x023"),
        (b"M", b"", b"a\x02new\x01b\x021\x01c\x023"),
        (b"O", b"k\x02v\x01", b"k\x02v\x00"),
        (b"M", b"z\x02v", b"k\x02v\x01z\x02v"),
    )
    for flag, block, expected in steps:
        assert storage.call(13, bodies.metadata(plain, flag, block)) == (0, b"")
        assert storage.call(15, body) == (0, expected)
    assert storage.call(13, bodies.metadata(plain, b"O", b"")).status == 0
    assert storage.call(15, body).status == 2


@pytest.mark.parametrize("flag", [b"X", b"o", b"\0"])
def test_an_unknown_metadata_flag_is_answered_with_22_and_closed(
    storage: Any, bodies: Any, plain: str, flag: bytes
) -> None:
    assert storage.call(13, bodies.metadata(plain, flag, b"a\x02b")).status == 22
    assert storage.is_closed()


def test_uploads_beyond_the_capacity_are_answered_with_28(dial: Any, bodies: Any) -> None:
    with FastdfsServer(capacity_bytes=10) as server:
        wire = dial(server.storages()[0])
        assert wire.call(11, bodies.upload(b"12345678")).status == 0
        assert wire.call(11, bodies.upload(b"901")).status == 28
        assert wire.call(11, bodies.upload(b"90")).status == 0


def test_a_large_body_after_an_early_error_desynchronises_the_connection(
    storage: Any, bodies: Any
) -> None:
    storage.send(24, bodies.append(MISSING, bytes(400 * 1024)))
    assert storage.answer().status == 2
    # The rest of the data is taken for a header of command 0, which is answered with 22 and closed.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        storage.send(111)
    answer = storage.read(10)
    assert answer == b"" or answer[9] == 22


def test_a_storage_server_leaves_pipelined_requests_unread(storage: Any) -> None:
    storage.socket.sendall(struct.pack(">qBB", 0, 111, 0) * 2)
    assert storage.answer().status == 0
    storage.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        storage.answer()


def test_a_client_that_goes_away_in_mid_upload_leaves_nothing(
    dial: Any, fastdfs_server: FastdfsServer, bodies: Any, appender: str
) -> None:
    for command, body in ((11, bodies.upload(b"x" * 90_000)), (24, bodies.append(appender, DATA))):
        with dial(fastdfs_server.storages()[0]) as wire:
            wire.socket.sendall(struct.pack(">qBB", len(body), command, 0) + body[:-1])
        fastdfs_server.wait_until(
            lambda stats: (
                all(node.connections_open == 0 for node in stats)
                and stats[1].connections_opened > 0
            )
        )
    assert [file.file_id for file in fastdfs_server.files()] == [appender]
    assert fastdfs_server.get(appender) == DATA


def test_files_on_disk_lie_where_their_names_say(tmp_path: Path, dial: Any, bodies: Any) -> None:
    with FastdfsServer(storage_dir=tmp_path) as server:
        wire = dial(server.storages()[0])
        file_id = bodies.file_id(wire.call(11, bodies.upload(DATA)).body)
        assert (tmp_path / file_id).read_bytes() == DATA
        wire.call(12, bodies.file(file_id))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_store_paths_take_turns(dial: Any, bodies: Any) -> None:
    with FastdfsServer(store_path_count=2) as server:
        wire = dial(server.storages()[0])
        ids = [bodies.file_id(wire.call(11, bodies.upload(b"x")).body) for _ in range(2)]
        assert {file_id.split("/")[1] for file_id in ids} == {"M00", "M01"}
        assert wire.call(11, bodies.upload(b"x", path=1)).status == 0


def test_a_modification_that_is_cut_off_keeps_what_came_of_it(
    dial: Any, fastdfs_server: FastdfsServer, bodies: Any, appender: str
) -> None:
    body = bodies.modify(appender, 2, b"-----")
    before = fastdfs_server.stats()[1].connections_opened
    with dial(fastdfs_server.storages()[0]) as wire:
        wire.socket.sendall(struct.pack(">qBB", len(body), 34, 0) + body[:-2])
    fastdfs_server.wait_until(
        lambda stats: stats[1].connections_opened > before and not stats[1].connections_open
    )
    assert fastdfs_server.get(appender) == b"he---" + DATA[5:]


def test_a_slave_of_an_appender_can_be_appended_to(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, appender: str
) -> None:
    slave = bodies.file_id(storage.call(21, bodies.slave(appender, b"_s", b"jpg", b"small")).body)
    assert storage.call(24, bodies.append(slave, b"er")) == (0, b"")
    assert fastdfs_server.get(slave) == b"smaller"
