"""The bytes of FastDFS: pure codecs of the requests and answers that the driver uses.

Nothing here does I/O. Numbers of commands, field widths, separators and the header's layout come
from aiofdfs; "row 14" in a docstring is the row of that command in the project's protocol table.
A frame is one complete request; for commands that carry a file, it is all that precedes the file.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, Literal

from aiofdfs import async_fdfs_protol as fdfs
from attrs import frozen

from polystow import Value

HEADER: Final[struct.Struct] = fdfs.Tracker_header().st  # type: ignore[no-untyped-call]
"""Body length, command, status: precedes every message in both directions."""

HEADER_BYTES: Final = HEADER.size
SERVER_PICKS_PATH: Final = 0xFF
"""The store path index that leaves the choice of the path to the storage server (row 11)."""

GROUP_BYTES: Final = fdfs.FDFS_GROUP_NAME_MAX_LEN
_EXTENSION_BYTES: Final = fdfs.FDFS_FILE_EXT_NAME_MAX_LEN
_ADDRESS_WIDTHS: Final = frozenset({15, 45})
_INFO_ADDRESS_WIDTHS: Final = frozenset({16, 46})
_CRC_MASK: Final = 0xFFFFFFFF
_SKIP_CRC: Final = 1
_MAX_SIZE: Final = 2**63 - 1
MAX_TIMESTAMP: Final = 253_402_300_799  # the end of the year 9999

_UPLOAD: Final = struct.Struct(f">QBBBQ{_EXTENSION_BYTES}s")
_NAMED: Final = struct.Struct(f">QBB{GROUP_BYTES}s")
_DOWNLOAD: Final = struct.Struct(f">QBBQQ{GROUP_BYTES}s")
_APPEND: Final = struct.Struct(">QBBQQ")
_MODIFY: Final = struct.Struct(">QBBQQQ")
_SLAVE: Final = struct.Struct(f">QBBQQ{fdfs.FDFS_FILE_PREFIX_MAX_LEN}s{_EXTENSION_BYTES}s")
_SET_METADATA: Final = struct.Struct(f">QBBQQc{GROUP_BYTES}s")
_INT64: Final = struct.Struct(">Q")
_INFO: Final = struct.Struct(">QqQ")

# aiofdfs has no constant for it.
_REGENERATE_APPENDER_NAME: Final = 38

STATUS_OK: Final = 0
STATUS_NOT_FOUND: Final = 2
STATUS_INVALID: Final = 22


class FrameError(ValueError):
    """An answer does not have the form that the protocol table gives for its command."""


@frozen(slots=False, eq=False, repr=False)  # made for each upload: slots take twice the time
class StorageAddress(Value):
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


@frozen(eq=False, repr=False)
class FileFacts(Value):
    """What a storage server knows of one file (row 22).

    Attributes:
        size: Size in bytes.
        timestamp: Unix time in seconds: creation of a normal file, last change of an appender file.
        crc32: zlib's CRC-32, already masked to 32 bits.
        source: Address of the storage server that took the upload.
    """

    size: int
    timestamp: int
    crc32: int
    source: str


def active_test() -> bytes:
    """Frame of the liveness test (row 111)."""
    return HEADER.pack(0, fdfs.FDFS_PROTO_CMD_ACTIVE_TEST, 0)


def quit_frame() -> bytes:
    """Frame that asks the server to close without a reply (row 82)."""
    return HEADER.pack(0, fdfs.FDFS_PROTO_CMD_QUIT, 0)


def query_store(group: str | None) -> bytes:
    """Frame that asks a tracker where to upload (rows 101 and 104).

    Args:
        group: The group to upload to, or None to let the tracker choose.
    """
    if group is None:
        return HEADER.pack(0, fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_STORE_WITHOUT_GROUP_ONE, 0)
    command = fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_STORE_WITH_GROUP_ONE
    return _NAMED.pack(GROUP_BYTES, command, 0, group.encode())


def query_fetch(group: str, name: bytes) -> bytes:
    """Frame that asks a tracker where to read a file (row 102)."""
    return _named(fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_FETCH_ONE, group, name)


def query_update(group: str, name: bytes) -> bytes:
    """Frame that asks a tracker where to change or delete a file (row 103)."""
    return _named(fdfs.TRACKER_PROTO_CMD_SERVICE_QUERY_UPDATE, group, name)


def upload(*, size: int, extension: bytes, path_index: int, appender: bool) -> bytes:
    """Frame of an upload, to be followed by `size` bytes (rows 11 and 23).

    Args:
        size: Bytes that follow.
        extension: Without its dot, at most 6 bytes; `b""` for none.
        path_index: Store path 0 to 254, or `SERVER_PICKS_PATH`.
        appender: Whether the new file can be appended to.
    """
    command = (
        fdfs.STORAGE_PROTO_CMD_UPLOAD_APPENDER_FILE
        if appender
        else fdfs.STORAGE_PROTO_CMD_UPLOAD_FILE
    )
    length = 9 + _EXTENSION_BYTES + size
    return _UPLOAD.pack(length, command, 0, path_index, size, extension)


def upload_slave(*, master: bytes, prefix: bytes, extension: bytes, size: int) -> bytes:
    """Frame of the upload of a slave file, to be followed by `size` bytes (row 21).

    Args:
        master: Name of the master, without its group.
        prefix: 1 to 16 bytes.
        extension: Without its dot, at most 6 bytes; `b""` for none.
        size: Bytes that follow.
    """
    length = _SLAVE.size - HEADER_BYTES + len(master) + size
    command = fdfs.STORAGE_PROTO_CMD_UPLOAD_SLAVE_FILE
    return _SLAVE.pack(length, command, 0, len(master), size, prefix, extension) + master


def append(name: bytes, size: int) -> bytes:
    """Frame of an append, to be followed by `size` bytes (row 24)."""
    length = 16 + len(name) + size
    return _APPEND.pack(length, fdfs.STORAGE_PROTO_CMD_APPEND_FILE, 0, len(name), size) + name


def modify(name: bytes, offset: int, size: int) -> bytes:
    """Frame that overwrites bytes from `offset` on, to be followed by `size` bytes (row 34)."""
    command = fdfs.STORAGE_PROTO_CMD_MODIFY_FILE
    return _MODIFY.pack(24 + len(name) + size, command, 0, len(name), offset, size) + name


def truncate(name: bytes, size: int) -> bytes:
    """Frame that cuts a file to `size` bytes, or fills it with zeros up to there (row 36)."""
    command = fdfs.STORAGE_PROTO_CMD_TRUNCATE_FILE
    return _APPEND.pack(16 + len(name), command, 0, len(name), size) + name


def regenerate(name: bytes) -> bytes:
    """Frame that makes an appender file a normal one, under a new name (row 38)."""
    return HEADER.pack(len(name), _REGENERATE_APPENDER_NAME, 0) + name


def delete(group: str, name: bytes) -> bytes:
    """Frame of a deletion (row 12)."""
    return _named(fdfs.STORAGE_PROTO_CMD_DELETE_FILE, group, name)


def download(group: str, name: bytes, offset: int, length: int) -> bytes:
    """Frame of a download (row 14).

    Args:
        group: Group of the file.
        name: File name without its group.
        offset: First byte.
        length: Number of bytes; 0 asks for all bytes from `offset` on.
    """
    return (
        _DOWNLOAD.pack(
            16 + GROUP_BYTES + len(name),
            fdfs.STORAGE_PROTO_CMD_DOWNLOAD_FILE,
            0,
            offset,
            length,
            group.encode(),
        )
        + name
    )


def get_metadata(group: str, name: bytes) -> bytes:
    """Frame that asks for a file's metadata (row 15)."""
    return _named(fdfs.STORAGE_PROTO_CMD_GET_METADATA, group, name)


