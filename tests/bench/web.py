"""An application with `polystow-fastapi` on uvicorn: rate, memory, and what others wait for."""

import asyncio
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from polystow import open_storage
from polystow_testing.s3 import S3Process

GIB = 1 << 30
UPLOADS = 64
UPLOAD_BYTES = 16_000_000
KEY = "s3:bench/large.bin"
HERE = str(Path(__file__).parent)


@contextmanager
def uvicorn(*application: str, **environ: str) -> Generator[tuple[int, int]]:
    """Port and process id of a uvicorn that serves an application."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "uvicorn", "--port", "0", "--ws", "none", "--no-access-log",
         *application],
        env={**os.environ, **environ},
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise RuntimeError("the application did not start")
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.wait(20)


def memory_mib(pid: int, what: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {what}")


def download(port: int, target: str = f"/{KEY}") -> tuple[float, int]:
    """Seconds and bytes of the body, read by the cheapest client there is."""
    buffer = bytearray(1 << 20)
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=300) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 "), head[:200]
        received = len(head.partition(b"\r\n\r\n")[2])
        while count := client.recv_into(buffer):
            received += count
    return time.perf_counter() - start, received


async def driver_alone(endpoint: str) -> float:
    """Seconds that the same object takes without an application between."""
    config = {"endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret"}
    async with open_storage({"mounts": {"s3": config}}) as storage:
        start = time.perf_counter()
        async with storage.open_read(KEY) as stream:
            async for _ in stream:
                pass
        return time.perf_counter() - start


async def fill(endpoint: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        chunk = bytes(1 << 20)
        for _ in range(GIB >> 20):
            yield chunk

    config = {"endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret"}
    async with open_storage({"mounts": {"s3": config}}) as storage:
        await storage.write(KEY, content(), size=GIB)


async def _upload(port: int, target: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % (target.encode(), UPLOAD_BYTES)
    )
    chunk = bytes(250_000)
    for _ in range(UPLOAD_BYTES // len(chunk)):
        writer.write(chunk)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 20"), answer[:200]


def _ping(port: int, target: str, stop: Event, told: Connection) -> None:
    waits: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        told.send(waits)  # it is connected
        while not stop.is_set():
            start = time.perf_counter()
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            _receive(client)
            waits.append(time.perf_counter() - start)
            stop.wait(0.01)
    told.send(waits)


def _receive(client: socket.socket) -> None:
    """A whole answer: head and body may come one after the other."""
    answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    assert found is not None
    while len(body) < int(found[1]):
        body += client.recv(4096)


def upload_all(port: int, target: str, ping: str) -> tuple[float, list[float]]:
    """Seconds that all uploads at once take, and how long other requests wait meanwhile."""
    # A process of its own: what it waits for is the server, not the uploads' interpreter.
    processes = multiprocessing.get_context("spawn")
    stop, (waits, told) = processes.Event(), processes.Pipe(duplex=False)
    pinging = processes.Process(target=_ping, args=(port, ping, stop, told))
    pinging.start()
    waits.recv()

    async def upload() -> None:
        await asyncio.gather(*(_upload(port, target) for _ in range(UPLOADS)))

    start = time.perf_counter()
    try:
        asyncio.run(upload())
        seconds = time.perf_counter() - start
    finally:
        stop.set()
        measured: list[float] = waits.recv()
        pinging.join()
    return seconds, sorted(measured)


def goal(name: str, figure: float, unit: str, bound: float, *, least: bool = False) -> None:
    reached = figure >= bound if least else figure <= bound
    sign = "≥" if least else "≤"
    word = "reached" if reached else "missed"
    print(f"{name:<58}{figure:>10.2f} {unit:<5}{sign} {bound:<8g}{word}")


def web() -> None:
    """Print each goal with its figure."""
    with S3Process(buckets=("bench",)) as s3:
        asyncio.run(fill(s3.endpoint))
        with uvicorn("--app-dir", HERE, "web_app:app", S3_ENDPOINT=s3.endpoint) as (port, pid):
            ping_once(port)
            idle = memory_mib(pid, "VmRSS")
            alone = min(asyncio.run(driver_alone(s3.endpoint)) for _ in range(2))
            seconds, received = min(download(port) for _ in range(2))
            assert received == GIB
            peak = memory_mib(pid, "VmHWM")
            print(f"1 GiB: driver alone {GIB / alone / 1e6:.0f} MB/s, "
                  f"through uvicorn {GIB / seconds / 1e6:.0f} MB/s")  # fmt: skip
            goal("download of 1 GiB, rate over the driver's own", alone / seconds, "", 0.5,
                  least=True)  # fmt: skip
            goal("download of 1 GiB, memory above idle", peak - idle, "MiB", 100)
        with uvicorn("--app-dir", HERE, "web_app:app", S3_ENDPOINT=s3.endpoint) as (port, pid):
            ping_once(port)
            idle = memory_mib(pid, "VmRSS")
            seconds, waits = upload_all(port, "PUT /upload", "/ping")
            print(f"{UPLOADS} uploads of 16 MB at once: {UPLOADS * 16 / seconds:.0f} MB/s, "
                  f"memory {memory_mib(pid, 'VmHWM') - idle:.0f} MiB above idle, "
                  f"{len(waits)} other requests")  # fmt: skip
            goal("other requests meanwhile, p99", waits[int(len(waits) * 0.99)] * 1000, "ms", 100)


def ping_once(port: int, target: str = "/ping") -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(4096)


if __name__ == "__main__":
    web()
