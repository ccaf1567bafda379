import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import anyio
import pytest
from anyio.abc import ByteReceiveStream

from polystow import (
    AlreadyExistsError,
    ByteRange,
    BytesBody,
    Checksum,
    ChecksumMismatchError,
    ConfigError,
    CopyOptions,
    DeleteOptions,
    DriverContext,
    FileTooLargeError,
    InvalidPathError,
    MetadataOptions,
    NameHint,
    NoSpaceError,
    NotFoundError,
    ObjectInfo,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadOptions,
    RequestPolicy,
    StatOptions,
    StorageDriver,
    StorageError,
    StreamBody,
    TruncatedBodyError,
    WriteOptions,
    make_body,
)
from polystow._file import SPEC, FileConfig, FileDriver

BIG = bytes(range(256)) * 12_000  # three chunks of a streamed write


def opened(root: Path, **options: Any) -> AbstractAsyncContextManager[StorageDriver]:
    context = DriverContext(RequestPolicy.once())
    return SPEC.open(FileConfig(root, **options), context)


@pytest.fixture
def driver(tmp_path: Path) -> FileDriver:
    return FileDriver(FileConfig(tmp_path), os.fsencode(tmp_path.resolve()))


async def put(
    driver: FileDriver, target: str | NameHint, data: bytes = b"data", **options: Any
) -> ObjectInfo:
    return await driver.write(target, BytesBody(data), WriteOptions(**options))


async def put_stream(
    driver: FileDriver, target: str | NameHint, data: bytes = BIG, **options: Any
) -> ObjectInfo:
    return await driver.write(target, StreamBody(pieces(data)), WriteOptions(**options))


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 700_000):
        yield data[start : start + 700_000]


async def get(driver: FileDriver, path: str, **options: Any) -> bytes:
    stream = await driver.open_read(path, ReadOptions(**options))
    try:
        return b"".join([chunk async for chunk in stream])
    finally:
        await stream.aclose()


def internals(root: Path) -> list[str]:
    """Temporary files and metadata entries that are there."""
    kept = [root / ".polystow" / name for name in ("tmp", "meta")]
    return [str(path) for top in kept for path in top.rglob("*") if path.is_file()]


def temporaries(root: Path) -> list[Path]:
    return list((root / ".polystow" / "tmp").glob("*"))


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 65_536, b"x" * 65_537, BIG])
async def test_what_was_written_is_read(driver: FileDriver, data: bytes) -> None:
    for write in (put, put_stream):
        written = await write(driver, "files/a/b.bin", data)
        assert written.size == len(data)
        assert await get(driver, "files/a/b.bin") == data


async def test_the_object_is_a_plain_file(driver: FileDriver, tmp_path: Path) -> None:
    await put(driver, "files/a/b.txt", b"hello")
    assert (tmp_path / "files/a/b.txt").read_bytes() == b"hello"


async def test_stat_tells_what_write_told(driver: FileDriver) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    written = await put(
        driver,
        "files/k",
        b"hello",
        content_type="text/x-odd",
        filename="Zürich.txt",
        metadata={"author": "jürg", "": "\ud800"},
    )
    info = await driver.stat("files/k", StatOptions())
    assert info == written
    assert info.path == "files/k"
    assert info.size == 5
    assert info.content_type == "text/x-odd"
    assert info.filename == "Zürich.txt"
    assert info.metadata == {"author": "jürg", "": "\ud800"}
    assert info.checksum == Checksum("crc32", f"{crc32(b'hello'):08x}")
    assert info.modified is not None
    assert before <= info.modified <= datetime.now(UTC) + timedelta(seconds=1)
    assert info.version is None


