import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from logging import WARNING
from typing import Any

import anyio
import pytest
from anyio import Event, create_task_group, to_thread
from attrs import evolve
from core_doubles import spec_of

from polystow import (
    DriverContext,
    LifecycleError,
    MemoryConfig,
    MemoryDriver,
    Registry,
    Storage,
    StorageDriver,
    open_storage,
)

ID = "memory:b/k"


async def enter(manager: Any) -> None:
    async with manager:
        raise AssertionError("entered")


OPERATIONS: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "open_read": lambda storage: enter(storage.open_read(ID)),
    "read_bytes": lambda storage: storage.read_bytes(ID),
    "download": lambda storage: storage.download(ID, "/tmp/never-there"),
    "read_ranges": lambda storage: storage.read_ranges(ID, []),
    "stat": lambda storage: storage.stat(ID),
    "exists": lambda storage: storage.exists(ID),
    "write": lambda storage: storage.write(ID, b""),
    "upload": lambda storage: storage.upload("k", b""),
    "upload_many": lambda storage: storage.upload_many([]),
    "open_write": lambda storage: enter(storage.open_write(ID)),
    "set_metadata": lambda storage: storage.set_metadata(ID, {}),
    "delete": lambda storage: storage.delete(ID),
    "delete_many": lambda storage: storage.delete_many([ID]),
    "copy": lambda storage: storage.copy(ID, ID),
    "move": lambda storage: storage.move(ID, "memory:b/other"),
    "list": lambda storage: anext(storage.list("memory:b")),
    "list_pages": lambda storage: anext(storage.list_pages("memory:b")),
    "presign": lambda storage: storage.presign(ID),
    "zip": lambda storage: anext(storage.zip([ID])),
    "check": lambda storage: storage.check(),
    "append": lambda storage: storage.append(ID, b""),
    "modify": lambda storage: storage.modify(ID, 0, b""),
    "truncate": lambda storage: storage.truncate(ID, 0),
    "fetch_url": lambda storage: storage.fetch_url("http://127.0.0.1:1/"),
    "multipart": lambda storage: enter(storage.multipart(ID)),
    "list_multiparts": lambda storage: anext(storage.list_multiparts("memory:b")),
    "create_container": lambda storage: storage.create_container("memory:new"),
    "ensure_containers": lambda storage: storage.ensure_containers(["memory:new"]),
    "list_containers": lambda storage: anext(storage.list_containers("memory:")),
    "container_exists": lambda storage: storage.container_exists("memory:b"),
    "stat_container": lambda storage: storage.stat_container("memory:b"),
    "delete_container": lambda storage: storage.delete_container("memory:b"),
    "get_tags": lambda storage: storage.get_tags(ID),
    "set_tags": lambda storage: storage.set_tags(ID, {}),
    "sweep_multiparts": lambda storage: storage.sweep_multiparts("memory:b", timedelta(0)),
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


def test_every_public_operation_is_tried_here() -> None:
    public = {name for name in dir(Storage) if not name.startswith("_")}
    asked = {"capabilities", "driver", "route", "native", "require", "drain"}
    asked |= {"containers", "explain", "with_container"}
    # By the memory driver, which has neither versions nor access lists.
    refused = {"get_versioning", "set_versioning", "list_versions", "restore_version"}
    refused |= {"get_acl", "set_acl", "make_public"}
    assert public - set(OPERATIONS) == asked | refused


@every_operation
async def test_nothing_works_after_closing(name: str) -> None:
    async with open_storage("memory:") as storage:
        await storage.write(ID, b"")
    with pytest.raises(LifecycleError, match="the storage is closed"):
        await OPERATIONS[name](storage)


@every_operation
async def test_nothing_works_on_another_event_loop(name: str) -> None:
    async def elsewhere() -> None:
        with pytest.raises(LifecycleError, match="another event loop"):
            await OPERATIONS[name](storage)

    async with open_storage("memory:") as storage:
        await storage.write(ID, b"")
        for backend in ("asyncio", "trio"):
            await to_thread.run_sync(lambda: anyio.run(elsewhere, backend=backend))  # noqa: B023


async def test_nothing_works_without_an_event_loop() -> None:
    def begin() -> None:
        coroutine = storage.stat(ID)
        with pytest.raises(LifecycleError, match="on an event loop"):
            coroutine.send(None)

    async with open_storage("memory:") as storage:
        await to_thread.run_sync(begin)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_nothing_works_after_a_fork() -> None:
    async with open_storage("memory:") as storage:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                storage.stat(ID).send(None)
                answer = b"worked"
            except LifecycleError as error:
                answer = str(error).encode()
            except BaseException as error:
                answer = repr(error).encode()
            os.write(writer, answer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)  # noqa: ASYNC222 - it has said its last word
        assert b"before the process forked" in answer
        assert not await storage.exists(ID)


