import asyncio
from collections.abc import Callable
from typing import cast, override

import pytest
from anyio import (
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Event,
    create_task_group,
    fail_after,
    move_on_after,
    sleep_forever,
)
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint
from core_doubles import NamedMemory

from polystow import (
    BackendUnavailableError,
    Body,
    MemoryDriver,
    NameHint,
    NoRouteError,
    NoSpaceError,
    ObjectInfo,
    Storage,
    StorageError,
    Target,
    TruncatedBodyError,
    WriteOptions,
)

ID = "memory:b/k"


class Watched(NamedMemory):
    """Tells how its writes end; may fail after some bytes, and take its time to clean up."""

    def __init__(self, fail_after_bytes: int | None = None) -> None:
        super().__init__()
        self.fail_after_bytes = fail_after_bytes
        self.events: list[str] = []
        self.received = Event()

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        try:
            return await super().write(target, _WatchedBody(body, self), options)
        except Exception as error:
            self.events.append(type(error).__name__)
            with CancelScope(shield=True):
                for _ in range(5):  # as one that has to tell its server
                    await checkpoint()
            raise
        except BaseException:
            self.events.append("cancelled")
            raise


class _WatchedBody:
    def __init__(self, body: Body, driver: Watched) -> None:
        self._body = body
        self._driver = driver
        self.size = body.size
        self.replayable = body.replayable

    async def open(self) -> ByteReceiveStream:
        return _WatchedStream(await self._body.open(), self._driver)


class _WatchedStream(ByteReceiveStream):
    def __init__(self, stream: ByteReceiveStream, driver: Watched) -> None:
        self._stream = stream
        self._driver = driver
        self._count = 0

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        try:
            chunk = await self._stream.receive(max_bytes)
        except EndOfStream:
            self._driver.events.append("end")
            raise
        self._count += len(chunk)
        self._driver.received.set()
        limit = self._driver.fail_after_bytes
        if limit is not None and self._count >= limit:
            raise NoSpaceError("full")
        return chunk

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.fixture
async def driver() -> Watched:
    return Watched()


@pytest.fixture
async def storage(driver: Watched) -> Storage:
    return Storage(driver)


async def untouched(storage: Storage, driver: Watched) -> None:
    assert not await storage.exists(ID)
    assert "end" not in driver.events
    assert await storage.drain(0) == 0


async def test_a_clean_exit_commits(storage: Storage) -> None:
    async with storage.open_write(ID, content_type="x/y", metadata={"a": "b"}) as out:
        await out.send(b"12")
        await out.send(b"")
        await out.send(b"345")
        assert not await storage.exists(ID)
    assert await storage.read_bytes(ID) == b"12345"
    assert (out.info.uri, out.info.content_type, out.info.metadata) == (
        "memory://b/k",
        "x/y",
        {"a": "b"},
    )


async def test_a_clean_exit_without_any_piece_commits_an_empty_object(storage: Storage) -> None:
    async with storage.open_write(ID):
        pass
    assert await storage.read_bytes(ID) == b""


async def test_a_new_object_can_be_written_piece_by_piece(storage: Storage) -> None:
    async with storage.open_write(NameHint("a.txt")) as out:
        await out.send(b"1")
    assert (out.info.filename, await storage.read_bytes(out.info.file_id)) == ("a.txt", b"1")


async def test_a_large_piece_is_written(storage: Storage) -> None:
    async with storage.open_write(ID) as out:
        await out.send(bytes(3_000_000))
    assert out.info.size == 3_000_000


async def test_there_is_no_info_inside_the_block(storage: Storage) -> None:
    async with storage.open_write(ID) as out:
        with pytest.raises(StorageError, match="block was left"):
            _ = out.info


async def test_a_buffer_may_change_after_it_was_sent(storage: Storage) -> None:
    buffer = bytearray(b"first")
    async with storage.open_write(ID) as out:
        await out.send(cast("bytes", buffer))
        buffer[:] = b"other"
        await out.send(cast("bytes", memoryview(buffer)))
    assert await storage.read_bytes(ID) == b"firstother"


