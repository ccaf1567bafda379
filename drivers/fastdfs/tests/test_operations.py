"""What each operation does on a healthy cluster."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio import ClosedResourceError

from polystow import (
    ByteRange,
    Checksum,
    FileTooLargeError,
    InvalidMetadataError,
    InvalidPathError,
    NotFoundError,
    RangeNotSatisfiableError,
    TruncatedBodyError,
    UnsupportedOperationError,
    WriteOptions,
    make_body,
)
from polystow_fastdfs import InfoExtra
from polystow_fastdfs._cluster import UPLOADS_PER_ANSWER
from polystow_testing.fastdfs import Command, FastdfsServer

if TYPE_CHECKING:
    from conftest import Client, MakeClient

MISSING = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
DATA = bytes(range(256)) * 5000


async def chunked(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


# Uploads


@pytest.mark.parametrize("size", [0, 1, 1024, 65_536, 65_537, 262_144, 262_145, 3_000_000])
async def test_bytes_of_any_size_read_as_they_were_written(client: Client, size: int) -> None:
    data = (DATA * 3)[:size]
    info = await client.upload(data)
    assert info.size == size
    assert await client.read(info.path) == data


async def test_upload_tells_all_that_is_known_of_the_new_file(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    info = await client.upload(b"hello", "Üb.TXT", metadata={"a": "ä"})
    stored = fastdfs_server.file(info.path)
    assert (stored.size_bytes, info.size) == (5, 5)
    assert info.filename == "Üb.TXT"
    assert info.checksum == Checksum("crc32", f"{zlib.crc32(b'hello'):08x}")
    assert info.created is not None
    assert before <= info.created <= datetime.now(UTC)
    assert info.modified == info.created
    assert info.metadata == {"a": "ä"}
    assert info.extra == InfoExtra(
        "group1", 0, "127.0.0.1", zlib.crc32(b"hello"), appender=False, trunk=False, slave=False
    )


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        ("a.JPG", ".JPG"),
        ("a.tar.gz", ".gz"),
        ("a.abcdef", ".abcdef"),
        ("a.b-c_d", ".b-c_d"),
    ],
)
async def test_extension_is_kept_as_given(client: Client, filename: str, end: str) -> None:
    assert (await client.upload(b"x", filename)).path.endswith(end)


@pytest.mark.parametrize("filename", ["a", "a.abcdefg", ".bashrc", "a.", "a.é", "a.b c", "a.b+"])
async def test_name_without_an_extension_that_servers_take_gives_none(
    client: Client, filename: str
) -> None:
    info = await client.upload(b"x", filename)
    assert "." not in info.path
    assert (await client.stat(info.path)).filename == filename


async def test_stream_of_known_length_becomes_a_normal_file(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    info = await client.upload(chunked(DATA, 10_007), size=len(DATA))
    assert fastdfs_server.get(info.path) == DATA
    assert not fastdfs_server.file(info.path).is_appender


async def test_file_on_disk_is_uploaded(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    info = await client.upload(path, "data.bin")
    assert await client.read(info.path) == DATA


async def test_short_stream_of_unknown_length_becomes_a_normal_file(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    info = await client.upload(chunked(DATA, 10_007))
    assert fastdfs_server.get(info.path) == DATA
    assert not fastdfs_server.file(info.path).is_appender


async def test_long_stream_of_unknown_length_becomes_an_appender_file(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    async with make_client(append_size_bytes=100_000) as client:
        info = await client.upload(chunked(DATA, 10_007), metadata={"a": "b"})
        assert fastdfs_server.get(info.path) == DATA
        assert (info.size, client.extra(info).appender) == (len(DATA), True)
        assert info.checksum == Checksum("crc32", f"{zlib.crc32(DATA):08x}")
        assert await client.read(info.path) == DATA
        stat = await client.stat(info.path)
        assert (stat.size, stat.checksum, stat.metadata) == (len(DATA), info.checksum, {"a": "b"})


async def test_long_stream_of_unknown_length_can_be_spooled(
    make_client: MakeClient, fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    options = {"unknown_length": "spool", "append_size_bytes": 100_000}
    async with make_client(**options, spool_directory=tmp_path) as client:
        info = await client.upload(chunked(DATA, 10_007))
    assert fastdfs_server.get(info.path) == DATA
    assert not fastdfs_server.file(info.path).is_appender
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


async def test_spool_is_bounded(make_client: MakeClient, fastdfs_server: FastdfsServer) -> None:
    options = {"unknown_length": "spool", "append_size_bytes": 1000, "spool_max_bytes": 20_000}
    async with make_client(**options) as client:
        with pytest.raises(FileTooLargeError, match="spool_max_bytes, 20000"):
            await client.upload(chunked(DATA, 10_007))
    assert fastdfs_server.files() == []


@pytest.mark.parametrize("size", [0, 1, len(DATA) - 1, len(DATA) + 1])
async def test_body_of_another_length_than_declared_leaves_nothing(
    client: Client, fastdfs_server: FastdfsServer, size: int
) -> None:
    with pytest.raises(TruncatedBodyError, match="nothing was stored"):
        await client.upload(chunked(DATA, 10_007), size=size)
    assert fastdfs_server.files() == []
    assert (await client.upload(b"next")).size == 4


async def test_group_and_store_path_are_the_caller_s_choice(make_client: MakeClient) -> None:
    with FastdfsServer({"group1": 1, "group2": 1}, store_path_count=3) as server:
        async with make_client(server=server, group="group2", store_path_index=2) as client:
            assert (await client.upload(b"x")).path.startswith("group2/M02/")
            assert (await client.upload(b"x", group="group1")).path.startswith("group1/M02/")
        async with make_client(server=server) as client:
            uploads = range(3 * UPLOADS_PER_ANSWER)
            paths = {(await client.upload(b"x", group="group2")).path[:11] for _ in uploads}
            assert paths == {"group2/M00/", "group2/M01/", "group2/M02/"}


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 1_500_000])
async def test_what_is_left_of_a_read_comes_at_once(client: Client, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    path = (await client.upload(data)).path
    async with await client.open(path) as stream:
        assert await stream.read_all() == data
        assert await stream.read_all() == b""
    async with await client.open(path) as stream:
        begin = await stream.receive(7) if size else b""
        assert begin + await stream.read_all() == data
    with pytest.raises(ClosedResourceError):
        await stream.read_all()


async def test_few_uploads_go_where_a_tracker_said_once(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    async def questions(**options: float) -> int:
        before = fastdfs_server.request_count(Command.QUERY_STORE)
        async with make_client(server=fastdfs_server, **options) as client:
            for _ in range(2 * UPLOADS_PER_ANSWER):
                await client.upload(b"x")
        return fastdfs_server.request_count(Command.QUERY_STORE) - before

    assert await questions() == 2
    assert await questions(location_ttl_s=0) == 2 * UPLOADS_PER_ANSWER


async def test_unknown_group_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no group 'nope'"):
        await client.upload(b"x", group="nope")


async def test_exact_path_can_not_be_written(client: Client) -> None:
    with pytest.raises(UnsupportedOperationError, match="NameHint"):
        await client.driver.write(MISSING, await make_body(b""), WriteOptions())


# Reads


@pytest.mark.parametrize("appender", [False, True])
@pytest.mark.parametrize(
    ("byte_range", "expected"),
    [
        (ByteRange(0), b"0123456789"),
        (ByteRange(3), b"3456789"),
        (ByteRange(0, 0), b"0"),
        (ByteRange(2, 4), b"234"),
        (ByteRange(8, 100), b"89"),
        (ByteRange.suffix(3), b"789"),
        (ByteRange.suffix(100), b"0123456789"),
    ],
)
@pytest.mark.parametrize("old", [False, True])
async def test_ranges(
    make_client: MakeClient, appender: bool, byte_range: ByteRange, expected: bytes, old: bool
) -> None:
    with FastdfsServer(old_download_range=old) as server:
        path = server.put(b"0123456789", appender=appender)
        async with make_client(server=server) as client:
            stream = await client.open(path, byte_range)
            async with stream:
                assert stream.info.size == stream.range.size == 10
                assert stream.range.length == len(expected)
                assert stream.range.offset == b"0123456789".index(expected)
                assert b"".join([chunk async for chunk in stream]) == expected


@pytest.mark.parametrize("appender", [False, True])
@pytest.mark.parametrize("data", [b"", b"0123456789"])
@pytest.mark.parametrize("byte_range", [ByteRange(10), ByteRange(11, 12)])
async def test_range_past_the_end(
    client: Client,
    fastdfs_server: FastdfsServer,
    appender: bool,
    data: bytes,
    byte_range: ByteRange,
) -> None:
    path = fastdfs_server.put(data, appender=appender)
    with pytest.raises(RangeNotSatisfiableError) as caught:
        await client.read(path, byte_range)
    assert caught.value.path == path
    assert await client.read(path) == data


@pytest.mark.parametrize("appender", [False, True])
async def test_empty_file_reads_as_empty(
    client: Client, fastdfs_server: FastdfsServer, appender: bool
) -> None:
    path = fastdfs_server.put(b"", appender=appender)
    assert await client.read(path) == b""
    with pytest.raises(RangeNotSatisfiableError):
        await client.read(path, ByteRange.suffix(1))


async def test_receive_gives_no_more_than_asked_for(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    stream = await client.open(path)
    async with stream:
        parts = [await stream.receive(1000) for _ in range(1280)]
    assert {len(part) for part in parts} <= set(range(1, 1001))
    assert DATA.startswith(b"".join(parts))


async def test_read_that_is_closed_early_leaves_nothing_behind(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA * 10)
    stream = await client.open(path)
    await stream.receive(10)
    await stream.aclose()
    assert await client.read(path) == DATA * 10


# Missing files and bad ids


async def test_missing_file_is_not_found(client: Client) -> None:
    for operation in (client.read, client.stat):
        with pytest.raises(NotFoundError) as caught:
            await operation(MISSING)
        assert (caught.value.path, caught.value.driver) == (MISSING, "fastdfs")
    with pytest.raises(FileNotFoundError):
        await client.set_metadata(MISSING, {"a": "b"}, "merge")
    with pytest.raises(FileNotFoundError):
        await client.set_metadata(MISSING, {"a": "b"}, "replace")


async def test_deleting_what_is_missing_succeeds_unless_asked_otherwise(client: Client) -> None:
    await client.delete(MISSING)
    with pytest.raises(NotFoundError):
        await client.delete(MISSING, missing_ok=False)


@pytest.mark.parametrize("path", ["", "group1", "group1/", "bucket/key", "group1/M00/00/00/x.jpg"])
async def test_what_is_no_id_is_refused_before_any_request(
    client: Client, fastdfs_server: FastdfsServer, path: str
) -> None:
    for operation in (client.read, client.stat, client.delete):
        with pytest.raises(InvalidPathError, match="no FastDFS id"):
            await operation(path)
    assert fastdfs_server.request_count() == 0


async def test_deleted_file_is_gone_with_its_metadata(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    info = await client.upload(b"x", metadata={"a": "b"})
    await client.delete(info.path, missing_ok=False)
    assert fastdfs_server.files() == []
    with pytest.raises(NotFoundError):
        await client.stat(info.path)


# Stat and metadata


async def test_stat_of_a_file_that_another_client_made(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello", ext="txt")
    info = await client.stat(path)
    assert (info.size, info.metadata, info.filename) == (5, {}, None)
    assert info.checksum == Checksum("crc32", f"{zlib.crc32(b'hello'):08x}")
    assert client.extra(info).source_address == "127.0.0.1"


async def test_stat_of_a_huge_appender_file_does_not_compute_its_checksum(
    client: Client, fastdfs_server: FastdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystow_fastdfs._asking.MAX_CRC_BYTES", 4)
    info = await client.stat(fastdfs_server.put(b"hello", appender=True))
    assert (info.size, info.checksum) == (5, None)


async def test_metadata_is_replaced_or_merged_and_the_name_stays(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    info = await client.upload(b"x", "a.txt", metadata={"a": "1", "b": "2"})
    await client.set_metadata(info.path, {"b": "3", "c": "4"}, "merge")
    assert (await client.stat(info.path)).metadata == {"a": "1", "b": "3", "c": "4"}
    await client.set_metadata(info.path, {"d": "5"}, "replace")
    stat = await client.stat(info.path)
    assert (stat.metadata, stat.filename) == ({"d": "5"}, "a.txt")
    await client.set_metadata(info.path, {}, "replace")
    assert (await client.stat(info.path)).metadata == {}
    assert fastdfs_server.file(info.path).metadata == {
        "OriginFileName": "a.txt",
        "OriginFileExtName": "txt",
        "OriginFileSize": "1",
    }


async def test_name_is_not_kept_where_it_is_not_wanted(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    async with make_client(keep_filename=False) as client:
        info = await client.upload(b"x", "a.txt")
    assert info.filename is None
    assert fastdfs_server.file(info.path).metadata is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"": "x"},
        {"x" * 65: "y"},
        {"ü" * 33: "y"},
        {"x": "y" * 257},
        {"x": "ü" * 129},
        {"x": "a\x01b"},
        {"a\x02b": "x"},
        {"x": "\x00"},
        {"x": "\ud800"},
        {"OriginFileName": "x"},
    ],
)
async def test_metadata_that_would_be_cut_is_refused_before_any_request(
    client: Client, fastdfs_server: FastdfsServer, metadata: dict[str, str]
) -> None:
    given = dict(metadata)
    with pytest.raises(InvalidMetadataError):
        await client.upload(b"x", metadata=metadata)
    with pytest.raises(InvalidMetadataError):
        await client.set_metadata(MISSING, metadata, "merge")
    assert metadata == given
    assert fastdfs_server.request_count() == 0


async def test_longest_metadata_is_kept(client: Client) -> None:
    metadata = {"x" * 64: "y" * 256, "ü" * 32: "ü" * 128, "empty": ""}
    info = await client.upload(b"x", metadata=metadata)
    assert (await client.stat(info.path)).metadata == metadata


async def test_name_that_metadata_can_not_keep_is_refused(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    with pytest.raises(InvalidPathError, match="keep_filename"):
        await client.upload(b"x", "ü" * 129)
    assert fastdfs_server.request_count() == 0


# Health, widths


async def test_check_asks_tracker_and_storage(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    await client.driver.check("")
    await client.driver.check("group1")
    assert fastdfs_server.request_count(111, on="storage") == 2
    with pytest.raises(NotFoundError, match="no group 'nope'"):
        await client.driver.check("nope")


async def test_servers_that_answer_at_ipv6_width(make_client: MakeClient) -> None:
    with FastdfsServer(ipv6_size_replies=True) as server:
        async with make_client(server=server) as client:
            info = await client.upload(b"hello")
            assert await client.read(info.path) == b"hello"
            assert client.extra(await client.stat(info.path)).source_address == "127.0.0.1"


async def test_bare_ids_are_recognised(client: Client) -> None:
    assert client.driver.owns_bare_id(MISSING)
    assert not client.driver.owns_bare_id("bucket/key")
