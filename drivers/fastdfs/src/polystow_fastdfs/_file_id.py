"""The grammar of FastDFS file ids, and all that an id tells without asking a server.

`group1/M00/02/44/wKgDrE34E8wAAAAAAAAGkEIYJK42378.sh` is the group, the store path, two levels of
directories, and a name of 27 base64 characters (20 bytes: source, time, size, crc32), then random
digits and the extension. Source: protocol reference, "File id".
"""

from __future__ import annotations

import binascii
import re
import struct
from typing import Final

from attrs import frozen

# The same as aiofdfs's constants, which a test compares; this module is imported with the package
# and so may not import the SDK.
_BASE64_CHARS: Final = 27
_TRUNK_CHARS: Final = 16
_TAIL_CHARS: Final = 7

MIN_NAME_BYTES: Final = 22
MAX_NAME_BYTES: Final = 127
"""A tracker refuses names, without their group, that are shorter or longer."""

_SHAPE: Final = re.compile(
    r"(?P<group>[A-Za-z0-9_-]{1,16})"
    r"/(?P<name>M(?P<path>[0-9A-F]{2})/[0-9A-F]{2}/[0-9A-F]{2}/(?P<base>[^/\x00-\x20\x7f]{12,117}))",
    re.ASCII,
)
_TAIL: Final = re.compile(r"[0-9]{7}|[0-9]{0,5}\.[^./]{1,6}", re.ASCII)

_FIELDS: Final = struct.Struct(">4sIQI")
_SMALL_SIZE: Final = 1 << 63
_APPENDER: Final = 1 << 58
_TRUNK: Final = 1 << 59
_LOW_WORD: Final = 0xFFFFFFFF
_MAX_SERVER_ID: Final = 0xFFFFFF


@frozen
class FileId:
    """A FastDFS file id, taken apart.

    Attributes:
        group: Group of storage servers that keeps the file.
        name: The rest of the id as the servers know it, `M00/…`.
        path_index: Store path on the servers, 0 to 255.
        source: IPv4 address (or the server id) of the storage server that took the upload; None
            when the name tells nothing.
        created_s: Unix time of the upload in seconds, None when the name tells nothing.
        size: Size in bytes; None for appender and slave files, whose names don't tell.
        crc32: zlib's CRC-32 of the content; None where the name doesn't tell the content's.
        appender: Whether the file can be appended to.
        trunk: Whether the file shares a trunk file with others.
        slave: Whether the name was derived from a master file's.
    """

    group: str
    name: str
    path_index: int
    source: str | None = None
    created_s: int | None = None
    size: int | None = None
    crc32: int | None = None
    appender: bool = False
    trunk: bool = False
    slave: bool = False

    @property
    def path(self) -> str:
        """The whole id, `group/Mxx/hh/ll/name`."""
        return f"{self.group}/{self.name}"

    @property
    def extension(self) -> str:
        """The extension without its dot, or an empty string."""
        return self.name.rpartition("/")[2].partition(".")[2]


def accepts(path: str) -> bool:
    """Whether `path` has the shape of a FastDFS file id; used to route ids that have no scheme.

    Args:
        path: Any id, without a scheme.
    """
    return path.isascii() and _SHAPE.fullmatch(path) is not None


def parse_file_id(path: str) -> FileId | None:
    """Take a file id apart.

    Args:
        path: `group/Mxx/hh/ll/name`.

    Returns:
        What the id tells, or None if `path` has not the shape of an id. An id of the right shape
        whose name does not decode (ids of very old servers) has its group, name and path only.
    """
    match = _SHAPE.fullmatch(path)
    if match is None or not path.isascii():
        return None
    group, name, path_index, base = (
        match["group"],
        match["name"],
        int(match["path"], 16),
        match["base"],
    )
    fields = _decode(base[:_BASE64_CHARS])
    if fields is None:
        return FileId(group, name, path_index)
    source, created_s, raw_size, crc32 = fields
    small = bool(raw_size & _SMALL_SIZE)
    appender = bool(raw_size & _APPENDER)
    trunk = bool(raw_size & _TRUNK)
    tail = base[_BASE64_CHARS + (_TRUNK_CHARS if trunk else 0) :]
    slave = len(tail) != _TAIL_CHARS or _TAIL.fullmatch(tail) is None
    own = not (appender or slave)
    size = (raw_size & _LOW_WORD if small or trunk else raw_size) if own else None
    return FileId(
        group,
        name,
        path_index,
        _source(source),
        created_s,
        size,
        crc32 if own else None,
        appender,
        trunk,
        slave,
    )


def _decode(text: str) -> tuple[bytes, int, int, int] | None:
    if len(text) != _BASE64_CHARS:
        return None
    try:
        raw = binascii.a2b_base64(text.encode().translate(_TO_STANDARD) + b"=", strict_mode=True)
    except binascii.Error:
        return None
    source, created_s, size, crc32 = _FIELDS.unpack(raw)
    return source, created_s, size, crc32


_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _source(raw: bytes) -> str:
    # A server id (use_storage_id with ids in names) is at most 24 bits, kept low byte first, so
    # it looks like an address that ends in .0, which no server has.
    number = int.from_bytes(raw, "little")
    return str(number) if number <= _MAX_SERVER_ID else ".".join(map(str, raw))
