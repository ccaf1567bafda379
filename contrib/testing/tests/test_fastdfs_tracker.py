import struct
from typing import Any

import pytest

from polystow_testing.fastdfs import FastdfsServer

GOOD_NAME = b"M00/00/00/" + b"A" * 34


def endpoint(body: bytes, width: int = 15) -> str:
    host = body[16 : 16 + width].rstrip(b"\0").decode()
    (port,) = struct.unpack_from(">q", body, 16 + width)
    return f"{host}:{port}"


@pytest.mark.parametrize("command", [101, 104])
def test_a_store_query_names_a_storage_server_and_a_path(
    tracker: Any, fastdfs_server: FastdfsServer, bodies: Any, command: int
) -> None:
    status, body = tracker.call(command, b"" if command == 101 else bodies.group())
    assert (status, len(body)) == (0, 40)
    assert body[:16] == bodies.group()
    assert endpoint(body) == fastdfs_server.storages()[0]
    assert body[39] == 0


@pytest.mark.parametrize("command", [106, 107])
def test_a_store_query_for_all_names_every_server(dial: Any, bodies: Any, command: int) -> None:
    with FastdfsServer({"group1": 3}) as server:
        wire = dial(server.trackers[0])
        status, body = wire.call(command, b"" if command == 106 else bodies.group())
        assert (status, len(body)) == (0, 16 + 3 * 23 + 1)
        found = [endpoint(body[i * 23 :]) for i in range(3)]
        assert found == server.storages()


def test_uploads_are_spread_over_groups_and_servers(dial: Any) -> None:
    with FastdfsServer({"group1": 2, "group2": 2}) as server:
        wire = dial(server.trackers[0])
        found = {endpoint(wire.call(101).body) for _ in range(4)}
        assert found == set(server.storages())


@pytest.mark.parametrize("command", [102, 103, 105])
def test_a_fetch_query_names_a_server_of_the_group_even_for_a_missing_file(
    tracker: Any, fastdfs_server: FastdfsServer, bodies: Any, command: int
) -> None:
    status, body = tracker.call(command, bodies.group() + GOOD_NAME)
    assert (status, len(body)) == (0, 39)
    assert endpoint(body) == fastdfs_server.storages()[0]


def test_an_update_query_names_the_source_server(dial: Any, bodies: Any) -> None:
    with FastdfsServer({"group1": 3}) as server:
        source = server.storages()[1]
        uploaded = dial(source).call(11, bodies.upload(b"x")).body
        wire = dial(server.trackers[0])
        assert {endpoint(wire.call(103, uploaded).body) for _ in range(4)} == {source}


def test_a_fetch_query_for_an_unreplicated_file_names_only_its_source(
    dial: Any, bodies: Any
) -> None:
    with FastdfsServer({"group1": 2}, replication_delay_s=float("inf")) as server:
        source, other = server.storages()
        uploaded = dial(source).call(11, bodies.upload(b"x")).body
        wire = dial(server.trackers[0])
        assert {endpoint(wire.call(102, uploaded).body) for _ in range(4)} == {source}
        assert len(wire.call(105, uploaded).body) == 39
        assert dial(other).call(22, uploaded).status == 2
        server.finish_replication()
        assert {endpoint(wire.call(102, uploaded).body) for _ in range(4)} == {source, other}
        assert dial(other).call(22, uploaded).status == 0


@pytest.mark.parametrize(("old", "length"), [(False, 39 + 23), (True, 39 + 15)])
def test_fetch_all_sends_ports_as_the_version_does(
    dial: Any, bodies: Any, old: bool, length: int
) -> None:
    with FastdfsServer({"group1": 2}, old_fetch_all=old) as server:
        wire = dial(server.trackers[0])
        assert len(wire.call(105, bodies.group() + GOOD_NAME).body) == length


@pytest.mark.parametrize(
    ("command", "body", "status"),
    [
        (101, b"x", 22),
        (104, b"group9".ljust(16, b"\0"), 2),
        (104, b"short", 22),
        (106, b"x", 22),
        (107, b"group9".ljust(16, b"\0"), 2),
        (102, b"group9".ljust(16, b"\0") + GOOD_NAME, 2),
        (102, b"group1".ljust(16, b"\0") + b"M" * 21, 22),
        (102, b"group1".ljust(16, b"\0") + b"M" * 22, 0),
        (102, b"group1".ljust(16, b"\0") + b"M" * 127, 0),
        (102, b"group1".ljust(16, b"\0") + b"M" * 128, 22),
        (103, b"", 22),
        (105, b"", 22),
        (90, b"group9".ljust(16, b"\0"), 2),
        (90, b"", 22),
        (91, b"x", 22),
        (92, b"group9".ljust(16, b"\0"), 2),
        (92, b"", 22),
        (92, b"group1".ljust(16, b"\0") + b"9.9.9.9", 2),
        (92, b"group1".ljust(16, b"\0") + b"9" * 17, 22),
        (95, b"x", 22),
        (111, b"x", 22),
        (77, b"abc", 22),
    ],
)
def test_errors_have_the_status_of_the_table_and_leave_the_connection_open(
    tracker: Any, command: int, body: bytes, status: int
) -> None:
    assert tracker.call(command, body).status == status
    assert not tracker.is_closed()


