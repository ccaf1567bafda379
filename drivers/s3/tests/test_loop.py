"""Transfers leave the event loop to others: none of its steps takes long.

CPU time of the loop's thread is measured, since the wall clock would blame a busy machine.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polystow import Storage, open_storage
from polystow_testing.s3 import S3Process

MIB = 1024**2
SIZE = 16 * MIB
LONGEST_S = 0.01

type Transfer = Callable[[Storage, Path], Awaitable[Any]]


async def pieces() -> AsyncIterator[bytes]:
    for number in range(SIZE // MIB):
        yield number.to_bytes() * MIB


async def read_through(storage: Storage, _: Path) -> None:
    async with storage.open_read("s3:bucket/there") as stream:
        async for _chunk in stream:
            pass


TRANSFERS: dict[str, Transfer] = {
    "bytes_up": lambda storage, _: storage.write("s3:bucket/up", bytes(SIZE)),
    "file_up": lambda storage, folder: storage.write("s3:bucket/up", folder / "file"),
    "stream_up": lambda storage, _: storage.write("s3:bucket/up", pieces()),
    "file_down": lambda storage, folder: storage.download("s3:bucket/there", folder / "copy"),
    "bytes_down": lambda storage, _: storage.read_bytes("s3:bucket/there"),
    "stream_down": read_through,
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with S3Process(buckets=("bucket",)) as server:
        yield server.endpoint


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The longest step so far, in seconds, without garbage collection."""
    seen = [0.0]
    collected = 0.0
    began = 0.0

    def on_gc(phase: str, _: object) -> None:
        nonlocal began, collected
        if phase == "start":
            began = time.thread_time()
        else:
            collected += time.thread_time() - began

    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal collected
        collected = 0.0
        start = time.thread_time()
        run(handle)
        seen[0] = max(seen[0], time.thread_time() - start - collected)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    gc.callbacks.append(on_gc)
    yield seen
    gc.callbacks.remove(on_gc)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("signed", [True, False], ids=["signed_and_hashed", "unseen"])
async def test_no_step_of_a_transfer_holds_the_loop(
    endpoint: str, longest: list[float], tmp_path: Path, transfer: str, signed: bool
) -> None:
    (tmp_path / "file").write_bytes(bytes(SIZE))
    options = {
        "endpoint": endpoint, "region": "us-east-1",
        "access_key_id": "key", "secret_access_key": "secret",
        "payload_signing": "always" if signed else "never",
        "checksums": "when_supported" if signed else "off",
    }  # fmt: skip
    async with open_storage({"mounts": {"s3": options}}) as storage:
        await storage.write("s3:bucket/there", bytes(SIZE))
        # What takes long by itself does so each time; a busy machine does not.
        found: list[float] = []
        for _ in range(25):
            await asyncio.sleep(0)  # a new step
            longest[0] = 0.0
            await TRANSFERS[transfer](storage, tmp_path)
            await asyncio.sleep(0)
            found.append(longest[0])
            if longest[0] <= LONGEST_S:
                return
    pytest.fail(f"steps of {', '.join(f'{seconds * 1000:.1f}' for seconds in found)} ms")
