"""Zip, streams and batches over S3, FastDFS and local files: time, memory, the event loop."""

import asyncio
import multiprocessing
import os
import random
import tempfile
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define, field

from polystow import NewFile, Storage, open_storage
from polystow_testing.fastdfs import FastdfsProcess
from polystow_testing.s3 import S3Process

MIB = 1 << 20
GIB = 1 << 30
MEMBERS = 2_000
STREAM_BYTES = 4 * GIB
FILES = 10_000
FILE_BYTES = 4096
DISTANCES_S = {"in the same data centre, 1 ms away": 0.001, "a service 5 ms away": 0.005}
BUCKET = "bench"


@define
class Watch:
    """What was seen while something ran."""

    start_mib: float = 0.0
    peak_mib: float = 0.0
    pauses_ms: list[float] = field(factory=list[float])
    work_ms: list[float] = field(factory=list[float])

    @property
    def growth_mib(self) -> float:
        """Memory above the start."""
        return self.peak_mib - self.start_mib


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


@contextmanager
def _watched() -> Generator[Watch]:
    """Sample the memory every 10 ms from a thread, and the event loop's pauses from a task."""
    watch = Watch(_memory_mib())
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.01):
            watch.peak_mib = max(watch.peak_mib, _memory_mib())

    async def tick() -> None:
        while True:
            before, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            watch.pauses_ms.append((time.perf_counter() - before) * 1000 - 1)
            watch.work_ms.append((time.thread_time() - worked) * 1000)

    sampler = threading.Thread(target=sample)
    sampler.start()
    ticker = asyncio.get_running_loop().create_task(tick())
    try:
        yield watch
    finally:
        ticker.cancel()
        stop.set()
        sampler.join()


def _goal(name: str, figure: float, unit: str, bound: float, *, least: bool = False) -> None:
    reached = figure >= bound if least else figure <= bound
    sign = "≥" if least else "≤"
    word = "reached" if reached else "missed"
    print(f"{name:<62}{figure:>10.2f} {unit:<5}{sign} {bound:<8.4g}{word}", flush=True)


def _s3_mount(endpoint: str) -> dict[str, object]:
    return {
        "endpoint": endpoint,
        "default_bucket": BUCKET,
        "access_key_id": "key",
        "secret_access_key": "secret",
    }


# The zip


def _contents() -> Generator[tuple[str, bytes]]:
    """1 GiB of mixed members: text and what is compressed already, from 4 KiB to 3 MiB."""
    rng = random.Random(1)
    text = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(160_000))[: 3 * MIB]
    noise = rng.randbytes(3 * MIB)
    weights = [rng.choice((1, 8, 16, 96, 180, 700)) for _ in range(MEMBERS)]
    unit = GIB / sum(weights)
    for number, weight in enumerate(weights):
        size = min(int(weight * unit), 3 * MIB)
        compressed = number % 3 == 0
        data = (noise if compressed else text)[:size]
        yield f"{number}.{'jpg' if compressed else 'txt'}", data


async def _serial(storage: Storage, ids: list[str]) -> tuple[float, float]:
    """Seconds for one member after the other, downloaded, then compressed; for the downloads."""
    start = time.perf_counter()
    fetching = 0.0
    for file_id in ids:
        before = time.perf_counter()
        data = await storage.read_bytes(file_id)
        fetching += time.perf_counter() - before
        if file_id.endswith(".txt"):
            await asyncio.to_thread(zlib.compress, data, 6)
        else:
            zlib.crc32(data)
    return time.perf_counter() - start, fetching


async def _zip(storage: Storage, ids: list[str]) -> tuple[float, int]:
    """Seconds, and bytes."""
    start = time.perf_counter()
    size = 0
    async for chunk in storage.zip(ids):
        size += len(chunk)
    return time.perf_counter() - start, size


async def _first_bytes(storage: Storage, ids: list[str]) -> float:
    start = time.perf_counter()
    stream = storage.zip(ids)
    await anext(stream)
    seconds = time.perf_counter() - start
    await stream.aclose()
    return seconds


async def _two_members(storage: Storage, ids: list[str]) -> float:
    start = time.perf_counter()
    for file_id in ids[:2]:
        await storage.read_bytes(file_id)
    return time.perf_counter() - start


