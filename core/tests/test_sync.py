"""The sync API: the same names and types, from threads, and nothing left behind."""

import asyncio
import inspect
import io
import os
import signal
import subprocess
import sys
import threading
import typing
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
import trio

import polystow
from polystow import ConfigError, LifecycleError, MemoryDriver, NotFoundError, sync

ID = "memory:b/k"

# What differs, and how: the sync type for the async one.
TYPES: dict[object, object] = {
    polystow.ReadStream: sync.ReadStream,
    polystow.WriteStream: sync.WriteStream,
    polystow.MultipartSession: sync.MultipartSession,
    polystow.ZipStream: sync.ZipStream,
    polystow.Content: sync.Content,
}
ONLY_ASYNC = {"drain"}  # `open_storage` does it
ONLY_SYNC = {"run"}  # for the async methods of drivers


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_both_storages_have_the_same_methods() -> None:
    missing = public(polystow.Storage) - public(sync.Storage) - ONLY_ASYNC
    assert not missing, f"polystow/sync/_storage.py has to have these too: {sorted(missing)}"
    assert public(sync.Storage) - public(polystow.Storage) == ONLY_SYNC


def hints(function: object) -> dict[str, object]:
    public = {name: getattr(polystow, name) for name in polystow.__all__}
    return typing.get_type_hints(function, localns=public, include_extras=True)


def expected(hint: object) -> object:
    """The sync type of an async one."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is AbstractAsyncContextManager:
        return typing.get_args(hint)[0], "with"
    if origin is polystow.Listing:
        return sync.Listing.__class_getitem__(arguments)  # type: ignore[attr-defined]
    return TYPES.get(hint, hint)


@pytest.mark.parametrize("name", sorted(public(polystow.Storage) - ONLY_ASYNC))
def test_a_method_has_the_signature_of_its_async_twin(name: str) -> None:
    theirs, ours = getattr(polystow.Storage, name), getattr(sync.Storage, name)
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        assert hints(ours.fget) == hints(theirs.fget)
        return
    assert not inspect.iscoroutinefunction(ours)
    assert [(p.name, p.kind, p.default) for p in inspect.signature(ours).parameters.values()] == [
        (p.name, p.kind, p.default) for p in inspect.signature(theirs).parameters.values()
    ]
    their_hints, our_hints = hints(theirs), hints(inspect.unwrap(ours))
    returned, given = their_hints.pop("return"), our_hints.pop("return")
    if typing.get_origin(returned) is AbstractAsyncContextManager:
        inner = typing.get_args(returned)[0]
        assert typing.get_args(given)[0] == TYPES.get(inner, inner)
    else:
        assert same(given, expected(returned))
    if name == "upload_many":
        del their_hints["files"], our_hints["files"]  # iterables of each kind's NewFile
    for parameter, hint in their_hints.items():
        assert same(our_hints[parameter], expected(hint)), parameter


def same(one: object, other: object) -> bool:
    """Equal, or alike but for the type variables, which no two functions share."""
    generic = any(isinstance(part, TypeVar) for part in (one, *typing.get_args(one)))
    return one == other or (generic and repr(one) == repr(other))


@pytest.fixture
def storage() -> Iterator[sync.Storage]:
    with sync.open_storage("memory:") as opened:
        yield opened


def test_reading_and_writing(storage: sync.Storage, tmp_path: Path) -> None:
    info = storage.write(ID, b"content", metadata={"a": "b"})
    assert info.size == 7
    assert storage.exists(ID)
    assert storage.stat(ID).metadata == {"a": "b"}
    assert storage.read_bytes(ID, range=polystow.ByteRange(1, 3)) == b"ont"
    with storage.open_read(ID, chunk_size_bytes=3) as stream:
        assert stream.info.size == 7
        assert list(stream) == [b"con", b"ten", b"t"]
    with storage.open_write("memory:b/new") as out:
        out.send(b"12")
        out.send(b"34")
    assert out.info.size == 4
    path = tmp_path / "file"
    storage.download("memory:b/new", path)
    assert path.read_bytes() == b"1234"
    storage.delete(ID)
    with pytest.raises(NotFoundError):
        storage.stat(ID)


def test_every_kind_of_content(storage: sync.Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")

    def pieces() -> Iterator[bytes]:
        yield b"con"
        yield b"tent"

    with path.open("rb") as file:
        for content in (b"content", "content", bytearray(b"content"), path, file, pieces(),
                        [b"cont", b"ent"], polystow.BytesBody(b"content")):  # fmt: skip
            storage.write(ID, content)
            assert storage.read_bytes(ID) == b"content"
    with pytest.raises(TypeError, match="a int can't be written"):
        storage.write(ID, 5)  # type: ignore[arg-type]


def test_an_iterable_that_fails_writes_nothing(storage: sync.Storage) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"con"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.write(ID, pieces())
    assert not storage.exists(ID)


def test_a_block_that_fails_writes_nothing(storage: sync.Storage) -> None:
    def write() -> None:
        with storage.open_write(ID) as out:
            out.send(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert not storage.exists(ID)


def test_listings_and_archives(storage: sync.Storage, tmp_path: Path) -> None:
    names = [f"memory:b/{number:03}" for number in range(25)]
    for name in names:
        storage.write(name, name)
    assert [item.file_id for item in storage.list("memory:b", page_size=10)] == names
    pages = storage.list_pages("memory:b", page_size=10)
    assert [len(page.items) for page in pages] == [10, 10, 5]
    listing = storage.list("memory:b")
    assert next(listing).file_id == names[0]
    listing.close()
    assert list(listing) == []
    archive = zipfile.ZipFile(io.BytesIO(b"".join(storage.zip(names))))
    assert archive.namelist() == [f"{number:03}" for number in range(25)]
    length = storage.zip(names).save(tmp_path / "all.zip")
    assert (tmp_path / "all.zip").stat().st_size == length
    abandoned = storage.zip(names)
    next(abandoned)
    abandoned.close()


def test_batches_keep_their_order(storage: sync.Storage) -> None:
    files = (sync.NewFile(f"{number}.txt", iter([b"x" * number])) for number in range(20))
    batch = storage.upload_many(files)
    assert [info.size for info in batch.succeeded] == list(range(20))


def test_an_async_method_of_a_driver_runs_on_the_loop(storage: sync.Storage) -> None:
    storage.write(ID, b"x")
    driver, path = storage.native(ID, MemoryDriver)
    assert storage.run(driver.stat, path, polystow.StatOptions()).size == 1


def test_thirty_two_threads_share_a_storage(storage: sync.Storage) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            file_id = f"memory:b/{number}-{turn}"
            content = f"{number} {turn}".encode() * 100
            storage.write(file_id, content)
            assert storage.read_bytes(file_id) == content
            with storage.open_read(file_id) as stream:
                assert b"".join(stream) == content

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    assert len(list(storage.list("memory:b"))) == 640


def test_nothing_is_left_of_a_storage_that_was_closed() -> None:
    before = set(threading.enumerate())
    with sync.open_storage("memory:") as storage:
        storage.write(ID, b"x")
    assert set(threading.enumerate()) <= before
    with pytest.raises(LifecycleError, match="the storage is closed"):
        storage.read_bytes(ID)
    with pytest.raises(LifecycleError), storage.open_read(ID):
        pass


def test_a_mistake_in_the_configuration_is_raised_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError), sync.open_storage({"mounts": {"memory": {"no": "key"}}}):
        pass
    assert set(threading.enumerate()) <= before


def test_it_refuses_the_thread_of_an_event_loop(storage: sync.Storage) -> None:
    async def use() -> None:
        for call in (lambda: storage.stat(ID), lambda: sync.open_storage("memory:").__enter__()):
            with pytest.raises(LifecycleError, match="event loop"):
                call()
        await anyio.to_thread.run_sync(lambda: storage.write(ID, b"x"))

    asyncio.run(use())
    trio.run(use)
    assert storage.read_bytes(ID) == b"x"


def test_it_runs_on_trio() -> None:
    with sync.open_storage("memory:", backend="trio") as storage:
        storage.write(ID, iter([b"x", b"y"]))
        assert storage.read_bytes(ID) == b"xy"


CHILD = """
import os, sys
from polystow import LifecycleError, sync

