"""The defects of aiofdfs's client: that it has them, and that this driver has none.

The numbers are those of the project's protocol reference. In each pair, the second test fails on
the day that aiofdfs is mended, and then can go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from polystow import ByteRange, BytesBody, NotFoundError, StorageError
from polystow_testing.fastdfs import (
    AnswerStatus,
    CloseConnection,
    Command,
    DelayReply,
    FastdfsServer,
    Fault,
    SplitReply,
    Stall,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

SCRIPT = Path(__file__).with_name("aiofdfs_scenarios.py")
MISSING = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
HANGS = "hangs"
DATA = b"0123456789" * 20_000
NEGATIVE_CRC = b"hel"


class Aiofdfs:
    """A scenario that runs with aiofdfs's client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def result(self, timeout_s: float = 5.0) -> Any:
        """What it tells; `HANGS` if it tells nothing in time, though its own limit is shorter."""
        assert self._process.stdout is not None
        with anyio.move_on_after(timeout_s):
            return json.loads(await self._process.stdout.readline())
        return HANGS


@contextlib.asynccontextmanager
async def aiofdfs(scenario: str, server: FastdfsServer, *arguments: str) -> AsyncGenerator[Aiofdfs]:
    """Run a scenario in a process, up to where the client begins; kill it in the end."""
    command = [sys.executable, str(SCRIPT), scenario, ",".join(server.trackers), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begun\n"
        yield Aiofdfs(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


# 1: the server closes in the middle of a body


async def test_1_server_that_closes_in_mid_body(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=CloseConnection(1000)))
    with anyio.fail_after(2):
        assert await client.read(path) == DATA


async def test_1_freezes_aiofdfs_beyond_its_own_timeout(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=CloseConnection(1000)))
    async with aiofdfs("download", fastdfs_server, path) as run:
        assert await run.result(1.5) == HANGS


# 2: a cancelled call to a tracker


async def test_2_late_answer_of_a_cancelled_call_reaches_nobody(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.QUERY_STORE, action=DelayReply(0.1)))
    with anyio.move_on_after(0.05):
        await client.upload(b"x")
    await anyio.sleep(0.1)
    assert await client.read(path) == DATA


async def test_2_late_answer_confuses_the_next_call_of_aiofdfs(
    fastdfs_server: FastdfsServer,
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.QUERY_STORE, action=DelayReply(0.5)))
    async with aiofdfs("cancel_then_download", fastdfs_server, path) as run:
        assert await run.result() == "ResponseError"


# 3: cancellation


async def test_3_no_cancellation_is_swallowed(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    rng = random.Random(1)
    for _ in range(200):
        task = asyncio.create_task(client.read(path))
        await asyncio.sleep(rng.random() * 0.002)
        if task.cancel():
            await asyncio.wait([task])
            assert task.cancelled()


async def test_3_aiofdfs_swallows_cancellations(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(DATA)
    async with aiofdfs("cancel_many", fastdfs_server, path) as run:
        assert await run.result(10) > 0


# 4: waiting for a connection of a tracker that goes away


def close_tracker_when_10_wait(server: FastdfsServer) -> None:
    server.wait_until(
        lambda stats: sum(s.requests.get(Command.QUERY_FETCH, 0) for s in stats) >= 10
    )
    server.close_connections(server.trackers[0])


async def test_4_all_who_wait_for_a_connection_get_one(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.QUERY_FETCH, action=Stall(), times=10))
    async with make_client(max_connections_per_server=10) as client:
        tasks = [asyncio.create_task(client.read(path)) for _ in range(15)]
        await anyio.to_thread.run_sync(close_tracker_when_10_wait, fastdfs_server)
        with anyio.fail_after(2):
            assert await asyncio.gather(*tasks) == [DATA] * 15


async def test_4_some_who_wait_get_stuck_in_aiofdfs(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.QUERY_FETCH, action=Stall(), times=10))
    async with aiofdfs("crowd", fastdfs_server, path) as run:
        await anyio.to_thread.run_sync(close_tracker_when_10_wait, fastdfs_server)
        assert await run.result() > 0


# 5: a header in two packets


