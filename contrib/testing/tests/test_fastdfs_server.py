import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from polystow_testing.fastdfs import FastdfsOptions, FastdfsProcess, FastdfsServer

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_it_serves_as_an_async_context_manager(anyio_backend: str) -> None:
    async with FastdfsServer() as server:
        host, port = server.trackers[0].split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(b"\0\0\0\0\0\0\0\0\x6f\0")
            assert await stream.receive() == b"\0\0\0\0\0\0\0\0\x64\0"
        await server.wait_until_async(lambda stats: stats[0].connections_open == 0)
        assert server.opened_connections(on="tracker") == 1


def test_it_starts_and_stops_quickly_and_leaves_no_thread() -> None:
    before = threading.active_count()
    begin = time.perf_counter()
    with FastdfsServer({"group1": 3, "group2": 3}, tracker_count=2):
        pass
    assert time.perf_counter() - begin < 0.5
    assert threading.active_count() == before


def test_it_can_be_started_again_and_is_empty_then() -> None:
    server = FastdfsServer()
    with server:
        server.put(b"x")
    with server:
        assert server.files() == []
    server.stop()


def test_it_tells_when_it_is_not_running() -> None:
    server = FastdfsServer()
    with pytest.raises(RuntimeError, match="with statement"):
        _ = server.trackers
    with server, pytest.raises(RuntimeError, match="running already"):
        server.start()


@pytest.mark.parametrize(
    "arguments",
    [
        {"groups": {}},
        {"groups": {"group1": 0}},
        {"groups": {"a" * 17: 1}},
        {"groups": {"a/b": 1}},
        {"host": "0.0.0.0"},
        {"host": "::1"},
        {"host": "localhost"},
        {"tracker_count": 0},
        {"store_path_count": 256},
        {"replication_delay_s": -1.0},
        {"network_timeout_s": 0.0},
    ],
)
def test_options_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        FastdfsServer(**arguments)


def test_options_can_be_given_as_a_value_and_be_changed() -> None:
    options = FastdfsOptions(groups={"group7": 2}, tracker_count=2)
    server = FastdfsServer(options=options, tracker_count=3)
    assert server.options.groups == {"group7": 2}
    assert server.options.tracker_count == 3


def test_a_seeded_file_is_listed_read_and_deleted(
    fastdfs_server: FastdfsServer, storage: Any, bodies: Any
) -> None:
    file_id = fastdfs_server.put(b"data", ext="bin", metadata={"b": "2", "a": "é"})
    file = fastdfs_server.file(file_id)
    assert (file.size_bytes, file.is_appender, file.is_slave) == (4, False, False)
    assert file.metadata == {"a": "é", "b": "2"}
    assert file.source == fastdfs_server.storages()[0]
    assert fastdfs_server.files() == [file]
    assert storage.call(14, bodies.download(file_id)).body == b"data"
    fastdfs_server.delete(file_id)
    assert fastdfs_server.files() == []
    with pytest.raises(FileNotFoundError, match=file_id):
        fastdfs_server.get(file_id)


def test_seeding_checks_its_arguments(fastdfs_server: FastdfsServer) -> None:
    with pytest.raises(ValueError, match="ext="):
        fastdfs_server.put(b"", ext="toolong")
    with pytest.raises(ValueError, match="group1"):
        fastdfs_server.put(b"", group="group9")
    with pytest.raises(ValueError, match="no FastDFS file id"):
        fastdfs_server.get("nonsense")


def test_requests_and_connections_are_counted(fastdfs_server: FastdfsServer, dial: Any) -> None:
    address = fastdfs_server.storages()[0]
    with dial(address) as one, dial(address) as two:
        for wire in (one, one, two):
            wire.call(111)
        two.call(15, b"")
        assert fastdfs_server.request_count(111) == 3
        assert fastdfs_server.request_count(on="storage") == 4
        assert fastdfs_server.request_count(on="tracker") == 0
        assert fastdfs_server.open_connections(on=address) <= 2
    fastdfs_server.wait_until(lambda stats: stats[1].connections_open == 0)
    assert fastdfs_server.opened_connections(on="group1") == 2


def test_waiting_for_what_does_not_come_ends_with_the_counts(fastdfs_server: FastdfsServer) -> None:
    with pytest.raises(TimeoutError, match="connections_opened=0"):
        fastdfs_server.wait_until(lambda stats: False, timeout_s=0.01)


