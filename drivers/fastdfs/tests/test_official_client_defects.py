"""What goes wrong in FastDFS's own Python client, and does not here.

That client is GPL software, which can't be imported by most versions of Python, so nothing of it
runs here; what is known of it is in the project's notes on its peers.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    NotFoundError,
    RequestPolicyConfig,
    TransportError,
    open_storage,
)
from polystow_testing.fastdfs import AnswerStatus, Command, FastdfsServer, Fault

if TYPE_CHECKING:
    from conftest import Client, MakeClient

MISSING = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"


async def test_upload_download_and_deletion_work_at_all(client: Client) -> None:
    """Its integration tests fail: address fields, lengths and groups are packed wrongly."""
    info = await client.upload(b"hello", "a.txt")
    assert await client.read(info.path) == b"hello"
    await client.delete(info.path, missing_ok=False)


async def test_checksum_is_not_made_of_half_its_bytes(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello", appender=True)
    assert client.extra(await client.stat(path)).crc32 == zlib.crc32(b"hello")


async def test_second_tracker_is_asked_when_the_first_is_gone(make_client: MakeClient) -> None:
    """Its pool connects to the first address only."""
    with FastdfsServer(tracker_count=2) as server:
        server.stop_node(server.trackers[0])
        async with make_client(server=server) as client:
            assert (await client.upload(b"x")).size == 1


async def test_what_is_not_there_is_asked_for_once(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    """It repeats everything, after pauses, not-found included."""
    for operation in (client.read, client.stat):
        fastdfs_server.close_connections()
        before = fastdfs_server.request_count(on="storage")
        with pytest.raises(NotFoundError):
            await operation(MISSING)
        assert fastdfs_server.request_count(on="storage") == before + 1


async def test_metadata_that_can_not_be_set_is_an_error(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    """It swallows that error."""
    fault = Fault(Command.SET_METADATA, action=AnswerStatus(5), times=None)
    fastdfs_server.faults.add(fault)
    async with make_client(RequestPolicyConfig(attempts=1)) as client:
        with pytest.raises(BackendUnavailableError, match="metadata"):
            await client.upload(b"x", metadata={"a": "b"})
    assert fastdfs_server.files() == []


async def test_file_does_not_seem_missing_when_the_network_is(
    fastdfs_server: FastdfsServer,
) -> None:
    """Its `file_exists` is False then."""
    path = fastdfs_server.put(b"x")
    mount = {"trackers": fastdfs_server.trackers, "retries": 0}
    async with open_storage({"mounts": {"fastdfs": mount}}) as storage:
        assert await storage.exists(f"fastdfs://{path}")
        assert not await storage.exists(f"fastdfs://{MISSING}")
        for server in (*fastdfs_server.trackers, *fastdfs_server.storages()):
            fastdfs_server.stop_node(server)
        with pytest.raises(TransportError):
            await storage.exists(f"fastdfs://{path}")


async def test_file_that_is_there_has_its_own_status(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    """It takes status 6 for it; servers say 17."""
    master = fastdfs_server.put(b"x", ext="jpg")
    await client.driver.upload_slave(master, "_s", b"x")
    with pytest.raises(AlreadyExistsError, match="status 17"):
        await client.driver.upload_slave(master, "_s", b"x")