async def _measure_zip(s3: str, trackers: list[str], root: Path) -> None:
    config = {
        "mounts": {
            "s3": _s3_mount(s3),
            "fastdfs": {"trackers": trackers},
            "file": {"root": str(root)},
        },
        "unprefixed": "fastdfs",
        "write_to": "fastdfs",
    }
    async with open_storage(config) as storage:
        ids: list[str] = []
        total = 0
        for number, (name, data) in enumerate(_contents()):
            total += len(data)
            if number % 3 == 0:
                info = await storage.upload(name, data)
            else:
                scheme = ("s3", "file")[number % 3 - 1]
                info = await storage.write(f"{scheme}:{BUCKET}/{number:04}-{name}", data)
            ids.append(info.file_id)
        print(f"{MEMBERS} members on S3, FastDFS and local files, {total / GIB:.2f} GiB")
        await _two_members(storage, ids)  # connections
        two, first = inf, inf
        for _ in range(20):  # in turn, so that a change of the machine's speed meets both
            two = min(two, await _two_members(storage, ids))
            first = min(first, await _first_bytes(storage, ids))
        serial, fetching = await _serial(storage, ids[: MEMBERS // 2])
        with _watched() as watch:
            seconds, size = await _zip(storage, ids)
        more, fetching_more = await _serial(storage, ids[MEMBERS // 2 :])
        serial += more
        mean = (fetching + fetching_more) / MEMBERS
        print(f"an archive of {size / MIB:.0f} MiB in {seconds:.1f} s; serially {serial:.1f} s")
        _goal("zip of 1 GiB: memory above the start", watch.growth_mib, "MiB", 100)
        _goal("zip of 1 GiB: first byte, against two members", first * 1000, "ms", 2000 * mean)
        _goal("  against the first two of them, which are small", first * 1000, "ms", two * 1000)
        _goal("zip of 1 GiB: the event loop's longest pause", max(watch.pauses_ms), "ms", 20)
        # On a busy machine the loop's thread also waits for its turn.
        _goal("zip of 1 GiB: the loop's longest work in one go", max(watch.work_ms), "ms", 20)
        over = sum(1 for pause in watch.pauses_ms if pause > 20)
        print(f"  pauses over 20 ms: {over} of {len(watch.pauses_ms)}")
        _goal("zip of 1 GiB: time, against serial download and compression", seconds, "s", serial)


# The stream


async def _chunks(size: int) -> AsyncIterator[bytes]:
    chunk = bytes(256 * 1024)
    for _ in range(size // len(chunk)):
        yield chunk


async def _measure_stream(endpoint: str) -> None:
    async with open_storage({"mounts": {"s3": _s3_mount(endpoint)}}) as storage:
        await storage.write(f"s3:{BUCKET}/warm", _chunks(32 * MIB))
        with _watched() as watch:
            start = time.perf_counter()
            info = await storage.write(f"s3:{BUCKET}/stream", _chunks(STREAM_BYTES))
            seconds = time.perf_counter() - start
        assert info.size == STREAM_BYTES
        print(f"4 GiB of unknown length: {STREAM_BYTES / seconds / 1e6:.0f} MB/s")
        _goal("async stream of 4 GiB: memory above the start", watch.growth_mib, "MiB", 64)


# The batch


def _delay(endpoint: str, latency_s: float, told: Connection) -> None:
    """A relay that brings answers `latency_s` later, until it is ended."""
    target = urlsplit(endpoint)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65_536):
            loop.call_later(latency_s / 2, writer.write, data)
        loop.call_later(latency_s, writer.close)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    async def serve() -> None:
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def _delayed(endpoint: str, latency_s: float) -> Generator[str]:
    """The same server, farther away."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_delay, args=(endpoint, latency_s, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()
        process.join()


def _contents_of(number: int) -> bytes:
    return number.to_bytes(4) * (FILE_BYTES // 4)


def _in_memory(count: int) -> Generator[NewFile]:
    for number in range(count):
        yield NewFile(f"{number}.bin", _contents_of(number))


def _on_disk(folder: Path, count: int) -> Generator[NewFile]:
    for number in range(count):
        yield NewFile(f"{number}.bin", folder / f"{number}.bin")


async def _measure_batches(endpoint: str, where: str, folder: Path) -> None:
    config = {"mounts": {"s3": _s3_mount(endpoint)}}
    async with open_storage(config) as storage:
        await _measure_batch(storage, f"bytes, {where}", _in_memory)
        await _measure_batch(storage, f"paths, {where}", partial(_on_disk, folder))


async def _measure_batch(
    storage: Storage, what: str, files: Callable[[int], Iterable[NewFile]]
) -> None:
    async def serially() -> None:
        for file in files(FILES // 10):
            await storage.upload(file.filename, file.content)

    async def batch(count: int) -> None:
        result = await storage.upload_many(files(count))
        assert not result.failed

    await batch(200)
    one, one_cpu = await _seconds(serially)
    many, many_cpu = await _seconds(partial(batch, FILES))
    one, one_cpu = one * 10, one_cpu * 10
    print(f"{FILES} files of 4 KiB, {what}: {FILES / many:.0f} a second, "
          f"in a loop {FILES / one:.0f}; CPU µs each "
          f"{many_cpu / FILES * 1e6:.0f}, in a loop {one_cpu / FILES * 1e6:.0f}")  # fmt: skip
    _goal(f"batch, {what}: times a loop", one / many, "", 5, least=True)


async def _seconds(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """By the clock, and of this process's processor time."""
    start, used = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - start, time.process_time() - used


def files() -> None:
    """Print each goal with its figure."""
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "files").mkdir()
        with S3Process(root / "s3", buckets=(BUCKET,)) as s3, FastdfsProcess() as fastdfs:
            asyncio.run(_measure_zip(s3.endpoint, list(fastdfs.trackers), root / "files"))
    with S3Process(discard=True, buckets=(BUCKET,)) as s3:
        asyncio.run(_measure_stream(s3.endpoint))
        _measure_distances(s3.endpoint)


def _measure_distances(endpoint: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            (folder / f"{number}.bin").write_bytes(_contents_of(number))
        asyncio.run(_measure_batches(endpoint, "on this machine", folder))
        for where, latency_s in DISTANCES_S.items():
            with _delayed(endpoint, latency_s) as delayed:
                asyncio.run(_measure_batches(delayed, where, folder))