def file_info(group: str, name: bytes, *, crc32: bool) -> bytes:
    """Frame that asks for a file's size, time, checksum and source (row 22).

    Args:
        group: Group of the file.
        name: File name without its group.
        crc32: Whether the checksum matters: for appender and slave files the server reads the
            whole file to compute it. Without, it answers 0 for those.
    """
    status = 0 if crc32 else _SKIP_CRC
    return _named(fdfs.STORAGE_PROTO_CMD_QUERY_FILE_INFO, group, name, status)


def list_group(group: str) -> bytes:
    """Frame that asks a tracker for one group's figures (row 90); 2 if there is no such group."""
    command = fdfs.TRACKER_PROTO_CMD_SERVER_LIST_ONE_GROUP
    return _NAMED.pack(GROUP_BYTES, command, 0, group.encode())


def set_metadata(
    group: str, name: bytes, metadata: bytes, mode: Literal["overwrite", "merge"]
) -> bytes:
    """Frame that writes metadata (row 13).

    Args:
        group: Group of the file.
        name: File name without its group.
        metadata: What `encode_metadata` returned; empty with "overwrite" deletes all metadata.
        mode: "overwrite" replaces all of it, "merge" adds to it and replaces equal names.
    """
    flag = (
        fdfs.STORAGE_SET_METADATA_FLAG_OVERWRITE
        if mode == "overwrite"
        else fdfs.STORAGE_SET_METADATA_FLAG_MERGE
    )
    length = 17 + GROUP_BYTES + len(name) + len(metadata)
    head = _SET_METADATA.pack(
        length,
        fdfs.STORAGE_PROTO_CMD_SET_METADATA,
        0,
        len(name),
        len(metadata),
        flag.encode(),
        group.encode(),
    )
    return b"".join((head, name, metadata))


