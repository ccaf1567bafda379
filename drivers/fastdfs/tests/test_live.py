"""The main paths on a real FastDFS cluster: `POLYSTOW_FASTDFS_TRACKERS=host:port,…`."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest

from polystow import (
    AlreadyExistsError,
    ByteRange,
    InvalidPathError,
    NotFoundError,
    RangeNotSatisfiableError,
    RequestPolicyConfig,
    TruncatedBodyError,
    make_body,
)
from polystow_fastdfs import FileId, StorageStatus

if TYPE_CHECKING:
    from conftest import Client, MakeClient

TRACKERS = [text for text in os.environ.get("POLYSTOW_FASTDFS_TRACKERS", "").split(",") if text]
DATA = random.Random(1).randbytes(5_000_000)

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not TRACKERS, reason="POLYSTOW_FASTDFS_TRACKERS is not set"),
]


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture
async def live(make_client: MakeClient) -> AsyncIterator[Client]:
    async with make_client(trackers=tuple(TRACKERS), append_size_bytes=1_000_000) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 1024, 70_000, 5_000_000])
async def test_life_of_a_file(live: Client, size: int) -> None:
    data = DATA[:size]
    info = await live.upload(data, "Bericht.PDF", metadata={"a": "ä", "b": ""})
    assert info.path.endswith(".PDF")
    assert await live.read(info.path) == data
    stat = await live.stat(info.path)
    assert (stat.size, stat.filename, stat.metadata) == (size, "Bericht.PDF", {"a": "ä", "b": ""})
    assert stat.checksum == info.checksum
    assert stat.created == info.created == stat.modified
    # A cluster that puts its servers' ids into names tells their addresses only when asked.
    assert attrs.evolve(live.extra(stat), source_address=None) == attrs.evolve(
        live.extra(info), source_address=None
    )
    await live.set_metadata(info.path, {"b": "2", "c": "3"}, "merge")
    assert (await live.stat(info.path)).metadata == {"a": "ä", "b": "2", "c": "3"}
    await live.set_metadata(info.path, {}, "replace")
    stat = await live.stat(info.path)
    assert (stat.metadata, stat.filename) == ({}, "Bericht.PDF")
    await live.delete(info.path, missing_ok=False)
    await live.delete(info.path)
    for operation in (live.stat, live.read):
        with pytest.raises(NotFoundError):
            await operation(info.path)
    with pytest.raises(NotFoundError):
        await live.delete(info.path, missing_ok=False)


@pytest.mark.parametrize("declared", [True, False])
async def test_streams(live: Client, *, declared: bool) -> None:
    info = await live.upload(chunked(DATA), "a.bin", size=len(DATA) if declared else None)
    assert live.extra(info).appender is not declared
    assert await live.read(info.path) == DATA
    stat = await live.stat(info.path)
    assert (stat.size, live.extra(stat).crc32) == (len(DATA), zlib.crc32(DATA))
    for byte_range, expected in (
        (ByteRange(1000, 1999), DATA[1000:2000]),
        (ByteRange(4_999_999), DATA[-1:]),
        (ByteRange(4_999_990, 6_000_000), DATA[-10:]),
        (ByteRange.suffix(7), DATA[-7:]),
    ):
        assert await live.read(info.path, byte_range) == expected
    with pytest.raises(RangeNotSatisfiableError):
        await live.read(info.path, ByteRange(5_000_000))
    await live.delete(info.path)


async def test_refusals_leave_the_next_operation_right(live: Client) -> None:
    with pytest.raises(NotFoundError, match="no group"):
        await live.upload(b"x", group="nope")
    with pytest.raises(TruncatedBodyError):
        await live.upload(chunked(DATA), size=len(DATA) + 1)
    missing = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY999.JPG"
    for _ in range(3):
        with pytest.raises(NotFoundError):
            await live.stat(missing)
    with pytest.raises((InvalidPathError, NotFoundError)):
        await live.stat(missing.replace("M00", "M77"))
    await live.driver.check("")


async def test_many_at_once_and_cancelled(live: Client) -> None:
    info = await live.upload(DATA[:100_000])

    async def read() -> None:
        assert await live.read(info.path) == DATA[:100_000]

    for limit in (0.001, 0.003, 0.01, 10):
        with anyio.move_on_after(limit):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(read)
    await live.delete(info.path, missing_ok=False)


async def test_upload_cancelled_at_any_moment_leaves_nothing(make_client: MakeClient) -> None:
    policy = RequestPolicyConfig(attempts=1)
    async with make_client(policy, trackers=tuple(TRACKERS)) as client:
        for step in range(30):
            with anyio.move_on_after(step * 0.0002):
                info = await client.upload(DATA[:300_000])
                with anyio.CancelScope(shield=True):
                    await client.delete(info.path, missing_ok=False)
        assert client.connections() == client.idle_connections()


async def test_appender_file_is_changed_and_made_a_normal_one(live: Client) -> None:
    driver = live.driver
    info = await driver.upload(b"0123456789", extension="log", appendable=True, metadata={"a": "ä"})
    await driver.append(info.path, await make_body(chunked(DATA)))
    assert await live.read(info.path) == b"0123456789" + DATA
    await driver.modify(info.path, 8, await make_body(b"abcd"))
    await driver.truncate(info.path, 12)
    assert await live.read(info.path) == b"01234567abcd"
    await driver.truncate(info.path, 14)
    await driver.truncate(info.path, 14)
    await driver.append(info.path, await make_body(b""))
    assert await live.read(info.path) == b"01234567abcd\0\0"
    with pytest.raises(RangeNotSatisfiableError, match="has 14 bytes"):
        await driver.modify(info.path, 15, await make_body(DATA))
    facts = await driver.file_info(info.path)
    assert (facts.size, live.extra(facts).crc32) == (14, zlib.crc32(b"01234567abcd\0\0"))
    new = await driver.regenerate(info.path)
    assert (new.size, live.extra(new).crc32) == (14, zlib.crc32(b"01234567abcd\0\0"))
    assert (await live.stat(new.path)).metadata == {"a": "ä"}
    with pytest.raises(NotFoundError):
        await live.stat(info.path)
    with pytest.raises(NotFoundError):
        await driver.append(info.path, await make_body(DATA))
    await driver.truncate((await driver.upload(b"x", appendable=True)).path, 0)
    await live.delete(new.path, missing_ok=False)


async def test_modify_that_is_cut_off_keeps_what_came_of_it_and_append_nothing(
    live: Client,
) -> None:
    driver = live.driver
    info = await driver.upload(b"0123456789", appendable=True)

    async def endless(hold: anyio.Event) -> AsyncIterator[bytes]:
        yield DATA
        hold.set()
        await anyio.sleep_forever()

    for change in ("append", "modify"):
        hold = anyio.Event()
        body = await make_body(endless(hold), 2 * len(DATA))
        async with anyio.create_task_group() as tasks:
            if change == "append":
                tasks.start_soon(driver.append, info.path, body)
            else:
                tasks.start_soon(driver.modify, info.path, 5, body)
            await hold.wait()
            tasks.cancel_scope.cancel()
        for _ in range(100):  # another process is waited for, which tells nobody
            if ((await live.stat(info.path)).size == 10) is (change == "append"):
                break
            await anyio.sleep(0.05)
        content = await live.read(info.path)
        assert content[:5] == b"01234"
        if change == "append":
            assert content == b"0123456789"
        else:
            assert content[5:] == DATA[: len(content) - 5]
    await live.delete(info.path, missing_ok=False)


async def test_slaves(live: Client) -> None:
    driver = live.driver
    master = await driver.upload(b"master", extension="jpg", group="group1")
    slave = await driver.upload_slave(master.path, "_s", DATA, metadata={"w": "150"})
    assert slave.path == FileId.parse(master.path).slave_id("_s", "jpg").path
    assert await live.read(slave.path) == DATA
    assert (await live.stat(slave.path)).metadata == {"w": "150"}
    for content in (b"again", DATA):
        with pytest.raises(AlreadyExistsError):
            await driver.upload_slave(master.path, "_s", content)
    other = await driver.upload_slave(slave.path, "-second", chunked(DATA), extension="")
    assert await live.read(other.path) == DATA
    await live.delete(master.path, missing_ok=False)
    with pytest.raises(NotFoundError):
        await driver.upload_slave(master.path, "_t", DATA)
    for info in (slave, other):
        await live.delete(info.path, missing_ok=False)


@pytest.mark.parametrize("extension", ["", "a", "tar.gz", "JPG", "b-c_d"])
@pytest.mark.parametrize("appendable", [False, True])
async def test_ids_of_the_server_are_taken_apart(
    live: Client, extension: str, appendable: bool
) -> None:
    info = await live.driver.upload(DATA, extension=extension, appendable=appendable)
    file = FileId.parse(info.path)
    assert file.kind == ("appender" if appendable else "normal")
    assert file.extension == extension
    assert (file.size, file.crc32) == (
        (None, None) if appendable else (len(DATA), zlib.crc32(DATA))
    )
    stat = await live.stat(info.path)
    assert file.created == stat.created
    assert live.extra(stat).source_address is not None
    await live.delete(info.path, missing_ok=False)


async def test_figures_of_the_cluster(live: Client) -> None:
    driver = live.driver
    groups = await driver.list_groups()
    assert groups
    for group in groups:
        assert await driver.group_info(group.name) == group
        assert 0 < group.free_bytes <= group.total_bytes
        storages = await driver.list_storages(group.name)
        assert len(storages) == group.storage_count
        for storage in storages:
            assert storage.status is StorageStatus.ACTIVE
            assert storage.port == group.storage_port
            assert storage.joined is not None
            await driver.active_test(f"{storage.host}:{storage.port}")
            (one,) = await driver.list_storages(group.name, storage.storage_id)
            assert one.host == storage.host
    assert await driver.tracker_leader() in TRACKERS
    for tracker in TRACKERS:
        await driver.active_test(tracker)
    for ask in (driver.group_info, driver.list_storages):
        with pytest.raises(NotFoundError, match="no group"):
            await ask("nope")
    with pytest.raises(NotFoundError, match="no storage server"):
        await driver.list_storages(groups[0].name, "9.9.9.9")


async def test_early_refusals_of_large_bodies_are_told_as_what_they_are(live: Client) -> None:
    info = await live.driver.upload(b"x", appendable=True)
    await live.delete(info.path, missing_ok=False)
    for _ in range(20):
        with pytest.raises(NotFoundError):
            await live.driver.append(info.path, await make_body(DATA))
    assert live.connections() == live.idle_connections()
