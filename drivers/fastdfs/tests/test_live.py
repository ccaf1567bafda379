"""The main paths on a real FastDFS cluster: `POLYSTOW_FASTDFS_TRACKERS=host:port,…`."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import pytest

from polystow import (
    ByteRange,
    InvalidPathError,
    NotFoundError,
    RangeNotSatisfiableError,
    RequestPolicyConfig,
    TruncatedBodyError,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

TRACKERS = [text for text in os.environ.get("POLYSTOW_FASTDFS_TRACKERS", "").split(",") if text]
DATA = random.Random(1).randbytes(5_000_000)

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not TRACKERS, reason="POLYSTOW_FASTDFS_TRACKERS is not set"),
]


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture
async def live(make_client: MakeClient) -> AsyncIterator[Client]:
    async with make_client(trackers=tuple(TRACKERS), append_size_bytes=1_000_000) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 1024, 70_000, 5_000_000])
async def test_life_of_a_file(live: Client, size: int) -> None:
    data = DATA[:size]
    info = await live.upload(data, "Bericht.PDF", metadata={"a": "ä", "b": ""})
    assert info.path.endswith(".PDF")
    assert await live.read(info.path) == data
    stat = await live.stat(info.path)
    assert (stat.size, stat.filename, stat.metadata) == (size, "Bericht.PDF", {"a": "ä", "b": ""})
    assert stat.checksum == info.checksum
    assert stat.created == info.created == stat.modified
    assert stat.extra == info.extra
    await live.set_metadata(info.path, {"b": "2", "c": "3"}, "merge")
    assert (await live.stat(info.path)).metadata == {"a": "ä", "b": "2", "c": "3"}
    await live.set_metadata(info.path, {}, "replace")
    stat = await live.stat(info.path)
    assert (stat.metadata, stat.filename) == ({}, "Bericht.PDF")
    await live.delete(info.path, missing_ok=False)
    await live.delete(info.path)
    for operation in (live.stat, live.read):
        with pytest.raises(NotFoundError):
            await operation(info.path)
    with pytest.raises(NotFoundError):
        await live.delete(info.path, missing_ok=False)


@pytest.mark.parametrize("declared", [True, False])
async def test_streams(live: Client, *, declared: bool) -> None:
    info = await live.upload(chunked(DATA), "a.bin", size=len(DATA) if declared else None)
    assert live.extra(info).appender is not declared
    assert await live.read(info.path) == DATA
    stat = await live.stat(info.path)
    assert (stat.size, live.extra(stat).crc32) == (len(DATA), zlib.crc32(DATA))
    for byte_range, expected in (
        (ByteRange(1000, 1999), DATA[1000:2000]),
        (ByteRange(4_999_999), DATA[-1:]),
        (ByteRange(4_999_990, 6_000_000), DATA[-10:]),
        (ByteRange.suffix(7), DATA[-7:]),
    ):
        assert await live.read(info.path, byte_range) == expected
    with pytest.raises(RangeNotSatisfiableError):
        await live.read(info.path, ByteRange(5_000_000))
    await live.delete(info.path)


async def test_refusals_leave_the_next_operation_right(live: Client) -> None:
    with pytest.raises(NotFoundError, match="no group"):
        await live.upload(b"x", group="nope")
    with pytest.raises(TruncatedBodyError):
        await live.upload(chunked(DATA), size=len(DATA) + 1)
    missing = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY999.JPG"
    for _ in range(3):
        with pytest.raises(NotFoundError):
            await live.stat(missing)
    with pytest.raises((InvalidPathError, NotFoundError)):
        await live.stat(missing.replace("M00", "M77"))
    await live.driver.check("")


async def test_many_at_once_and_cancelled(live: Client) -> None:
    info = await live.upload(DATA[:100_000])

    async def read() -> None:
        assert await live.read(info.path) == DATA[:100_000]

    for limit in (0.001, 0.003, 0.01, 10):
        with anyio.move_on_after(limit):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(read)
    await live.delete(info.path, missing_ok=False)


async def test_upload_cancelled_at_any_moment_leaves_nothing(make_client: MakeClient) -> None:
    policy = RequestPolicyConfig(attempts=1)
    async with make_client(policy, trackers=tuple(TRACKERS)) as client:
        for step in range(30):
            with anyio.move_on_after(step * 0.0002):
                info = await client.upload(DATA[:300_000])
                with anyio.CancelScope(shield=True):
                    await client.delete(info.path, missing_ok=False)
        assert client.connections() == client.idle_connections()
