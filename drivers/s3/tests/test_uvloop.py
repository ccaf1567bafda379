"""On uvloop, which uvicorn takes where it is installed. `nox -s uvloop` runs all tests on it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from polystow import NotFoundError, open_storage
from polystow_testing.s3 import DiskS3Server, loopback_tls

pytest.importorskip("uvloop", reason="there is none for this system")

MIB = 1_048_576
KEYS = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


async def round_trip(options: dict[str, Any], folder: Path) -> None:
    assert not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    large = folder / "large"
    large.write_bytes(bytes(range(256)) * (12 * MIB // 256) + b"end")
    options = {**KEYS, "part_size_bytes": 5 * MIB, "multipart_threshold_bytes": 5 * MIB, **options}
    async with open_storage({"mounts": {"s3": options}}) as storage:
        names = [f"s3:bucket/{number}" for number in range(20)]
        await asyncio.gather(*(storage.write(name, name) for name in names))
        assert await asyncio.gather(*map(storage.read_bytes, names)) == [
            name.encode() for name in names
        ]
        await storage.write("s3:bucket/large", large)
        await storage.download("s3:bucket/large", folder / "copy")
        assert (folder / "copy").read_bytes() == large.read_bytes()
        async with storage.open_read("s3:bucket/large") as body:
            assert b"".join([chunk async for chunk in body]) == large.read_bytes()
        assert len([info async for info in storage.list("s3:bucket/")]) == 21
        await storage.delete("s3:bucket/large")
        with pytest.raises(NotFoundError):
            await storage.stat("s3:bucket/large")


@pytest.mark.parametrize("lane", ["fast", "sdk"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_objects_come_and_go(
    disk: DiskS3Server, lane: str, host: str, tmp_path: Path
) -> None:
    endpoint = disk.endpoint.replace("127.0.0.1", host)
    await round_trip({"endpoint": endpoint, "lane": lane}, tmp_path)


async def test_objects_come_and_go_over_tls(tmp_path: Path) -> None:
    tls, ca_file = loopback_tls(tmp_path)
    with DiskS3Server(buckets=("bucket",), tls=tls) as server:
        await round_trip({"endpoint": server.endpoint, "ca_file": str(ca_file)}, tmp_path)
