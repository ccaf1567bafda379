"""The typed methods of the driver, for what FastDFS alone can do."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ChecksumMismatchError,
    InvalidMetadataError,
    InvalidPathError,
    NoSpaceError,
    NotFoundError,
    OperationTimeoutError,
    RequestPolicyConfig,
    TransportError,
    UnsupportedOperationError,
    open_storage,
)
from polystow_fastdfs import FastdfsDriver, FileId, StorageStatus
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._cluster import exchange
from polystow_testing.fastdfs import (
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    Command,
    DelayReply,
    FastdfsServer,
    Fault,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

MISSING = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
DATA = random.Random(3).randbytes(1_000_000)


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def file_info(*, size: int, crc32: int) -> bytes:
    """An answer to command 22."""
    body = struct.pack(">qqq16s", size, 1_700_000_000, crc32, b"127.0.0.1")
    return AnswerBytes.header(len(body)).data + body


async def test_storage_gives_the_driver_for_its_typed_methods(
    fastdfs_server: FastdfsServer,
) -> None:
    (tracker,) = fastdfs_server.trackers
    async with open_storage(f"fastdfs://{tracker}") as storage:
        master = await storage.upload("a.jpg", b"large")
        driver, path = storage.native(master.uri, FastdfsDriver)
        slave = await driver.upload_slave(path, "_s", b"small")
        assert await storage.read_bytes(f"fastdfs://{slave.path}") == b"small"


# Upload


async def test_upload_takes_all_that_a_client_may_choose(make_client: MakeClient) -> None:
    with FastdfsServer({"group1": 1, "group2": 1}, store_path_count=3) as server:
        async with make_client(server=server) as client:
            info = await client.driver.upload(
                DATA,
                extension="tar.gz",
                filename="backup.tar.gz",
                group="group2",
                store_path_index=2,
                metadata={"a": "ä"},
            )
            assert info.path.startswith("group2/M02/")
            assert info.path.endswith(".tar.gz")
            assert not client.extra(info).slave
            assert await client.read(info.path) == DATA
            stat = await client.stat(info.path)
            assert (stat.filename, stat.metadata) == ("backup.tar.gz", {"a": "ä"})


async def test_upload_keeps_no_name_that_it_was_not_given(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    info = await client.driver.upload(b"x")
    assert fastdfs_server.file(info.path).metadata is None
    assert "." not in info.path


@pytest.mark.parametrize("kind", ["text", "path", "sized", "unknown", "appender"])
async def test_upload_takes_any_content(client: Client, tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(DATA)
    contents: dict[str, Any] = {
        "text": ("hällo", {}),
        "path": (tmp_path / "a", {}),
        "sized": (chunked(DATA), {"size": len(DATA)}),
        "unknown": (chunked(DATA), {}),
        "appender": (chunked(DATA), {"appendable": True}),
    }
    content, options = contents[kind]
    info = await client.driver.upload(content, **options)
    expected = "hällo".encode() if kind == "text" else DATA
    assert await client.read(info.path) == expected
    assert client.extra(info).appender is (kind == "appender")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"extension": "abcdefg"}, "at most 6"),
        ({"extension": ".jpg"}, "first dot"),
        ({"extension": "a/b"}, "at most 6"),
        ({"extension": "ä"}, "at most 6"),
        ({"group": "g" * 17}, "1 to 16"),
        ({"group": ""}, "1 to 16"),
        ({"group": "a/b"}, "1 to 16"),
        ({"store_path_index": 255}, "0 to 254"),
        ({"store_path_index": -2}, "0 to 254"),
        ({"filename": "ü" * 129}, "258 bytes"),
        ({"filename": "a/b"}, "name"),
    ],
)
async def test_upload_refuses_what_servers_would_before_any_request(
    client: Client, fastdfs_server: FastdfsServer, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidPathError, match=reason) as caught:
        await client.driver.upload(b"x", **options)
    assert caught.value.operation == "upload"
    assert fastdfs_server.request_count() == 0


async def test_limits_of_metadata_hold_for_all_uploads(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    for metadata in ({"x" * 65: ""}, {"x": "y" * 257}, {"x": "\x01"}, {"\x02": ""}):
        with pytest.raises(InvalidMetadataError):
            await client.driver.upload(b"x", metadata=metadata)
        with pytest.raises(InvalidMetadataError):
            await client.driver.upload_slave(MISSING, "_s", b"x", metadata=metadata)
    assert fastdfs_server.request_count() == 0


async def test_extension_of_a_name_that_is_too_long_is_left_out_and_the_name_kept(
    client: Client,
) -> None:
    info = await client.upload(b"{}", "map.geojson")
    assert "." not in info.path
    assert (await client.stat(info.path)).filename == "map.geojson"


# Slaves


async def test_slave_is_found_where_its_master_s_id_tells(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = fastdfs_server.put(b"master", ext="jpg")
    slave = await client.driver.upload_slave(
        master, "_150x150", DATA, filename="klein.jpg", metadata={"w": "150"}
    )
    assert slave.path == FileId.parse(master).slave_id("_150x150", "jpg").path
    assert client.extra(slave).slave
    assert slave.size == len(DATA)
    assert await client.read(slave.path) == DATA
    stat = await client.stat(slave.path)
    assert (stat.filename, stat.metadata, stat.size) == ("klein.jpg", {"w": "150"}, len(DATA))
    assert stat.checksum == slave.checksum
    of_slave = await client.driver.upload_slave(slave.path, "_2", b"x", extension="")
    assert await client.read(of_slave.path) == b"x"
    await client.delete(master)
    assert await client.read(slave.path) == DATA


@pytest.mark.parametrize("kind", ["empty", "path", "sized", "unknown", "spooled"])
async def test_slave_of_any_content(
    make_client: MakeClient, fastdfs_server: FastdfsServer, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "a").write_bytes(DATA)
    contents: dict[str, Any] = {
        "empty": (b"", {}),
        "path": (tmp_path / "a", {}),
        "sized": (chunked(DATA), {"size": len(DATA)}),
        "unknown": (chunked(DATA), {}),
        "spooled": (chunked(DATA), {}),
    }
    content, options = contents[kind]
    async with make_client(append_size_bytes=1000 if kind == "spooled" else 2_000_000) as client:
        slave = await client.driver.upload_slave(
            fastdfs_server.put(b"x", ext="jpg"), "_s", content, **options
        )
    assert fastdfs_server.get(slave.path) == (b"" if kind == "empty" else DATA)


async def test_slave_that_is_there_is_an_error_that_names_it(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = fastdfs_server.put(b"x", ext="jpg")
    slave = await client.driver.upload_slave(master, "_s", b"one")
    for content in (b"two", DATA):
        with pytest.raises(AlreadyExistsError) as caught:
            await client.driver.upload_slave(master, "_s", content)
        assert caught.value.path == master
        assert slave.path in caught.value.message
    assert await client.read(slave.path) == b"one"


async def test_slave_of_a_missing_master_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.driver.upload_slave(MISSING, "_s", b"x")
    assert caught.value.path == MISSING


@pytest.mark.parametrize(
    ("prefix", "extension", "reason"),
    [
        ("", None, "1 to 16"),
        ("x" * 17, None, "1 to 16"),
        ("a/b", None, "1 to 16"),
        ("-m", "", "metadata"),
        ("_s", "abcdefg", "at most 6"),
    ],
)
async def test_slave_that_servers_would_refuse_is_refused_before_any_request(
    client: Client,
    fastdfs_server: FastdfsServer,
    prefix: str,
    extension: str | None,
    reason: str,
) -> None:
    with pytest.raises(InvalidPathError, match=reason):
        await client.driver.upload_slave(MISSING, prefix, b"x", extension=extension)
    assert fastdfs_server.request_count() == 0


async def test_checksum_of_a_slave_is_not_told_where_servers_tell_its_master_s(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = FileId.parse(fastdfs_server.put(b"master", ext="abcdef"))
    address = await client.driver.cluster.where_to_change(master)
    head = protocol.upload_slave(
        master=master.name.encode(), prefix=b"_s", extension=b"jpg", size=len(DATA)
    )
    await exchange(client.driver.cluster.storage(address), head + DATA)
    slave = master.path.removesuffix(".abcdef") + "_s.jpg"
    for info in (await client.stat(slave), await client.driver.file_info(slave)):
        assert (info.size, info.checksum) == (len(DATA), None)
    assert await client.read(slave) == DATA
    with pytest.raises(InvalidPathError, match="longer"):
        await client.driver.upload_slave(master.path, "_s", DATA, extension="jpg")


@pytest.mark.parametrize("command", [Command.SET_METADATA, Command.FILE_INFO])
async def test_slave_that_can_not_be_completed_is_deleted_again(
    make_client: MakeClient, fastdfs_server: FastdfsServer, command: Command
) -> None:
    master = fastdfs_server.put(b"x", ext="jpg")
    fastdfs_server.faults.add(Fault(command, action=AnswerStatus(5), times=None))
    async with make_client(RequestPolicyConfig(attempts=1)) as client:
        with pytest.raises(BackendUnavailableError):
            await client.driver.upload_slave(master, "_s", b"x", metadata={"a": "b"})
    assert [file.file_id for file in fastdfs_server.files()] == [master]


async def test_slave_whose_answer_is_lost_is_named(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = fastdfs_server.put(b"x", ext="jpg")
    fastdfs_server.faults.add(Fault(Command.UPLOAD_SLAVE, action=CloseConnection()))
    with pytest.raises(TransportError) as caught:
        await client.driver.upload_slave(master, "_s", b"x")
    assert caught.value.outcome == "unknown"
    assert FileId.parse(master).slave_id("_s", "jpg").path in caught.value.message


async def test_slave_that_the_server_has_otherwise_than_it_was_sent_is_deleted_again(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = fastdfs_server.put(b"x", ext="jpg")
    fastdfs_server.faults.add(
        Fault(Command.FILE_INFO, action=AnswerBytes(file_info(size=5, crc32=7)))
    )
    with pytest.raises(ChecksumMismatchError, match="sent were 5 bytes"):
        await client.driver.upload_slave(master, "_s", b"slave")
    assert [file.file_id for file in fastdfs_server.files()] == [master]


# File info


@pytest.mark.parametrize("appender", [False, True])
async def test_file_info_tells_size_time_checksum_and_source(
    client: Client, fastdfs_server: FastdfsServer, appender: bool
) -> None:
    path = fastdfs_server.put(DATA, appender=appender, metadata={"a": "b"})
    info = await client.driver.file_info(path)
    assert (info.size, client.extra(info).crc32) == (len(DATA), zlib.crc32(DATA))
    assert info.modified == info.created
    assert client.extra(info).source_address == "127.0.0.1"
    assert info.metadata is None
    quick = await client.driver.file_info(path, crc32=False)
    assert client.extra(quick).crc32 == (None if appender else zlib.crc32(DATA))
    # The size is asked for first where the server has to read the file, to know how long to wait.
    assert fastdfs_server.request_count(on="storage") == (3 if appender else 2)


async def test_sizes_and_checksums_above_4_gib_are_right(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"x", appender=True)
    size = 5 * 2**30 + 7
    answer = file_info(size=size, crc32=0xDEADBEEF - 2**32)  # sign-extended, as servers do
    fastdfs_server.faults.add(Fault(Command.FILE_INFO, action=AnswerBytes(answer), times=2))
    info = await client.driver.file_info(path)
    assert (info.size, client.extra(info).crc32) == (size, 0xDEADBEEF)


async def test_server_that_has_to_read_a_large_file_is_waited_for(
    make_client: MakeClient, fastdfs_server: FastdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fastdfs_server.put(DATA, appender=True)
    slow = [
        Fault(Command.FILE_INFO, action=DelayReply(0.5), skip=1),
        Fault(Command.REGENERATE_APPENDER_NAME, action=DelayReply(0.5)),
    ]
    async with make_client(RequestPolicyConfig(attempts=1), network_timeout_s=0.2) as client:
        fastdfs_server.faults.add(slow[0])
        with pytest.raises(OperationTimeoutError, match="no progress"):
            await client.driver.file_info(path)
        monkeypatch.setattr("polystow_fastdfs._asking.SLOWEST_READ_BYTES_PER_S", 100_000)
        for fault in slow:
            fastdfs_server.faults.add(fault)
        info = await client.driver.file_info(path)
        assert client.extra(info).crc32 == zlib.crc32(DATA)
        assert (await client.driver.regenerate(path)).size == len(DATA)
        assert client.connections() == client.idle_connections()


async def test_file_info_of_what_is_not_there(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    with pytest.raises(NotFoundError):
        await client.driver.file_info(MISSING)
    with pytest.raises(InvalidPathError):
        await client.driver.file_info("bucket/key")


# The cluster


@pytest.mark.parametrize("options", [{}, {"old_records": True}, {"ipv6_size_replies": True}])
async def test_groups_and_storages_are_listed_with_their_figures(
    make_client: MakeClient, options: dict[str, Any]
) -> None:
    groups = {"group1": 2, "group2": 1}
    with FastdfsServer(groups, store_path_count=2, capacity_bytes=2**30, **options) as server:
        async with make_client(server=server) as client:
            old = "old_records" in options
            await client.driver.upload(DATA, group="group2")
            found = await client.driver.list_groups()
            assert [(group.name, group.storage_count) for group in found] == [*groups.items()]
            assert await client.driver.group_info("group2") == found[1]
            assert found[0].total_bytes == 2**30
            assert found[1].free_bytes == (2**30 - len(DATA)) // 2**20 * 2**20
            assert found[0].path_count == 2
            assert (found[0].readable_count, found[0].writable_count) == (2, 2)
            assert found[0].reserved_bytes == (None if old else 0)
            (storage,) = await client.driver.list_storages("group2")
            assert storage.status is StorageStatus.ACTIVE
            assert storage.readable is storage.writable is (None if old else True)
            assert f"{storage.host}:{storage.port}" == server.storages("group2")[0]
            assert storage.counters.upload.succeeded == 1
            assert (storage.connections, storage.total_bytes) == (1, 2**30)
            assert storage.version == "6.16.1"
            assert len(await client.driver.list_storages("group1")) == 2


async def test_one_storage_is_found_by_its_id(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    (found,) = await client.driver.list_storages("group1", "127.0.0.1")
    assert found.storage_id == "127.0.0.1"
    with pytest.raises(NotFoundError, match=r"no storage server '9\.9\.9\.9'"):
        await client.driver.list_storages("group1", "9.9.9.9")


async def test_figures_of_a_missing_group_are_not_found(client: Client) -> None:
    for ask in (client.driver.group_info, client.driver.list_storages):
        with pytest.raises(NotFoundError, match="no group 'nope'") as caught:
            await ask("nope")
        assert caught.value.path == "nope"


async def test_names_that_trackers_refuse_are_refused_before_any_request(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    driver = client.driver
    with pytest.raises(InvalidPathError, match="1 to 16"):
        await driver.group_info("g" * 17)
    with pytest.raises(InvalidPathError, match="1 to 16"):
        await driver.list_storages("")
    with pytest.raises(InvalidPathError, match="1 to 16"):
        await driver.list_storages("group1", "x" * 17)
    with pytest.raises(InvalidPathError, match="no tracker address"):
        await driver.active_test("::1")
    assert fastdfs_server.request_count() == 0


async def test_figures_of_an_unknown_form_are_told_as_such(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    answer = AnswerBytes.header(100).data + bytes(100)
    fastdfs_server.faults.add(Fault(Command.LIST_ALL_GROUPS, action=AnswerBytes(answer)))
    with pytest.raises(TransportError, match="113 bytes, nor of 105"):
        await client.driver.list_groups()


async def test_leader_of_the_trackers(make_client: MakeClient) -> None:
    with FastdfsServer(tracker_count=2) as server:
        async with make_client(server=server) as client:
            assert await client.driver.tracker_leader() == server.trackers[0]
            server.stop_node(server.trackers[0])
            assert await client.driver.tracker_leader() == server.trackers[1]


async def test_trackers_without_a_leader_say_so(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.TRACKER_LEADER, action=AnswerStatus(2), times=None))
    async with make_client(RequestPolicyConfig(attempts=1)) as client:
        with pytest.raises(BackendUnavailableError, match="no leader"):
            await client.driver.tracker_leader()


async def test_active_test_asks_any_server(client: Client, fastdfs_server: FastdfsServer) -> None:
    for server in (*fastdfs_server.trackers, *fastdfs_server.storages()):
        await client.driver.active_test(server)
        assert fastdfs_server.request_count(Command.ACTIVE_TEST, on=server) == 1


async def test_active_test_of_a_dead_server_fails(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    (storage,) = fastdfs_server.storages()
    fastdfs_server.stop_node(storage)
    async with make_client(RequestPolicyConfig(attempts=1)) as client:
        with pytest.raises(TransportError, match="cannot connect") as caught:
            await client.driver.active_test(storage)
        assert caught.value.path == storage


# Statuses


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (1, PermissionError),
        (2, NotFoundError),
        (5, BackendUnavailableError),
        (13, PermissionError),
        (16, BackendUnavailableError),
        (17, AlreadyExistsError),
        (22, InvalidPathError),
        (28, NoSpaceError),
        (95, UnsupportedOperationError),
        (110, OperationTimeoutError),
        (122, NoSpaceError),
        (200, BackendUnavailableError),
    ],
)
async def test_every_status_has_its_error(
    make_client: MakeClient,
    fastdfs_server: FastdfsServer,
    status: int,
    expected: type[Exception],
) -> None:
    path = fastdfs_server.put(b"x", appender=True, ext="jpg")
    fastdfs_server.faults.add(Fault(action=AnswerStatus(status), on="storage", times=None))
    async with make_client(RequestPolicyConfig(attempts=1)) as client:
        driver = client.driver
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: driver.upload(DATA),
            lambda: driver.upload_slave(path, "_s", b"x"),
            lambda: driver.truncate(path, 0),
            lambda: driver.regenerate(path),
            lambda: driver.file_info(path),
            lambda: client.set_metadata(path, {"a": "b"}, "merge"),
            lambda: client.delete(path, missing_ok=False),
            lambda: client.read(path),
            lambda: client.stat(path),
        ]
        for call in calls:
            with pytest.raises(expected):
                await call()
    assert fastdfs_server.get(path) == b"x"


# Cancellation


@pytest.mark.parametrize("kind", ["upload", "slave", "appender"])
async def test_write_cancelled_at_any_moment_leaves_nothing(
    make_client: MakeClient, fastdfs_server: FastdfsServer, kind: str
) -> None:
    master = fastdfs_server.put(b"master", ext="jpg")
    rng = random.Random(4)
    async with make_client(RequestPolicyConfig(attempts=1), append_size_bytes=50_000) as client:
        for _ in range(60):
            with anyio.move_on_after(rng.random() * 0.01):
                if kind == "slave":
                    content = chunked(DATA[:300_000])
                    info = await client.driver.upload_slave(master, "_s", content, filename="a")
                else:
                    appendable = kind == "appender"
                    content = chunked(DATA[:300_000])
                    info = await client.driver.upload(
                        content, filename="a", appendable=appendable, size=300_000
                    )
                with anyio.CancelScope(shield=True):
                    await client.delete(info.path, missing_ok=False)
        assert client.connections() == client.idle_connections()
    assert [file.file_id for file in fastdfs_server.files()] == [master]


async def test_slave_upload_cancelled_when_all_was_sent_is_undone(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = fastdfs_server.put(b"master", ext="jpg")
    fastdfs_server.faults.add(Fault(Command.UPLOAD_SLAVE, action=DelayReply(0.2)))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.driver.upload_slave, master, "_s", b"slave")
            await fastdfs_server.wait_until_async(
                lambda stats: any(s.requests.get(Command.UPLOAD_SLAVE) for s in stats)
            )
            scope.cancel()
    assert scope.cancelled_caught
    assert [file.file_id for file in fastdfs_server.files()] == [master]
