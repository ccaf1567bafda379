"""S3 and FastDFS behind one storage, in s3py-helper's three modes."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from backends import BUCKET, Backends

from polystow import (
    ByteRange,
    DriverNotFoundError,
    InvalidPathError,
    NameHint,
    NoRouteError,
    NotFoundError,
    PermissionDeniedError,
    Registry,
    Storage,
    TruncatedBodyError,
    UnsupportedOperationError,
    ZipMember,
    open_storage,
)
from polystow_testing.fastdfs import FastdfsServer


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * size


async def test_s3_mode_gives_prefixed_ids_and_refuses_fastdfs_ids(backends: Backends) -> None:
    async with open_storage({"mounts": {"s3": backends.s3_mount}}) as storage:
        info = await storage.upload("report.pdf", b"content", folder="reports")
        assert info.file_id.startswith(f"s3:{BUCKET}/reports/")
        assert info.file_id.endswith("_report.pdf")
        assert info.uri == info.file_id.replace("s3:", "s3://")
        with pytest.raises(NoRouteError, match="mounted: s3"):
            await storage.read_bytes("group1/M00/00/00/fwAAAWsA62CAMzaRAAACvC4KhlE049.pdf")


async def test_fastdfs_mode_gives_bare_ids_and_refuses_s3_ids(backends: Backends) -> None:
    config = {"mounts": {"fastdfs": backends.fastdfs_mount}, "unprefixed": "fastdfs"}
    async with open_storage(config) as storage:
        info = await storage.upload("photo.jpg", b"content")
        assert info.file_id.startswith("group1/M00/")
        assert info.file_id.endswith(".jpg")
        assert info.uri == f"fastdfs://{info.file_id}"
        with pytest.raises(NoRouteError, match="mounted: fastdfs"):
            await storage.read_bytes("s3:my-bucket/key")


async def test_hybrid_mode_writes_to_s3_and_reads_by_id(
    hybrid: Storage, backends: Backends
) -> None:
    legacy = backends.fastdfs.put(b"written years ago", ext="txt")
    new = await hybrid.upload("new.txt", "written today")
    assert new.file_id.startswith(f"s3:{BUCKET}/")
    assert await hybrid.read_bytes(legacy) == b"written years ago"
    assert await hybrid.read_bytes(new.file_id) == b"written today"


async def test_all_three_forms_of_an_id_name_one_object(
    hybrid: Storage, backends: Backends
) -> None:
    bare = backends.fastdfs.put(b"one file", ext="txt")
    for form in (bare, f"fastdfs:{bare}", f"fastdfs://{bare}"):
        info = await hybrid.stat(form)
        assert (info.uri, info.file_id, info.size) == (f"fastdfs://{bare}", bare, 8)
    new = await hybrid.upload("x.txt", b"x")
    assert (await hybrid.stat(new.uri)).file_id == (await hybrid.stat(new.file_id)).file_id


async def test_ranges_of_both_backends_agree(hybrid: Storage, backends: Backends) -> None:
    data = bytes(range(256)) * 40
    ids = [backends.fastdfs.put(data), (await hybrid.upload("r.bin", data)).file_id]
    for wanted, expected in [
        (ByteRange(0, 99), data[:100]),
        (ByteRange(10_000), data[10_000:]),
        (ByteRange.suffix(7), data[-7:]),
        (ByteRange(10_200, 99_999), data[10_200:]),
    ]:
        for file_id in ids:
            async with hybrid.open_read(file_id, range=wanted) as stream:
                assert b"".join([chunk async for chunk in stream]) == expected
                assert stream.range.length == len(expected)
                assert stream.range.size == len(data)


async def test_a_stream_of_unknown_length_reaches_both_backends(
    hybrid: Storage, backends: Backends
) -> None:
    expected = b"".join([piece async for piece in pieces(30, 700_001)])
    config = {"mounts": {"fastdfs": backends.fastdfs_mount}, "unprefixed": "fastdfs"}
    async with open_storage(config) as fastdfs:
        for storage in (hybrid, fastdfs):
            info = await storage.upload("large.bin", pieces(30, 700_001))
            assert info.size == len(expected)
            assert await storage.read_bytes(info.file_id) == expected


@pytest.mark.parametrize("size", [29 * 1000, 31 * 1000])
async def test_a_body_of_another_length_than_declared_leaves_nothing(
    backends: Backends, size: int
) -> None:
    before = [file.file_id for file in backends.fastdfs.files()]
    for scheme in ("s3", "fastdfs"):
        async with open_storage({**backends.hybrid, "write_to": scheme}) as storage:
            hint = NameHint("short.bin", folder=f"declared-{size}")
            with pytest.raises(TruncatedBodyError, match="write") as caught:
                await storage.write(hint, pieces(30, 1000), size=size)
            assert caught.value.path is not None
            prefix = f"s3:{BUCKET}/declared-{size}/"
            assert [item async for item in storage.list(prefix)] == []
    assert [file.file_id for file in backends.fastdfs.files()] == before


async def test_copy_from_fastdfs_to_s3_keeps_content_and_metadata(
    hybrid: Storage, backends: Backends
) -> None:
    async with open_storage({**backends.hybrid, "write_to": "fastdfs"}) as old:
        legacy = await old.upload("contract.pdf", b"%PDF old", metadata={"author": "john"})
    copied = await hybrid.copy(legacy.file_id, NameHint("contract.pdf", folder="migrated"))
    assert copied.file_id.startswith(f"s3:{BUCKET}/migrated/")
    info = await hybrid.stat(copied.file_id)
    assert dict(info.metadata or {}) == {"author": "john"}
    assert info.filename == "contract.pdf"
    assert await hybrid.read_bytes(copied.file_id) == b"%PDF old"
    assert await hybrid.exists(legacy.file_id)


async def test_move_from_fastdfs_to_s3_deletes_the_source_last(
    hybrid: Storage, backends: Backends
) -> None:
    legacy = backends.fastdfs.put(b"to be moved", ext="txt")
    moved = await hybrid.move(legacy, NameHint("moved.txt"))
    assert await hybrid.read_bytes(moved.file_id) == b"to be moved"
    assert not await hybrid.exists(legacy)


async def test_delete_many_takes_ids_of_both(hybrid: Storage, backends: Backends) -> None:
    ids = [backends.fastdfs.put(b"a"), (await hybrid.upload("b.txt", b"b")).file_id]
    result = await hybrid.delete_many([*ids, "nope:x/y"])
    assert list(result.succeeded) == ids
    assert [failure.path for failure in result.failed] == ["nope:x/y"]
    assert not any([await hybrid.exists(file_id) for file_id in ids])


async def test_zip_mixes_both_backends(hybrid: Storage, backends: Backends) -> None:
    legacy = backends.fastdfs.put(b"old " * 30_000, ext="txt")
    new = await hybrid.upload("report.txt", b"new " * 30_000)
    stream = hybrid.zip([ZipMember(legacy, "report.txt"), new.file_id])
    archive = zipfile.ZipFile(io.BytesIO(b"".join([chunk async for chunk in stream])))
    assert archive.namelist() == ["report.txt", "report_1.txt"]
    assert archive.read("report.txt") == b"old " * 30_000
    assert archive.read("report_1.txt") == b"new " * 30_000


async def test_a_missing_file_is_not_found_on_both(hybrid: Storage, backends: Backends) -> None:
    gone = backends.fastdfs.put(b"gone", ext="txt")
    backends.fastdfs.delete(gone)
    for file_id, uri in [
        (gone, f"fastdfs://{gone}"),
        (f"s3:{BUCKET}/no/such.key", f"s3://{BUCKET}/no/such.key"),
    ]:
        with pytest.raises(NotFoundError) as caught:
            await hybrid.read_bytes(file_id)
        assert isinstance(caught.value, FileNotFoundError)
        assert (caught.value.uri, caught.value.operation) == (uri, "open_read")
        await hybrid.delete(file_id)
        with pytest.raises(NotFoundError):
            await hybrid.delete(file_id, missing_ok=False)


async def test_a_mount_that_allows_no_deletion_keeps_its_files(backends: Backends) -> None:
    config = backends.hybrid
    config["mounts"]["fastdfs"]["allow_delete"] = False
    legacy = backends.fastdfs.put(b"for ever", ext="txt")
    async with open_storage(config) as storage:
        with pytest.raises(PermissionDeniedError, match="allows no deletion"):
            await storage.delete(legacy)
        assert await storage.read_bytes(legacy) == b"for ever"


async def test_fastdfs_refuses_an_exact_target_before_it_sends(
    fastdfs_server: FastdfsServer,
) -> None:
    mounts = {"fastdfs": {"trackers": fastdfs_server.trackers}}
    async with open_storage({"mounts": mounts, "unprefixed": "fastdfs"}) as storage:
        with pytest.raises(UnsupportedOperationError):
            await storage.write("group1/M00/00/00/fwAAAWsA62CAMzaRAAACvC4KhlE049.pdf", b"x")
    assert fastdfs_server.request_count() == 0


async def test_a_key_over_1024_bytes_is_refused_before_it_is_sent(hybrid: Storage) -> None:
    with pytest.raises(InvalidPathError, match="at most 1024"):
        await hybrid.write(f"s3:{BUCKET}/{'k' * 1025}", b"x")


async def test_health_of_both_is_told_by_scheme(hybrid: Storage) -> None:
    assert [(health.scheme, health.error) for health in await hybrid.check()] == [
        ("s3", None),
        ("fastdfs", None),
    ]


async def test_opening_connects_to_nothing() -> None:
    unreachable = {
        "s3": {"endpoint": "http://127.0.0.1:9", "default_bucket": BUCKET},
        "fastdfs": {"trackers": ["127.0.0.1:9"]},
    }
    async with open_storage({"mounts": unreachable, "write_to": "s3"}) as storage:
        with pytest.raises(UnsupportedOperationError, match="'fastdfs'"):
            storage.require("presign")


async def test_a_missing_distribution_is_named() -> None:
    registry = Registry(scan=list)
    with pytest.raises(DriverNotFoundError, match="pip install polystow-s3"):
        async with open_storage({"mounts": {"s3": {}}}, registry=registry):
            pass


async def test_a_local_file_is_uploaded_and_downloaded(hybrid: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(range(256)) * 5000)
    info = await hybrid.upload("source.bin", source)
    seen: list[int] = []
    target = tmp_path / "target.bin"
    await hybrid.download(info.file_id, target, progress=lambda done, _: seen.append(done))
    assert target.read_bytes() == source.read_bytes()
    assert seen[-1] == source.stat().st_size