async def test_5_split_header(client: Client, fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(DATA)
    split = SplitReply(6, delay_s=0.01)
    fastdfs_server.faults.add(Fault(Command.QUERY_FETCH, action=split, times=None))
    assert await client.read(path) == DATA


async def test_5_split_header_breaks_aiofdfs(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(DATA)
    split = SplitReply(6, delay_s=0.01)
    fastdfs_server.faults.add(Fault(Command.QUERY_FETCH, action=split, times=None))
    async with aiofdfs("download", fastdfs_server, path) as run:
        assert await run.result() == "error"


# 6: ranges


async def test_6_range(client: Client, fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(b"0123456789")
    assert await client.read(path, ByteRange(2, 4)) == b"234"


async def test_6_ranges_of_aiofdfs(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(b"0123456789")
    async with aiofdfs("ranges", fastdfs_server, path) as run:
        assert await run.result() == ["UnboundLocalError", "0123456789"]


# 7: appender and slave files, metadata, groups and storage servers


async def test_7_appender_and_slave_files_metadata_and_figures(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    driver = client.driver
    path = fastdfs_server.put(b"0123", appender=True, ext="txt")
    await driver.append(path, BytesBody(b"4"))
    await driver.modify(path, 1, BytesBody(b"x"))
    await driver.truncate(path, 3)
    await client.set_metadata(path, {"a": "b"}, "replace")
    assert fastdfs_server.get(path) == b"0x2"
    assert (await client.stat(path)).metadata == {"a": "b"}
    assert (await driver.upload_slave(path, "_s", b"x")).size == 1
    (group,) = await driver.list_groups()
    assert await driver.group_info("group1") == group
    assert len(await driver.list_storages("group1")) == group.storage_count


async def test_7_none_of_these_works_in_aiofdfs(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(b"0123", appender=True, ext="txt")
    async with aiofdfs("appenders", fastdfs_server, path) as run:
        outcomes = await run.result()
    assert len(outcomes) == 8
    assert "success" not in outcomes
    assert fastdfs_server.get(path) == b"0123"


# 8: connections to storage servers


async def test_8_connections_to_storage_servers_are_kept(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    for _ in range(5):
        await client.upload(b"x")
    assert fastdfs_server.opened_connections(on="storage") == 1


async def test_8_aiofdfs_connects_for_each_upload(fastdfs_server: FastdfsServer) -> None:
    async with aiofdfs("two_uploads", fastdfs_server, "") as run:
        assert await run.result() == ["success", "success"]
    assert fastdfs_server.opened_connections(on="storage") == 2


# 9: addresses at IPv6 width


async def test_9_ipv6_width(make_client: MakeClient) -> None:
    with FastdfsServer(ipv6_size_replies=True) as server:
        async with make_client(server=server) as client:
            assert await client.read((await client.upload(b"x")).path) == b"x"


async def test_9_ipv6_width_is_refused_by_aiofdfs() -> None:
    with FastdfsServer(ipv6_size_replies=True) as server:
        async with aiofdfs("ipv6_width", server, "") as run:
            assert await run.result() == "ResponseError"


# 10: values


async def test_10_values(client: Client, fastdfs_server: FastdfsServer) -> None:
    metadata = {"a": "b"}
    info = await client.upload(NEGATIVE_CRC, "A.JPG", metadata=metadata)
    stat = await client.stat(info.path)
    crc32 = zlib.crc32(NEGATIVE_CRC)
    assert crc32 > 0x7FFFFFFF
    assert (stat.size, client.extra(stat).crc32) == (3, crc32)
    assert info.path.endswith(".JPG")
    assert metadata == {"a": "b"}
    with pytest.raises(NotFoundError):
        await client.stat(MISSING)


async def test_10_values_of_aiofdfs(fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(NEGATIVE_CRC)
    async with aiofdfs("values", fastdfs_server, path, MISSING) as run:
        assert await run.result() == {
            "crc32": 2**64 - 2**32 + zlib.crc32(NEGATIVE_CRC),
            "metadata of a missing file": {},
            "size": "5B",
            "extension": "",
            "caller's dict": ["OriginFileExtName", "OriginFileName", "OriginFileSize", "a"],
        }


async def test_10_upload_whose_metadata_fails_leaves_nothing(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=AnswerStatus(28)))
    with pytest.raises(StorageError):
        await client.upload(b"x", metadata={"a": "b"})
    assert fastdfs_server.files() == []


async def test_10_upload_whose_metadata_fails_leaves_an_orphan_in_aiofdfs(
    fastdfs_server: FastdfsServer,
) -> None:
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=AnswerStatus(28)))
    async with aiofdfs("metadata_fails", fastdfs_server, "") as run:
        assert await run.result() != "success"
    assert len(fastdfs_server.files()) == 1


# 11: a storage server that is down, and the tracker does not know it


async def test_11_another_storage_server_takes_the_upload(make_client: MakeClient) -> None:
    with FastdfsServer({"group1": 2}) as server:
        server.stop_node(server.storages()[0], noticed=False)
        async with make_client(server=server) as client:
            for _ in range(4):
                path = (await client.upload(DATA)).path
                assert await client.read(path) == DATA


async def test_11_every_other_upload_fails_in_aiofdfs() -> None:
    with FastdfsServer({"group1": 2}) as server:
        server.stop_node(server.storages()[0], noticed=False)
        async with aiofdfs("two_uploads", server, "") as run:
            assert sorted(await run.result()) == ["AsyncConnectionError", "success"]
