import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast, override

import anyio
import pytest
from anyio import CancelScope
from core_doubles import BrokenStreamDriver, NamedMemory
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    BackendUnavailableError,
    ByteRange,
    Capabilities,
    Checksum,
    ChecksumMismatchError,
    Limits,
    MemoryDriver,
    NoSpaceError,
    NotFoundError,
    ObjectInfo,
    Operation,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    RateLimitedError,
    ReadOptions,
    ReadStream,
    Storage,
    StorageDriver,
    StorageError,
    TransportError,
    open_storage,
    wrap,
)
from polystow._download_plan import (
    MAX_CONCURRENCY,
    MAX_PART_BYTES,
    MIN_PART_BYTES,
    Identity,
    Journal,
    Transfer,
    plan_transfer,
)
from polystow._local_file import LocalFile
from polystow._ranged_reads import plan_requests
from polystow._ranges import ContentRange

DATA = bytes(range(256)) * 4
ID = "memory:b/k"


@pytest.fixture
async def storage() -> Storage:
    return Storage(MemoryDriver())


class Reads:
    """A layer that notes what is read, and does something before a read."""

    def __init__(self, before: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.options: list[ReadOptions] = []
        self.before = before

    async def __call__[T](self, op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        if op.name == "open_read":
            self.options.append(cast("ReadOptions", op.args[1]))
            if self.before is not None:
                await self.before(len(self.options))
        return await call(op)

    @property
    def ranges(self) -> list[str]:
        return [str(options.range) for options in self.options if options.range is not None]


async def stored(driver: StorageDriver, data: bytes = DATA, *layers: Any) -> Storage:
    await Storage(driver).write(ID, data)
    return Storage(wrap(driver, layers))


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def left(folder: Path, suffix: str) -> list[Path]:
    return list(folder.glob(f".*{suffix}"))


async def test_a_reader_of_the_replaced_file_keeps_it(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")
    await storage.write("memory:b/k", DATA)
    with path.open("rb") as file:
        await storage.download("memory:b/k", path)
        assert file.read() == b"old"


async def test_a_download_is_an_ordinary_file(storage: Storage, tmp_path: Path) -> None:
    import os

    written = await storage.write("memory:b/k", DATA)
    path = tmp_path / "k"
    old = os.umask(0o027)
    try:
        info = await storage.download("memory:b/k", str(path))
    finally:
        os.umask(old)
    assert (path.read_bytes(), info) == (DATA, written)
    assert path.stat().st_mode & 0o777 == 0o640
    assert entries(tmp_path) == [path]


async def test_a_download_replaces_a_file_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")
    during: list[bytes] = []
    storage = Storage(MemoryDriver())
    await storage.write("memory:b/k", DATA)
    await storage.download(
        "memory:b/k", path, progress=lambda done, size: during.append(path.read_bytes())
    )
    assert (during, path.read_bytes()) == ([b"old"], DATA)


async def test_an_empty_download_makes_an_empty_file(storage: Storage, tmp_path: Path) -> None:
    await storage.write("memory:b/k", b"")
    await storage.download("memory:b/k", tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == b""


async def test_progress_of_a_download_counts_up_to_the_size(
    storage: Storage, tmp_path: Path
) -> None:
    await storage.write("memory:b/k", bytes(2_500_000))
    seen: list[tuple[int, int | None]] = []
    await storage.download(
        "memory:b/k", tmp_path / "k", progress=lambda done, size: seen.append((done, size))
    )
    assert seen[-1] == (2_500_000, 2_500_000)
    assert sorted(seen) == seen
    assert len(seen) > 1


@pytest.mark.parametrize("old", [b"old", None])
async def test_a_download_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, old: bytes | None
) -> None:
    path = tmp_path / "k"
    if old is not None:
        path.write_bytes(old)
    storage = Storage(BrokenStreamDriver(lambda: TransportError("cut"), "memory"))
    await storage.write("memory:b/k", DATA)
    with pytest.raises(TransportError):
        await storage.download("memory:b/k", path)
    assert [entry.read_bytes() for entry in entries(tmp_path)] == ([] if old is None else [old])


async def test_a_download_that_is_cancelled_leaves_no_file(tmp_path: Path) -> None:

    storage = Storage(MemoryDriver())
    await storage.write("memory:b/k", DATA)
    with CancelScope() as scope:
        await storage.download(
            "memory:b/k", tmp_path / "k", progress=lambda done, size: scope.cancel()
        )
    assert scope.cancelled_caught
    assert entries(tmp_path) == []


async def test_a_small_download_that_is_cancelled_while_it_is_saved_is_there_wholly_or_not(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving, cancelled = threading.Event(), threading.Event()
    write = LocalFile.write

    def slow(self: LocalFile, chunk: bytes, offset: int) -> None:
        write(self, chunk[:1], offset)
        saving.set()
        assert cancelled.wait(10)
        write(self, chunk, offset)

    monkeypatch.setattr(LocalFile, "write", slow)
    await storage.write(ID, DATA)
    path = tmp_path / "k"
    path.write_bytes(b"old")

    async def cancel(scope: CancelScope) -> None:
        await anyio.to_thread.run_sync(saving.wait)
        scope.cancel()
        assert path.read_bytes() == b"old"
        cancelled.set()

    async with anyio.create_task_group() as tasks:
        with CancelScope() as scope:
            tasks.start_soon(cancel, scope)
            await storage.download(ID, path)
    assert entries(tmp_path) == [path]
    assert path.read_bytes() == DATA


async def test_a_download_of_what_is_not_there_makes_no_file(
    storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError):
        await storage.download("memory:b/k", tmp_path / "k")
    assert entries(tmp_path) == []


async def test_a_download_to_where_nothing_can_be_written_names_the_file(
    storage: Storage, tmp_path: Path
) -> None:
    await storage.write(ID, DATA)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "k", tmp_path / "folder", Path("/")):
        with pytest.raises(StorageError, match="the local file can't be written") as caught:
            await storage.download(ID, path)
        assert (caught.value.operation, caught.value.path) == ("download", str(path))
    assert sorted(entry.name for entry in entries(tmp_path)) == ["file", "folder"]


async def test_folders_are_made(storage: Storage, tmp_path: Path) -> None:
    await storage.write(ID, DATA)
    await storage.download(ID, tmp_path / "a" / "b" / "k")
    assert (tmp_path / "a" / "b" / "k").read_bytes() == DATA
    with pytest.raises(NotFoundError):
        await storage.download("memory:b/none", tmp_path / "c" / "k")
    assert not (tmp_path / "c").exists()


async def test_a_full_disk_is_told(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: LocalFile, chunk: bytes, offset: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFile, "write", full)
    await storage.write(ID, DATA)
    with pytest.raises(NoSpaceError, match="No space left"):
        await storage.download(ID, tmp_path / "k")
    assert entries(tmp_path) == []


@pytest.mark.parametrize("argument", ["concurrency", "part_size_bytes"])
async def test_downloads_of_nothing_at_a_time_are_refused(
    storage: Storage, tmp_path: Path, argument: str
) -> None:
    limits: dict[str, Any] = {argument: 0}
    with pytest.raises(ValueError, match=argument):
        await storage.download(ID, tmp_path / "k", **limits)


# Into a file object


class AsyncFile:
    """As anyio's files: `write` is async."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


class Raw(io.RawIOBase):
    """A raw file: it takes as much as it likes."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data[:100])
        return min(100, len(data))


async def test_an_object_is_written_into_any_binary_file(storage: Storage, tmp_path: Path) -> None:
    written = await storage.write(ID, DATA)
    memory, raw, asynchronous = io.BytesIO(), Raw(), AsyncFile()
    memory.write(b"before")
    seen: list[tuple[int, int | None]] = []
    for file in (memory, raw, asynchronous):
        info = await storage.download(ID, cast("Any", file), progress=lambda *s: seen.append(s))
        assert info == written
    assert memory.getvalue() == b"before" + DATA
    assert (raw.data, asynchronous.data) == (DATA, DATA)
    assert seen == [(1024, 1024)] * 3
    with (tmp_path / "k").open("wb") as real:
        await storage.download(ID, real, range=ByteRange(0, 9))
    assert (tmp_path / "k").read_bytes() == DATA[:10]


async def test_what_is_no_binary_file_is_refused(storage: Storage) -> None:
    await storage.write(ID, DATA)
    with pytest.raises(TypeError):
        await storage.download(ID, cast("Any", io.StringIO()))
    with pytest.raises(TypeError, match="neither a path nor a file"):
        await storage.download(ID, cast("Any", 5))
    with pytest.raises(ValueError, match="resume"):
        await storage.download(ID, io.BytesIO(), resume=True)


async def test_progress_is_told_of_every_way_to_read(storage: Storage) -> None:
    await storage.write(ID, DATA)
    seen: list[tuple[int, int | None]] = []
    show: Any = lambda *step: seen.append(step)  # noqa: E731
    await storage.read_bytes(ID, range=ByteRange(0, 99), progress=show)
    async with storage.open_read(ID, chunk_size_bytes=600, progress=show) as stream:
        assert b"".join([chunk async for chunk in stream]) == DATA
        assert stream.info.size == 1024
    assert seen == [(100, 100), (600, 1024), (1024, 1024)]


# In ranges


@given(st.binary(max_size=300), st.integers(1, 99), st.integers(1, 6), st.booleans(), st.data())
async def test_ranges_make_the_same_file(
    tmp_path: Path, data: bytes, part: int, concurrency: int, resume: bool, draw: st.DataObject
) -> None:
    storage = await stored(MemoryDriver(), data)
    wanted: dict[str, Any] = {}
    expected = data
    if data and draw.draw(st.booleans()):
        first = draw.draw(st.integers(0, len(data) - 1))
        last = first + draw.draw(st.integers(0, 300))
        wanted["range"] = ByteRange(first, last)
        expected = data[first : last + 1]
    path = tmp_path / "k"
    await storage.download(
        ID, path, part_size_bytes=part, concurrency=concurrency, resume=resume, **wanted
    )
    assert path.read_bytes() == expected
    assert entries(tmp_path) == [path]


async def test_ranges_come_side_by_side_and_are_of_one_entity_tag(tmp_path: Path) -> None:
    inside = most = 0
    all_in = anyio.Event()

    async def wait(number: int) -> None:
        nonlocal inside, most
        if number == 1:
            return
        inside += 1
        most = max(most, inside)
        if inside == 3:
            all_in.set()
        with anyio.fail_after(5):
            await all_in.wait()
        inside -= 1

    reads = Reads(wait)
    storage = await stored(MemoryDriver(), DATA, reads)

    seen: list[tuple[int, int | None]] = []
    info = await storage.download(
        ID,
        tmp_path / "k",
        concurrency=4,
        part_size_bytes=100,
        progress=lambda done, size: seen.append((done, size)),
    )
    assert (tmp_path / "k").read_bytes() == DATA
    assert most == 3
    assert {options.if_match for options in reads.options[1:]} == {info.etag}
    assert reads.options[0].range is None
    assert seen == sorted(seen)
    assert seen[-1] == (1024, 1024)


async def test_an_object_that_changes_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    driver = MemoryDriver()

    async def change(number: int) -> None:
        if number == 2:
            await Storage(driver).write(ID, DATA[::-1])

    storage = await stored(driver, DATA, Reads(change))
    path = tmp_path / "k"
    path.write_bytes(b"old")
    with pytest.raises(PreconditionFailedError):
        await storage.download(ID, path, concurrency=3, part_size_bytes=100)
    assert [entry.read_bytes() for entry in entries(tmp_path)] == [b"old"]


class Untagged(NamedMemory):
    """Ignores conditions, as FastDFS has none; tells checksums, or nothing at all."""

    def __init__(self, *, checksums: bool) -> None:
        super().__init__()
        self.checksums = checksums
        self.capabilities = Capabilities(limits=Limits())

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        assert options.if_match is None
        stream = await super().open_read(path, options)
        values: dict[str, Any] = {**vars(stream.info), "etag": None}
        if not self.checksums:
            values["checksum"] = None
        stream.info = ObjectInfo(**values)
        return stream


async def test_a_checksum_takes_the_place_of_an_entity_tag(tmp_path: Path) -> None:
    driver = Untagged(checksums=True)
    reads = Reads()
    storage = await stored(driver, DATA, reads)
    await storage.download(ID, tmp_path / "k", concurrency=3, part_size_bytes=100)
    assert (tmp_path / "k").read_bytes() == DATA
    assert len(reads.options) > 1

    async def change(number: int) -> None:
        if number == 2:
            await Storage(driver).write(ID, DATA[::-1])

    changing = await stored(driver, DATA, Reads(change))
    with pytest.raises(PreconditionFailedError, match="changed while it was downloaded"):
        await changing.download(ID, tmp_path / "k", concurrency=3, part_size_bytes=100)


async def test_what_has_no_identity_comes_in_one_stream(tmp_path: Path) -> None:
    reads = Reads()
    storage = await stored(Untagged(checksums=False), DATA, reads)
    for resume in (False, True):
        await storage.download(
            ID, tmp_path / "k", concurrency=3, part_size_bytes=100, resume=resume
        )
        assert (tmp_path / "k").read_bytes() == DATA
    assert [options.range for options in reads.options] == [None, None]
    assert entries(tmp_path) == [tmp_path / "k"]


async def test_a_backend_that_ignores_ranges_is_found_out(tmp_path: Path) -> None:
    class Whole(NamedMemory):
        @override
        async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
            return await super().open_read(path, ReadOptions(if_match=options.if_match))

    path = tmp_path / "k"
    path.write_bytes(b"old")
    storage = await stored(Whole())
    with pytest.raises(StorageError, match="gave bytes from 0 on instead of bytes="):
        await storage.download(ID, path, concurrency=3, part_size_bytes=100)
    assert [entry.read_bytes() for entry in entries(tmp_path)] == [b"old"]


@pytest.mark.parametrize("resume", [False, True])
async def test_ranges_that_are_cancelled_leave_the_old_file(tmp_path: Path, resume: bool) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")
    storage = await stored(MemoryDriver())
    arguments: dict[str, Any] = {"concurrency": 3, "part_size_bytes": 100, "resume": resume}
    with CancelScope() as scope:
        await storage.download(ID, path, progress=lambda *_: scope.cancel(), **arguments)
    assert scope.cancelled_caught
    assert path.read_bytes() == b"old"
    await storage.download(ID, path, **arguments)
    assert [entry.read_bytes() for entry in entries(tmp_path)] == [DATA]


@pytest.mark.parametrize("error", [RateLimitedError, BackendUnavailableError])
async def test_a_download_that_gets_no_second_connection_goes_on_over_its_first(
    tmp_path: Path, error: type[StorageError]
) -> None:
    async def refuse(number: int) -> None:
        if number > 1:
            raise error("no more")

    reads = Reads(refuse)
    storage = await stored(MemoryDriver(), DATA, reads)
    await storage.download(ID, tmp_path / "k", concurrency=4, part_size_bytes=100)
    assert (tmp_path / "k").read_bytes() == DATA
    assert len(reads.options) <= 4


async def test_a_range_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")

    async def fail(number: int) -> None:
        if number == 3:
            raise TransportError("cut")

    storage = await stored(MemoryDriver(), DATA, Reads(fail))
    with pytest.raises(TransportError):
        await storage.download(ID, path, concurrency=4, part_size_bytes=100)
    assert [entry.read_bytes() for entry in entries(tmp_path)] == [b"old"]


class Lying(NamedMemory):
    """Tells the checksum of other bytes."""

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        checksum = Checksum("crc32", "00000000")
        values: dict[str, Any] = {**vars(stream.info), "checksum": checksum}
        stream.info = ObjectInfo(**values)
        return stream


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("resume", [False, True])
async def test_bytes_that_are_not_those_of_the_checksum_are_not_saved(
    tmp_path: Path, concurrency: int, resume: bool
) -> None:
    storage = await stored(Lying())
    for part_size_bytes in (100, None):
        with pytest.raises(ChecksumMismatchError, match="what was read has the"):
            await storage.download(
                *(ID, tmp_path / "k"),
                concurrency=concurrency,
                part_size_bytes=part_size_bytes,
                resume=resume,
            )
        assert entries(tmp_path) == []


async def test_a_driver_tells_at_the_end_of_its_stream_what_it_found(tmp_path: Path) -> None:
    class Failing(NamedMemory):
        @override
        async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
            stream = await super().open_read(path, options)
            receive = stream.receive

            async def checked(max_bytes: int = 65_536) -> bytes:
                try:
                    return await receive(max_bytes)
                except anyio.EndOfStream:
                    raise ChecksumMismatchError("not what was written") from None

            stream.receive = checked  # type: ignore[method-assign]
            return stream

    storage = await stored(Failing())
    for arguments in ({}, {"concurrency": 3, "part_size_bytes": 100}):
        with pytest.raises(ChecksumMismatchError, match="not what was written"):
            await storage.download(ID, tmp_path / "k", **cast("Any", arguments))
    assert entries(tmp_path) == []


# Resuming


async def test_a_download_goes_on_where_it_failed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "k"
    done = 0

    def fail_at(limit: int) -> Callable[[int, int | None], None]:
        def show(bytes_done: int, _: int | None) -> None:
            nonlocal done
            done = bytes_done
            if bytes_done >= limit:
                raise TransportError("cut")

        return show

    driver = MemoryDriver()
    storage = await stored(driver)
    arguments: dict[str, Any] = {"concurrency": 1, "part_size_bytes": 100, "resume": True}
    with pytest.raises(TransportError):
        await storage.download(ID, path, progress=fail_at(350), **arguments)
    assert not path.exists()
    assert sorted(entry.suffix for entry in entries(path.parent)) == [".journal", ".part"]

    reads = Reads()
    again = Storage(wrap(driver, [reads]))
    seen: list[int] = []
    await again.download(ID, path, progress=lambda done, _: seen.append(done), **arguments)
    assert path.read_bytes() == DATA
    assert reads.ranges == ["bytes=300-1023"]
    assert reads.options[0].if_match == (await storage.stat(ID)).etag
    assert (seen[0], seen[-1]) == (400, 1024)
    assert entries(path.parent) == [path]


@pytest.mark.parametrize("damage", ["object", "journal", "part", "torn"])
async def test_what_can_not_be_gone_on_with_comes_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "k"
    storage = await stored(MemoryDriver())

    def fail(done: int, _: int | None) -> None:
        if done >= 500:
            raise TransportError("cut")

    arguments: dict[str, Any] = {"concurrency": 1, "part_size_bytes": 100, "resume": True}
    with pytest.raises(TransportError):
        await storage.download(ID, path, progress=fail, **arguments)
    (journal,) = left(tmp_path, ".journal")
    (part,) = left(tmp_path, ".part")
    expected = DATA
    match damage:
        case "object":
            expected = DATA[::-1]
            await storage.write(ID, expected)
        case "journal":
            journal.write_bytes(b"[1, 2")
        case "part":
            part.write_bytes(b"")
        case _:
            journal.write_bytes(journal.read_bytes() + b"9 123")
    await storage.download(ID, path, **arguments)
    assert path.read_bytes() == expected
    assert entries(tmp_path) == [path]


async def test_a_part_that_was_damaged_on_the_disk_comes_again(tmp_path: Path) -> None:
    storage = await stored(MemoryDriver())

    def fail(done: int, _: int | None) -> None:
        if done >= 500:
            raise TransportError("cut")

    arguments: dict[str, Any] = {"concurrency": 1, "part_size_bytes": 100, "resume": True}
    with pytest.raises(TransportError):
        await storage.download(ID, tmp_path / "k", progress=fail, **arguments)
    (part,) = left(tmp_path, ".part")
    data = bytearray(part.read_bytes())
    data[50] ^= 1
    part.write_bytes(data)
    reads = Reads()
    await Storage(wrap(storage.driver, [reads])).download(ID, tmp_path / "k", **arguments)
    assert (tmp_path / "k").read_bytes() == DATA
    assert reads.ranges == ["bytes=0-1023", "bytes=400-1023"]


async def test_a_download_that_only_lacked_its_last_step_is_completed(tmp_path: Path) -> None:
    storage = await stored(MemoryDriver())
    (tmp_path / "k").mkdir()  # so that it can't be replaced
    with pytest.raises(StorageError, match="can't be written"):
        await storage.download(ID, tmp_path / "k", resume=True)
    (tmp_path / "k").rmdir()
    reads = Reads()
    await Storage(wrap(storage.driver, [reads])).download(ID, tmp_path / "k", resume=True)
    assert reads.ranges == ["bytes=0-0"]
    assert (tmp_path / "k").read_bytes() == DATA


async def test_two_downloads_do_not_fill_one_file(tmp_path: Path) -> None:
    inside, go_on = anyio.Event(), anyio.Event()

    async def wait(number: int) -> None:
        if number == 1:
            inside.set()
            await go_on.wait()

    storage = await stored(MemoryDriver(), DATA, Reads(wait))
    async with anyio.create_task_group() as tasks:

        async def first() -> None:
            await storage.download(ID, tmp_path / "k", resume=True)

        tasks.start_soon(first)
        await inside.wait()
        with pytest.raises(StorageError, match="under way"):
            await storage.download(ID, tmp_path / "k", resume=True)
        go_on.set()
    assert (tmp_path / "k").read_bytes() == DATA


CRASHING = """
import os, sys, anyio
from polystow import open_storage

def show(done, size):
    if done >= 600_000:
        os._exit(9)  # nothing is flushed, nothing is cleaned up

async def main(root, target):
    async with open_storage({"mounts": {"file": {"root": root}}}) as storage:
        await storage.download(
            "file:b/k", target, resume=True, part_size_bytes=100_000, concurrency=2, progress=show
        )

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_download_goes_on_after_its_process_was_killed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    data = os.urandom(1_000_000)
    target = tmp_path / "target" / "k"
    async with open_storage({"mounts": {"file": {"root": str(root)}}}) as storage:
        await storage.write("file:b/k", data)
        command = [sys.executable, "-c", CRASHING, str(root), str(target)]
        code = await anyio.to_thread.run_sync(lambda: subprocess.run(command, check=False))
        assert code.returncode == 9
        assert not target.exists()
        seen: list[int] = []
        await storage.download(
            "file:b/k",
            target,
            resume=True,
            part_size_bytes=100_000,
            progress=lambda done, _: seen.append(done),
        )
    assert target.read_bytes() == data
    assert seen[0] > 300_000  # what was on the disk was not asked for again
    assert entries(target.parent) == [target]


# Several ranges


RANGES = st.builds(
    lambda first, length: ByteRange(first, None if length is None else first + length),
    st.integers(0, 1023),
    st.none() | st.integers(0, 500),
) | st.builds(ByteRange.suffix, st.integers(1, 2000))


@given(st.lists(RANGES, max_size=8), st.integers(1, 4))
async def test_each_range_is_given_in_its_place(ranges: list[ByteRange], concurrency: int) -> None:
    storage = await stored(MemoryDriver())
    found = await storage.read_ranges(ID, iter(ranges), concurrency=concurrency)
    assert list(found) == [await storage.read_bytes(ID, range=wanted) for wanted in ranges]


@given(st.lists(RANGES, max_size=8), st.integers(0, 50))
def test_every_range_is_in_one_request_that_covers_it(ranges: list[ByteRange], gap: int) -> None:
    requests = plan_requests(ranges, gap_bytes=gap)
    assert sorted(member for request in requests for member in request.members) == list(
        range(len(ranges))
    )
    for request in requests:
        for member in request.members:
            if len(request.members) > 1:
                assert request.range.first <= ranges[member].first
                assert cast("int", request.range.last) >= cast("int", ranges[member].last)


async def test_ranges_that_are_close_come_in_one_request() -> None:
    reads = Reads()
    storage = await stored(MemoryDriver(), bytes(300_000), reads)
    ranges = [
        ByteRange(0, 9),
        ByteRange(5, 20),
        ByteRange(60_000, 60_009),
        ByteRange(200_000, 200_001),
    ]
    await storage.read_ranges(ID, ranges)
    assert sorted(reads.ranges) == ["bytes=0-60009", "bytes=200000-200001"]


async def test_a_range_after_the_end_is_an_error_also_among_others() -> None:
    storage = await stored(MemoryDriver())
    for ranges in ([ByteRange(1024, 1030)], [ByteRange(0, 5), ByteRange(1024, 1030)]):
        with pytest.raises(RangeNotSatisfiableError) as caught:
            await storage.read_ranges(ID, ranges)
        assert caught.value.path == "memory://b/k"
    with pytest.raises(ValueError, match="concurrency"):
        await storage.read_ranges(ID, [], concurrency=0)


async def test_ranges_of_two_contents_are_not_mixed() -> None:
    driver = MemoryDriver()

    async def change(number: int) -> None:
        if number == 2:
            await Storage(driver).write(ID, DATA[::-1])

    storage = await stored(driver, DATA, Reads(change))
    with pytest.raises(PreconditionFailedError, match="changed"):
        await storage.read_ranges(ID, [ByteRange(0, 1), ByteRange.suffix(2)], concurrency=1)


# Plans


@given(
    st.integers(0, 10**13),
    st.integers(1, 10**14),
    st.none() | st.integers(1, 99),
    st.none() | st.integers(1, 10**9),
    st.booleans(),
)
def test_the_parts_of_a_plan_are_the_whole(
    offset: int, length: int, concurrency: int | None, part: int | None, resumable: bool
) -> None:
    plan = plan_transfer(
        ContentRange(offset, length, None),
        concurrency=concurrency,
        part_size_bytes=part,
        resumable=resumable,
    )
    assert plan.part_offset(0) == offset
    last = plan.parts - 1
    assert plan.part_offset(last) + plan.part_length(last) == offset + length
    assert 1 <= plan.part_length(last) <= plan.part_size_bytes
    assert 1 <= plan.concurrency <= plan.parts
    if part is None and (resumable or plan.concurrency > 1):
        assert MIN_PART_BYTES <= plan.part_size_bytes <= MAX_PART_BYTES
    if concurrency is None:
        assert plan.concurrency <= MAX_CONCURRENCY


def test_small_objects_come_in_one_stream_and_large_ones_in_several() -> None:
    def concurrency(length: int) -> int:
        whole = ContentRange(0, length, length)
        return plan_transfer(
            whole, concurrency=None, part_size_bytes=None, resumable=False
        ).concurrency

    assert [concurrency(size) for size in (0, 1, 2**23, 2**24, 2**25, 2**40)] == [1, 1, 1, 2, 4, 4]


JOURNALS = st.builds(
    Journal,
    st.builds(
        Identity,
        st.none() | st.text(max_size=9),
        st.none() | st.tuples(st.just("crc32"), st.text(max_size=9)),
        st.none() | st.text(max_size=9),
        st.integers(0, 10**6),
    ),
    st.builds(Transfer, st.just(0), st.just(1000), st.just(10), st.integers(1, 4)),
    st.dictionaries(st.integers(0, 99), st.integers(0, 2**32 - 1), max_size=9),
)


@given(JOURNALS)
def test_a_journal_that_was_cut_anywhere_is_read_as_far_as_it_goes(journal: Journal) -> None:
    lines = [Journal.line(index, crc32) for index, crc32 in journal.finished.items()]
    text = journal.header() + b"".join(lines)
    assert Journal.parse(text) == journal
    for end in range(len(text)):
        part = Journal.parse(text[:end])
        if end < len(journal.header()):
            assert part is None
        else:
            assert part is not None
            assert part.finished.items() <= journal.finished.items()


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: (json.dumps(text) + "\n").encode())
)
def test_what_is_no_journal_is_none(text: bytes) -> None:
    assert Journal.parse(text) is None
