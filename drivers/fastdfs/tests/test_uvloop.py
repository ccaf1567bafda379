"""On uvloop, which uvicorn takes where it is installed. `nox -s uvloop` runs all tests on it."""

import asyncio
from pathlib import Path

import pytest

from polystow import NotFoundError, open_storage
from polystow_testing.fastdfs import FastdfsServer

pytest.importorskip("uvloop", reason="there is none for this system")

MIB = 1_048_576


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_files_come_and_go(host: str, tmp_path: Path) -> None:
    assert not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (12 * MIB // 256) + b"end")
    with FastdfsServer() as server:
        trackers = [tracker.replace("127.0.0.1", host) for tracker in server.trackers]
        config = {"mounts": {"fastdfs": {"trackers": trackers}}, "unprefixed": "fastdfs"}
        async with open_storage(config) as storage:
            small = await asyncio.gather(*(storage.upload("a.txt", b"%d" % n) for n in range(20)))
            found = await asyncio.gather(*(storage.read_bytes(info.file_id) for info in small))
            assert found == [b"%d" % n for n in range(20)]
            info = await storage.upload("large.bin", large)
            await storage.download(info.file_id, tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == large.read_bytes()
            async with storage.open_read(info.file_id) as body:
                assert b"".join([chunk async for chunk in body]) == large.read_bytes()
            await storage.delete(info.file_id)
            with pytest.raises(NotFoundError):
                await storage.stat(info.file_id)