with sync.open_storage("memory:") as storage:
    storage.write("memory:b/k", b"parent")
    with storage.open_read("memory:b/k") as stream:
        child = os.fork()
        if not child:
            try:
                storage.read_bytes("memory:b/k")
            except LifecycleError as error:
                assert "forked" in str(error)
            else:
                os._exit(3)
            with sync.open_storage("memory:") as own:
                own.write("memory:b/k", b"child")
                assert own.read_bytes("memory:b/k") == b"child"
    if child:
        status = os.waitpid(child, 0)[1]
        assert storage.read_bytes("memory:b/k") == b"parent"
        assert status == 0, status
print("parent" if child else "child", "left cleanly")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_told_and_leaves_cleanly() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILD],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["child left cleanly", "parent left cleanly"]


INTERRUPTED = """
import signal, sys, threading
from polystow import sync

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a background job

cleaned = threading.Event()

class Slow:
    size = None
    replayable = False
    async def open(self):
        import anyio
        print("waiting", flush=True)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            cleaned.set()

with sync.open_storage("memory:") as storage:
    try:
        storage.write("memory:b/k", Slow())
    except KeyboardInterrupt:
        assert cleaned.is_set(), "it did not wait for the cleaning up"
        assert not storage.exists("memory:b/k")
        print("interrupted")
"""


def test_an_interrupt_cancels_what_is_under_way_and_waits_for_its_end() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "interrupted\n"
    assert process.returncode == 0