async def test_another_tools_file_is_an_object_without_metadata(
    driver: FileDriver, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/page.html").write_bytes(b"<p>")
    info = await driver.stat("theirs/page.html", StatOptions())
    assert info.content_type == "text/html"
    assert info.metadata == {}
    assert info.filename is None
    assert info.checksum is None
    assert await get(driver, "theirs/page.html", if_match=info.etag) == b"<p>"


async def test_the_type_of_a_compressed_file_is_that_of_the_compression(
    driver: FileDriver,
) -> None:
    assert (await put(driver, "files/a.tar.gz")).content_type == "application/gzip"
    assert (await put(driver, "files/data:,x")).content_type is None


async def test_a_file_edited_by_another_tool_loses_its_metadata_with_its_content(
    driver: FileDriver, tmp_path: Path
) -> None:
    await put(driver, "files/k.txt", b"old", metadata={"a": "b"}, content_type="x/y")
    (tmp_path / "files/k.txt").write_bytes(b"edited")
    info = await driver.stat("files/k.txt", StatOptions())
    assert (info.metadata, info.content_type) == ({}, "text/plain")
    assert await get(driver, "files/k.txt") == b"edited"


async def test_a_copy_of_the_whole_root_keeps_everything(
    driver: FileDriver, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import shutil

    written = await put(driver, "files/a/k", metadata={"a": "b"})
    other = tmp_path_factory.mktemp("other") / "root"
    shutil.copytree(tmp_path, other)
    copied = FileDriver(FileConfig(other), os.fsencode(other))
    assert await copied.stat("files/a/k", StatOptions()) == written


async def test_an_overwrite_leaves_no_old_entry_behind(driver: FileDriver, tmp_path: Path) -> None:
    for number in range(5):
        await put(driver, "files/k", metadata={"n": str(number)})
    assert len(internals(tmp_path)) == 1
    assert (await driver.stat("files/k", StatOptions())).metadata == {"n": "4"}


async def test_two_versions_of_one_size_have_different_entity_tags(driver: FileDriver) -> None:
    tags = [(await put(driver, "files/k", b"same")).etag for _ in range(20)]
    assert len(set(tags)) == 20


@pytest.mark.parametrize("write", [put, put_stream])
async def test_a_create_only_write_refuses_what_is_there(
    driver: FileDriver, tmp_path: Path, write: Any
) -> None:
    await write(driver, "files/k", b"one", overwrite=False, metadata={"n": "1"})
    with pytest.raises(AlreadyExistsError) as caught:
        await write(driver, "files/k", b"two", overwrite=False)
    assert (caught.value.operation, caught.value.path, caught.value.driver) == (
        "write",
        "files/k",
        "file",
    )
    assert await get(driver, "files/k") == b"one"
    assert (await driver.stat("files/k", StatOptions())).metadata == {"n": "1"}
    assert not temporaries(tmp_path)


@pytest.mark.parametrize("write", [put, put_stream])
async def test_a_conditional_write_replaces_only_what_it_knows(
    driver: FileDriver, write: Any
) -> None:
    with pytest.raises(PreconditionFailedError, match="no object"):
        await write(driver, "files/k", if_match="x")
    first = await write(driver, "files/k", b"one")
    second = await write(driver, "files/k", b"two", if_match=first.etag)
    with pytest.raises(PreconditionFailedError):
        await write(driver, "files/k", b"three", if_match=first.etag)
    assert await get(driver, "files/k", if_match=second.etag) == b"two"
    with pytest.raises(PreconditionFailedError):
        await get(driver, "files/k", if_match=first.etag)


async def test_a_refused_write_does_not_touch_its_body(driver: FileDriver) -> None:
    await put(driver, "files/k")
    body = StreamBody(pieces(BIG))
    with pytest.raises(AlreadyExistsError):
        await driver.write("files/k", body, WriteOptions(overwrite=False))
    await (await body.open()).aclose()


async def test_a_clock_that_stands_still_makes_no_two_versions_alike(
    driver: FileDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    tags = [(await put(driver, "files/k", b"same")).etag for _ in range(5)]
    assert len(set(tags)) == 5


async def test_a_new_object_gets_a_key_from_its_name(driver: FileDriver) -> None:
    info = await put(driver, NameHint("report.pdf", folder="2024/q1"))
    assert info.path.startswith("files/2024/q1/")
    assert info.path.endswith("_report.pdf")
    assert info.filename == "report.pdf"
    other = await put(driver, NameHint("report.pdf", container="other"))
    assert other.path.startswith("other/")


@pytest.mark.parametrize(
    "hint",
    [
        NameHint("a/b"),
        NameHint(""),
        NameHint("a", folder="../.."),
        NameHint("a", container=".."),
        NameHint("a", container="x/y"),
        NameHint("a" * 250),
    ],
)
async def test_a_hint_that_leads_elsewhere_is_refused(driver: FileDriver, hint: NameHint) -> None:
    with pytest.raises(InvalidPathError) as caught:
        await put(driver, hint)
    assert caught.value.operation == "write"
    assert caught.value.driver == "file"


@pytest.mark.parametrize(
    ("byte_range", "expected"),
    [
        (ByteRange(0, 0), slice(0, 1)),
        (ByteRange(5), slice(5, None)),
        (ByteRange(100, 99_999_999), slice(100, None)),
        (ByteRange(-7), slice(-7, None)),
        (ByteRange(1_000_000, 2_000_000), slice(1_000_000, 2_000_001)),
    ],
)
async def test_a_range_is_read(driver: FileDriver, byte_range: ByteRange, expected: slice) -> None:
    await put(driver, "files/k", BIG)
    assert await get(driver, "files/k", range=byte_range) == BIG[expected]


async def test_a_range_behind_the_end_is_refused(driver: FileDriver) -> None:
    await put(driver, "files/k", b"12345")
    before = open_files()
    with pytest.raises(RangeNotSatisfiableError) as caught:
        await get(driver, "files/k", range=ByteRange(5))
    assert (caught.value.operation, caught.value.path) == ("open_read", "files/k")
    assert open_files() == before


async def test_no_chunk_is_larger_than_asked_for(driver: FileDriver) -> None:
    await put(driver, "files/k", BIG)
    stream = await driver.open_read("files/k", ReadOptions(chunk_size_bytes=1000))
    assert {len(chunk) for chunk in [await stream.receive(10), await stream.receive(7)]} == {10, 7}
    assert len(await anext(stream)) == 1000
    await stream.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


@pytest.mark.parametrize("data", [b"old" * 10, BIG])
async def test_a_read_is_not_disturbed_by_an_overwrite_or_a_deletion(
    driver: FileDriver, data: bytes
) -> None:
    await put(driver, "files/k", data)
    stream = await driver.open_read("files/k", ReadOptions())
    start = await stream.receive(10)
    await put(driver, "files/k", b"new" * 100_000)
    await driver.delete("files/k", DeleteOptions())
    rest = b"".join([chunk async for chunk in stream])
    await stream.aclose()
    assert start + rest == data


@pytest.mark.parametrize("size", [1000, len(BIG)])
async def test_damaged_data_is_noticed_at_the_end_of_a_read(
    driver: FileDriver, tmp_path: Path, size: int
) -> None:
    await put(driver, "files/k", BIG[:size])
    file = tmp_path / "files/k"
    status = file.stat()
    file.write_bytes(BIG[: size - 1] + b"!")
    os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))
    with pytest.raises(ChecksumMismatchError) as caught:
        await get(driver, "files/k")
    assert caught.value.path == "files/k"
    assert await get(driver, "files/k", range=ByteRange(0, 9)) == BIG[:10]
    with pytest.raises(ChecksumMismatchError):
        await driver.copy("files/k", "files/copy", CopyOptions())
    with pytest.raises(NotFoundError):
        await get(driver, "files/copy")
    assert not temporaries(tmp_path)


async def test_a_file_that_is_shortened_during_the_read_is_no_short_object(
    driver: FileDriver, tmp_path: Path
) -> None:
    await put(driver, "files/k", BIG)
    stream = await driver.open_read("files/k", ReadOptions())
    await stream.receive(100_000)
    os.truncate(tmp_path / "files/k", 150_000)
    with pytest.raises(StorageError, match="shortened") as caught:
        async for _ in stream:
            pass
    await stream.aclose()
    assert (caught.value.operation, caught.value.path) == ("open_read", "files/k")


async def test_reads_leave_no_file_open(driver: FileDriver) -> None:
    await put(driver, "files/k", BIG)
    await get(driver, "files/k")
    before = open_files()
    for _ in range(3):
        await get(driver, "files/k")
        stream = await driver.open_read("files/k", ReadOptions())
        await stream.receive()
        await stream.aclose()
        await stream.aclose()
    assert open_files() == before


async def test_delete_removes_the_object_its_entry_and_empty_directories(
    driver: FileDriver, tmp_path: Path
) -> None:
    await put(driver, "files/a/b/c/k")
    await put(driver, "files/a/other")
    await driver.delete("files/a/b/c/k", DeleteOptions())
    assert sorted(path.name for path in (tmp_path / "files").rglob("*")) == ["a", "other"]
    assert len(internals(tmp_path)) == 1
    await driver.delete("files/a/other", DeleteOptions())
    assert list((tmp_path / "files").iterdir()) == []
    assert internals(tmp_path) == []


async def test_deleting_what_is_not_there_succeeds_unless_told_otherwise(
    driver: FileDriver, tmp_path: Path
) -> None:
    await put(driver, "files/k")
    for path in ("files/no", "files/no/no", "no/no", "files/k/below"):
        await driver.delete(path, DeleteOptions())
        with pytest.raises(NotFoundError) as caught:
            await driver.delete(path, DeleteOptions(missing_ok=False))
        assert (caught.value.operation, caught.value.path) == ("delete", path)
    assert (tmp_path / "files/k").exists()


async def test_many_are_deleted_each_with_its_own_outcome(driver: FileDriver) -> None:
    paths = [f"files/{number}" for number in range(150)]
    for path in paths:
        await put(driver, path)
    result = await driver.delete_many((*paths, "files/../x", "files/no"), DeleteOptions())
    assert result.succeeded == [*paths, "files/no"]
    assert [failure.path for failure in result.failed] == ["files/../x"]
    assert isinstance(result.failed[0].error, InvalidPathError)
    strict = await driver.delete_many(("files/no",), DeleteOptions(missing_ok=False))
    assert isinstance(strict.failed[0].error, NotFoundError)
    assert strict.failed[0].error.operation == "delete_many"


type Call = Callable[[FileDriver, str], Awaitable[object]]

OPERATIONS: dict[str, Call] = {
    "open_read": lambda driver, path: driver.open_read(path, ReadOptions()),
    "stat": lambda driver, path: driver.stat(path, StatOptions()),
    "copy": lambda driver, path: driver.copy(path, "files/copy", CopyOptions()),
    "set_metadata": lambda driver, path: driver.set_metadata(path, {}, MetadataOptions()),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("path", ["files/no", "no/no", "files/a", "files/k/below"])
async def test_what_is_not_there_is_not_found(
    driver: FileDriver, path: str, operation: str
) -> None:
    await put(driver, "files/a/b")
    await put(driver, "files/k")
    with pytest.raises(NotFoundError) as caught:
        await OPERATIONS[operation](driver, path)
    assert (caught.value.operation, caught.value.path) == (operation, path)
    assert caught.value.driver == "file"


@pytest.mark.parametrize("write", [put, put_stream])
async def test_a_key_below_an_object_is_refused_naming_the_object(
    driver: FileDriver, tmp_path: Path, write: Any
) -> None:
    await write(driver, "files/k")
    with pytest.raises(InvalidPathError, match="'files/k' is an object"):
        await write(driver, "files/k/x/y")
    await driver.delete("files/k", DeleteOptions())
    await write(driver, "files/k/x/y")
    with pytest.raises(InvalidPathError, match="'files/k/x' is a directory"):
        await write(driver, "files/k/x")
    assert not temporaries(tmp_path)


async def test_an_empty_directory_is_not_in_the_way_of_a_key(
    driver: FileDriver, tmp_path: Path
) -> None:
    (tmp_path / "files/k").mkdir(parents=True)
    await put(driver, "files/k", b"data")
    assert await get(driver, "files/k") == b"data"


@pytest.mark.parametrize("data", [b"small", BIG, BIG * 4])
async def test_a_copy_has_content_type_name_and_metadata_of_its_source(
    driver: FileDriver, tmp_path: Path, data: bytes
) -> None:
    source = await put(
        driver, "files/k", data, content_type="x/y", filename="f", metadata={"a": "b"}
    )
    copied = await driver.copy("files/k", "other/copy", CopyOptions())
    assert copied.path == "other/copy"
    assert copied.checksum == source.checksum
    assert (copied.content_type, copied.filename, copied.metadata) == ("x/y", "f", {"a": "b"})
    assert await get(driver, "other/copy") == data
    assert (tmp_path / "other/copy").stat().st_nlink == 1
    named = await driver.copy("files/k", NameHint("new.txt"), CopyOptions())
    assert named.filename == "new.txt"
    assert not temporaries(tmp_path)


async def test_a_create_only_copy_refuses_what_is_there(driver: FileDriver) -> None:
    await put(driver, "files/a", b"a")
    await put(driver, "files/b", b"b")
    with pytest.raises(AlreadyExistsError) as caught:
        await driver.copy("files/a", "files/b", CopyOptions(overwrite=False))
    assert (caught.value.operation, caught.value.path) == ("copy", "files/b")
    assert await get(driver, "files/b") == b"b"
    await driver.copy("files/a", "files/a", CopyOptions())
    assert await get(driver, "files/a") == b"a"


async def test_metadata_is_replaced_or_merged_and_nothing_else_changes(
    driver: FileDriver, tmp_path: Path
) -> None:
    written = await put(driver, "files/k", content_type="x/y", filename="f", metadata={"a": "1"})
    await driver.set_metadata("files/k", {"b": "2"}, MetadataOptions("merge"))
    info = await driver.stat("files/k", StatOptions())
    assert info.metadata == {"a": "1", "b": "2"}
    await driver.set_metadata("files/k", {"c": "3"}, MetadataOptions("replace"))
    info = await driver.stat("files/k", StatOptions())
    assert info.metadata == {"c": "3"}
    assert (info.etag, info.checksum, info.content_type, info.filename) == (
        written.etag,
        written.checksum,
        "x/y",
        "f",
    )
    assert len(internals(tmp_path)) == 1


async def test_another_tools_file_can_get_metadata(driver: FileDriver, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/k.txt").write_bytes(b"data")
    await driver.set_metadata("files/k.txt", {"a": "1"}, MetadataOptions("merge"))
    info = await driver.stat("files/k.txt", StatOptions())
    assert (info.metadata, info.content_type) == ({"a": "1"}, "text/plain")
    assert await get(driver, "files/k.txt") == b"data"


async def test_damaged_metadata_does_not_hide_the_data(
    driver: FileDriver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await put(driver, "files/k", b"data", metadata={"a": "b"})
    Path(internals(tmp_path)[0]).write_bytes(b"")  # noqa: ASYNC240
    assert await get(driver, "files/k") == b"data"
    assert "damaged" in caplog.text


@pytest.mark.parametrize(
    ("size", "chunks"), [(10, [b"short"]), (3, [b"long"]), (None, [b"x", "no bytes"])]
)
async def test_a_body_that_fails_leaves_nothing(
    driver: FileDriver, tmp_path: Path, size: int | None, chunks: list[Any]
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    await put(driver, "files/k", b"old")
    before = open_files()
    with pytest.raises((TruncatedBodyError, TypeError)) as caught:
        await driver.write("files/k", StreamBody(broken(), size), WriteOptions())
    if isinstance(caught.value, TruncatedBodyError):
        assert (caught.value.operation, caught.value.path) == ("write", "files/k")
    assert await get(driver, "files/k") == b"old"
    assert not temporaries(tmp_path)
    assert open_files() == before


class _Watched(ByteReceiveStream):
    def __init__(self, failure: BaseException | None) -> None:
        self.closed = 0
        self.failure = failure

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self.failure is not None:
            raise self.failure
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        self.closed += 1
        if self.failure is not None:
            raise ValueError("closing fails too")


class _WatchedBody:
    size = None
    replayable = False

    def __init__(self, stream: _Watched) -> None:
        self.stream = stream

    async def open(self) -> ByteReceiveStream:
        return self.stream


async def test_the_bodys_own_error_passes_through_and_the_body_is_closed(
    driver: FileDriver, tmp_path: Path
) -> None:
    stream = _Watched(PermissionError("the body's own"))
    with pytest.raises(PermissionError) as caught:
        await driver.write("files/k", _WatchedBody(stream), WriteOptions())
    assert not isinstance(caught.value, StorageError)
    assert stream.closed == 1
    assert not temporaries(tmp_path)
    fine = _Watched(None)
    await driver.write("files/k", _WatchedBody(fine), WriteOptions())
    assert fine.closed == 1


async def test_a_local_file_is_a_body(driver: FileDriver, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(BIG)
    await driver.write("files/k", await make_body(source), WriteOptions())
    assert await get(driver, "files/k") == BIG


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EFBIG, FileTooLargeError),
        (errno.EROFS, PermissionDeniedError),
        (errno.EIO, StorageError),
    ],
)
async def test_a_disk_that_fails_leaves_the_old_object(
    driver: FileDriver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[StorageError],
) -> None:
    await put(driver, "files/k", b"old", metadata={"a": "b"})

    def fail(fd: int, data: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    for write in (put, put_stream):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail)
            with pytest.raises(kind) as caught:
                await write(driver, "files/k", b"new")
        assert (caught.value.operation, caught.value.path) == ("write", "files/k")
        assert isinstance(caught.value.__cause__, OSError)
    assert await get(driver, "files/k") == b"old"
    assert (await driver.stat("files/k", StatOptions())).metadata == {"a": "b"}
    assert not temporaries(tmp_path)
    assert len(internals(tmp_path)) == 1


async def test_check_asks_the_root_or_a_container(driver: FileDriver, tmp_path: Path) -> None:
    await driver.check("")
    with pytest.raises(NotFoundError, match="container"):
        await driver.check("files")
    await put(driver, "files/k")
    await driver.check("files")
    with pytest.raises(InvalidPathError):
        await driver.check("..")
    assert not temporaries(tmp_path)


async def test_a_missing_root_is_noticed_at_opening(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"root: .* does not exist"):
        await opened(tmp_path / "a/b").__aenter__()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no directory"):
        await opened(tmp_path / "file").__aenter__()
    async with opened(tmp_path / "a/b", create_root=True) as driver:
        assert driver.info.name == "file"
    assert (tmp_path / "a/b").is_dir()


async def test_opening_writes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as driver:
        with pytest.raises(NotFoundError):
            await driver.stat("files/k", StatOptions())
        await driver.delete("files/k", DeleteOptions())
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


async def test_opening_sweeps_what_crashed_writers_left_yesterday(tmp_path: Path) -> None:
    directory = tmp_path / ".polystow/tmp"
    directory.mkdir(parents=True)
    (directory / "1-old").touch()
    (directory / "2-new").touch()
    os.utime(directory / "1-old", (0, 0))
    async with opened(tmp_path):
        assert [path.name for path in directory.iterdir()] == ["2-new"]


async def test_with_fsync_everything_is_synced_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(fd: int) -> None:
        events.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    def watched_rename(*args: Any, **options: Any) -> None:
        events.append("rename")
        rename(*args, **options)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    real = str(tmp_path)
    async with opened(tmp_path, fsync=True) as driver:
        await driver.write("files/a/k", BytesBody(b"data"), WriteOptions())
        commit = events.index("rename")
        before, after = events[:commit], events[commit + 1 :]
        assert any("/tmp/" in path for path in before)
        assert any(path.endswith(".json") for path in before)
        assert {real, f"{real}/files"} <= set(before)
        assert after == [f"{real}/files/a"]
        await driver.delete("files/a/k", DeleteOptions())


async def test_the_flags_say_what_the_driver_does(driver: FileDriver) -> None:
    capabilities = driver.capabilities
    assert capabilities.presign is None
    assert capabilities.bare_ids is None
    assert capabilities.limits.create_only
    assert capabilities.limits.if_match
    assert capabilities.limits.client_names_keys
