"""How an archive's members are fetched, and what is left when its reader goes away."""

import asyncio
import gc
import io
import json
import zipfile
from pathlib import Path
from typing import override

import pytest
from anyio import Event, create_task_group, fail_after, lowlevel, to_thread
from attrs import evolve
from core_doubles import BrokenStreamDriver, NamedMemory, fusion, put

from polystow import (
    BytesBody,
    InvalidPathError,
    LifecycleError,
    MemoryDriver,
    NotFoundError,
    ObjectInfo,
    ReadOptions,
    ReadStream,
    StatOptions,
    Storage,
    StorageError,
    TransportError,
    WriteOptions,
    ZipMember,
    ZipStream,
)
from polystow._zip_writer import Begin, End, Step, ZipWriter


async def collect(stream: ZipStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


def opened(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    return archive


class Gated(NamedMemory):
    """Counts its streams, and lets a test decide when an object can be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0
        self.asked: dict[str, Event] = {}
        self.gates: dict[str, Event] = {}

    def reached(self, path: str) -> Event:
        return self.asked.setdefault(path, Event())

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        self.reached(path).set()
        if path in self.gates:
            await self.gates[path].wait()
        stream = await super().open_read(path, options)
        self.open += 1
        return _Counted(stream, self)


class _Counted(ReadStream):
    def __init__(self, stream: ReadStream, driver: Gated) -> None:
        self.info, self.range = stream.info, stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._stream = stream
        self._driver = driver
        self._closed = False

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        await lowlevel.checkpoint()
        return await self._stream.receive(max_bytes)

    @override
    async def aclose(self) -> None:
        if not self._closed:
            self._driver.open -= 1
        self._closed = True
        await self._stream.aclose()


async def gated(*sizes: int) -> tuple[Gated, list[str]]:
    driver = Gated()
    for number, size in enumerate(sizes):
        await put(driver, f"b/{number}", bytes(size))
    return driver, [f"memory:b/{number}" for number in range(len(sizes))]


async def test_the_next_members_are_fetched_side_by_side() -> None:
    driver, ids = await gated(10, 10, 10, 10, 10)
    # One can't be opened before somebody has asked for the next: one by one would hang.
    driver.gates["b/1"] = driver.reached("b/2")
    with fail_after(10):
        assert len(opened(await collect(Storage(driver).zip(ids))).namelist()) == 5


class Nameless(Gated):
    """Tells names by stat alone, and sees what is open then."""

    def __init__(self) -> None:
        super().__init__()
        self.open_at_stat: list[int] = []

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        stream.info = evolve(stream.info, filename=None, metadata=None)
        return stream

    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        self.open_at_stat.append(self.open)
        return await super().stat(path, options)


@pytest.mark.parametrize(("size", "streams"), [(10, 0), (0, 0), (1_000_000, 1)])
async def test_the_name_of_a_small_member_is_asked_for_when_its_read_has_ended(
    size: int, streams: int
) -> None:
    driver = Nameless()
    options = WriteOptions(filename="photo.jpg")
    await driver.write("b/0", BytesBody(bytes(size)), options)
    data = await collect(Storage(driver).zip(["memory:b/0"]))
    assert opened(data).namelist() == ["photo.jpg"]
    assert driver.open_at_stat == [streams]


async def test_without_prefetch_members_are_fetched_one_by_one() -> None:
    driver, ids = await gated(10, 10, 10)
    stream = Storage(driver).zip(ids, prefetch=0)
    most = 0
    async for _ in stream:
        most = max(most, driver.open)
    assert most <= 1


async def test_the_first_bytes_wait_for_one_member_alone() -> None:
    driver, ids = await gated(3_000_000, 10)
    driver.gates["b/1"] = Event()
    stream = Storage(driver).zip(ids)
    with fail_after(10):
        assert (await anext(stream)).startswith(b"PK\x03\x04")
    await stream.aclose()
    assert driver.open == 0


async def test_large_members_hold_no_more_than_two_connections() -> None:
    driver, ids = await gated(*[4_000_000] * 6)
    most = 0
    async for _ in Storage(driver).zip(ids, compress_level=1):
        most = max(most, driver.open)
    assert (most, driver.open) == (2, 0)


@pytest.mark.parametrize("sizes", [[3_000_000, 5], [5] * 60, [100_000] * 20])
async def test_a_slow_reader_gets_a_whole_archive(sizes: list[int]) -> None:
    driver, ids = await gated(*sizes)
    data = b""
    async for chunk in Storage(driver).zip(ids, compress_level=0):
        for _ in range(5):
            await lowlevel.checkpoint()
        data += chunk
    assert [entry.file_size for entry in opened(data).infolist()] == sizes


# Readers that go away


@pytest.mark.parametrize("reached", ["b/1", "b/2"])
async def test_a_reader_cancelled_while_it_waits_closes_everything(reached: str) -> None:
    driver, ids = await gated(3_000_000, 3_000_000, 10)
    driver.gates[reached] = Event()
    storage = Storage(driver)
    async with create_task_group() as tasks:
        tasks.start_soon(collect, storage.zip(ids))
        await driver.reached(reached).wait()
        tasks.cancel_scope.cancel()
    assert driver.open == 0
    assert await storage.drain(0) == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # with which trio closes it
async def test_a_reader_that_drops_the_archive_closes_everything() -> None:
    driver, ids = await gated(3_000_000, 3_000_000)
    storage = Storage(driver)

    async def read_a_chunk() -> None:
        async for _ in storage.zip(ids, compress_level=0):
            assert driver.open == 1
            return

    await read_a_chunk()
    gc.collect()
    with fail_after(10):
        while driver.open:
            await lowlevel.checkpoint()
    assert await storage.drain(0) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_reader_cancelled_by_its_event_loop_closes_everything() -> None:
    driver, ids = await gated(3_000_000, 3_000_000, 10)
    driver.gates["b/2"] = Event()
    task = asyncio.ensure_future(collect(Storage(driver).zip(ids)))
    await driver.reached("b/2").wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert driver.open == 0


async def test_compressing_stops_soon_when_its_reader_goes_away() -> None:
    done = 0

    class Counting(ZipWriter):
        @override
        def _do(self, step: Step) -> None:
            nonlocal done
            super()._do(step)
            done += 1

    writer = Counting(9)
    steps: list[Step] = [Begin("x", ObjectInfo("b/x")), *[bytes(100_000)] * 10_000]
    async with create_task_group() as tasks:
        tasks.start_soon(to_thread.run_sync, lambda: writer.run_in_thread(steps, last=False))
        with fail_after(10):
            while not done:
                await lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    writer.abandon()
    assert done < 5_000


async def test_an_archive_abandoned_while_a_thread_is_at_work_gets_no_end() -> None:
    class Leaving(ZipWriter):
        @override
        def _do(self, step: Step) -> None:
            super()._do(step)
            self.abandon()

    writer = Leaving(6)
    steps: list[Step] = [Begin("x", ObjectInfo("b/x")), b"data", End()]
    pieces = writer.run(steps, last=True)
    assert b"PK\x05\x06" not in b"".join(pieces)
    assert writer._sink.take() == []


# Members that fail


async def test_a_failure_ends_the_other_reads() -> None:
    driver, ids = await gated(3_000_000, 3_000_000)
    storage = Storage(driver)
    with pytest.raises(NotFoundError):
        await collect(storage.zip([*ids, "memory:b/none"]))
    assert driver.open == 0


async def skipping(members: list[str | ZipMember], storage: Storage) -> tuple[ZipStream, bytes]:
    stream = storage.zip(members, on_error="skip")
    return stream, await collect(stream)


async def test_members_that_fail_are_left_out_and_listed() -> None:
    memory, broken = MemoryDriver(), BrokenStreamDriver(lambda: TransportError("cut"))
    await put(memory, "b/one", b"1")
    await put(broken, "b/half", b"x" * 1000)
    storage = fusion(aa=memory, bb=broken)
    stream, data = await skipping(
        ["aa:b/none", "aa:b/one", ZipMember("bb:b/half", "dir/half"), "aa:b/one"], storage
    )
    archive = opened(data)
    assert archive.namelist() == ["one", "one_1", "skipped.json"]
    assert [archive.read(name) for name in ("one", "one_1")] == [b"1", b"1"]
    assert json.loads(archive.read("skipped.json")) == {
        "skipped": [
            {
                "id": "aa:b/none",
                "name": None,
                "error": "NotFoundError",
                "message": "open_read 'aa://b/none': there is no such object",
            },
            {
                "id": "bb:b/half",
                "name": "dir/half",
                "error": "TransportError",
                "message": "open_read 'bb://b/half': cut",
            },
        ]
    }
    assert [(path, type(error)) for path, error in stream.skipped] == [
        ("aa:b/none", NotFoundError),
        ("bb:b/half", TransportError),
    ]


async def test_the_manifest_takes_no_members_name() -> None:
    memory = MemoryDriver()
    await put(memory, "b/skipped.json", b"mine")
    _, data = await skipping(["memory:b/skipped.json", "memory:b/none"], Storage(memory))
    archive = opened(data)
    assert archive.namelist() == ["skipped.json", "skipped_1.json"]
    assert archive.read("skipped.json") == b"mine"


async def test_nothing_skipped_needs_no_manifest() -> None:
    memory = MemoryDriver()
    await put(memory, "b/one")
    stream, data = await skipping(["memory:b/one"], Storage(memory))
    assert (opened(data).namelist(), stream.skipped) == (["one"], [])


async def test_all_skipped_leaves_the_manifest_alone() -> None:
    _, data = await skipping(["memory:b/one", "memory:b/two"], Storage(MemoryDriver()))
    assert opened(data).namelist() == ["skipped.json"]


async def test_a_storage_that_is_closed_skips_nothing() -> None:
    storage = Storage(MemoryDriver())
    stream = storage.zip(["memory:b/one"], on_error="skip")
    await storage.drain(0)
    with pytest.raises(LifecycleError):
        await collect(stream)


async def test_options_out_of_range_are_refused() -> None:
    storage = Storage(MemoryDriver())
    with pytest.raises(ValueError, match="prefetch is -1"):
        storage.zip([], prefetch=-1)
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        storage.zip([], on_error="ignore")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_a_name_that_no_archive_can_have_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="65536 bytes"):
        Storage(MemoryDriver()).zip([ZipMember("memory:b/k", "é" * 32_768)])


# Where archives go


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_an_archive_is_saved_as_a_file(tmp_path: Path) -> None:
    driver, ids = await gated(1_000_000, 10)
    target = tmp_path / "new" / "all.zip"
    size = await Storage(driver).zip(ids).save(target)
    assert size == target.stat().st_size
    assert opened(target.read_bytes()).namelist() == ["0", "1"]
    assert listed(target.parent) == [target]


async def test_an_archive_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    driver, ids = await gated(1_000_000)
    target = tmp_path / "all.zip"
    target.write_bytes(b"old")
    with pytest.raises(NotFoundError):
        await Storage(driver).zip([*ids, "memory:b/none"]).save(str(target))
    assert (target.read_bytes(), listed(tmp_path), driver.open) == (b"old", [target], 0)


async def test_an_archive_is_written_into_a_file_object() -> None:
    driver, ids = await gated(1_000_000, 10)
    file = io.BytesIO(b"front")
    file.seek(5)
    size = await Storage(driver).zip(ids).save(file)
    assert (file.tell(), file.closed) == (5 + size, False)
    assert opened(file.getvalue()[5:]).namelist() == ["0", "1"]


async def test_a_file_object_that_fails_ends_the_reads() -> None:
    class Full(io.BytesIO):
        @override
        def write(self, data: object, /) -> int:
            raise OSError(28, "No space left on device")

    driver, ids = await gated(3_000_000)
    with pytest.raises(OSError, match="No space left"):
        await Storage(driver).zip(ids).save(Full())
    assert driver.open == 0


async def test_a_path_that_can_not_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    driver, ids = await gated(3_000_000)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="can't be written"):
        await Storage(driver).zip(ids).save(tmp_path / "file" / "all.zip")
    assert driver.open == 0


async def test_what_is_no_file_is_refused() -> None:
    driver, ids = await gated(10)
    with pytest.raises(TypeError, match="neither a path nor a file"):
        await Storage(driver).zip(ids).save(7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert driver.open == 0


async def test_an_archive_can_be_stored_as_an_object() -> None:
    driver, ids = await gated(1_000_000, 10)
    storage = Storage(driver)
    info = await storage.write("memory:b/all.zip", storage.zip(ids))
    assert opened(await storage.read_bytes(info.uri)).namelist() == ["0", "1"]


# Methods


@pytest.mark.parametrize(
    ("name", "content_type", "stored"),
    [
        ("a.txt", None, False),
        ("a.jpg", None, True),
        ("a.JPG", "application/octet-stream", True),
        ("a.jpg", "text/plain; charset=utf-8", False),
        ("a", "image/png", True),
        ("a", "image/svg+xml", False),
        ("a", "Video/MP4", True),
        ("a.zip", "application/zip", True),
        ("a.docx", None, True),
        ("a", "audio/wav", False),
        ("a.csv", "text/csv", False),
    ],
)
async def test_what_is_compressed_already_is_stored(
    name: str, content_type: str | None, stored: bool
) -> None:
    memory = MemoryDriver()
    await memory.write("b/k", BytesBody(bytes(1000)), WriteOptions(content_type))
    data = await collect(Storage(memory).zip([ZipMember("memory:b/k", name)]))
    (entry,) = opened(data).infolist()
    assert (entry.compress_type == zipfile.ZIP_STORED) == stored
    assert (entry.compress_size == 1000) == stored


async def test_a_higher_level_compresses_more() -> None:
    memory = MemoryDriver()
    text = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(20_000))
    await put(memory, "b/k", text)
    sizes = [
        len(await collect(Storage(memory).zip(["memory:b/k"], compress_level=level)))
        for level in (1, 6, 9)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_archive_of_more_members_than_zip_had_room_for_is_zip64() -> None:
    writer = ZipWriter(0)
    info = ObjectInfo("b/k", size=0)
    steps = [step for n in range(65_536) for step in (Begin(f"{n}", info), End())]
    pieces = writer.run(steps, last=True)
    assert len(zipfile.ZipFile(io.BytesIO(b"".join(pieces))).filelist) == 65_536
