"""Headers, fields and records of the FastDFS protocol, so that no other module counts bytes.

Everything here is a pure function of its arguments. The facts come from the project's protocol
table (``fastdfs-protocol.md``); each docstring names the row.
"""

import enum
import struct

import attrs

HEADER_BYTES = 10
GROUP_BYTES = 16
MAX_GROUP_NAME_BYTES = 16
EXTENSION_BYTES = 6
PREFIX_BYTES = 16
RESPONSE_COMMAND = 100
GROUP_RECORD_BYTES = 113
STORAGE_COUNTERS = 42
HTTP_PORT = 8888

_HEADER = struct.Struct(">qBB")
_GROUP_RECORD = struct.Struct(">17s12q")
_INT64 = struct.Struct(">q")


class Command(enum.IntEnum):
    """Command numbers of requests (protocol table, first column)."""

    QUIT = 82
    LIST_ONE_GROUP = 90
    LIST_ALL_GROUPS = 91
    LIST_STORAGES = 92
    TRACKER_LEADER = 95
    QUERY_STORE = 101
    QUERY_FETCH = 102
    QUERY_UPDATE = 103
    QUERY_STORE_IN_GROUP = 104
    QUERY_FETCH_ALL = 105
    QUERY_STORE_ALL = 106
    QUERY_STORE_IN_GROUP_ALL = 107
    ACTIVE_TEST = 111
    UPLOAD = 11
    DELETE = 12
    SET_METADATA = 13
    DOWNLOAD = 14
    GET_METADATA = 15
    UPLOAD_SLAVE = 21
    FILE_INFO = 22
    UPLOAD_APPENDER = 23
    APPEND = 24
    MODIFY = 34
    TRUNCATE = 36
    REGENERATE_APPENDER_NAME = 38


class Status(enum.IntEnum):
    """Status bytes of responses; they are Linux errno values (protocol facts, "Statuses")."""

    OK = 0
    NOT_FOUND = 2
    EXISTS = 17
    INVALID = 22
    NO_SPACE = 28


@attrs.frozen
class Header:
    """The ten bytes before every message.

    Attributes:
        body_length: Bytes after the header; signed here, so that nonsense is seen as nonsense.
        command: A `Command`, or 100 in a response.
        status: Zero or an errno; in requests zero, save for a flag of command 22.
    """

    body_length: int
    command: int
    status: int = 0


def encode_header(header: Header) -> bytes:
    """Return the ten bytes of a header (`>QBB`)."""
    return _HEADER.pack(header.body_length, header.command, header.status)


def decode_header(data: bytes) -> Header:
    """Read ten bytes as a header.

    Raises:
        struct.error: `data` is not ten bytes long.
    """
    return Header(*_HEADER.unpack(data))


def encode_response(status: int, body_length: int) -> bytes:
    """Return the header of a response; its command is always 100."""
    return _HEADER.pack(body_length, RESPONSE_COMMAND, status)


def encode_int(value: int) -> bytes:
    """Return a signed 64-bit big-endian integer (`L` of the table)."""
    return _INT64.pack(value)


def decode_int(data: bytes, offset: int = 0) -> int:
    """Read a signed 64-bit big-endian integer at `offset`.

    Raises:
        struct.error: Fewer than eight bytes are there.
    """
    value: int = _INT64.unpack_from(data, offset)[0]
    return value


def pad(text: str | bytes, width: int) -> bytes:
    """Return `text` as bytes, cut or padded with NULs to `width`."""
    raw = text.encode() if isinstance(text, str) else text
    return raw[:width].ljust(width, b"\0")


def unpad(field: bytes) -> bytes:
    """Return a NUL-padded field up to its first NUL."""
    return field.partition(b"\0")[0]


def signed(crc32: int) -> int:
    """Return `crc32` as the real server sends it: its 32nd bit extended to 64.

    Source: protocol facts, "crc32".
    """
    return crc32 - (1 << 32) if crc32 & 0x80000000 else crc32


@attrs.frozen
class Widths:
    """Bytes of the two address fields.

    Attributes:
        short: The `ip15` of the table.
        long: The `ip16` of the table.
    """

    short: int = 15
    long: int = 16


IPV4_WIDTHS = Widths()
IPV6_WIDTHS = Widths(short=45, long=46)


