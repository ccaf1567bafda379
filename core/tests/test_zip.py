import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, override

import pytest
from anyio import Event, create_task_group
from core_doubles import BrokenStreamDriver, NamedMemory
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    BytesBody,
    CompositeDriver,
    MemoryDriver,
    NotFoundError,
    ObjectInfo,
    ReadOptions,
    ReadStream,
    Storage,
    TransportError,
    WriteOptions,
    ZipMember,
    ZipStream,
)
from polystow._zip_names import Names, member_name


async def collect(stream: ZipStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def collect_until_it_fails(stream: ZipStream) -> tuple[bytes, Exception | None]:
    data = b""
    try:
        async for chunk in stream:
            data += chunk
    except Exception as error:
        return data, error
    return data, None


async def archive_of(stream: ZipStream) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(await collect(stream)))
    assert archive.testzip() is None
    return archive


@pytest.fixture
async def memory() -> MemoryDriver:
    driver = MemoryDriver()
    for key, data in [("one.txt", b"1" * 1000), ("two.bin", bytes(range(256))), ("empty", b"")]:
        await driver.write(f"b/{key}", BytesBody(data), WriteOptions())
    return driver


# Names


@pytest.mark.parametrize(
    ("name", "tamed"),
    [
        ("..\\..\\evil.exe", "evil.exe"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("\\\\host\\share\\x", "host/share/x"),
        ("C:\\x.exe", "x.exe"),
        ("C:x.exe", "x.exe"),
        ("c:D:x", "x"),
        ("a/C:/b", "a/b"),
        ("C:..\\x", "x"),
        ("C\x00:\\x", "x"),
        ("a/./b//c", "a/b/c"),
        ("a/.. /b", "a/b"),
        (".\x00./x", "x"),
        ("..", "file"),
        ("", "k.txt"),
        ("dir/", "dir"),
        ("tab\there\n.txt", "tabhere.txt"),
        ("Meeting: notes.txt", "Meeting: notes.txt"),
        ("...hidden", "...hidden"),
        ("日本.txt", "日本.txt"),
        ("half\ud800.txt", "half?.txt"),
    ],
)
def test_names_are_tamed(name: str, tamed: str) -> None:
    assert member_name(name, ObjectInfo("s3://b/k.txt")) == tamed


@given(st.text(st.sampled_from("aC:./\\\0 \n")))
def test_no_name_leaves_the_folder(name: str) -> None:
    tamed = member_name(name, ObjectInfo("s3://b/k"))
    assert tamed
    for part in tamed.split("/"):
        assert part.strip(" .")
        assert part[1:2] != ":" or not part[0].isalpha()
    assert "\\" not in tamed
    assert tamed.isprintable()


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (ObjectInfo("s3://b/dir/k.txt", filename="report.pdf"), "report.pdf"),
        (ObjectInfo("s3://b/dir/k.txt"), "k.txt"),
        (ObjectInfo("s3://b/dir/"), "file"),
    ],
)
def test_an_entry_without_a_name_has_that_of_its_object(info: ObjectInfo, name: str) -> None:
    assert member_name(None, info) == name


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (["a.txt", "a.txt", "a.txt"], ["a.txt", "a_1.txt", "a_2.txt"]),
        (["a_1.txt", "a.txt", "a.txt"], ["a_1.txt", "a.txt", "a_2.txt"]),
        (["a.txt", "a.txt", "a_1.txt"], ["a.txt", "a_1.txt", "a_1_1.txt"]),
        (["A.txt", "a.TXT"], ["A.txt", "a_1.TXT"]),
        (["d/a", "e/a", "d/a"], ["d/a", "e/a", "d/a_1"]),
        (["a_3.txt", "a.txt", "a.txt"], ["a_3.txt", "a.txt", "a_1.txt"]),
        (["a", "a/b", "a/c"], ["a", "a_1/b", "a_1/c"]),
        (["a/b", "a", "A"], ["a/b", "a_1", "A_2"]),
        (["a", "a_1", "a/b"], ["a", "a_1", "a_2/b"]),
        (["caf\u00e9", "cafe\u0301"], ["caf\u00e9", "cafe\u0301_1"]),
        ([".bashrc", ".bashrc"], [".bashrc", ".bashrc_1"]),
        (["straße", "STRASSE"], ["straße", "STRASSE_1"]),
    ],
)
def test_names_that_come_twice_are_numbered(names: list[str], unique: list[str]) -> None:
    taken = Names()
    assert [taken.take(name) for name in names] == unique


