import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from anyio import Event, create_task_group, run
from core_doubles import read_all
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from polystow import (
    AlreadyExistsError,
    ByteRange,
    BytesBody,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    ListOptions,
    MemoryDriver,
    MetadataOptions,
    NameHint,
    NotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadOptions,
    StatOptions,
    StorageError,
    StreamBody,
    WriteOptions,
)

KEYS = ["a", "a/b", "a/c", "b", "é/1", "a//", "z" * 3]
keys = st.sampled_from(KEYS)
contents = st.binary(max_size=20)
metadata = st.dictionaries(st.sampled_from(["x", "y"]), st.text(max_size=3), max_size=2)


def done[T](awaitable: Any) -> Any:
    """Run what never waits, to its end: the memory driver does no I/O with small bodies."""
    try:
        awaitable.__await__().__next__()
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


class MemoryMachine(RuleBasedStateMachine):
    """The memory driver beside a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = MemoryDriver()
        self.model: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.etags: dict[str, str | None] = {}
        self.old_etags: set[str] = set()

    @initialize()
    def make_the_container(self) -> None:
        self.write("a", b"", {})

    @rule(key=keys, data=contents, meta=metadata)
    def write(self, key: str, data: bytes, meta: dict[str, str]) -> None:
        info = done(self.driver.write(f"b/{key}", BytesBody(data), WriteOptions(metadata=meta)))
        assert (info.path, info.size) == (f"b/{key}", len(data))
        self.stored(key, data, meta, info.etag)

    @rule(key=keys, data=contents)
    def create_only(self, key: str, data: bytes) -> None:
        write = self.driver.write(f"b/{key}", BytesBody(data), WriteOptions(overwrite=False))
        if key in self.model:
            with pytest.raises(AlreadyExistsError):
                done(write)
        else:
            self.stored(key, data, {}, done(write).etag)

    @rule(key=keys, data=contents, right=st.booleans())
    def write_if_match(self, key: str, data: bytes, right: bool) -> None:
        etag = self.etags.get(key) if right else "none"
        options = WriteOptions(if_match=etag or "none")
        write = self.driver.write(f"b/{key}", BytesBody(data), options)
        if right and key in self.model:
            self.stored(key, data, {}, done(write).etag)
        else:
            with pytest.raises(PreconditionFailedError):
                done(write)

    @rule(key=keys, missing_ok=st.booleans())
    def delete(self, key: str, missing_ok: bool) -> None:
        delete = self.driver.delete(f"b/{key}", DeleteOptions(missing_ok=missing_ok))
        if key not in self.model and not missing_ok:
            with pytest.raises(NotFoundError):
                done(delete)
        else:
            done(delete)
        self.model.pop(key, None)
        self.etags.pop(key, None)

    @rule(names=st.lists(keys, max_size=4), missing_ok=st.booleans())
    def delete_many(self, names: list[str], missing_ok: bool) -> None:
        paths = tuple(f"b/{name}" for name in dict.fromkeys(names))
        result = done(self.driver.delete_many(paths, DeleteOptions(missing_ok=missing_ok)))
        absent = [path for path in paths if path[2:] not in self.model and not missing_ok]
        assert [failure.path for failure in result.failed] == absent
        assert list(result.succeeded) == [path for path in paths if path not in absent]
        for name in names:
            self.model.pop(name, None)
            self.etags.pop(name, None)

    @rule(source=keys, to=keys, overwrite=st.booleans())
    def copy(self, source: str, to: str, overwrite: bool) -> None:
        copy = self.driver.copy(f"b/{source}", f"b/{to}", CopyOptions(overwrite))
        if source not in self.model:
            with pytest.raises(NotFoundError) as missing:
                done(copy)
            assert missing.value.operation == "copy"
        elif to in self.model and not overwrite:
            with pytest.raises(AlreadyExistsError) as there:
                done(copy)
            assert there.value.operation == "copy"
        else:
            self.stored(to, *self.model[source], done(copy).etag)

    @rule(key=keys, meta=metadata, merge=st.booleans())
    def set_metadata(self, key: str, meta: dict[str, str], merge: bool) -> None:
        options = MetadataOptions("merge" if merge else "replace")
        change = self.driver.set_metadata(f"b/{key}", meta, options)
        if key not in self.model:
            with pytest.raises(NotFoundError):
                done(change)
        else:
            done(change)
            data, old = self.model[key]
            self.model[key] = (data, {**old, **meta} if merge else meta)

    @rule(key=keys, first=st.integers(0, 22), length=st.none() | st.integers(0, 22))
    def read_range(self, key: str, first: int, length: int | None) -> None:
        part = ByteRange(first, None if length is None else first + length)
        opened = self.driver.open_read(f"b/{key}", ReadOptions(part))
        if key not in self.model:
            with pytest.raises(NotFoundError):
                done(opened)
        elif first >= len(self.model[key][0]):
            with pytest.raises(RangeNotSatisfiableError):
                done(opened)
        else:
            end = None if length is None else first + length + 1
            assert done(read_all(done(opened))) == self.model[key][0][first:end]

    @rule(
        prefix=st.sampled_from(["", "a", "a/", "é", "zz"]),
        delimiter=st.sampled_from([None, "/"]),
        start_after=st.none() | keys,
        page_size=st.integers(1, 3),
    )
    def list_pages(
        self, prefix: str, delimiter: str | None, start_after: str | None, page_size: int
    ) -> None:
        found: list[str] = []
        folds: list[str] = []
        cursor: str | None = None
        while True:
            options = ListOptions(delimiter, start_after, page_size)
            page = done(self.driver.list_page(f"b/{prefix}", options, cursor))
            found += [item.path for item in page.items]
            folds += page.prefixes
            cursor = page.cursor
            if cursor is None:
                break
        wanted = sorted(
            key
            for key in self.model
            if key.startswith(prefix) and (start_after is None or key > start_after)
        )
        plain = [key for key in wanted if not delimiter or delimiter not in key[len(prefix) :]]
        assert found == [f"b/{key}" for key in plain]
        folded = {
            prefix + key[len(prefix) :].partition("/")[0] + "/"
            for key in wanted
            if key not in plain
        }
        assert folds == [f"b/{fold}" for fold in sorted(folded)]

    @invariant()
    def every_object_is_what_the_model_says(self) -> None:
        for key in KEYS:
            path = f"b/{key}"
            if key not in self.model:
                with pytest.raises(NotFoundError):
                    done(self.driver.stat(path, StatOptions()))
                continue
            data, meta = self.model[key]
            info = done(self.driver.stat(path, StatOptions()))
            assert (info.size, info.metadata, info.etag) == (len(data), meta, self.etags[key])
            assert info.checksum.value == f"{zlib.crc32(data):08x}"
            assert done(read_all(done(self.driver.open_read(path, ReadOptions())))) == data

    def stored(self, key: str, data: bytes, meta: dict[str, str], etag: str) -> None:
        assert etag not in self.old_etags
        self.old_etags.add(etag)
        self.model[key] = (data, meta)
        self.etags[key] = etag


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("name", ["open_read", "stat", "delete"])
async def test_an_error_says_operation_path_and_driver(name: str) -> None:
    driver = MemoryDriver()
    options = {"open_read": ReadOptions(), "stat": StatOptions(), "delete": DeleteOptions(False)}
    with pytest.raises(NotFoundError) as caught:
        await getattr(driver, name)("b/k", options[name])
    error = caught.value
    assert (error.operation, error.path, error.driver) == (name, "b/k", "memory")


@pytest.mark.parametrize("path", ["", "b", "b/", "/k", "b/" + "k" * 1025, "b/\ud800"])
async def test_every_operation_refuses_what_is_no_path(path: str) -> None:
    driver = MemoryDriver()
    for call in (
        driver.open_read(path, ReadOptions()),
        driver.stat(path, StatOptions()),
        driver.delete(path, DeleteOptions()),
        driver.write(path, BytesBody(b""), WriteOptions()),
        driver.copy(path, "b/k", CopyOptions()),
        driver.set_metadata(path, {}, MetadataOptions()),
    ):
        with pytest.raises(InvalidPathError):
            await call


async def test_a_missing_container_is_not_found_by_a_listing() -> None:
    with pytest.raises(NotFoundError):
        await MemoryDriver().list_page("none/", ListOptions(), None)


async def test_a_listing_without_a_container_is_refused() -> None:
    with pytest.raises(InvalidPathError):
        await MemoryDriver().list_page("", ListOptions(), None)


async def test_a_body_that_fails_leaves_the_old_object() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"new"
        raise ZeroDivisionError

    driver = MemoryDriver()
    await driver.write("b/k", BytesBody(b"old"), WriteOptions())
    with pytest.raises(ZeroDivisionError):
        await driver.write("b/k", StreamBody(chunks()), WriteOptions())
    assert await read_all(await driver.open_read("b/k", ReadOptions())) == b"old"


async def test_of_two_create_only_writes_at_once_one_wins() -> None:
    driver = MemoryDriver()
    both_began = Event()
    results: list[str] = []

    async def chunks(name: str) -> AsyncIterator[bytes]:
        yield name.encode()
        results.append("began")
        if len(results) == 2:
            both_began.set()
        await both_began.wait()

    async def write(name: str) -> None:
        try:
            body = StreamBody(chunks(name))
            await driver.write("b/k", body, WriteOptions(overwrite=False))
            results.append("won")
        except AlreadyExistsError:
            results.append("lost")

    async with create_task_group() as tasks:
        tasks.start_soon(write, "one")
        tasks.start_soon(write, "two")
    assert sorted(results[2:]) == ["lost", "won"]


async def test_an_open_stream_does_not_see_a_later_write() -> None:
    driver = MemoryDriver()
    await driver.write("b/k", BytesBody(b"old"), WriteOptions())
    stream = await driver.open_read("b/k", ReadOptions())
    await driver.write("b/k", BytesBody(b"newer"), WriteOptions())
    assert await read_all(stream) == b"old"


async def test_what_was_written_from_a_buffer_does_not_change_with_it() -> None:
    buffer = bytearray(b"abc")
    driver = MemoryDriver()
    await driver.write("b/k", BytesBody(memoryview(buffer)), WriteOptions())
    buffer[:] = b"xyz"
    assert await read_all(await driver.open_read("b/k", ReadOptions())) == b"abc"


async def test_a_copy_to_a_new_name_has_that_name() -> None:
    driver = MemoryDriver()
    await driver.write("b/k", BytesBody(b"x"), WriteOptions(filename="old.txt"))
    info = await driver.copy("b/k", NameHint("new.txt", "f", "c"), CopyOptions())
    assert info.filename == "new.txt"
    assert info.path.startswith("c/f/")


async def test_a_large_body_is_digested_in_a_worker_thread() -> None:
    data = bytes(3_000_000)
    info = await MemoryDriver().write("b/k", BytesBody(data), WriteOptions())
    assert info.checksum is not None
    assert info.checksum.value == f"{zlib.crc32(data):08x}"


def test_an_error_of_the_driver_is_a_fresh_one_each_time() -> None:
    async def check() -> None:
        driver = MemoryDriver()
        errors: list[StorageError] = []
        for _ in range(2):
            with pytest.raises(NotFoundError) as caught:
                await driver.stat("b/k", StatOptions())
            errors.append(caught.value)
        assert errors[0] is not errors[1]

    run(check)
