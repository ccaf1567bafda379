"""The drivers of core have no network; what can go wrong with them is a cancellation."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import override

import anyio

from polystow import (
    BytesBody,
    DeleteOptions,
    DriverContext,
    ListOptions,
    MemoryDriver,
    NotFoundError,
    ReadOptions,
    RequestPolicy,
    StorageDriver,
    WriteOptions,
)
from polystow._file import SPEC, FileConfig
from polystow_testing.faults import CancellationBattery, FaultTarget

CONTAINER = "files"


class CoreTarget(FaultTarget):
    """A driver whose backend can be asked only through a driver."""

    roles = ()

    @override
    def put(self, name: str, data: bytes) -> str:
        async def put(driver: StorageDriver) -> str:
            path = f"{CONTAINER}/{name}"
            return (await driver.write(path, BytesBody(data), WriteOptions())).path

        return self._ask(put)

    @override
    def get(self, path: str) -> bytes | None:
        async def get(driver: StorageDriver) -> bytes | None:
            try:
                async with await driver.open_read(path, ReadOptions()) as stream:
                    return b"".join([chunk async for chunk in stream])
            except NotFoundError:
                return None

        return self._ask(get)

    @override
    def inventory(self) -> frozenset[str]:
        async def names(driver: StorageDriver) -> frozenset[str]:
            assert driver.capabilities.list is not None
            try:
                page = await driver.capabilities.list.list_page(
                    f"{CONTAINER}/", ListOptions(), None
                )
            except NotFoundError:
                return frozenset()
            assert page.cursor is None
            return frozenset(item.path for item in page.items)

        return self._ask(names)

    @override
    def clear(self) -> None:
        async def clear(driver: StorageDriver) -> None:
            for path in paths:
                await driver.delete(path, DeleteOptions())

        paths = CoreTarget.inventory(self)
        self._ask(clear)

    def _ask[T](self, question: Callable[[StorageDriver], Awaitable[T]]) -> T:
        async def ask() -> T:
            async with self.open({}) as driver:
                return await question(driver)

        return anyio.run(ask)


class MemoryTarget(CoreTarget):
    name = "memory"

    def __init__(self) -> None:
        self._driver = MemoryDriver()

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        @asynccontextmanager
        async def opened() -> AsyncGenerator[StorageDriver]:
            yield self._driver

        return opened()


class FileTarget(CoreTarget):
    name = "file"

    def __init__(self) -> None:
        self._directory = TemporaryDirectory(prefix="polystow-")
        self._root = Path(self._directory.name)

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._directory.cleanup()

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        return SPEC.open(FileConfig(root=self._root), DriverContext(RequestPolicy()))

    @override
    def inventory(self) -> frozenset[str]:
        # What is being written, too: files that have the number of the process in their names.
        begun = {path.name for path in self._root.rglob(f"{os.getpid()}-*")}
        return super().inventory() | begun


class TestMemory(CancellationBattery):
    target = MemoryTarget
    backends = ("asyncio", "trio")


class TestFile(CancellationBattery):
    target = FileTarget
    backends = ("asyncio", "trio")
