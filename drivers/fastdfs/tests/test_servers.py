"""The tracker's lists of storage servers, in every layout that servers were seen to send."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow_fastdfs._protocol import FrameError, StorageAddress
from polystow_fastdfs._servers import (
    parse_fetch_all,
    parse_store_all,
    query_fetch_all,
    query_store_all,
)
from polystow_testing.fastdfs import FastdfsServer

ports = st.integers(1, 65535)
v4 = st.builds(str, st.builds(IPv4Address, st.integers(0, 2**32 - 1)))
v6 = st.builds(str, st.builds(IPv6Address, st.integers(0, 2**128 - 1)))
groups = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=16)


def encode(group: str, servers: list[tuple[str, int]], width: int, *, every_port: bool) -> bytes:
    body = group.encode().ljust(16, b"\x00")
    for number, (host, port) in enumerate(servers):
        body += host.encode().ljust(width, b"\x00")
        if every_port or not number:
            body += struct.pack(">Q", port)
    return body


@given(groups, st.lists(st.tuples(v4, ports), min_size=1, max_size=12), st.integers(0, 255))
def test_newer_lists(group: str, servers: list[tuple[str, int]], path_index: int) -> None:
    body = encode(group, servers, 15, every_port=True)
    assert parse_fetch_all(body) == tuple(StorageAddress(group, *one) for one in servers)
    assert parse_store_all(body + bytes([path_index])) == tuple(
        StorageAddress(group, *one, path_index) for one in servers
    )


@given(groups, st.lists(st.tuples(v4 | v6, ports), min_size=1))
def test_lists_at_ipv6_width(group: str, servers: list[tuple[str, int]]) -> None:
    body = encode(group, servers, 45, every_port=True)
    assert parse_fetch_all(body) == tuple(StorageAddress(group, *one) for one in servers)


@given(groups, st.lists(v4, min_size=1, max_size=12), ports)
def test_older_lists_give_one_port_for_all(group: str, hosts: list[str], port: int) -> None:
    body = encode(group, [(host, port) for host in hosts], 15, every_port=False)
    assert parse_fetch_all(body) == tuple(StorageAddress(group, host, port) for host in hosts)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_gives_addresses(body: bytes) -> None:
    for parse in (parse_fetch_all, parse_store_all):
        try:
            found = parse(body)
        except FrameError:
            continue
        assert found
        assert all(0 < one.port < 65536 for one in found)


@pytest.mark.parametrize("body", [b"", b"group1".ljust(16, b"\x00"), bytes(39), bytes(40)])
def test_a_list_without_a_server_is_refused(body: bytes) -> None:
    for parse in (parse_fetch_all, parse_store_all):
        with pytest.raises(FrameError, match="no list of storage servers"):
            parse(body)


@pytest.mark.parametrize("ipv6_size_replies", [False, True])
@pytest.mark.parametrize("old_fetch_all", [False, True])
def test_the_server_s_own_lists(*, ipv6_size_replies: bool, old_fetch_all: bool) -> None:
    with FastdfsServer(
        {"group1": 3},
        distinct_addresses=True,
        ipv6_size_replies=ipv6_size_replies,
        old_fetch_all=old_fetch_all,
    ) as server:
        path = server.put(b"x")
        group, _, name = path.partition("/")
        for frame, parse in (
            (query_fetch_all(group, name.encode()), parse_fetch_all),
            (query_store_all(group), parse_store_all),
            (query_store_all(None), parse_store_all),
        ):
            body = _ask(server.trackers[0], frame)
            assert {f"{one.host}:{one.port}" for one in parse(body)} == set(server.storages())


def _ask(tracker: str, frame: bytes) -> bytes:
    host, _, port = tracker.partition(":")
    with socket.create_connection((host, int(port)), 5) as wire, wire.makefile("rb") as answer:
        wire.sendall(frame)
        length, _, status = struct.unpack(">QBB", answer.read(10))
        assert status == 0
        return answer.read(length)