def _named(command: int, group: str, name: bytes, status: int = 0) -> bytes:
    return _NAMED.pack(GROUP_BYTES + len(name), command, status, group.encode()) + name


def parse_header(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Read an answer's header.

    Args:
        data: At least `HEADER_BYTES` bytes; what follows them is ignored.

    Returns:
        Length of the body in bytes, and the status (0 is success).

    Raises:
        FrameError: If it is no answer: its command is not 100, or its length is negative.
    """
    length, command, status = HEADER.unpack_from(data)
    if command != fdfs.TRACKER_PROTO_CMD_RESP:
        msg = f"the answer's command is {command}, not {fdfs.TRACKER_PROTO_CMD_RESP}"
        raise FrameError(msg)
    if length > _MAX_SIZE:
        msg = f"the answer's length is {length}, which is negative as the server counts"
        raise FrameError(msg)
    return length, status


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
    if width not in _ADDRESS_WIDTHS:
        msg = f"a tracker's answer of {len(body)} bytes fits neither address width, 15 nor 45"
        raise FrameError(msg)
    end = GROUP_BYTES + width
    (port,) = _INT64.unpack_from(body, end)
    host = read_text(body[GROUP_BYTES:end])
    if not host or not 0 < port < 65536:
        msg = f"a tracker named the storage server {host!r}, port {port}"
        raise FrameError(msg)
    return read_text(body[:GROUP_BYTES]), host, port


def parse_new_id(body: bytes) -> tuple[str, bytes]:
    """Read the group and the name of a new file (rows 11, 21, 23 and 38).

    Raises:
        FrameError: If there is no name after the group.
    """
    name = body[GROUP_BYTES:].rstrip(b"\x00")
    group = read_text(body[:GROUP_BYTES])
    if not group or not name or not name.isascii():
        msg = f"the answer to an upload, {len(body)} bytes, holds no file id"
        raise FrameError(msg)
    return group, name


def parse_file_info(body: bytes) -> FileFacts:
    """Read a file's facts (row 22): 40 bytes, or 70 with the address at IPv6 width.

    The server sends the checksum sign-extended to 64 bits; it is masked here.

    Raises:
        FrameError: If the body has another length, or its numbers can't be.
    """
    if len(body) - _INFO.size not in _INFO_ADDRESS_WIDTHS:
        msg = f"file info of {len(body)} bytes fits neither address width, 16 nor 46"
        raise FrameError(msg)
    size, timestamp, crc32 = _INFO.unpack_from(body)
    if size > _MAX_SIZE:
        msg = f"file info gives the size {size}, which is negative as the server counts"
        raise FrameError(msg)
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        msg = f"file info gives the time {timestamp}, which is in no calendar"
        raise FrameError(msg)
    return FileFacts(size, timestamp, crc32 & _CRC_MASK, read_text(body[_INFO.size :]))


def read_text(padded: bytes) -> str:
    """Read a name or an address from a field that NULs fill up.

    Raises:
        FrameError: If it is not ASCII.
    """
    raw = padded.partition(b"\x00")[0]
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        msg = f"a name or address in the answer is not ASCII: {raw!r}"
        raise FrameError(msg) from None
