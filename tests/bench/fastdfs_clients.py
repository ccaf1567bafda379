"""One client of FastDFS doing one kind of work, alone in its process: what `fastdfs.py` measures.

Run as `python fastdfs_clients.py CLIENT WORK ARGUMENTS` with the arguments as JSON; it prints what
it measured as a line of JSON. CPU time is that of this whole process, its threads included.
"""

import asyncio
import contextlib
import json
import resource
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

DATA = bytes(range(256)) * 4


class Client(Protocol):
    """What each client has to do here."""

    async def upload(self, data: bytes) -> str: ...

    async def read(self, file_id: str) -> bytes: ...

    async def delete(self, file_id: str) -> None: ...

    async def upload_file(self, path: Path) -> str: ...

    async def download_file(self, file_id: str, path: Path) -> None: ...


class Polystow:
    """This project, as applications use it."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    async def upload(self, data: bytes) -> str:
        return str((await self.storage.upload("a.bin", data)).file_id)

    async def read(self, file_id: str) -> bytes:
        data: bytes = await self.storage.read_bytes(file_id)
        return data

    async def delete(self, file_id: str) -> None:
        await self.storage.delete(file_id)

    async def upload_file(self, path: Path) -> str:
        return str((await self.storage.upload("a.bin", path)).file_id)

    async def download_file(self, file_id: str, path: Path) -> None:
        await self.storage.download(file_id, path)


class Driver(Polystow):
    """The driver of this project alone, without `Storage` and the composite around it."""

    def __init__(self, storage: Any) -> None:
        super().__init__(storage)
        from polystow import BytesBody, DeleteOptions, NameHint, ReadOptions, WriteOptions
        from polystow_fastdfs import FastdfsDriver

        self._driver, _ = storage.native("fastdfs://", FastdfsDriver)
        self._body = BytesBody
        self._hint = NameHint("a.bin")
        self._write = WriteOptions()
        self._read = ReadOptions()
        self._delete = DeleteOptions()

    async def upload(self, data: bytes) -> str:
        return str((await self._driver.write(self._hint, self._body(data), self._write)).path)

    async def read(self, file_id: str) -> bytes:
        stream = await self._driver.open_read(file_id, self._read)
        data: bytes = await stream.receive(1_048_576)
        await stream.aclose()
        return data

    async def delete(self, file_id: str) -> None:
        await self._driver.delete(file_id, self._delete)


class Aiofdfs:
    """aiofdfs's own client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def upload(self, data: bytes) -> str:
        return str((await self._client.upload_by_buffer(data, "bin"))["file_id"])

    async def read(self, file_id: str) -> bytes:
        data: bytes = (await self._client.download_to_buffer(file_id))["content"]
        return data

    async def delete(self, file_id: str) -> None:
        await self._client.delete_file(file_id)

    async def upload_file(self, path: Path) -> str:
        return str((await self._client.upload_by_filename(str(path)))["file_id"])

    async def download_file(self, file_id: str, path: Path) -> None:
        await self._client.download_to_file(str(path), file_id)


@asynccontextmanager
async def open_polystow(trackers: list[str], options: dict[str, Any]) -> AsyncGenerator[Client]:
    from polystow import open_storage

    mount = {
        "trackers": trackers,
        # The peers keep no name either.
        "keep_filename": False,
        "max_connections_per_server": 32,
        **options,
    }
    async with open_storage({"mounts": {"fastdfs": mount}}) as storage:
        yield Polystow(storage)


@asynccontextmanager
async def open_driver(trackers: list[str], options: dict[str, Any]) -> AsyncGenerator[Client]:
    async with open_polystow(trackers, options) as client:
        assert isinstance(client, Polystow)
        yield Driver(client.storage)


@asynccontextmanager
async def open_aiofdfs(trackers: list[str], _: dict[str, Any]) -> AsyncGenerator[Client]:
    import logging

    from aiofdfs import Async_Fdfs_Client, FastDfsConf

    logging.disable()
    yield Aiofdfs(Async_Fdfs_Client(FastDfsConf(",".join(trackers), 5, 30)))


CLIENTS: dict[str, Callable[[list[str], dict[str, Any]], AbstractAsyncContextManager[Client]]] = {
    "polystow": open_polystow,
    "the driver alone": open_driver,
    "aiofdfs": open_aiofdfs,
}


@contextlib.contextmanager
def measured(found: dict[str, float]) -> Generator[None]:
    """Note time, CPU time and added memory of what is done inside."""
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    found["seconds"] = time.perf_counter() - wall
    found["cpu_s"] = time.process_time() - cpu
    found["added_mb"] = max(0.0, _memory("VmHWM") - before) / 1e6


def _memory(field: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return float(line.split()[1]) * 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


# 1 KiB up, down and away


async def small(client: Client, arguments: dict[str, Any]) -> dict[str, float]:
    """Upload, download and delete 1 KiB, in so many tasks for so long."""
    operations = 0

    async def work(until: float) -> None:
        nonlocal operations
        while time.perf_counter() < until:
            file_id = await client.upload(DATA)
            if await client.read(file_id) != DATA:
                raise AssertionError(file_id)
            await client.delete(file_id)
            operations += 3

    async def run(seconds: float) -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(work(until) for _ in range(arguments["tasks"])))

    await run(arguments["seconds"] / 5)
    operations = 0
    found: dict[str, float] = {}
    with measured(found):
        await run(arguments["seconds"])
    return found | {"operations": operations}