async def test_closing_waits_for_an_open_stream() -> None:
    opened, close = Event(), Event()
    order: list[str] = []

    async def read() -> None:
        async with storage.open_read(ID):
            opened.set()
            await close.wait()
            order.append("read")

    async with create_task_group() as tasks:
        async with open_storage("memory:") as storage:
            await storage.write(ID, b"")
            tasks.start_soon(read)
            await opened.wait()
            tasks.start_soon(_set_when_closing, storage, close)
        order.append("closed")
    assert order == ["read", "closed"]


async def _set_when_closing(storage: Storage, event: Event) -> None:
    while True:
        try:
            await storage.exists(ID)
        except LifecycleError:
            event.set()
            return
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", ["open_read", "open_write"])
async def test_closing_waits_no_longer_than_its_limit_and_tells_what_is_cut_off(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(WARNING, "polystow"):
        async with open_storage("memory:", close_timeout_s=0.01) as storage:
            await storage.write(ID, b"")
            manager: Any = getattr(storage, kind)(ID)
            await manager.__aenter__()
    assert "1 operations or streams were still under way after 0.01 s" in caplog.text
    await manager.__aexit__(None, None, None)


async def test_closing_waits_for_the_last_of_several_streams() -> None:
    storage = Storage(MemoryDriver())
    await storage.write(ID, b"")
    left: list[int] = []

    async def drain() -> None:
        left.append(await storage.drain(60))

    async with create_task_group() as tasks, storage.open_read(ID):
        async with storage.open_read(ID):
            tasks.start_soon(drain)
            await anyio.wait_all_tasks_blocked()
        await anyio.wait_all_tasks_blocked()
        assert left == []
    assert left == [0]


async def test_draining_tells_how_many_are_left() -> None:
    storage = Storage(MemoryDriver())
    await storage.write(ID, b"")
    async with storage.open_read(ID), storage.open_read(ID):
        assert await storage.drain(0) == 2
    assert await storage.drain(0) == 0


async def test_what_is_open_can_be_read_to_its_end_while_closing() -> None:
    storage = Storage(MemoryDriver())
    await storage.write(ID, b"data")
    async with storage.open_read(ID) as stream:
        await storage.drain(0)
        assert [chunk async for chunk in stream] == [b"data"]


@every_operation
async def test_an_operation_that_fails_is_not_counted_as_under_way(name: str) -> None:
    storage = Storage(MemoryDriver())
    with suppress(Exception):
        await OPERATIONS[name](storage)
    assert await storage.drain(0) == 0


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def registry(events: list[str]) -> Registry:
    @asynccontextmanager
    async def opening(config: MemoryConfig, _: DriverContext) -> AsyncGenerator[StorageDriver]:
        name = config.default_container
        if name == "bad":
            raise ZeroDivisionError
        events.append(f"open {name}")
        try:
            yield MemoryDriver(config)
        finally:
            events.append(f"close {name}")

    registry = Registry(scan=list)
    registry.register(evolve(spec_of("memory"), open=opening))
    return registry


def mounts(*names: str) -> dict[str, object]:
    tables = {f"m-{name}": {"driver": "memory", "default_container": name} for name in names}
    return {"mounts": tables, "write_to": f"m-{names[0]}"}


async def test_drivers_are_closed_in_reverse(registry: Registry, events: list[str]) -> None:
    async with open_storage(mounts("a", "b"), registry=registry):
        assert events == ["open a", "open b"]
    assert events[2:] == ["close b", "close a"]


async def test_drivers_of_nested_composites_are_closed(
    registry: Registry, events: list[str]
) -> None:
    config = {"mounts": {"out": {"driver": "composite", **mounts("a")}}}
    async with open_storage(config, registry=registry) as storage:
        info = await storage.upload("x", b"1")
        assert info.uri.startswith("out://m-a://a/")
    assert events == ["open a", "close a"]


async def test_a_driver_that_fails_to_open_closes_those_before(
    registry: Registry, events: list[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        await enter(open_storage(mounts("a", "bad"), registry=registry))
    assert events == ["open a", "close a"]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ExceptionGroup("mine", [ValueError()]), KeyboardInterrupt()]
)
async def test_an_error_in_the_block_leaves_as_itself(
    error: BaseException, registry: Registry, events: list[str]
) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_storage(mounts("a"), registry=registry):
            raise error
    assert caught.value is error
    assert events == ["open a", "close a"]


async def test_a_cancelled_block_closes_its_drivers(registry: Registry, events: list[str]) -> None:
    with anyio.CancelScope() as scope:
        async with open_storage(mounts("a"), registry=registry):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert events == ["open a", "close a"]


async def test_a_given_driver_is_left_open() -> None:
    driver = MemoryDriver()
    async with open_storage(driver) as storage:
        await storage.write(ID, b"x")
    async with open_storage(driver) as storage:
        assert await storage.read_bytes(ID) == b"x"