@pytest.mark.parametrize("piece", ["text", 5, None, [1]])
async def test_a_piece_that_is_no_bytes_is_a_type_error(
    storage: Storage, driver: Watched, piece: bytes
) -> None:
    with pytest.raises(TypeError):
        async with storage.open_write(ID) as out:
            await out.send(piece)
    await untouched(storage, driver)


class Mine(BaseException):
    pass


@pytest.mark.parametrize(
    "make",
    [
        ZeroDivisionError,
        Mine,
        lambda: BackendUnavailableError("other"),
        lambda: ExceptionGroup("mine", [ValueError(), KeyError()]),
        GeneratorExit,
    ],
)
@pytest.mark.parametrize("pieces", [0, 2])
async def test_an_exception_in_the_block_leaves_as_itself_and_leaves_nothing(
    storage: Storage, driver: Watched, make: Callable[[], BaseException], pieces: int
) -> None:
    error = make()
    with pytest.raises(type(error)) as caught:  # noqa: PT012 - the block is what is tested
        async with storage.open_write(ID) as out:
            for _ in range(pieces):
                await out.send(b"12")
            raise error
    assert caught.value is error
    await untouched(storage, driver)


async def test_an_exception_in_the_block_leaves_the_old_object(storage: Storage) -> None:
    await storage.write(ID, b"old")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
        async with storage.open_write(ID) as out:
            await out.send(b"new")
            raise ZeroDivisionError
    assert await storage.read_bytes(ID) == b"old"


async def test_an_exception_after_the_stream_was_closed_leaves_nothing(
    storage: Storage, driver: Watched
) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
        async with storage.open_write(ID) as out:
            await out.send(b"new")
            await out.aclose()
            for _ in range(10):
                await checkpoint()
            raise ZeroDivisionError
    await untouched(storage, driver)


async def test_a_closed_stream_takes_no_more_and_commits(storage: Storage) -> None:
    async with storage.open_write(ID) as out:
        await out.send(b"1")
        await out.aclose()
        with pytest.raises(ClosedResourceError):
            await out.send(b"2")
    assert await storage.read_bytes(ID) == b"1"


async def test_a_stream_takes_nothing_after_its_block(storage: Storage) -> None:
    async with storage.open_write(ID) as out:
        pass
    with pytest.raises(ClosedResourceError):
        await out.send(b"1")


async def test_a_timeout_leaves_nothing_and_is_not_swallowed(
    storage: Storage, driver: Watched
) -> None:
    with move_on_after(0.01) as scope:
        async with storage.open_write(ID) as out:
            await out.send(b"12")
            await sleep_forever()
        raise AssertionError("swallowed")
    assert scope.cancelled_caught
    assert driver.events == ["cancelled"]
    await untouched(storage, driver)


async def test_a_cancelled_task_leaves_nothing_and_is_not_swallowed(
    storage: Storage, driver: Watched
) -> None:
    async def write() -> None:
        async with storage.open_write(ID) as out:
            await out.send(b"12")
            await sleep_forever()
        raise AssertionError("swallowed")

    async with create_task_group() as tasks:
        tasks.start_soon(write)
        await driver.received.wait()
        tasks.cancel_scope.cancel()
    assert driver.events == ["cancelled"]
    await untouched(storage, driver)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("where", ["block", "send", "exit"])
async def test_asyncios_own_cancellation_leaves_nothing_and_is_not_swallowed(where: str) -> None:
    waiting = Event()

    class Stuck(Watched):
        @override
        async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
            stream = await body.open()
            if where != "send":
                try:
                    while True:
                        await stream.receive()
                except EndOfStream:
                    pass
            waiting.set()
            await sleep_forever()
            return await super().write(target, body, options)

    driver = Watched() if where == "block" else Stuck()
    storage = Storage(driver)

    async def write() -> None:
        async with storage.open_write(ID) as out:
            if where == "exit":
                return
            await out.send(b"12")
            if where == "block":
                await sleep_forever()
        raise AssertionError("swallowed")

    task = asyncio.create_task(write())
    with fail_after(5):
        await (driver.received if where == "block" else waiting).wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not await storage.exists(ID)
    assert await storage.drain(0) == 0


