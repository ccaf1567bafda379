"""What is left after crashes, cancellations, full disks, and writers that race."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from zlib import crc32

import anyio
import pytest

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    BytesBody,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    NotFoundError,
    ReadOptions,
    StorageError,
    StreamBody,
    WriteOptions,
)
from polystow._file import FileConfig, FileDriver
from polystow._file._entries import Entry
from polystow._file._grammar import Components
from polystow._file._locks import KeyLocks
from polystow._file._store import Condition, FileStore
from polystow._threads import in_thread

KEY = (b"files", b"d", b"k")

# What the children share: version n of an object, and the proof that it is one, all of a piece.
VERSIONS = textwrap.dedent(
    """
    import os, sys, zlib
    from polystow._file._entries import Entry
    from polystow._file._store import Condition, FileStore

    def content(n):
        return (b"%d " % n) * (200 + n % 50)

    def entry(n):
        return Entry(content_type=f"x/{n}", filename=str(n), metadata={"n": str(n)})

    def store_version(store, key, n, condition=Condition()):
        return store.store(key, content(n), entry(n), condition)

    def version(store, key):
        try:
            fd, stored = store.open(key)
        except FileNotFoundError:
            return None
        try:
            data = os.read(fd, 1_000_000)
        finally:
            os.close(fd)
        n = int(data.split()[0])
        assert data == content(n), "a half file"
        assert stored.entry is not None, "the metadata is lost"
        assert stored.entry.metadata == {"n": str(n)}, "the metadata of another version"
        assert stored.entry.content_type == f"x/{n}"
        assert stored.entry.crc32 == f"{zlib.crc32(data):08x}"
        return n
    """
)
_shared: dict[str, Callable[..., object]] = {}
exec(VERSIONS, _shared)


def version(root: Path, key: Components = KEY) -> int | None:
    found = _shared["version"](FileStore(os.fsencode(root)), key)
    assert found is None or isinstance(found, int)
    return found


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    code = VERSIONS + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(script: str, *arguments: object) -> str:
    with python(script, *arguments) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.strip()


def temporaries(root: Path) -> list[str]:
    directory = root / ".polystow/tmp"
    return [path.name for path in directory.iterdir()] if directory.exists() else []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def driver(root: Path) -> FileDriver:
    return FileDriver(FileConfig(root), os.fsencode(root))


def test_a_crash_at_any_system_call_leaves_the_old_or_the_new_object(root: Path) -> None:
    script = """
    store = FileStore(os.fsencode(sys.argv[1]))
    key = (b"files", b"d", b"k")
    CALLS = [name for name in (
        "open", "close", "write", "fsync", "utime", "rename", "replace", "link", "unlink", "mkdir",
        "rmdir", "stat", "fstat", "lstat", "listdir") if hasattr(os, name)]

    def crashes(at, work):
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
        left = [at]
        for name in CALLS:
            def counted(*args, _call=getattr(os, name), **options):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return _call(*args, **options)
            setattr(os, name, counted)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)

    def everywhere(prepare, work, allowed, fsync=False):
        global store
        store = FileStore(os.fsencode(sys.argv[1]), fsync=fsync)
        at = 0
        while True:
            try:
                store.delete(key)
            except FileNotFoundError:
                pass
            prepare()
            crashed = crashes(at, work)
            found = version(store, key)
            assert found in allowed, (at, found)
            # The next writer is not disturbed by what is left.
            store_version(store, key, 3)
            assert version(store, key) == 3
            if not crashed:
                return at
            at += 1

    nothing = lambda: None
    one = lambda: store_version(store, key, 1)
    two = lambda: store_version(store, key, 2)
    create = lambda: store_version(store, key, 2, Condition(overwrite=False))
    merge = lambda: store.set_metadata(key, {"n": "1"}, "merge")
    print(
        everywhere(one, two, {1, 2}), everywhere(one, two, {1, 2}, fsync=True),
        everywhere(nothing, two, {None, 2}), everywhere(nothing, create, {None, 2}),
        everywhere(one, lambda: store.delete(key), {1, None}), everywhere(one, merge, {1}),
    )
    """
    points = [int(count) for count in run(script, root).split()]
    assert len(points) == 6
    assert min(points) >= 10
    # No entry is left of all these crashes but that of the object.
    assert len(list((root / ".polystow/meta").rglob("*.json*"))) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_killed_writer_leaves_every_object_whole(root: Path, backend: str) -> None:
    script = """
    import anyio
    from polystow import BytesBody, CopyOptions, StreamBody, WriteOptions
    from polystow._file import FileConfig, FileDriver
    from pathlib import Path

    async def main():
        driver = FileDriver(FileConfig(Path(sys.argv[1])), os.fsencode(sys.argv[1]))
        async def pieces(data):
            for start in range(0, len(data), 100):
                yield data[start:start + 100]
        async def writer(name, n):
            while True:
                n += 1
                body = StreamBody(pieces(content(n))) if n % 2 else BytesBody(content(n))
                e = entry(n)
                await driver.write(f"files/{name}", body,
                    WriteOptions(content_type=e.content_type, filename=e.filename,
                                 metadata=e.metadata))
                if n % 7 == 0:
                    await driver.copy(f"files/{name}", "files/copy", CopyOptions())
        async with anyio.create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(writer, name, int(sys.argv[3]))
            await anyio.sleep(0.02)
            print("ready", flush=True)
    anyio.run(main, backend=sys.argv[2])
    """
    rng = random.Random(1)
    seen = set[int | None]()
    for attempt in range(5):
        with python(script, root, backend, attempt * 100_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            anyio.run(anyio.sleep, rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        for name in (b"a", b"b", b"c", b"copy"):
            seen.add(version(root, (b"files", name)))
    assert len(seen - {None}) > 5


def test_writers_in_many_processes_never_mix_data_and_metadata(root: Path) -> None:
    script = """
    store = FileStore(os.fsencode(sys.argv[1]))
    key = (b"files", b"d", b"k")
    first = int(sys.argv[2]) * 1000
    sys.stdin.readline()
    for n in range(first, first + 150):
        store_version(store, key, n)
        if n % 10 == 0:
            try:
                store.delete(key)
            except FileNotFoundError:
                pass
        version(store, key)
    """
    processes = [python(script, root, number) for number in range(1, 4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    seen = set[int | None]()
    while any(process.poll() is None for process in processes):
        seen.add(version(root))
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert len(seen) > 5
    assert not temporaries(root)


def test_conditions_hold_across_processes(root: Path) -> None:
    script = """
    from polystow import PreconditionFailedError, AlreadyExistsError
    store = FileStore(os.fsencode(sys.argv[1]))
    key = (b"files", b"d", b"k")
    sys.stdin.readline()
    try:
        store_version(store, key, 0, Condition(overwrite=False))
        print("created", end=" ")
    except AlreadyExistsError:
        pass
    done = 0
    while done < 40:
        tag = store.stat(key).identity.etag
        n = version(store, key)
        try:
            store_version(store, key, n + 1, Condition(if_match=tag))
        except PreconditionFailedError:
            continue
        done += 1
    print("done")
    """
    processes = [python(script, root) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    # n is read after its tag: if the tag still holds at the commit, n was not stale either.
    assert sum(output.count("created") for output in outputs) == 1
    assert all("done" in output for output in outputs)
    assert version(root) == 120


def test_a_process_that_is_stopped_in_a_commit_does_not_block_the_others_for_ever(
    root: Path,
) -> None:
    script = """
    from polystow._file._locks import KeyLocks
    with KeyLocks(os.fsencode(sys.argv[1])).held(b"00"):
        print("held", flush=True)
        sys.stdin.readline()
    """
    locks = KeyLocks(os.fsencode(root), timeout_s=0.05)
    with python(script, root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(BackendUnavailableError, match="another process") as caught,
            locks.held(b"00"),
        ):
            pass
        assert caught.value.retryable
        process.communicate("go\n")
    with locks.held(b"00"):
        pass


def test_a_file_size_limit_is_reported_and_leaves_nothing(root: Path) -> None:
    script = """
    import anyio, resource
    from pathlib import Path
    from polystow import *
    from polystow._file import FileConfig, FileDriver
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    async def main():
        driver = FileDriver(FileConfig(Path(sys.argv[1])), os.fsencode(sys.argv[1]))
        for size in (1_000_000, 4_000_000):
            try:
                await driver.write("files/k", BytesBody(b"x" * size), WriteOptions())
                print("stored", end=" ")
            except FileTooLargeError as error:
                print(error.operation, error.path, error.driver, end=" ")
    anyio.run(main)
    """
    assert run(script, root) == "stored write files/k file"
    assert (root / "files/k").stat().st_size == 1_000_000
    assert not temporaries(root)


async def slow_pieces(on_piece: Callable[[int], None]) -> AsyncIterator[bytes]:
    for number in range(6):
        on_piece(number)
        await anyio.lowlevel.checkpoint()
        yield b"%d" % number * 1000


@pytest.mark.parametrize("at", range(6))
async def test_a_write_that_is_cancelled_between_chunks_leaves_nothing(
    driver: FileDriver, root: Path, at: int
) -> None:
    await driver.write("files/k", BytesBody(b"old"), WriteOptions())
    closed: list[bool] = []

    async def body(scope: anyio.CancelScope) -> AsyncIterator[bytes]:
        try:
            async for piece in slow_pieces(lambda n: scope.cancel() if n == at else None):
                yield piece
        finally:
            closed.append(True)

    with anyio.CancelScope() as scope:
        await driver.write("files/k", StreamBody(body(scope)), WriteOptions())
    assert scope.cancelled_caught
    assert closed == [True]
    assert (root / "files/k").read_bytes() == b"old"
    assert not temporaries(root)
    assert len(list((root / ".polystow/meta").rglob("*.json"))) == 1


async def _write_small(driver: FileDriver) -> None:
    await driver.write("files/k", BytesBody(b"new" * 1000), WriteOptions(metadata={"v": "new"}))


async def _write_stream(driver: FileDriver) -> None:
    body = StreamBody(slow_pieces(lambda _: None))
    await driver.write("files/k", body, WriteOptions(metadata={"v": "new"}))


async def _copy(driver: FileDriver) -> None:
    await driver.copy("files/source", "files/k", CopyOptions())


async def _read(driver: FileDriver) -> None:
    stream = await driver.open_read("files/source", ReadOptions())
    try:
        async for _ in stream:
            pass
    finally:
        await stream.aclose()


async def _list(driver: FileDriver) -> None:
    await driver.list_page("files", ListOptions(), None)


WORK = {
    "write": _write_small,
    "stream": _write_stream,
    "copy": _copy,
    "read": _read,
    "list": _list,
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("native", [False, True], ids=["scope", "task"])
async def test_a_cancellation_at_any_moment_leaves_a_whole_object_and_nothing_else(
    driver: FileDriver, root: Path, work: str, native: bool, anyio_backend: str
) -> None:
    if native and anyio_backend != "asyncio":
        pytest.skip("only asyncio can cancel a task from outside")
    big = b"source" * 20_000
    await driver.write("files/source", BytesBody(big), WriteOptions(metadata={"v": "source"}))
    before = open_files()
    finished = 0
    moment = 0
    while finished < 3 and moment < 400:
        await driver.write("files/k", BytesBody(b"old"), WriteOptions(metadata={"v": "old"}))
        if await _cancelled_after(moment, lambda: WORK[work](driver), native=native):
            # Nothing goes on behind the back of a call that has ended.
            assert temporaries(root) == []
            assert open_files() == before
        else:
            finished += 1
        stored = FileStore(os.fsencode(root)).stat((b"files", b"k"))
        data = (root / "files/k").read_bytes()
        assert stored.entry is not None
        assert stored.entry.crc32 == f"{crc32(data):08x}"
        assert (data == b"old") == (stored.entry.metadata == {"v": "old"})
        moment += 1
    assert moment > 3


async def _cancelled_after(
    steps: int, work: Callable[[], Coroutine[Any, Any, None]], *, native: bool
) -> bool:
    """Do `work`, cancel it after so many steps of the event loop; whether that was in time."""
    if native:
        task = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False
    outcome: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def body() -> None:
            await work()
            outcome.append("done")

        tasks.start_soon(body)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return not outcome


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("native", [False, True], ids=["scope", "task"])
async def test_a_cancelled_receive_loses_no_bytes(
    driver: FileDriver, native: bool, anyio_backend: str
) -> None:
    if native and anyio_backend != "asyncio":
        pytest.skip("only asyncio can cancel a task from outside")
    data = bytes(range(256)) * 3000
    await driver.write("files/k", BytesBody(data), WriteOptions())
    for moment in range(25):
        stream = await driver.open_read("files/k", ReadOptions(chunk_size_bytes=300_000))
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await anext(stream))  # noqa: B023

        await _cancelled_after(moment, receive, native=native)
        received += [chunk async for chunk in stream]
        await stream.aclose()
        assert b"".join(received) == data


async def test_closing_during_a_receive_waits_for_its_thread(
    driver: FileDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the thread would read from whatever file gets the number next.
    await driver.write("files/k", BytesBody(b"x" * 100_000), WriteOptions())
    stream = await driver.open_read("files/k", ReadOptions())
    reading, go = threading.Event(), threading.Event()
    pread, lengths = os.pread, list[int]()

    def slow_pread(fd: int, length: int, offset: int) -> bytes:
        reading.set()
        go.wait(10)
        data = pread(fd, length, offset)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", slow_pread)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.receive)
        await anyio.to_thread.run_sync(reading.wait)
        tasks.start_soon(stream.aclose)
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(0.05)  # time to close the file, for a stream that does not wait
        go.set()
    assert lengths == [65_536]
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


async def test_a_cancelled_call_ends_after_its_thread(anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        pytest.skip("trio shields threads from every cancellation")
    started, go = threading.Event(), threading.Event()
    undone: list[int] = []

    def work() -> int:
        started.set()
        go.wait(10)
        return 42

    task = asyncio.ensure_future(in_thread(work, undone.append))
    await anyio.to_thread.run_sync(started.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == [42]


async def test_a_call_that_was_cancelled_before_its_thread_began_never_begins() -> None:
    calls: list[bool] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await in_thread(lambda: calls.append(True))
    assert scope.cancelled_caught
    assert calls == []


async def test_readers_see_whole_objects_while_writers_race(driver: FileDriver) -> None:
    contents = {str(n): b"%d" % n * (1000 + n) for n in range(60)}
    await driver.write("files/k", BytesBody(contents["0"]), WriteOptions(metadata={"n": "0"}))
    writing = 3

    async def writer(start: int) -> None:
        nonlocal writing
        for n in range(start, 60, 3):
            options = WriteOptions(metadata={"n": str(n)})
            await driver.write("files/k", BytesBody(contents[str(n)]), options)
        writing -= 1

    async def reader() -> None:
        while writing:
            stream = await driver.open_read("files/k", ReadOptions())
            data = b"".join([chunk async for chunk in stream])
            await stream.aclose()
            assert stream.info.metadata is not None
            assert contents[stream.info.metadata["n"]] == data

    async with anyio.create_task_group() as tasks:
        for start in range(3):
            tasks.start_soon(writer, start)
            tasks.start_soon(reader)


async def test_deleting_and_writing_in_one_directory_at_once_loses_no_write(
    driver: FileDriver, root: Path
) -> None:
    async def churn(name: str) -> None:
        for _ in range(40):
            await driver.write(f"files/a/b/{name}", BytesBody(b"x"), WriteOptions())
            await driver.delete(f"files/a/b/{name}", DeleteOptions(missing_ok=False))

    async with anyio.create_task_group() as tasks:
        for name in "abcd":
            tasks.start_soon(churn, name)
    assert list((root / "files").iterdir()) == []
    assert list((root / ".polystow/meta").rglob("*.json")) == []


async def test_one_of_many_create_only_writers_wins(driver: FileDriver, root: Path) -> None:
    won: list[int] = []

    async def write(n: int) -> None:
        try:
            options = WriteOptions(overwrite=False, metadata={"n": str(n)})
            await driver.write("files/k", BytesBody(b"%d" % n), options)
            won.append(n)
        except AlreadyExistsError:
            pass

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(write, n)
    stored = FileStore(os.fsencode(root)).stat((b"files", b"k"))
    assert stored.entry is not None
    assert [dict(stored.entry.metadata)] == [{"n": str(n)} for n in won]


def test_a_lost_directory_is_made_again_while_the_write_waits_for_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The narrowest race: the directory is pruned between its opening and the rename.
    store = FileStore(os.fsencode(root))
    rename, lost = os.rename, [2]

    def rename_after_pruning(source: bytes, name: bytes, *, dst_dir_fd: int) -> None:
        if lost[0]:
            lost[0] -= 1
            (root / "files/d").rmdir()
        rename(source, name, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", rename_after_pruning)
    store.store(KEY, b"data", Entry(metadata={"a": "b"}), Condition())
    assert store.stat(KEY).entry == Entry(metadata={"a": "b"}, crc32=f"{crc32(b'data'):08x}")


def test_a_removed_temporary_file_is_no_missing_object(root: Path) -> None:
    store = FileStore(os.fsencode(root))
    temporary = store.begin(KEY, Condition())
    Path(os.fsdecode(temporary.path)).unlink()
    with pytest.raises(StorageError, match="temporary file") as caught:
        store.commit(KEY, temporary, Entry(), Condition())
    temporary.discard()
    assert not isinstance(caught.value, NotFoundError)
