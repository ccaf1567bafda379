"""Append, modify, truncate and regenerate: what they do, and what is left when they fail."""

from __future__ import annotations

import logging
import random
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from polystow import (
    BackendUnavailableError,
    Body,
    ByteRange,
    Checksum,
    FileTooLargeError,
    InvalidPathError,
    NameHint,
    NoSpaceError,
    NotFoundError,
    RangeNotSatisfiableError,
    RequestPolicyConfig,
    StorageError,
    TransportError,
    TruncatedBodyError,
    UnsupportedOperationError,
    WriteOptions,
    make_body,
    open_storage,
)
from polystow_fastdfs import FileId
from polystow_testing.fastdfs import (
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    Command,
    DelayReply,
    FastdfsServer,
    Fault,
    Stall,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

MISSING = "group1/M00/00/00/fwAADWsJvCGEFMpqAAAAAKaEx8Y969.txt"
NORMAL = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
DATA = random.Random(2).randbytes(1_000_000)


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def body_of(content: Any, size: int | None = None) -> Body:
    return await make_body(content, size)


# What they do


async def test_appendable_upload_of_any_content_can_be_appended_to(
    client: Client, fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    (tmp_path / "data.bin").write_bytes(DATA)
    for content in (b"", DATA, tmp_path / "data.bin", chunked(DATA)):
        body = await body_of(content)
        info = await client.driver.write(NameHint("a.log"), body, WriteOptions(appendable=True))
        assert client.extra(info).appender
        assert fastdfs_server.file(info.path).is_appender
        before = fastdfs_server.get(info.path)
        await client.driver.append(info.path, await body_of(b"more"))
        assert await client.read(info.path) == before + b"more"
        assert (await client.stat(info.path)).size == len(before) + 4


@pytest.mark.parametrize("kind", ["bytes", "path", "stream", "unknown", "long", "empty"])
async def test_append_takes_any_body(
    make_client: MakeClient, fastdfs_server: FastdfsServer, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "data.bin").write_bytes(DATA)
    bodies = {
        "bytes": (DATA, None),
        "path": (tmp_path / "data.bin", None),
        "stream": (chunked(DATA), len(DATA)),
        "unknown": (chunked(DATA), None),
        "long": (chunked(DATA), None),
        "empty": (b"", None),
    }
    limit = 10_000 if kind == "long" else 4_000_000
    spool = tmp_path / "spool"
    spool.mkdir()
    async with make_client(append_size_bytes=limit, spool_directory=spool) as client:
        path = fastdfs_server.put(b"head", appender=True)
        await client.driver.append(path, await body_of(*bodies[kind]))
        expected = b"head" + (b"" if kind == "empty" else DATA)
        assert fastdfs_server.get(path) == expected
        stat = await client.stat(path)
        assert (stat.size, stat.checksum) == (
            len(expected),
            Checksum("crc32", f"{zlib.crc32(expected):08x}"),
        )
        assert client.connections() == client.idle_connections()
    assert fastdfs_server.request_count(Command.APPEND) == 1
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0, b"abc", b"abc3456789"),
        (4, b"abc", b"0123abc789"),
        (8, b"abcd", b"01234567abcd"),
        (10, b"abc", b"0123456789abc"),
        (5, b"", b"0123456789"),
    ],
)
async def test_modify_writes_over_what_is_there(
    client: Client, fastdfs_server: FastdfsServer, offset: int, data: bytes, expected: bytes
) -> None:
    path = fastdfs_server.put(b"0123456789", appender=True)
    await client.driver.modify(path, offset, await body_of(data))
    assert await client.read(path) == expected
    await client.driver.modify(path, offset, await body_of(chunked(data, 1)))
    assert await client.read(path) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, b""), (4, b"0123"), (10, b"0123456789"), (12, b"0123456789\0\0")]
)
async def test_truncate_cuts_or_fills_with_zeros(
    client: Client, fastdfs_server: FastdfsServer, size: int, expected: bytes
) -> None:
    path = fastdfs_server.put(b"0123456789", appender=True)
    await client.driver.truncate(path, size)
    assert await client.read(path) == expected
    assert (await client.stat(path)).size == size
    if size:
        assert await client.read(path, ByteRange(size - 1)) == expected[-1:]


async def test_changes_are_seen_through_storage(fastdfs_server: FastdfsServer) -> None:
    (tracker,) = fastdfs_server.trackers
    async with open_storage(f"fastdfs://{tracker}") as storage:
        storage.require("append")
        info = await storage.upload("a.log", b"one", appendable=True)
        await storage.append(info.uri, b" two")
        await storage.append(info.uri, chunked(b" three", 2))
        await storage.modify(info.uri, 4, b"TWO")
        assert await storage.read_bytes(info.uri) == b"one TWO three"
        await storage.truncate(info.uri, 7)
        assert await storage.read_bytes(info.uri) == b"one TWO"
        normal = await storage.upload("a.log", b"one")
        with pytest.raises(UnsupportedOperationError, match="appendable=True") as caught:
            await storage.append(normal.uri, b"x")
        assert caught.value.uri == normal.uri