def test_quit_closes_without_a_reply(tracker: Any) -> None:
    tracker.send(82)
    assert tracker.read(1) == b""


def test_an_oversized_request_is_cut_off(tracker: Any) -> None:
    tracker.socket.sendall(struct.pack(">qBB", 1 << 20, 102, 0))
    assert tracker.read(1) == b""


def test_a_tracker_serves_pipelined_requests(tracker: Any) -> None:
    tracker.socket.sendall(struct.pack(">qBB", 0, 111, 0) * 3)
    assert [tracker.answer().status for _ in range(3)] == [0, 0, 0]


def test_the_leader_is_the_first_running_tracker(dial: Any) -> None:
    with FastdfsServer(tracker_count=2) as server:
        first, second = server.trackers
        assert dial(second).call(95).body.decode() == first
        server.stop_node(first)
        assert dial(second).call(95).body.decode() == second


def test_groups_are_listed_with_their_servers(dial: Any, bodies: Any) -> None:
    with FastdfsServer({"group1": 2, "group2": 1}, store_path_count=3) as server:
        wire = dial(server.trackers[0])
        body = wire.call(91).body
        assert len(body) == 2 * 113
        assert wire.call(90, bodies.group("group2")).body == body[113:]
        name, *numbers = struct.unpack(">17s12q", body[:113])
        assert name.rstrip(b"\0") == b"group1"
        count, port, readable, writable, _, paths, subdirs = numbers[4:11]
        assert (count, readable, writable, paths, subdirs) == (2, 2, 2, 3, 256)
        assert port == int(server.storages("group1")[0].split(":")[1])


@pytest.mark.parametrize(("ipv6", "length"), [(False, 487), (True, 517)])
def test_storage_servers_are_listed_with_their_counters(
    dial: Any, bodies: Any, ipv6: bool, length: int
) -> None:
    with FastdfsServer({"group1": 2}, ipv6_size_replies=ipv6) as server:
        first = server.storages()[0]
        dial(first).call(11, bodies.upload(b"x"))
        body = dial(server.trackers[0]).call(92, bodies.group()).body
        assert len(body) == 2 * length
        record = body[:length]
        assert record[0] == 7
        assert record[2:18].rstrip(b"\0") == b"127.0.0.1"
        (port,) = struct.unpack_from(">q", record, length - 487 + 130)
        assert f"127.0.0.1:{port}" == first
        uploads = struct.unpack_from(">2q", record, length - 487 + 150)
        assert uploads == (1, 1)


def test_a_stopped_storage_server_is_listed_as_offline_and_not_handed_out(
    dial: Any, bodies: Any
) -> None:
    with FastdfsServer({"group1": 2}) as server:
        stopped, running = server.storages()
        server.stop_node(stopped)
        wire = dial(server.trackers[0])
        assert {endpoint(wire.call(101).body) for _ in range(4)} == {running}
        assert wire.call(92, bodies.group()).body[0] == 5
        server.stop_node(running)
        assert wire.call(101).status == 2
        assert wire.call(102, bodies.group() + GOOD_NAME).status == 2


def test_a_death_that_is_not_noticed_leaves_the_server_handed_out(dial: Any) -> None:
    with FastdfsServer({"group1": 2}) as server:
        server.stop_node(server.storages()[0], noticed=False)
        wire = dial(server.trackers[0])
        assert {endpoint(wire.call(101).body) for _ in range(4)} == set(server.storages())


def test_replies_at_ipv6_size_are_70_and_69_bytes(dial: Any, bodies: Any) -> None:
    with FastdfsServer(ipv6_size_replies=True) as server:
        wire = dial(server.trackers[0])
        assert endpoint(wire.call(101).body, 45) == server.storages()[0]
        assert len(wire.call(101).body) == 70
        assert len(wire.call(102, bodies.group() + GOOD_NAME).body) == 69


def test_distinct_addresses_share_one_port_in_a_group(dial: Any) -> None:
    with FastdfsServer({"group1": 3}, distinct_addresses=True) as server:
        hosts, ports = zip(*(address.split(":") for address in server.storages()), strict=True)
        assert hosts == ("127.0.0.2", "127.0.0.3", "127.0.0.4")
        assert len(set(ports)) == 1
        assert all(dial(address).call(111).status == 0 for address in server.storages())