SEGMENTS = st.sampled_from(["a", "A", "a_1", "a_2", "a_1_1", "a.txt", "a_1.txt", "b"])


@given(st.lists(st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)))
def test_all_names_of_an_archive_can_be_unpacked_beside_each_other(names: list[str]) -> None:
    taken = Names()
    found = [taken.take(name).casefold() for name in names]
    folders = {"/".join(parts[:end]) for parts in map(split, found) for end in range(1, len(parts))}
    assert len(set(found)) == len(found)
    assert folders.isdisjoint(found)


def split(name: str) -> list[str]:
    return name.split("/")


def test_many_names_that_are_the_same_take_no_quadratic_time() -> None:
    class Counting(dict[str, int]):
        asked = 0

        @override
        def __contains__(self, key: object) -> bool:
            self.asked += 1
            return super().__contains__(key)

    taken = Names()
    taken._files = counting = Counting()
    names = [taken.take("a.txt") for _ in range(1000)]
    assert names[-1] == "a_999.txt"
    assert counting.asked < 5000


# Archives


async def test_an_archive_has_its_objects(memory: MemoryDriver) -> None:
    storage = Storage(memory)
    ids: list[str | ZipMember] = ["memory:b/one.txt", ZipMember("memory:b/two.bin", "dir/two")]
    archive = await archive_of(storage.zip([*ids, "memory:b/empty"]))
    assert archive.namelist() == ["one.txt", "dir/two", "empty"]
    assert [archive.read(name) for name in archive.namelist()] == [
        b"1" * 1000,
        bytes(range(256)),
        b"",
    ]


async def test_an_archive_of_nothing_is_whole(memory: MemoryDriver) -> None:
    assert (await archive_of(Storage(memory).zip([]))).namelist() == []


async def test_an_archive_goes_over_several_mounts(memory: MemoryDriver) -> None:
    storage = Storage(CompositeDriver({"aa": memory, "bb": memory}))
    archive = await archive_of(storage.zip(["aa:b/one.txt", "bb:b/one.txt"]))
    assert archive.namelist() == ["one.txt", "one_1.txt"]


@pytest.mark.parametrize(
    ("level", "method"), [(0, zipfile.ZIP_STORED), (1, zipfile.ZIP_DEFLATED), (9, 8)]
)
async def test_the_level_decides_the_method(memory: MemoryDriver, level: int, method: int) -> None:
    stream = Storage(memory).zip(["memory:b/one.txt"], compress_level=level)
    (member,) = (await archive_of(stream)).infolist()
    assert member.compress_type == method
    assert (member.compress_size < member.file_size) == (level > 0)


@pytest.mark.parametrize("level", [-1, 10])
async def test_a_level_out_of_range_is_refused(memory: MemoryDriver, level: int) -> None:
    with pytest.raises(ValueError, match="compress_level"):
        Storage(memory).zip([], compress_level=level)


async def test_one_text_is_no_list_of_entries(memory: MemoryDriver) -> None:
    with pytest.raises(TypeError, match="several ids"):
        Storage(memory).zip("memory:b/one.txt")


class Described(NamedMemory):
    """Tells of its objects what it is told to."""

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.values = values

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        stream.info = ObjectInfo(**{**vars(stream.info), **self.values})
        return stream


async def described(**values: Any) -> Storage:
    driver = Described(**values)
    await driver.write("b/k", BytesBody(b"x" * 100), WriteOptions())
    return Storage(driver)


async def local_header(storage: Storage) -> bytes:
    return (await collect(storage.zip(["memory:b/k"], compress_level=0)))[:30]


