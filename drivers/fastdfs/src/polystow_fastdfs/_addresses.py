"""Where trackers send their clients: pure codecs of the answers that carry addresses.

Addresses take 15 bytes, or 45 from servers that answer at IPv6 size; the length of the whole
answer tells which (protocol reference, "Width of addresses").
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from attrs import frozen

from polystow_fastdfs._protocol import GROUP_BYTES, INT64, FrameError, read_text

_WIDTHS: Final = (15, 45)
_ADDRESS: Final = re.compile(rb"([0-9A-Fa-f:.]+)\x00*")


@frozen
class StorageAddress:
    """Where a tracker sends an operation (rows 101 to 104).

    Attributes:
        group: Group of the storage server.
        host: IPv4 or IPv6 address in text form.
        port: TCP port.
        path_index: Store path that the tracker chose for an upload, None for other operations.
    """

    group: str
    host: str
    port: int
    path_index: int | None = None


@lru_cache(maxsize=256)  # a cluster has few servers, and every operation asks for one
def parse_store_address(body: bytes) -> StorageAddress:
    """Read where to upload (rows 101 and 104): 40 bytes, or 70 with addresses at IPv6 width.

    Raises:
        FrameError: If the body has another length or no readable address.
    """
    address = _parse_address(body[:-1], len(body) - GROUP_BYTES - 9)
    return StorageAddress(address[0], address[1], address[2], body[-1])


@lru_cache(maxsize=256)
def parse_fetch_address(body: bytes) -> StorageAddress:
    """Read where to read or change a file (rows 102 and 103): 39 bytes, or 69 at IPv6 width.

    Raises:
        FrameError: If the body has another length or no readable address.
    """
    return StorageAddress(*_parse_address(body, len(body) - GROUP_BYTES - 8))


def _parse_address(body: bytes, width: int) -> tuple[str, str, int]:
    if width not in _WIDTHS:
        msg = f"a tracker's answer of {len(body)} bytes fits neither address width, 15 nor 45"
        raise FrameError(msg)
    end = GROUP_BYTES + width
    (port,) = INT64.unpack_from(body, end)
    host = read_text(body[GROUP_BYTES:end])
    if not host or not 0 < port < 65536:
        msg = f"a tracker named the storage server {host!r}, port {port}"
        raise FrameError(msg)
    return read_text(body[:GROUP_BYTES]), host, port


def parse_store_addresses(body: bytes) -> tuple[StorageAddress, ...]:
    """Read all servers that take uploads (rows 106 and 107), at least one.

    Raises:
        FrameError: If the body fits neither address width.
    """
    end = len(body) - 1
    for width in _WIDTHS:
        at = range(GROUP_BYTES, end, width + 8)
        if len(at) and at[-1] + width + 8 == end:
            found = _read_addresses(body, [(start, start + width) for start in at], width, body[-1])
            if found:
                return found
    raise _no_addresses(body)


def parse_fetch_addresses(body: bytes) -> tuple[StorageAddress, ...]:
    """Read all servers that have a file (row 105), at least one.

    Newer servers send a port with each address, older ones one port for all, after the first; the
    body's length tells them apart, and where it fits both, which of them gives addresses.

    Raises:
        FrameError: If the body has no such form.
    """
    end = len(body)
    for width in _WIDTHS:
        first = GROUP_BYTES + width + 8
        for step, port_of_each in ((width + 8, True), (width, False)):
            at = [GROUP_BYTES, *range(first, end, step)]
            if first > end or (end - first) % step:
                continue
            ports = [(start + width if port_of_each else first - 8) for start in at]
            found = _read_addresses(body, list(zip(at, ports, strict=True)), width)
            if found:
                return found
    raise _no_addresses(body)


def _read_addresses(
    body: bytes, places: list[tuple[int, int]], width: int, path_index: int | None = None
) -> tuple[StorageAddress, ...]:
    """Addresses and ports at these places; empty if one of them is none."""
    group = read_text(body[:GROUP_BYTES])
    found: list[StorageAddress] = []
    for start, port_at in places:
        host = _ADDRESS.fullmatch(body[start : start + width])
        (port,) = INT64.unpack_from(body, port_at)
        if host is None or not 0 < port < 65536:
            return ()
        found.append(StorageAddress(group, host[1].decode(), port, path_index))
    return tuple(found)


def _no_addresses(body: bytes) -> FrameError:
    msg = f"a tracker's answer of {len(body)} bytes holds no addresses of either width, 15 or 45"
    return FrameError(msg)
