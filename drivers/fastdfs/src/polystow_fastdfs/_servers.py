"""Codecs of the tracker's answers that name every storage server, not only one.

They are what failover goes by: command 105 names the servers that have a file, 106 and 107 those
that take one. Servers of different ages give the addresses different widths, and older ones a port
with the first address only, so the layout is found from the body's length and its content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from aiofdfs import async_fdfs_protol as fdfs

from polystow_fastdfs._protocol import GROUP_BYTES, HEADER, FrameError, StorageAddress

_WIDTHS: Final = (15, 45)
_PORT: Final = struct.Struct(">Q")
_GROUP: Final = struct.Struct(f">QBB{GROUP_BYTES}s")


def query_store_all(group: str | None) -> bytes:
    """Frame that asks a tracker for all servers that take files (rows 106 and 107).

    Args:
        group: The group to upload to, or None to let the tracker choose one.
    """
    if group is None:
        return HEADER.pack(0, fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_STORE_WITHOUT_GROUP_ALL, 0)
    command = fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_STORE_WITH_GROUP_ALL
    return _GROUP.pack(GROUP_BYTES, command, 0, group.encode())


def query_fetch_all(group: str, name: bytes) -> bytes:
    """Frame that asks a tracker for all servers that have a file (row 105)."""
    command = fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_FETCH_ALL
    return _GROUP.pack(GROUP_BYTES + len(name), command, 0, group.encode()) + name


@lru_cache(maxsize=256)  # a cluster has few servers, and failover asks again and again
def parse_store_all(body: bytes) -> tuple[StorageAddress, ...]:
    """Read where an upload may go (rows 106 and 107); one store path index holds for all.

    Raises:
        FrameError: If the body fits no layout.
    """
    if len(body) <= GROUP_BYTES:
        raise _misfit(body)
    found = next(_layouts(body[:-1]), None)
    if found is None:
        raise _misfit(body)
    group = _text(body[:GROUP_BYTES])
    return tuple(StorageAddress(group, host, port, body[-1]) for host, port in found)


@lru_cache(maxsize=256)
def parse_fetch_all(body: bytes) -> tuple[StorageAddress, ...]:
    """Read which servers have a file (row 105); the first may be any of them.

    Raises:
        FrameError: If the body fits no layout.
    """
    found = next(_layouts(body), None)
    if found is None:
        raise _misfit(body)
    group = _text(body[:GROUP_BYTES])
    return tuple(StorageAddress(group, host, port) for host, port in found)


def _layouts(body: bytes) -> Iterator[list[tuple[str, int]]]:
    """The servers in a body, by each layout that it fits; the newer layouts first."""
    rest = len(body) - GROUP_BYTES
    for width in _WIDTHS:
        if rest > 0 and rest % (width + 8) == 0:
            found = _read(body, width, every_port=True)
            if found is not None:
                yield found
    for width in _WIDTHS:
        if rest > width + 8 and (rest - 8) % width == 0:
            found = _read(body, width, every_port=False)
            if found is not None:
                yield found


def _read(body: bytes, width: int, *, every_port: bool) -> list[tuple[str, int]] | None:
    found: list[tuple[str, int]] = []
    at, port = GROUP_BYTES, 0
    while at < len(body):
        host = _address(body[at : at + width])
        at += width
        if every_port or not found:
            (port,) = _PORT.unpack_from(body, at)
            at += _PORT.size
        if host is None or not 0 < port < 65536:
            return None
        found.append((host, port))
    return found


def _address(field: bytes) -> str | None:
    raw, _, padding = field.partition(b"\x00")
    try:
        host = raw.decode("ascii")
        ip_address(host)
    except ValueError:
        return None
    return None if padding.strip(b"\x00") else host


def _text(padded: bytes) -> str:
    return padded.partition(b"\x00")[0].decode("ascii", "replace")


def _misfit(body: bytes) -> FrameError:
    return FrameError(f"a tracker's answer of {len(body)} bytes is no list of storage servers")
