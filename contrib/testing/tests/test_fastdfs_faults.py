import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polystow_testing.fastdfs import (
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    CloseOnConnect,
    DelayAccept,
    DelayReply,
    FastdfsServer,
    Fault,
    SplitReply,
    Stall,
    StopReading,
)

DATA = b"0123456789" * 10


@pytest.fixture(params=["memory", "disk"])
def fastdfs_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FastdfsServer]:
    with FastdfsServer(storage_dir=tmp_path if request.param == "disk" else None) as server:
        yield server


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 60])
def test_a_connection_closes_after_that_many_bytes_of_the_reply(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, count: int
) -> None:
    file_id = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(14, action=CloseConnection(after_bytes=count)))
    storage.send(14, bodies.download(file_id))
    assert storage.read(1000) == (struct.pack(">qBB", 100, 100, 0) + DATA)[:count]


def test_a_reset_is_seen_as_a_reset(storage: Any, fastdfs_server: FastdfsServer) -> None:
    fastdfs_server.faults.add(Fault(111, action=CloseConnection(reset=True)))
    storage.send(111)
    with pytest.raises(ConnectionResetError):
        storage.socket.recv(1)


def test_a_request_whose_reply_is_lost_has_been_carried_out(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any
) -> None:
    fastdfs_server.faults.add(Fault(11))
    storage.send(11, bodies.upload(DATA))
    assert storage.read(1) == b""
    assert [file.size_bytes for file in fastdfs_server.files()] == [100]


@pytest.mark.parametrize("count", [0, 5, 40])
def test_a_stall_sends_so_much_and_keeps_the_connection_open(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, count: int
) -> None:
    file_id = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(14, action=Stall(after_bytes=count)))
    storage.send(14, bodies.download(file_id))
    assert len(storage.read(count)) == count
    storage.socket.settimeout(0.02)
    with pytest.raises(TimeoutError):
        storage.socket.recv(1)
    assert fastdfs_server.open_connections() == 1
    storage.socket.close()
    fastdfs_server.wait_until(lambda stats: not any(node.connections_open for node in stats))


def test_a_stalled_connection_ends_with_the_server(dial: Any) -> None:
    with FastdfsServer() as server:
        wire = dial(server.storages()[0])
        server.faults.add(Fault(111, action=Stall()))
        wire.send(111)
        server.wait_until(lambda stats: stats[1].requests.get(111) == 1)
    assert wire.read(1) == b""


def test_a_split_reply_arrives_whole(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any
) -> None:
    file_id = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(14, action=SplitReply(3, delay_s=0.0001), times=None))
    assert storage.call(14, bodies.download(file_id)) == (0, DATA)
    assert storage.call(14, bodies.download(file_id)) == (0, DATA)


def test_the_pieces_of_a_split_reply_are_sent_one_by_one(
    storage: Any, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(111, action=SplitReply(4, delay_s=0.02)))
    storage.send(111)
    assert len(storage.socket.recv(100)) < 10


def test_a_delayed_reply_comes(storage: Any, fastdfs_server: FastdfsServer) -> None:
    fastdfs_server.faults.add(Fault(111, action=DelayReply(0.05)))
    storage.socket.settimeout(0.01)
    storage.send(111)
    with pytest.raises(TimeoutError):
        storage.answer()
    storage.socket.settimeout(5)
    assert storage.answer().status == 0
    assert not storage.is_closed()


@pytest.mark.parametrize("close", [False, True])
def test_a_given_status_is_answered_without_carrying_the_request_out(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, close: bool
) -> None:
    fastdfs_server.faults.add(Fault(11, action=AnswerStatus(28, close=close)))
    assert storage.call(11, bodies.upload(DATA)) == (28, b"")
    assert fastdfs_server.files() == []
    assert storage.is_closed() == close


def test_garbage_is_sent_as_given(tracker: Any, fastdfs_server: FastdfsServer) -> None:
    garbage = AnswerBytes.garbage()
    fastdfs_server.faults.add(Fault(101, action=garbage))
    tracker.send(101)
    assert tracker.read(len(garbage.data)) == garbage.data


@pytest.mark.parametrize("length", [-1, 2**62])
def test_a_header_may_announce_any_length(
    tracker: Any, fastdfs_server: FastdfsServer, length: int
) -> None:
    fastdfs_server.faults.add(Fault(101, action=AnswerBytes.header(length)))
    tracker.send(101)
    assert tracker.read(10) == struct.pack(">qBB", length, 100, 0)


@pytest.mark.parametrize("count", [0, 20, 50_000])
def test_a_connection_closes_in_mid_request_and_nothing_is_stored(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any, count: int
) -> None:
    fastdfs_server.faults.add(Fault(11, action=CloseDuringRequest(after_bytes=count)))
    body = bodies.upload(b"x" * 100_000)
    storage.socket.sendall(struct.pack(">qBB", len(body), 11, 0) + body[:count])
    assert storage.read(1) == b""
    assert fastdfs_server.files() == []


def test_a_server_that_stops_reading_blocks_a_large_upload(
    storage: Any, fastdfs_server: FastdfsServer, bodies: Any
) -> None:
    fastdfs_server.faults.add(Fault(11, action=StopReading(after_bytes=1000)))
    storage.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        storage.send(11, bodies.upload(bytes(64 << 20)))


