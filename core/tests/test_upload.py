import io
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from core_doubles import BareDriver, Faults, fusion

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    CompositeDriver,
    Content,
    LifecycleError,
    MemoryDriver,
    NameHint,
    NewFile,
    ObjectInfo,
    Storage,
    UploadFailure,
    open_storage,
    wrap,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class UploadFile:
    """As Starlette's: an async `read`, and nothing in common with any class of ours."""

    filename = "photo"

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Unseekable(io.RawIOBase):
    """A pipe: it is read once."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 3):
        yield data[start : start + 3]


def as_path(data: bytes, folder: Path) -> Content:
    (folder / "content").write_bytes(data)
    return folder / "content"


KINDS: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda data, _: data,
    "bytearray": lambda data, _: bytearray(data),
    "memoryview": lambda data, _: memoryview(data),
    "path": as_path,
    "file": lambda data, _: io.BytesIO(data),
    "pipe": lambda data, _: Unseekable(data),
    "async read": lambda data, _: UploadFile(data),
    "async iterable": lambda data, _: chunks(data),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(params=["memory", "file"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    config: dict[str, object] = {}
    if request.param == "file":
        config = {"root": str(tmp_path / "root")}
        (tmp_path / "root").mkdir()
    async with open_storage({"mounts": {request.param: config}}) as storage:
        yield storage


@every_kind
async def test_every_kind_of_content_is_stored_with_its_name_and_type(
    storage: Storage, kind: str, tmp_path: Path
) -> None:
    info = await storage.upload("My photo é.png", KINDS[kind](PNG, tmp_path), metadata={"a": "b"})
    assert await storage.read_bytes(info.file_id) == PNG
    stored = await storage.stat(info.file_id)
    assert (stored.filename, stored.content_type) == ("My photo é.png", "image/png")
    assert (stored.size, stored.metadata) == (len(PNG), {"a": "b"})
    assert stored.uri.rpartition("/")[2].endswith("_My photo é.png")


@every_kind
async def test_the_type_is_seen_in_the_first_bytes_where_the_name_tells_none(
    storage: Storage, kind: str, tmp_path: Path
) -> None:
    info = await storage.upload("photo", KINDS[kind](PNG, tmp_path))
    assert (await storage.stat(info.file_id)).content_type == "image/png"
    assert await storage.read_bytes(info.file_id) == PNG


@every_kind
async def test_a_file_without_content_has_no_type(
    storage: Storage, kind: str, tmp_path: Path
) -> None:
    info = await storage.upload("nothing", KINDS[kind](b"", tmp_path))
    assert (info.size, info.content_type) == (0, None)


async def test_what_the_caller_says_of_the_type_counts(storage: Storage) -> None:
    info = await storage.upload("photo.txt", PNG, content_type="image/x-own")
    assert info.content_type == "image/x-own"
    assert (await storage.upload("photo.txt", PNG)).content_type == "text/plain"


async def test_the_type_of_what_is_written_piece_by_piece_is_seen_too(storage: Storage) -> None:
    async with storage.open_write(NameHint("photo")) as out:
        for start in range(0, len(PNG), 50):
            await out.send(PNG[start : start + 50])
    assert out.info.content_type == "image/png"
    assert await storage.read_bytes(out.info.file_id) == PNG


async def test_a_page_without_an_extension_is_no_page(storage: Storage) -> None:
    info = await storage.upload("profile", "<!DOCTYPE html><script>alert(1)</script>")
    assert info.content_type == "text/plain"


async def test_text_is_content_and_never_a_path(storage: Storage, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    info = await storage.upload("a.txt", str(secret))
    assert await storage.read_bytes(info.file_id) == str(secret).encode()


async def test_progress_counts_the_content_once(storage: Storage) -> None:
    seen: list[tuple[int, int | None]] = []
    await storage.upload("photo", chunks(PNG), progress=lambda *step: seen.append(step))
    assert (seen[-1], sorted(seen)) == ((len(PNG), None), seen)


async def test_a_backend_that_is_down_closes_the_stream_that_was_looked_at() -> None:
    closed: list[bool] = []

    async def content() -> AsyncIterator[bytes]:
        try:
            yield PNG
        finally:
            closed.append(True)

    faults = Faults(write=lambda: BackendUnavailableError("down"))
    storage = Storage(wrap(MemoryDriver(), [faults]))
    with pytest.raises(BackendUnavailableError):
        await storage.upload("photo", content())
    assert closed == [True]


async def test_a_slow_file_does_not_hold_the_event_loop(storage: Storage) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            time.sleep(0.2)
            return super().read(size)

    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.001)
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        await storage.upload("slow", Slow(PNG))
        tasks.cancel_scope.cancel()
    assert turns > 20


# Keys


async def test_a_dated_key_is_kept_by_every_driver(storage: Storage) -> None:
    info = await storage.upload("Report.PDF", b"x", folder="team", key_policy="dated")
    container, folder, *day, name = info.uri.partition("://")[2].split("/")
    assert (container, folder, [len(part) for part in day]) == ("files", "team", [4, 2, 2])
    assert (name[36:], info.filename) == (".PDF", "Report.PDF")


async def test_the_same_name_does_not_replace_a_file_unless_that_is_said(storage: Storage) -> None:
    for policy in ("exact", lambda hint: f"{hint.folder}/{hint.filename}"):
        where: Any = {"folder": "f", "key_policy": policy}
        first = await storage.upload("a.txt", b"1", overwrite=True, **where)
        assert first.uri.endswith("://files/f/a.txt")
        with pytest.raises(AlreadyExistsError):
            await storage.upload("a.txt", b"2", **where)
        assert await storage.read_bytes(first.file_id) == b"1"
        await storage.upload("a.txt", b"3", overwrite=True, **where)
        assert await storage.read_bytes(first.file_id) == b"3"


async def test_a_policy_of_an_inner_composite_does_not_replace_either() -> None:
    inner = CompositeDriver({"memory": MemoryDriver()}, key_policy="exact")
    storage = fusion(outer=inner)
    await storage.upload("a.txt", b"1")
    with pytest.raises(AlreadyExistsError):
        await storage.upload("a.txt", b"2")


async def test_a_backend_that_names_its_files_itself_needs_no_policy() -> None:
    storage = Storage(BareDriver())
    ids = {
        (await storage.upload("a.txt", b"1", key_policy="exact", folder="f")).file_id
        for _ in range(2)
    }
    assert ids == {"group1/M00/00/00/00000001", "group1/M00/00/00/00000002"}


# Batches


async def test_a_batch_keeps_the_order_and_reports_each_failure_by_itself(
    storage: Storage, tmp_path: Path
) -> None:
    files = [
        NewFile("0.txt", b"0"),
        NewFile("../1.txt", b"1"),
        NewFile("2.txt", tmp_path / "not there"),
        NewFile("3.txt", chunks(b"3333"), size=5),
        NewFile("4.txt", 4),  # type: ignore[arg-type]
        NewFile("5.txt", "5", folder="own", metadata={"b": "own"}, content_type="x/own"),
        NewFile("6.txt", UploadFile(b"6")),
    ]
    batch = await storage.upload_many(files, folder="shared", metadata={"a": "shared"})
    kinds = [isinstance(result, ObjectInfo) for result in batch.results]
    assert kinds == [True, False, False, False, False, True, True]
    assert [info.filename for info in batch.succeeded] == ["0.txt", "5.txt", "6.txt"]
    assert [(failure.position, failure.filename) for failure in batch.failed] == [
        (1, "../1.txt"), (2, "2.txt"), (3, "3.txt"), (4, "4.txt"),
    ]  # fmt: skip
    names = [type(failure.error).__name__ for failure in batch.failed]
    assert names == ["InvalidPathError", "NotFoundError", "TruncatedBodyError", "TypeError"]
    first, own, last = batch.succeeded
    assert "/shared/" in first.uri
    assert "/own/" in own.uri
    assert (first.metadata, own.metadata) == ({"a": "shared"}, {"b": "own"})
    assert (first.content_type, own.content_type) == ("text/plain", "x/own")
    assert await storage.read_bytes(last.file_id) == b"6"


async def test_a_content_that_raises_fails_its_own_file_alone(storage: Storage) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    batch = await storage.upload_many([NewFile("a", broken()), NewFile("b", b"")])
    assert isinstance(batch.results[0], UploadFailure)
    assert isinstance(batch.results[0].error, ZeroDivisionError)
    assert len(batch.succeeded) == 1


class Gate:
    """A layer in which writes wait until as many as are expected have come."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.inside = self.most = 0
        self.open = anyio.Event()

    async def __call__(self, op: Any, call: Any, /) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == self.expected:
            self.open.set()
        await self.open.wait()
        try:
            return await call(op)
        finally:
            self.inside -= 1