def small_in_threads(arguments: dict[str, Any]) -> dict[str, float]:
    """As `small`, by fastdfs-client, which blocks: in as many threads as others have tasks."""
    trackers: list[str] = arguments["trackers"]
    counts = [0] * arguments["tasks"]

    def work(number: int, until: float) -> None:
        client = _fastdfs_client(trackers)
        while time.perf_counter() < until:
            file_id = client.upload_by_buffer(DATA, "bin")["Remote file_id"]
            if isinstance(file_id, bytes):
                file_id = file_id.decode()
            if client.download_to_buffer(file_id)["Content"] != DATA:
                raise AssertionError(file_id)
            client.delete_file(file_id)
            counts[number] += 3

    def run(seconds: float) -> None:
        until = time.perf_counter() + seconds
        threads = [threading.Thread(target=work, args=(n, until)) for n in range(len(counts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run(arguments["seconds"] / 5)
    counts[:] = [0] * len(counts)
    found: dict[str, float] = {}
    with measured(found):
        run(arguments["seconds"])
    return found | {"operations": sum(counts)}


# Latency of reads, before and while a storage server is frozen


async def reads(client: Client, arguments: dict[str, Any]) -> dict[str, float]:
    """Read files in some tasks, once, and again after a line came from stdin."""
    ids = [await client.upload(DATA) for _ in range(arguments["files"])]
    await asyncio.sleep(arguments["settle_s"])

    async def one_phase() -> list[float]:
        latencies: list[float] = []

        async def work(number: int) -> None:
            for turn in range(arguments["reads"]):
                start = time.perf_counter()
                if await client.read(ids[(number + turn) % len(ids)]) != DATA:
                    raise AssertionError
                latencies.append(time.perf_counter() - start)

        await asyncio.gather(*(work(number) for number in range(arguments["tasks"])))
        return sorted(latencies)

    await one_phase()
    healthy = await one_phase()
    print("healthy", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    frozen = await one_phase()
    print("measured", flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # the server is well again
    for file_id in ids:
        await client.delete(file_id)
    return {
        f"{name}_p{share}_s": latencies[len(latencies) * share // 100]
        for name, latencies in (("healthy", healthy), ("frozen", frozen))
        for share in (50, 99)
    } | {"healthy_max_s": healthy[-1], "frozen_max_s": frozen[-1]}


# Large files: each transfer several times, of which the one with the least CPU time counts. The
# first ones meet memory that a virtual machine has never touched, which can cost the most.

REPEATS = 4


class Least:
    """Repeats a measurement, and keeps the one that took the least CPU time."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def __iter__(self) -> Iterator[contextlib.AbstractContextManager[None]]:
        for _ in range(REPEATS):
            one: dict[str, float] = {}
            yield measured(one)
            if one["cpu_s"] <= self.found.get("cpu_s", one["cpu_s"]):
                self.found = one | {"operations": 1}


async def download(client: Client, arguments: dict[str, Any]) -> dict[str, float]:
    """Download a large file to a file."""
    least = Least()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "large"
        for measurement in least:
            with measurement:
                await client.download_file(arguments["file_id"], path)
            if path.stat().st_size != arguments["size"]:
                raise AssertionError
            path.unlink()
    return least.found


async def upload(client: Client, arguments: dict[str, Any]) -> dict[str, float]:
    """Upload a large file from a file."""
    least = Least()
    for measurement in least:
        with measurement:
            file_id = await client.upload_file(Path(arguments["path"]))
        await client.delete(file_id)
    return least.found


def large_in_thread(arguments: dict[str, Any], work: str) -> dict[str, float]:
    """As `download` and `upload`, by fastdfs-client."""
    client = _fastdfs_client(arguments["trackers"])
    least = Least()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "large"
        for measurement in least:
            if work == "upload":
                with measurement:
                    file_id = client.upload_by_filename(arguments["path"])["Remote file_id"]
                client.delete_file(file_id if isinstance(file_id, str) else file_id.decode())
            else:
                with measurement:
                    client.download_to_file(str(path), arguments["file_id"])
                path.unlink()
    return least.found


def _fastdfs_client(trackers: list[str]) -> Any:
    module: Any = import_module("fastdfs_client")  # which has no complete types
    hosts = tuple(tracker.rpartition(":")[0] for tracker in trackers)
    port = int(trackers[0].rpartition(":")[2])
    config = {"host_tuple": hosts, "port": port, "timeout": 30, "name": "Tracker Pool"}
    return module.FastdfsClient(config)


async def put(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Upload the file that others download."""
    return {"file_id": await client.upload_file(Path(arguments["path"]))}


async def remove(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Delete it."""
    await client.delete(arguments["file_id"])
    return {}


WORKS: dict[str, Callable[[Client, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
    "small": small, "reads": reads, "download": download, "upload": upload, "put": put,
    "remove": remove,
}  # fmt: skip


async def _run(name: str, work: str, arguments: dict[str, Any]) -> dict[str, Any]:
    async with CLIENTS[name](arguments["trackers"], arguments.get("options", {})) as client:
        return await WORKS[work](client, arguments)


def main(name: str, work: str, text: str) -> None:
    """Measure, and print what was found."""
    arguments: dict[str, Any] = json.loads(text)
    if name == "fastdfs-client":
        if work == "small":
            found: dict[str, Any] = small_in_threads(arguments)
        else:
            found = large_in_thread(arguments, work)
    else:
        found = asyncio.run(_run(name, work, arguments))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