@pytest.mark.parametrize(
    ("size", "version"), [(None, 45), (3 * 2**30, 45), (100, 20)], ids=["unknown", "large", "small"]
)
async def test_a_member_that_may_be_large_is_zip64(size: int | None, version: int) -> None:
    header = await local_header(await described(size=size))
    assert int.from_bytes(header[4:6], "little") == version


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2024, 5, 6, 7, 8, 10, tzinfo=UTC), (2024, 5, 6, 7, 8, 10)),
        (datetime(1970, 1, 1, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (datetime(2200, 1, 1, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (None, (1980, 1, 1, 0, 0, 0)),
    ],
)
async def test_a_member_has_the_time_of_its_object(
    moment: datetime | None, shown: tuple[int, ...]
) -> None:
    storage = await described(modified=moment, created=None)
    (member,) = (await archive_of(storage.zip(["memory:b/k"]))).infolist()
    assert member.date_time == shown


async def test_a_member_that_is_not_there_leaves_no_archive(memory: MemoryDriver) -> None:
    stream = Storage(memory).zip(["memory:b/one.txt", "memory:b/none"])
    data, error = await collect_until_it_fails(stream)
    assert isinstance(error, NotFoundError)
    assert error.uri == "memory://b/none"
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(data))


async def test_a_member_that_breaks_leaves_no_archive(memory: MemoryDriver) -> None:
    broken = BrokenStreamDriver(lambda: TransportError("cut"))
    await broken.write("b/k", BytesBody(b"x" * 1000), WriteOptions())
    storage = Storage(CompositeDriver({"aa": memory, "bb": broken}))
    stream = storage.zip(["aa:b/one.txt", "bb:b/k", "aa:b/two.bin"])
    data, error = await collect_until_it_fails(stream)
    assert isinstance(error, TransportError)
    assert broken.closed == 1
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(data))


async def test_an_archive_closed_in_the_middle_closes_its_read() -> None:
    driver = BrokenStreamDriver(lambda: TransportError("cut"), "memory")
    await driver.write("b/k", BytesBody(b"x" * 1_000_000), WriteOptions())
    storage = Storage(driver)
    stream = storage.zip(["memory:b/k"], compress_level=0)
    await anext(stream)
    assert driver.closed == 0
    await stream.aclose()
    assert driver.closed == 1
    assert await storage.drain(0) == 0
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_archive_cancelled_in_the_middle_closes_its_read() -> None:
    class Hanging(BrokenStreamDriver):
        pass

    reached = Event()
    driver = Hanging(lambda: TransportError("cut"), "memory")
    await driver.write("b/k", BytesBody(b"x" * 1_000_000), WriteOptions())

    async def read() -> None:
        stream = Storage(driver).zip(["memory:b/k"], compress_level=0)
        try:
            async for _ in stream:
                reached.set()
                await Event().wait()
        finally:
            await stream.aclose()

    async with create_task_group() as tasks:
        tasks.start_soon(read)
        await reached.wait()
        tasks.cancel_scope.cancel()
    assert driver.closed == 1


async def test_a_large_member_is_zipped_in_constant_memory() -> None:
    import tracemalloc

    size = 64 * 2**20
    memory = MemoryDriver()
    await memory.write("b/k", BytesBody(memoryview(bytearray(size))), WriteOptions())
    storage = Storage(memory)
    tracemalloc.start()
    try:
        most = total = 0
        async for chunk in storage.zip(["memory:b/k"], compress_level=0):
            most = max(most, len(chunk))
            total += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > size
    assert most < 2**20
    assert peak < 10 * 2**20


async def test_entries_are_taken_from_any_iterable(memory: MemoryDriver) -> None:
    entries = (f"memory:b/{key}" for key in ["one.txt", "empty"])
    assert (await archive_of(Storage(memory).zip(entries))).namelist() == ["one.txt", "empty"]


async def test_an_iteration_gives_no_empty_chunks(memory: MemoryDriver) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in Storage(memory).zip(["memory:b/empty", "memory:b/one.txt"]):
            yield chunk

    assert all([len(chunk) > 0 async for chunk in chunks()])