async def test_a_cancellation_while_the_write_completes_leaves_nothing() -> None:
    scope = CancelScope()

    class Slow(Watched):
        @override
        async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
            stream = await body.open()
            with pytest.raises(EndOfStream):
                await stream.receive()
            scope.cancel()
            await sleep_forever()
            return await super().write(target, body, options)

    storage = Storage(Slow())
    with scope:
        async with storage.open_write(ID):
            pass
        raise AssertionError("swallowed")
    assert scope.cancelled_caught
    assert not await storage.exists(ID)
    assert await storage.drain(0) == 0


@pytest.mark.parametrize("failing_byte", [1, 3])
async def test_a_driver_that_fails_in_the_middle_raises_its_error_in_send(
    failing_byte: int,
) -> None:
    driver = Watched(fail_after_bytes=failing_byte)
    storage = Storage(driver)
    sent = 0
    with fail_after(5), pytest.raises(NoSpaceError) as caught:  # noqa: PT012 - the block is what is tested
        async with storage.open_write(ID) as out:
            while True:
                await out.send(b"1")
                sent += 1
    assert caught.value.uri == "memory://b/k"
    assert driver.events == ["NoSpaceError"]  # its clean-up was not cut off
    assert failing_byte <= sent <= failing_byte + 1


async def test_a_driver_that_fails_at_the_last_piece_raises_its_error_on_leaving() -> None:
    storage = Storage(Watched(fail_after_bytes=1))
    with pytest.raises(NoSpaceError):
        async with storage.open_write(ID) as out:
            await out.send(b"1")


async def test_a_failure_that_the_block_ignores_is_raised_on_leaving() -> None:
    storage = Storage(Watched(fail_after_bytes=1))
    with pytest.raises(NoSpaceError):  # noqa: PT012 - the block is what is tested
        async with storage.open_write(ID) as out:
            await out.send(b"1")
            with pytest.raises(NoSpaceError):
                await out.send(b"2")


async def test_a_driver_that_ends_early_without_an_error_is_told() -> None:
    class Hasty(NamedMemory):
        @override
        async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
            await (await body.open()).aclose()
            return ObjectInfo("b/k")

    with fail_after(5), pytest.raises(StorageError, match="before all was sent"):  # noqa: PT012 - the block is what is tested
        async with Storage(Hasty()).open_write(ID) as out:
            while True:
                await out.send(b"1")


@pytest.mark.parametrize("size", [1, 3])
async def test_a_wrong_size_is_told_and_leaves_nothing(
    storage: Storage, driver: Watched, size: int
) -> None:
    with pytest.raises(TruncatedBodyError):
        async with storage.open_write(ID, size=size) as out:
            await out.send(b"12")
    await untouched(storage, driver)


async def test_the_right_size_commits(storage: Storage) -> None:
    async with storage.open_write(ID, size=4) as out:
        await out.send(b"12")
        await out.send(b"34")
    assert out.info.size == 4


async def test_an_id_without_a_mount_is_told() -> None:
    with pytest.raises(NoRouteError):
        async with Storage(MemoryDriver()).open_write("gone:b/k"):
            pass


async def test_metadata_are_checked_before_the_block() -> None:
    with pytest.raises(TypeError, match="metadata"):
        Storage(MemoryDriver()).open_write(ID, metadata={"a": 1})  # type: ignore[dict-item]


async def test_two_streams_at_once_do_not_meet(storage: Storage) -> None:
    async with storage.open_write("memory:b/1") as one, storage.open_write("memory:b/2") as two:
        await two.send(b"2")
        await one.send(b"1")
    assert await storage.read_bytes("memory:b/1") == b"1"
    assert await storage.read_bytes("memory:b/2") == b"2"
