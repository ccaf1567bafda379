"""The driver as applications have it: behind `open_storage`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polystow import ByteRange, ConfigError, NotFoundError, UnsupportedOperationError, open_storage
from polystow_fastdfs import InfoExtra
from polystow_testing.fastdfs import Command, FastdfsServer

MISSING = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"


@pytest.fixture
def config(fastdfs_server: FastdfsServer) -> dict[str, Any]:
    mount = {"trackers": fastdfs_server.trackers}
    return {"mounts": {"fastdfs": mount}, "unprefixed": "fastdfs", "write_to": "fastdfs"}


async def test_life_of_a_file(config: dict[str, Any], tmp_path: Path) -> None:
    async with open_storage(config) as storage:
        info = await storage.upload("report.pdf", b"hello", metadata={"author": "john"})
        assert info.uri.startswith("fastdfs://group1/M00/")
        assert isinstance(info.extra, InfoExtra)
        assert await storage.read_bytes(info.file_id) == b"hello"
        async with storage.open_read(info.uri, range=ByteRange(1, 2)) as body:
            assert [chunk async for chunk in body] == [b"el"]
        stat = await storage.stat(info.file_id)
        assert (stat.filename, stat.metadata) == ("report.pdf", {"author": "john"})
        await storage.download(info.uri, tmp_path / "copy.pdf")
        assert (tmp_path / "copy.pdf").read_bytes() == b"hello"
        await storage.delete(info.uri)
        assert not await storage.exists(info.uri)
        with pytest.raises(NotFoundError) as caught:
            await storage.read_bytes(info.uri)
        assert caught.value.uri == info.uri


async def test_large_file_is_downloaded_in_ranges_side_by_side(
    config: dict[str, Any], fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 8192
    async with open_storage(config) as storage:
        info = await storage.upload("a.bin", data)
        saved = await storage.download(
            info.uri, tmp_path / "a.bin", concurrency=4, part_size_bytes=200_000
        )
        assert (tmp_path / "a.bin").read_bytes() == data
        assert saved.checksum == info.checksum
    assert fastdfs_server.request_count(Command.DOWNLOAD) > 1


async def test_url(fastdfs_server: FastdfsServer) -> None:
    (tracker,) = fastdfs_server.trackers
    async with open_storage(f"fastdfs://{tracker}/group1?keep_filename=false") as storage:
        info = await storage.upload("a.txt", b"x")
        assert (await storage.stat(info.uri)).filename is None


async def test_url_with_several_trackers() -> None:
    with FastdfsServer(tracker_count=2) as server:
        server.stop_node(server.trackers[0])
        async with open_storage(f"fastdfs://{','.join(server.trackers)}/group1") as storage:
            assert (await storage.upload("a.txt", b"x")).size == 1


@pytest.mark.parametrize("trackers", ["10.0.0.1:x", "10.0.0.1:1,10.0.0.2:x", "10.0.0.1:99999"])
async def test_url_with_a_bad_port_is_refused(trackers: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        async with open_storage(f"fastdfs://{trackers}/group1"):
            pass


async def test_what_it_can_not_do_is_told_before_any_request(
    config: dict[str, Any], fastdfs_server: FastdfsServer
) -> None:
    async with open_storage(config) as storage:
        with pytest.raises(UnsupportedOperationError):
            await storage.write("fastdfs://group1/a.txt", b"x")
        with pytest.raises(UnsupportedOperationError):
            storage.require("presign")
        with pytest.raises(UnsupportedOperationError):
            await storage.read_bytes(MISSING, if_match="e")
        with pytest.raises(UnsupportedOperationError):
            await storage.stat(MISSING, version="1")
        with pytest.raises(UnsupportedOperationError):
            async for _ in storage.list("fastdfs://group1/"):
                pass
        storage.require("set_metadata")
        storage.require("append")
    assert fastdfs_server.request_count() == 0


async def test_opening_connects_to_nothing() -> None:
    async with open_storage("fastdfs://127.0.0.1:1"):
        pass