async def test_slave_of_an_appender_file_can_be_appended_to(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    master = fastdfs_server.put(b"master", appender=True, ext="log")
    slave = await client.driver.upload_slave(master, "_s", b"slave")
    assert client.extra(slave).appender
    await client.driver.append(slave.path, await body_of(b"!"))
    assert await client.read(slave.path) == b"slave!"


async def test_regenerated_file_has_a_new_id_that_tells_all(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    body = await body_of(DATA)
    hint, options = NameHint("a.log"), WriteOptions(appendable=True, metadata={"a": "ä"})
    old = await client.driver.write(hint, body, options)
    new = await client.driver.regenerate(old.path)
    assert (new.size, new.checksum) == (len(DATA), Checksum("crc32", f"{zlib.crc32(DATA):08x}"))
    assert (new.filename, new.metadata) == ("a.log", {"a": "ä"})
    assert not client.extra(new).appender
    assert new.path.endswith(".log")
    assert await client.read(new.path) == DATA
    stat = await client.stat(new.path)
    assert (stat.filename, stat.metadata) == ("a.log", {"a": "ä"})
    with pytest.raises(NotFoundError):
        await client.stat(old.path)
    with pytest.raises(UnsupportedOperationError):
        await client.driver.regenerate(new.path)
    assert fastdfs_server.request_count(Command.REGENERATE_APPENDER_NAME) == 1


async def test_regenerated_file_keeps_metadata_that_this_driver_would_not_write(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"x", appender=True, metadata={"a": "b" * 256, "": "empty name"})
    new = await client.driver.regenerate(path)
    assert fastdfs_server.file(new.path).metadata == {"a": "b" * 256, "": "empty name"}


# Bad input, refused before anything is sent


async def test_changes_of_what_is_no_appender_file_are_refused_before_any_request(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    driver, body = client.driver, await body_of(b"x")
    for change in (
        driver.append(NORMAL, body),
        driver.modify(NORMAL, 0, body),
        driver.truncate(NORMAL, 0),
        driver.regenerate(NORMAL),
    ):
        with pytest.raises(UnsupportedOperationError, match="appender") as caught:
            await change
        assert caught.value.path == NORMAL
    for change in (
        driver.append("bucket/key", body),
        driver.modify("bucket/key", 0, body),
        driver.truncate("bucket/key", 0),
        driver.regenerate("bucket/key"),
    ):
        with pytest.raises(InvalidPathError, match="no FastDFS id"):
            await change
    with pytest.raises(RangeNotSatisfiableError):
        await driver.modify(MISSING, -1, body)
    with pytest.raises(RangeNotSatisfiableError):
        await driver.truncate(MISSING, -1)
    assert fastdfs_server.request_count() == 0


async def test_missing_appender_file_is_not_found(client: Client) -> None:
    driver, body = client.driver, await body_of(DATA)
    for change in (
        driver.append(MISSING, body),
        driver.modify(MISSING, 0, body),
        driver.truncate(MISSING, 0),
        driver.regenerate(MISSING),
    ):
        with pytest.raises(NotFoundError) as caught:
            await change
        assert (caught.value.path, caught.value.outcome) == (MISSING, "failed")
    assert client.connections() == client.idle_connections()


@pytest.mark.parametrize("size", [1, 500_000])
async def test_offset_after_the_end_is_told_as_such(
    client: Client, fastdfs_server: FastdfsServer, size: int
) -> None:
    path = fastdfs_server.put(b"0123456789", appender=True)
    with pytest.raises(RangeNotSatisfiableError, match="has 10 bytes"):
        await client.driver.modify(path, 11, await body_of(DATA[:size]))
    assert fastdfs_server.get(path) == b"0123456789"


async def test_full_storage_server_takes_no_append(make_client: MakeClient) -> None:
    with FastdfsServer(capacity_bytes=2000) as server:
        path = server.put(b"x" * 1000, appender=True)
        async with make_client(server=server) as client:
            with pytest.raises(NoSpaceError):
                await client.driver.append(path, await body_of(DATA))
            assert server.get(path) == b"x" * 1000


async def test_body_of_another_length_than_declared_appends_nothing(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    for size in (len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(TruncatedBodyError):
            await client.driver.append(path, await body_of(chunked(DATA), size))
    assert fastdfs_server.get(path) == b"head"
    await client.driver.append(path, await body_of(b"!"))
    assert fastdfs_server.get(path) == b"head!"


async def test_spool_of_an_append_is_bounded(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    async with make_client(append_size_bytes=1000, spool_max_bytes=20_000) as client:
        with pytest.raises(FileTooLargeError, match="20000"):
            await client.driver.append(path, await body_of(chunked(DATA)))
    assert fastdfs_server.get(path) == b"head"
    assert fastdfs_server.request_count() == 0


# Faults


async def until_cut_off(server: FastdfsServer) -> AsyncIterator[bytes]:
    """A body whose last bytes come when the server has closed the connection."""
    yield DATA[:500_000]
    await server.wait_until_async(
        lambda stats: not any(s.connections_open for s in stats if s.role == "storage")
    )
    yield DATA[500_000:]


async def test_append_that_was_cut_off_left_nothing_and_is_not_repeated(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    fastdfs_server.faults.add(Fault(Command.APPEND, action=CloseDuringRequest(after_bytes=400_000)))
    with pytest.raises(TransportError) as caught:
        await client.driver.append(path, await body_of(until_cut_off(fastdfs_server), len(DATA)))
    assert caught.value.outcome == "failed"
    assert fastdfs_server.get(path) == b"head"
    assert fastdfs_server.request_count(Command.APPEND) == 1


async def test_append_whose_answer_is_lost_is_not_repeated_and_says_so(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    fastdfs_server.faults.add(Fault(Command.APPEND, action=CloseConnection()))
    with pytest.raises(TransportError) as caught:
        await client.driver.append(path, await body_of(b"more"))
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
    assert fastdfs_server.request_count(Command.APPEND) == 1


@pytest.mark.parametrize("action", [CloseConnection(), CloseDuringRequest(after_bytes=400_000)])
async def test_modify_is_repeated_where_its_body_can_be_read_again(
    client: Client, fastdfs_server: FastdfsServer, action: Any
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    fastdfs_server.faults.add(Fault(Command.MODIFY, action=action))
    await client.driver.modify(path, 2, await body_of(DATA))
    assert fastdfs_server.get(path) == b"he" + DATA
    assert fastdfs_server.request_count(Command.MODIFY) == 2


async def test_modify_of_a_stream_is_not_repeated_and_says_what_may_have_happened(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    fastdfs_server.faults.add(Fault(Command.MODIFY, action=CloseDuringRequest(after_bytes=400_000)))
    body = await body_of(until_cut_off(fastdfs_server), len(DATA))
    with pytest.raises(TransportError) as caught:
        await client.driver.modify(path, 2, body)
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
    assert fastdfs_server.request_count(Command.MODIFY) == 1


async def test_truncate_is_repeated(client: Client, fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    fastdfs_server.faults.add(Fault(Command.TRUNCATE, action=CloseConnection()))
    await client.driver.truncate(path, 2)
    assert fastdfs_server.get(path) == b"he"


async def test_regenerated_file_whose_metadata_can_not_be_moved_is_named(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"x", appender=True, metadata={"a": "b"})
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=AnswerStatus(5), times=None))
    async with make_client(RequestPolicyConfig(attempts=1)) as client:
        with pytest.raises(BackendUnavailableError, match="without its metadata") as caught:
            await client.driver.regenerate(path)
    (stored,) = fastdfs_server.files()
    assert stored.file_id in caught.value.message
    assert not stored.is_appender


async def test_lost_answer_to_regenerate_is_told_and_not_repeated(
    client: Client, fastdfs_server: FastdfsServer, caplog: pytest.LogCaptureFixture
) -> None:
    path = fastdfs_server.put(b"x", appender=True)
    command = Command.REGENERATE_APPENDER_NAME
    fastdfs_server.faults.add(Fault(command, action=CloseConnection()))
    with pytest.raises(StorageError, match="another name now") as caught:
        await client.driver.regenerate(path)
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
    assert path in caplog.text
    assert fastdfs_server.request_count(command) == 1


async def test_cancelled_regenerate_logs_the_new_name(
    client: Client, fastdfs_server: FastdfsServer, caplog: pytest.LogCaptureFixture
) -> None:
    path = fastdfs_server.put(b"x", appender=True)
    command = Command.REGENERATE_APPENDER_NAME
    fastdfs_server.faults.add(Fault(command, action=DelayReply(0.2)))
    with caplog.at_level(logging.WARNING, "polystow_fastdfs"), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.driver.regenerate, path)
            await fastdfs_server.wait_until_async(
                lambda stats: any(s.requests.get(command) for s in stats)
            )
            scope.cancel()
    assert scope.cancelled_caught
    (stored,) = fastdfs_server.files()
    assert f"{path} is {stored.file_id} now" in caplog.text
    assert client.connections() == client.idle_connections()


async def test_cancelled_append_leaves_no_connection_behind(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"head", appender=True)
    fastdfs_server.faults.add(Fault(Command.APPEND, action=Stall()))
    body = await body_of(DATA)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.driver.append, path, body)
            await fastdfs_server.wait_until_async(
                lambda stats: any(s.requests.get(Command.APPEND) for s in stats)
            )
            scope.cancel()
    assert scope.cancelled_caught
    assert client.connections() == client.idle_connections()
    assert FileId.parse(path).appender
