"""Scenarios on aiofdfs's own client, each in a process of its own, because some never return.

Run as `python aiofdfs_scenarios.py SCENARIO TRACKERS ARGUMENTS…`. It writes `begun` when the
client is about to act, and then what happened, as one line of JSON.
"""

import asyncio
import json
import logging
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiofdfs import Async_Fdfs_Client, FastDfsConf

logging.disable()


async def outcome_of(awaitable: Awaitable[Any]) -> str:
    try:
        await awaitable
    except BaseException as error:
        return type(error).__name__
    return "success"


async def download(client: Any, file_id: str) -> Any:
    """Defects 1 and 5: the test has put a fault into the server."""
    async with asyncio.timeout(0.5):
        return await outcome_of(client.download_to_buffer(file_id))


async def cancel_then_download(client: Any, file_id: str) -> Any:
    """Defect 2: the tracker answers the first call late."""
    try:
        async with asyncio.timeout(0.25):
            await client.upload_by_buffer(b"x")
    except TimeoutError:
        await asyncio.sleep(0.5)  # the answer arrives, for nobody
    return await outcome_of(client.download_to_buffer(file_id))


async def cancel_many(client: Any, file_id: str) -> Any:
    """Defect 3: how many of 200 cancellations were lost."""
    rng = random.Random(1)
    lost = 0
    for _ in range(200):
        task = asyncio.create_task(client.download_to_buffer(file_id))
        await asyncio.sleep(rng.random() * 0.002)
        if task.cancel():
            await asyncio.wait([task])
            lost += not task.cancelled()
    return lost


async def crowd(client: Any, file_id: str) -> Any:
    """Defect 4: how many of 15 tasks never end when the tracker closes 10 connections."""
    tasks = [asyncio.create_task(client.download_to_buffer(file_id)) for _ in range(15)]
    _, pending = await asyncio.wait(tasks, timeout=1.5)
    return len(pending)


async def ranges(client: Any, file_id: str) -> Any:
    """Defect 6."""
    parts = [part async for part in client.download_to_generator(file_id, 2, 3)]
    return [
        await outcome_of(client.download_to_buffer(file_id, 2, 3)),
        b"".join(parts).decode(),
    ]


async def appenders(client: Any, file_id: str) -> Any:
    """Defect 7: on an appender file."""
    return [
        await outcome_of(client.append_by_buffer(b"x", file_id)),
        await outcome_of(client.modify_by_buffer(b"x", file_id, 1)),
        await outcome_of(client.truncate_file(1, file_id)),
        await outcome_of(client.set_meta_data(file_id, {"a": "b"})),
        await outcome_of(client.upload_slave_by_buffer(b"x", file_id)),
        await outcome_of(client.list_one_group("group1")),
        await outcome_of(client.list_servers("group1")),
        await outcome_of(client.list_all_groups()),
    ]


async def two_uploads(client: Any, _: str) -> Any:
    """Defect 8."""
    return [await outcome_of(client.upload_by_buffer(b"x")) for _ in range(2)]


async def ipv6_width(client: Any, _: str) -> Any:
    """Defect 9."""
    return await outcome_of(client.upload_by_buffer(b"x"))


async def values(client: Any, file_id: str, missing: str) -> Any:
    """Defect 10: what comes back, and what becomes of what was given."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "A.JPG"
        path.write_bytes(b"hello")
        metadata = {"a": "b"}
        uploaded = await client.upload_by_filename(str(path), metadata)
    return {
        "crc32": (await client.query_file_info(file_id))["crc32"],
        "metadata of a missing file": await client.get_meta_data(missing),
        "size": uploaded["file_size"],
        "extension": Path(uploaded["file_id"]).suffix,
        "caller's dict": sorted(metadata),
    }


async def metadata_fails(client: Any, _: str) -> Any:
    """Defect 10: the test lets the metadata of an upload fail."""
    return await outcome_of(client.upload_by_buffer(b"x", meta_dict={"a": "b"}))


SCENARIOS: list[Callable[..., Awaitable[Any]]] = [
    download, cancel_then_download, cancel_many, crowd, ranges, appenders, two_uploads,
    ipv6_width, values, metadata_fails,
]  # fmt: skip


async def main(name: str, trackers: str, *arguments: str) -> None:
    client = Async_Fdfs_Client(FastDfsConf(trackers, connect_timeout=1, network_timeout=1))
    scenario = next(one for one in SCENARIOS if one.__name__ == name)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps(await scenario(client, *arguments)) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
