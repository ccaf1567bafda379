"""Questions to a storage server about one file, on a connection that the caller holds."""

from __future__ import annotations

from typing import Final

from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._connection import Connection
from polystow_fastdfs._faults import StatusFault
from polystow_fastdfs._file_id import FileId

MAX_CRC_BYTES: Final = 64 * 1024 * 1024
"""Up to this size servers are asked for the checksum of an appender or slave file, for which they
read it; ids of normal files hold theirs."""


SLOWEST_READ_BYTES_PER_S: Final = 10 * 1024 * 1024
"""How slowly a server may read a file whose checksum it has to compute."""


def reading_limit_s(connection: Connection, size_bytes: int) -> float:
    """How long a server may take to answer that reads a file of that size to do so."""
    return connection.limit_s + size_bytes / SLOWEST_READ_BYTES_PER_S


async def ask_size(connection: Connection, file: FileId) -> int:
    """The size of a file, for which its server need not read it (row 22).

    Raises:
        StatusFault: If the server refused; 2 means that there is no such file.
        WireFault: If the exchange failed.
    """
    frame = protocol.file_info(file.group, file.name.encode(), crc32=False)
    return protocol.parse_file_info(await connection.call(frame)).size


async def ask_facts(connection: Connection, file: FileId) -> tuple[protocol.FileFacts, int | None]:
    """A file's facts, and its checksum if the server can tell it at a fair price (row 22).

    Raises:
        StatusFault: If the server refused; 2 means that there is no such file.
        WireFault: If the exchange failed.
    """
    name = file.name.encode()
    facts = protocol.parse_file_info(
        await connection.call(protocol.file_info(file.group, name, crc32=False))
    )
    if file.crc32 is not None or facts.size > MAX_CRC_BYTES or file.mistakable:
        return facts, file.crc32
    facts = protocol.parse_file_info(
        await connection.call(protocol.file_info(file.group, name, crc32=True))
    )
    return facts, facts.crc32


async def ask_metadata(connection: Connection, file: FileId) -> bytes:
    """A file's metadata as they are kept (row 15).

    Returns:
        Nothing for a file without any, and for one that is not there.

    Raises:
        StatusFault: If the server refused.
        WireFault: If the exchange failed.
    """
    try:
        return await connection.call(protocol.get_metadata(file.group, file.name.encode()))
    except StatusFault as fault:
        if fault.status != protocol.STATUS_NOT_FOUND:
            raise
        return b""
