"""Drivers and layers that the tests of core share."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import override

from anyio import EndOfStream
from anyio.abc import ByteReceiveStream

from polystow import (
    BytesBody,
    Capabilities,
    CompositeDriver,
    DriverContext,
    DriverInfo,
    DriverSpec,
    Limits,
    MemoryConfig,
    MemoryDriver,
    Mount,
    NameHint,
    ObjectInfo,
    Operation,
    ReadOptions,
    ReadStream,
    Storage,
    StorageDriver,
    Target,
    UnsupportedOperationError,
    WriteOptions,
)
from polystow._body import Body

BARE = "group1/M00/00/00/00000001"
"""The first id that a `BareDriver` makes."""


class Faults:
    """A layer that records the operations, and makes those fail that it is told to."""

    def __init__(self, **errors: Callable[[], BaseException]) -> None:
        self.errors = errors
        self.calls: list[tuple[str, str]] = []

    async def __call__[T](self, op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        self.calls.append((op.name, op.path))
        if op.name in self.errors:
            error = self.errors[op.name]()
            raise error
        return await call(op)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class NamedMemory(MemoryDriver):
    """The memory driver under another name."""

    def __init__(self, name: str = "memory") -> None:
        super().__init__()
        self.info = DriverInfo(name, "polystow")


class MinimalDriver(NamedMemory):
    """Has the four operations and nothing else."""

    def __init__(self, name: str = "minimal", limits: Limits | None = None) -> None:
        super().__init__(name)
        self.capabilities = Capabilities(limits=limits or Limits())


class BareDriver(NamedMemory):
    """Names its objects itself, with ids that are known without a scheme, as FastDFS does."""

    def __init__(self) -> None:
        super().__init__("fastdfs")
        self.written = 0
        self.capabilities = Capabilities(bare_ids=self, limits=Limits(client_names_keys=False))

    def owns_bare_id(self, path: str, /) -> bool:
        return re.fullmatch(r"group\d+/M[0-9A-F]{2}/.+", path) is not None

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        if not isinstance(target, NameHint):
            raise UnsupportedOperationError("it names its objects itself")
        self.written += 1
        return await super().write(f"group1/M00/00/00/{self.written:08d}", body, options)


class CorruptingDriver(MinimalDriver):
    """Stores other bytes than it is given, of the same length."""

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        data = await read_all(await body.open())
        return await super().write(target, BytesBody(b"\0" * len(data)), options)


class BrokenStreamDriver(NamedMemory):
    """Its streams give half of the object and then raise."""

    def __init__(self, error: Callable[[], Exception], name: str = "broken") -> None:
        super().__init__(name)
        self.error = error
        self.closed = 0

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        return _BrokenStream(await super().open_read(path, options), self)


class _BrokenStream(ReadStream):
    def __init__(self, stream: ReadStream, driver: BrokenStreamDriver) -> None:
        self.info, self.range = stream.info, stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._stream = stream
        self._driver = driver
        self._given = False

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if self._given:
            error = self._driver.error()
            raise error
        self._given = True
        return await self._stream.receive(max(1, (self.info.size or 0) // 2))

    @override
    async def aclose(self) -> None:
        self._driver.closed += 1
        await self._stream.aclose()


async def read_all(stream: ByteReceiveStream) -> bytes:
    """All that a byte stream gives, closing it."""
    data = b""
    async with stream:
        while True:
            try:
                data += await stream.receive()
            except EndOfStream:
                return data


def spec_of(name: str, make: Callable[[], StorageDriver] | None = None) -> DriverSpec[MemoryConfig]:
    """A `DriverSpec` that opens what `make` gives."""

    @asynccontextmanager
    async def open_driver(config: MemoryConfig, _: DriverContext) -> AsyncGenerator[StorageDriver]:
        yield MemoryDriver(config) if make is None else make()

    return DriverSpec(name=name, config=MemoryConfig, open=open_driver)


def fusion(**mounts: StorageDriver | Mount) -> Storage:
    """A storage over several mounts; new objects go to the first."""
    return Storage(CompositeDriver(mounts, write_to=next(iter(mounts))))


async def put(driver: StorageDriver, path: str, data: bytes = b"data", **meta: str) -> ObjectInfo:
    """Write an object with metadata."""
    return await driver.write(path, BytesBody(data), WriteOptions(metadata=meta))