def test_a_new_connection_is_closed_at_once(dial: Any, fastdfs_server: FastdfsServer) -> None:
    fastdfs_server.faults.add(Fault(action=CloseOnConnect(), on="tracker"))
    assert dial(fastdfs_server.trackers[0]).read(1) == b""
    assert dial(fastdfs_server.trackers[0]).call(111).status == 0


def test_a_new_connection_is_served_late(dial: Any, fastdfs_server: FastdfsServer) -> None:
    fastdfs_server.faults.add(Fault(action=DelayAccept(0.05)))
    wire = dial(fastdfs_server.trackers[0])
    wire.socket.settimeout(0.01)
    wire.send(111)
    with pytest.raises(TimeoutError):
        wire.answer()
    wire.socket.settimeout(5)
    assert wire.answer().status == 0


def test_a_fault_fires_as_often_as_it_says_and_after_what_it_skips(
    storage: Any, fastdfs_server: FastdfsServer
) -> None:
    fault = fastdfs_server.faults.add(Fault(111, action=AnswerStatus(5), times=2, skip=1))
    assert [storage.call(111).status for _ in range(5)] == [0, 5, 5, 0, 0]
    assert fastdfs_server.faults.fired(fault) == 2


def test_of_two_faults_the_first_fires_first(storage: Any, fastdfs_server: FastdfsServer) -> None:
    for status in (5, 6):
        fastdfs_server.faults.add(Fault(action=AnswerStatus(status)))
    assert [storage.call(111).status for _ in range(3)] == [5, 6, 0]


def test_a_fault_without_limit_fires_until_it_is_removed(
    storage: Any, fastdfs_server: FastdfsServer
) -> None:
    fault = fastdfs_server.faults.add(Fault(action=AnswerStatus(5), times=None))
    assert [storage.call(111).status for _ in range(3)] == [5, 5, 5]
    fastdfs_server.faults.remove(fault)
    assert storage.call(111).status == 0
    assert fastdfs_server.faults.fired(fault) == 0


def test_a_fault_hits_only_the_servers_it_names(dial: Any) -> None:
    with FastdfsServer({"group1": 1, "group2": 1}) as server:
        one, two = server.storages()
        wires = [dial(address) for address in (server.trackers[0], one, two)]
        for on, statuses in (
            ("tracker", [5, 0, 0]),
            ("storage", [0, 5, 5]),
            ("group2", [0, 0, 5]),
            (one, [0, 5, 0]),
            (None, [5, 5, 5]),
        ):
            server.faults.add(Fault(action=AnswerStatus(5), on=on, times=None))
            assert [wire.call(111).status for wire in wires] == statuses
            server.faults.clear()


def test_a_stopped_server_refuses_and_comes_back_on_its_port(
    dial: Any, fastdfs_server: FastdfsServer
) -> None:
    for address in (*fastdfs_server.trackers, *fastdfs_server.storages()):
        wire = dial(address)
        assert wire.call(111).status == 0
        fastdfs_server.stop_node(address)
        assert wire.read(1) == b""
        with pytest.raises(ConnectionRefusedError):
            dial(address)
        fastdfs_server.start_node(address)
        fastdfs_server.start_node(address)
        assert dial(address).call(111).status == 0


def test_a_refusing_server_serves_the_connections_it_has(
    dial: Any, fastdfs_server: FastdfsServer
) -> None:
    address = fastdfs_server.storages()[0]
    wire = dial(address)
    assert wire.call(111).status == 0
    fastdfs_server.refuse_connections(address)
    with pytest.raises(ConnectionRefusedError):
        dial(address)
    assert wire.call(111).status == 0


def test_a_frozen_server_accepts_and_is_silent_until_it_thaws(
    dial: Any, fastdfs_server: FastdfsServer
) -> None:
    address = fastdfs_server.storages()[0]
    before = dial(address)
    assert before.call(111).status == 0
    fastdfs_server.freeze_node(address)
    wires = [before, dial(address)]
    for wire in wires:
        wire.send(111)
        wire.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
        wire.socket.settimeout(5)
    fastdfs_server.thaw_node(address)
    assert [wire.answer().status for wire in wires] == [0, 0]
    fastdfs_server.freeze_node(address)
    fastdfs_server.stop_node(address)
    fastdfs_server.start_node(address)
    assert dial(address).call(111).status == 0


@pytest.mark.parametrize("reset", [False, True])
def test_all_connections_can_be_closed_at_once(
    dial: Any, fastdfs_server: FastdfsServer, reset: bool
) -> None:
    wires = [dial(fastdfs_server.storages()[0]) for _ in range(3)]
    assert [wire.call(111).status for wire in wires] == [0, 0, 0]
    assert fastdfs_server.close_connections(reset=reset) == 3
    for wire in wires:
        try:
            assert wire.socket.recv(1) == b""
            assert not reset
        except ConnectionResetError:
            assert reset
    assert isinstance(wires[0].socket, socket.socket)


def test_an_unknown_address_is_an_error_that_names_the_known_ones(
    fastdfs_server: FastdfsServer,
) -> None:
    with pytest.raises(ValueError, match=fastdfs_server.trackers[0]):
        fastdfs_server.stop_node("127.0.0.1:1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: CloseConnection(-1),
        lambda: SplitReply(0),
        lambda: DelayReply(-1.0),
        lambda: AnswerStatus(256),
        lambda: Fault(times=0),
        lambda: Fault(skip=-1),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(ValueError):
        make()