@attrs.frozen
class Endpoint:
    """Where a storage server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def encode_store(
    group: str, endpoints: list[Endpoint], path_index: int, widths: Widths = IPV4_WIDTHS
) -> bytes:
    """Answer "where may I upload?" (rows 101, 104, 106, 107)."""
    servers = b"".join(pad(e.host, widths.short) + encode_int(e.port) for e in endpoints)
    return pad(group, GROUP_BYTES) + servers + bytes([path_index])


def encode_fetch(
    group: str,
    endpoints: list[Endpoint],
    widths: Widths = IPV4_WIDTHS,
    *,
    every_port: bool = True,
) -> bytes:
    """Answer "where is this file?" (rows 102, 103, 105).

    Args:
        group: Its name.
        endpoints: The servers that have the file, at least one.
        widths: Of the addresses.
        every_port: Send a port with each address, as 6.16.1 was seen to do; otherwise with the
            first only, as the protocol table has it for older servers.
    """
    first, *others = endpoints
    return (
        pad(group, GROUP_BYTES)
        + pad(first.host, widths.short)
        + encode_int(first.port)
        + b"".join(
            pad(e.host, widths.short) + (encode_int(e.port) if every_port else b"") for e in others
        )
    )


def encode_file_info(
    size_bytes: int, modified: int, crc32: int, source_host: str, widths: Widths = IPV4_WIDTHS
) -> bytes:
    """Answer command 22: size, Unix time, sign-extended crc32, source address."""
    numbers = encode_int(size_bytes) + encode_int(modified) + encode_int(signed(crc32))
    return numbers + pad(source_host, widths.long)


@attrs.frozen(kw_only=True)
class GroupRecord:
    """One group in the answers to commands 90 and 91; sizes are in MB."""

    name: str
    total_mb: int
    free_mb: int
    reserved_mb: int
    trunk_free_mb: int
    storage_count: int
    storage_port: int
    readable_count: int
    writable_count: int
    current_write: int
    path_count: int
    subdir_count: int
    trunk_id: int


def encode_group_record(record: GroupRecord) -> bytes:
    """Return the 113 bytes of a group (rows 90 and 91)."""
    name, *numbers = attrs.astuple(record)
    return _GROUP_RECORD.pack(pad(name, 17), *numbers)


def encode_old_group_record(record: GroupRecord) -> bytes:
    """Return the 105 bytes of a group, as servers before 6.13 send it (by their source)."""
    r = record
    numbers = (
        *(r.total_mb, r.free_mb, r.trunk_free_mb, r.storage_count, r.storage_port),
        *(HTTP_PORT, r.writable_count, r.current_write, r.path_count, r.subdir_count),
    )
    return pad(r.name, 17) + struct.pack(">11q", *numbers, r.trunk_id)


@attrs.frozen(kw_only=True)
class StorageRecord:
    """One storage server in the answer to command 92; sizes are in MB, times Unix seconds."""

    status: int
    read_write: int
    storage_id: str
    host: str
    source_host: str
    version: str
    joined: int
    up: int
    total_mb: int
    free_mb: int
    reserved_mb: int
    priority: int
    path_count: int
    subdir_count: int
    current_path: int
    port: int
    connections: tuple[int, int, int]
    counters: tuple[int, ...] = attrs.field(
        validator=[attrs.validators.min_len(STORAGE_COUNTERS), attrs.validators.max_len(42)]
    )
    is_trunk_server: bool = False


def encode_storage_record(record: StorageRecord, widths: Widths = IPV4_WIDTHS) -> bytes:
    """Return the 487 bytes of a storage server (517 at IPv6 size; row 92)."""
    r = record
    numbers = (
        *(r.joined, r.up, r.total_mb, r.free_mb, r.reserved_mb, r.priority),
        *(r.path_count, r.subdir_count, r.current_path, r.port),
    )
    return (
        bytes([r.status, r.read_write])
        + pad(r.storage_id, 16)
        + pad(r.host, widths.long)
        + pad(r.source_host, 16)
        + pad(r.version, 8)
        + _encode_figures(r, numbers)
    )


def encode_old_storage_record(record: StorageRecord, widths: Widths = IPV4_WIDTHS) -> bytes:
    """Return the 614 bytes of a storage server (644 at IPv6 size), as 6.12 sends it."""
    r = record
    numbers = (
        *(r.joined, r.up, r.total_mb, r.free_mb, r.priority),
        *(r.path_count, r.subdir_count, r.current_path, r.port, HTTP_PORT),
    )
    return (
        bytes([r.status])
        + pad(r.storage_id, 16)
        + pad(r.host, widths.long)
        + bytes(128)
        + pad(r.source_host, 16)
        + pad(r.version, 8)
        + _encode_figures(r, numbers)
    )


def _encode_figures(record: StorageRecord, numbers: tuple[int, ...]) -> bytes:
    r = record
    return struct.pack(">10q3i42q?", *numbers, *r.connections, *r.counters, r.is_trunk_server)