def test_an_error_in_a_condition_is_raised_where_it_is_waited_for(
    fastdfs_server: FastdfsServer,
) -> None:
    with pytest.raises(ZeroDivisionError):
        fastdfs_server.wait_until(lambda stats: bool(1 // 0))


def test_an_error_of_the_server_itself_is_raised_when_it_stops(
    monkeypatch: pytest.MonkeyPatch, dial: Any
) -> None:
    server = FastdfsServer()
    server.start()
    assert server._cluster is not None
    monkeypatch.setitem(server._cluster.trackers[0]._handlers, 111, lambda body: 1 // 0)
    wire = dial(server.trackers[0])
    wire.send(111)
    assert wire.read(1) == b""
    with pytest.raises(ExceptionGroup, match="failed in requests") as caught:
        server.stop()
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize("sent", [b"", b"\0\0\0\0", b"\0\0\0\0\0\0\0\x05\x0f\0abc"])
def test_a_fresh_or_half_sent_connection_is_closed_after_the_network_timeout(
    dial: Any, sent: bytes
) -> None:
    with FastdfsServer(network_timeout_s=0.02) as server:
        wire = dial(server.storages()[0])
        wire.socket.sendall(sent)
        assert wire.read(1) == b""


def test_a_connection_that_has_served_a_request_outlives_the_network_timeout(dial: Any) -> None:
    with FastdfsServer(network_timeout_s=0.02) as server:
        used, fresh = dial(server.storages()[0]), dial(server.storages()[0])
        assert used.call(111).status == 0
        assert fresh.read(1) == b""
        assert used.call(111).status == 0


def test_a_blocked_client_thread_does_not_block_the_server(fastdfs_server: FastdfsServer) -> None:
    host, port = fastdfs_server.trackers[0].split(":")
    with socket.create_connection((host, int(port)), 5) as client:
        client.sendall(b"\0\0\0\0\0\0\0\0\x6f\0")
        assert client.recv(10)[8] == 100


def test_a_session_fixture_and_a_process_fixture_serve(
    fastdfs_session_server: FastdfsServer, fastdfs_process: FastdfsProcess, dial: Any
) -> None:
    for server in (fastdfs_session_server, fastdfs_process):
        assert dial(server.trackers[0]).call(111).status == 0
        assert dial(server.storages("group1")[0]).call(111).status == 0


def test_the_process_obeys_its_options_and_is_gone_afterwards(
    tmp_path: Path, dial: Any, bodies: Any
) -> None:
    options = FastdfsOptions(
        groups={"group1": 2, "group2": 1},
        tracker_count=2,
        storage_dir=tmp_path,
        ipv6_size_replies=True,
        network_timeout_s=None,
    )
    with FastdfsProcess(options) as process:
        assert len(process.trackers) == 2
        assert len(process.storages()) == 3
        assert len(process.storages("group1")) == 2
        assert len(dial(process.trackers[1]).call(101).body) == 70
        file_id = bodies.file_id(dial(process.storages()[0]).call(11, bodies.upload(b"x")).body)
        assert (tmp_path / file_id).read_bytes() == b"x"
        wire = dial(process.storages()[2])
        process.freeze_node(process.storages()[2])
        wire.send(111)
        process.thaw_node(process.storages()[2])
        assert wire.answer().status == 0
        pid = process.pid
        assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="with statement"):
        _ = process.trackers


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_the_process_is_an_async_context_manager(anyio_backend: str) -> None:
    async with FastdfsProcess() as process:
        assert len(process.trackers) == 1


def test_a_process_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(RuntimeError, match="ended at its start"):
        FastdfsProcess(python=str(script)).start()


def test_the_command_ends_at_sigterm() -> None:
    command = [sys.executable, "-m", "polystow_testing.fastdfs", "--groups", "group1:2,group2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        addresses = json.loads(child.stdout.readline())
        assert addresses["pid"] == child.pid
        assert [len(found) for found in addresses["storages"].values()] == [2, 1]
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0


def test_the_plugin_imports_no_server() -> None:
    program = (
        "import sys, polystow_testing.plugin\n"
        "assert 'polystow_testing.fastdfs' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
