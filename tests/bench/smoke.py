"""What `Storage` adds to the driver below it, in CPU time."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import process_time

from attrs import frozen

from polystow import (
    ByteRange,
    BytesBody,
    DeadlineLayer,
    DeleteOptions,
    Layer,
    ListOptions,
    MemoryDriver,
    ReadOptions,
    StatOptions,
    Storage,
    TracingLayer,
    WriteOptions,
    open_storage,
)

CALLS = 2_000
ROUNDS = 15
PATH = "bench/object.bin"
URI = f"memory://{PATH}"
DATA = bytes(1024)
RANGE = ByteRange(0, 99)
LAYERS: tuple[Layer, ...] = (TracingLayer(), DeadlineLayer(30.0))


@frozen
class Case:
    """An operation, with the storage and with the bare driver, and its bounds in µs."""

    name: str
    storage: Callable[[Storage], Awaitable[object]]
    driver: Callable[[MemoryDriver], Awaitable[object]]
    bound: float | None = None
    bound_layers: float | None = None


async def _read_bytes(driver: MemoryDriver, options: ReadOptions) -> bytes:
    stream = await driver.open_read(PATH, options)
    data = await stream.receive(1_048_576)
    await stream.aclose()
    return data


async def _open_read(storage: Storage) -> None:
    async with storage.open_read(URI) as stream:
        await stream.receive(1_048_576)


async def _list(storage: Storage) -> None:
    async for _ in storage.list("memory://bench/"):
        pass


BODY = BytesBody(DATA)
CASES = [
    Case("stat", lambda s: s.stat(URI), lambda d: d.stat(PATH, StatOptions()), 5, 25),
    Case("exists", lambda s: s.exists(URI), lambda d: d.stat(PATH, StatOptions())),
    Case(
        "read_bytes", lambda s: s.read_bytes(URI), lambda d: _read_bytes(d, ReadOptions()), 15, 25
    ),
    Case(
        "read_bytes, a range",
        lambda s: s.read_bytes(URI, range=RANGE),
        lambda d: _read_bytes(d, ReadOptions(RANGE)),
    ),
    Case("open_read", _open_read, lambda d: _read_bytes(d, ReadOptions())),
    Case("write", lambda s: s.write(URI, DATA), lambda d: d.write(PATH, BODY, WriteOptions())),
    Case(
        "delete (missing)",
        lambda s: s.delete("memory://bench/none"),
        lambda d: d.delete("bench/none", DeleteOptions()),
    ),
    Case("list of one", _list, lambda d: d.list_page("bench/", ListOptions(), None)),
]


async def _microseconds(call: Callable[[], Awaitable[object]]) -> float:
    start = process_time()
    for _ in range(CALLS):
        await call()
    return (process_time() - start) / CALLS * 1e6


def smoke() -> None:
    """What `Storage` adds to the memory driver."""
    asyncio.run(_smoke())


async def _smoke() -> None:
    driver = MemoryDriver()
    await driver.write(PATH, BODY, WriteOptions())
    print("CPU microseconds per operation: the memory driver's own, and what Storage adds")
    print(f"{'operation':<22}{'driver':>8}{'adds':>8}{'bound':>8}{'layers':>9}{'bound':>8}")
    async with open_storage(driver) as bare, open_storage(driver, layers=LAYERS) as layered:
        for case in CASES:
            own: list[float] = []
            added: list[float] = []
            with_layers: list[float] = []
            # In turn, so that a change of the machine's speed meets all three.
            for _ in range(ROUNDS):
                base = await _microseconds(partial(case.driver, driver))
                own.append(base)
                added.append(await _microseconds(partial(case.storage, bare)) - base)
                full = await _microseconds(partial(case.storage, layered))
                with_layers.append(full - base)
            print(
                f"{case.name:<22}{_median(own):>8.2f}{_median(added):>8.2f}{_bound(case.bound):>8}"
                f"{_median(with_layers):>9.2f}{_bound(case.bound_layers):>8}"
            )


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _bound(value: float | None) -> str:
    return "" if value is None else f"≤ {value:g}"