async def test_a_batch_runs_as_many_at_once_as_it_may_and_takes_files_as_it_goes() -> None:
    gate = Gate(3)
    storage = Storage(wrap(MemoryDriver(), [gate]))
    ahead: list[int] = []

    def files() -> Iterator[NewFile]:
        for number in range(10):
            ahead.append(gate.inside)
            yield NewFile(f"{number}.txt", b"")

    batch = await storage.upload_many(files(), concurrency=3)
    assert (gate.most, len(batch.succeeded)) == (3, 10)
    assert max(ahead) <= 2  # a file is taken when fewer than three are under way


async def test_a_batch_can_come_from_an_async_iterable(storage: Storage) -> None:
    async def files() -> AsyncIterator[NewFile]:
        for number in range(20):
            await anyio.lowlevel.checkpoint()
            yield NewFile(f"{number}.txt", str(number))

    batch = await storage.upload_many(files(), concurrency=4)
    assert [info.filename for info in batch.succeeded] == [f"{number}.txt" for number in range(20)]


async def test_files_that_can_not_be_listed_fail_the_batch_as_themselves(storage: Storage) -> None:
    def files() -> Iterator[NewFile]:
        yield NewFile("a", b"")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.upload_many(files())


async def test_a_batch_of_nothing_is_empty(storage: Storage) -> None:
    assert (await storage.upload_many([])).results == []


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_a_batch_of_no_tasks_is_refused(storage: Storage, concurrency: int) -> None:
    with pytest.raises(ValueError, match="concurrency"):
        await storage.upload_many([], concurrency=concurrency)


async def test_a_batch_that_is_cancelled_stops() -> None:
    storage = Storage(wrap(MemoryDriver(), [Gate(99)]))
    with CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storage.upload_many, [NewFile(str(n), b"") for n in range(9)])
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught


async def test_files_of_a_batch_that_are_late_for_closing_say_so() -> None:
    gate = Gate(1)
    async with open_storage(wrap(MemoryDriver(), [gate])) as storage:

        async def files() -> AsyncIterator[NewFile]:
            yield NewFile("early", b"")
            await storage.drain(0)
            yield NewFile("late", b"")

        batch = await storage.upload_many(files(), concurrency=1)
    assert [failure.filename for failure in batch.failed] == ["late"]
    assert isinstance(batch.failed[0].error, LifecycleError)
