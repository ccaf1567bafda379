"""Long bodies from and to local files, which pass the event loop by."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from polystow import (
    ByteRange,
    ChecksumMismatchError,
    NoSpaceError,
    OperationTimeoutError,
    PathBody,
    StorageError,
    TransportError,
    TruncatedBodyError,
    open_storage,
)
from polystow_testing.fastdfs import (
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    Command,
    FastdfsServer,
    Fault,
    Stall,
    StopReading,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

DATA = random.Random(2).randbytes(9_000_000)
SHORT = 0.4


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def config(fastdfs_server: FastdfsServer) -> dict[str, Any]:
    mount = {"trackers": fastdfs_server.trackers, "network_timeout_s": 5.0}
    return {"mounts": {"fastdfs": mount}, "request": {"base_delay_s": 0.001}}


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


# Uploads


@pytest.mark.parametrize("pulls", [True, False])
async def test_file_arrives_whole(
    client: Client,
    fastdfs_server: FastdfsServer,
    local: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    pulls: bool,
) -> None:
    monkeypatch.setattr("polystow_fastdfs._bulk.CAN_PULL", pulls)
    for _ in range(2):
        info = await client.upload(local)
        assert fastdfs_server.get(info.path) == DATA
        assert info.checksum is not None
    assert fastdfs_server.opened_connections(on="storage") == 1


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, len(DATA) * 2])
async def test_file_of_another_length_than_it_had_is_not_stored(
    client: Client, fastdfs_server: FastdfsServer, local: Path, size: int
) -> None:
    with pytest.raises(TruncatedBodyError, match="declared"):
        await client.upload(PathBody(local, size))
    assert fastdfs_server.files() == []


@pytest.mark.parametrize("status", [28, 22])
async def test_refusal_amid_a_file_is_the_server_s_own_word(
    client: Client, fastdfs_server: FastdfsServer, local: Path, status: int
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=AnswerStatus(status)))
    with pytest.raises(NoSpaceError if status == 28 else StorageError):
        await client.upload(local)
    assert (await client.upload(local)).size == len(DATA)


async def test_connection_lost_amid_a_file_leaves_nothing(
    make_client: MakeClient, fastdfs_server: FastdfsServer, local: Path
) -> None:
    fastdfs_server.faults.add(
        Fault(Command.UPLOAD, action=CloseDuringRequest(3_000_000), times=None)
    )
    async with make_client(replay_uploads=False) as client:
        with pytest.raises(TransportError) as caught:
            await client.upload(local)
        assert caught.value.outcome == "failed"
    assert fastdfs_server.files() == []


async def test_server_that_takes_no_more_of_a_file_runs_into_the_timeout(
    make_client: MakeClient, fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(64_000_000)
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=StopReading(1000), times=None))
    async with make_client(network_timeout_s=SHORT, replay_uploads=False) as client:
        with pytest.raises(OperationTimeoutError):
            await client.upload(long)
    assert fastdfs_server.files() == []


@pytest.mark.parametrize("native", [True, False])
async def test_upload_of_a_file_is_cancelled_at_once(
    client: Client, fastdfs_server: FastdfsServer, tmp_path: Path, *, native: bool
) -> None:
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(64_000_000)
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=StopReading(1000)))

    async def upload_cancelled_soon() -> None:
        if native:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.upload(long)
        else:
            with anyio.move_on_after(0.2) as scope:
                await client.upload(long)
            assert scope.cancelled_caught

    start = time.monotonic()
    await upload_cancelled_soon()
    assert time.monotonic() - start < 2
    assert client.connections() <= 1  # the tracker's
    assert fastdfs_server.files() == []


# Downloads


async def test_file_comes_whole_and_in_parts(
    config: dict[str, Any], fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    path = fastdfs_server.put(DATA)
    ways: list[dict[str, Any]] = [
        {},
        {"concurrency": 3, "part_size_bytes": 1_000_000},
        {"part_size_bytes": 700_000},
        {"range": ByteRange(1, 5_000_000)},
    ]
    async with open_storage(config) as storage:
        for options in ways:
            await storage.download(f"fastdfs:{path}", tmp_path / "copy", **options)
            wanted = DATA[1:5_000_001] if "range" in options else DATA
            assert (tmp_path / "copy").read_bytes() == wanted


@pytest.mark.parametrize("after_bytes", [10, 1_000_000, 8_999_999])
async def test_download_that_loses_its_connection_goes_on_where_it_was(
    config: dict[str, Any], fastdfs_server: FastdfsServer, tmp_path: Path, after_bytes: int
) -> None:
    path = fastdfs_server.put(DATA)
    fault = CloseConnection(after_bytes=after_bytes)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=fault))
    async with open_storage(config) as storage:
        await storage.download(f"fastdfs:{path}", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA
    assert fastdfs_server.request_count(Command.DOWNLOAD) == 2


async def test_download_that_stalls_times_out_and_goes_on(
    config: dict[str, Any], fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=Stall(after_bytes=2_000_000)))
    config["mounts"]["fastdfs"]["network_timeout_s"] = SHORT
    async with open_storage(config) as storage:
        await storage.download(f"fastdfs:{path}", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_damaged_content_is_not_saved(
    config: dict[str, Any], fastdfs_server: FastdfsServer, tmp_path: Path
) -> None:
    path = fastdfs_server.put(DATA)
    damaged = DATA[:-1] + bytes([DATA[-1] ^ 1])
    answer = AnswerBytes(AnswerBytes.header(len(DATA)).data + damaged)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=answer, times=2))
    async with open_storage(config) as storage:
        for part_size_bytes in (None, 1_000_000):
            with pytest.raises(ChecksumMismatchError):
                await storage.download(
                    f"fastdfs:{path}", tmp_path / "copy", part_size_bytes=part_size_bytes
                )
    assert entries(tmp_path) == []


async def test_full_disk_ends_a_download_and_its_connection(
    config: dict[str, Any],
    fastdfs_server: FastdfsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = fastdfs_server.put(DATA)

    def full(_: object, chunk: bytes, offset: int) -> None:
        if offset > 4_000_000:
            raise OSError(28, "No space left on device")

    async with open_storage(config) as storage:
        with monkeypatch.context() as patched:
            patched.setattr("polystow._local_file.LocalFile.write", full)
            with pytest.raises(NoSpaceError):
                await storage.download(f"fastdfs:{path}", tmp_path / "copy")
        assert entries(tmp_path) == []
        await storage.download(f"fastdfs:{path}", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


@pytest.mark.parametrize("native", [True, False])
async def test_download_is_cancelled_at_once(
    config: dict[str, Any], fastdfs_server: FastdfsServer, tmp_path: Path, *, native: bool
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=Stall(after_bytes=2_000_000)))
    start = time.monotonic()
    async with open_storage(config) as storage:
        if native:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await storage.download(f"fastdfs:{path}", tmp_path / "copy")
        else:
            with anyio.move_on_after(0.2) as scope:
                await storage.download(f"fastdfs:{path}", tmp_path / "copy")
            assert scope.cancelled_caught
        assert time.monotonic() - start < 2
        assert entries(tmp_path) == []
        await storage.download(f"fastdfs:{path}", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_slow_disk_runs_into_no_timeout_and_holds_up_nobody(
    config: dict[str, Any],
    fastdfs_server: FastdfsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from polystow._local_file import LocalFile

    path = fastdfs_server.put(DATA)
    write = LocalFile.write
    slept: list[float] = []

    def slow(self: LocalFile, chunk: bytes, offset: int) -> None:
        if not slept:
            slept.append(1.0)
            time.sleep(1.0)
        write(self, chunk, offset)

    monkeypatch.setattr(LocalFile, "write", slow)
    config["mounts"]["fastdfs"]["network_timeout_s"] = 0.6
    latest = time.monotonic()
    longest = 0.0

    async def watch() -> None:
        nonlocal latest, longest
        while True:
            await anyio.sleep(0.01)
            now = time.monotonic()
            longest, latest = max(longest, now - latest), now

    async with open_storage(config) as storage, anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await storage.download(f"fastdfs:{path}", tmp_path / "copy")
        tasks.cancel_scope.cancel()
    assert (tmp_path / "copy").read_bytes() == DATA
    assert slept
    assert longest < 0.9
