"""File ids: what a FastDFS name says about its file, and how to make one.

``M00/hh/ll/`` + 27 base64 characters + a tail of 7 characters. The base64 part holds source IPv4,
creation time, size with flags, and crc32 (protocol facts, "File id").
"""

import base64
import binascii
import ipaddress
import re
import struct

import attrs

NAME_BYTES = 44
MAX_NAME_BYTES = 150
"""A live server takes 130 bytes and refuses 244."""
APPENDER_FLAG = 1 << 58
TRUNK_FLAG = 1 << 59
SMALL_FLAG = 1 << 63
SMALL_LIMIT_BYTES = 1 << 32
RANDOM_BITS = 23
MAX_EXTENSION_BYTES = 6

_PACKED = struct.Struct(">4sIQI")
_NAME = re.compile(
    r"M(?P<path>[0-9A-F]{2})/(?P<high>[0-9A-F]{2})/(?P<low>[0-9A-F]{2})/"
    r"(?P<packed>[A-Za-z0-9_-]{27})(?P<rest>[^/\0]*)"
)
_PATH = re.compile(r"M(?P<path>[0-9A-F]{2})/[0-9A-F]{2}/[0-9A-F]{2}/[^/\0]+")


@attrs.frozen(kw_only=True)
class FileStamp:
    """The 20 bytes inside a file name.

    Attributes:
        source_ip: IPv4 address of the storage server that took the upload.
        created: Unix time in seconds.
        size_field: Size with its flags and random bits, as in the name.
        crc32: Of the (first) content, unsigned.
    """

    source_ip: str
    created: int
    size_field: int
    crc32: int

    @property
    def is_appender(self) -> bool:
        """Whether the file can grow: bit 58."""
        return self.size_field & SMALL_FLAG != 0 and self.size_field & APPENDER_FLAG != 0

    @property
    def size_bytes(self) -> int | None:
        """Size in the name, or None for an appender, whose name doesn't tell."""
        if self.is_appender:
            return None
        if self.size_field & SMALL_FLAG:
            return self.size_field & (SMALL_LIMIT_BYTES - 1)
        return self.size_field


@attrs.frozen(kw_only=True)
class FileName:
    """A file name without its group, taken apart.

    Attributes:
        path_index: Number of the store path (`M00` is 0).
        directory: The two levels below it, such as `00/1F`.
        stamp: What the base64 part says.
        tail: What follows it: digits and extension; for slaves the prefix too.
    """

    path_index: int
    directory: str
    stamp: FileStamp
    tail: str


def size_field(size_bytes: int, random_bits: int, *, appender: bool = False) -> int:
    """Return the uint64 for a file of `size_bytes`, with flags and random bits.

    Under 4 GiB the high word is `0x80000000` and 23 random bits; from 4 GiB on the size is raw;
    an appender file has bit 58 set and a low word of 0.
    """
    noise = (random_bits & ((1 << RANDOM_BITS) - 1)) << 32
    if appender:
        return SMALL_FLAG | APPENDER_FLAG | noise
    if size_bytes < SMALL_LIMIT_BYTES:
        return SMALL_FLAG | noise | size_bytes
    return size_bytes


def encode_stamp(stamp: FileStamp) -> str:
    """Return the 27 base64 characters of a stamp."""
    packed = _PACKED.pack(
        ipaddress.IPv4Address(stamp.source_ip).packed,
        stamp.created,
        stamp.size_field,
        stamp.crc32,
    )
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_stamp(text: str) -> FileStamp:
    """Read 27 base64 characters as a stamp.

    Raises:
        ValueError: `text` is not base64 of 20 bytes.
    """
    try:
        packed = base64.b64decode(text + "=", altchars=b"-_", validate=True)
        address, created, size, crc32 = _PACKED.unpack(packed)
    except (binascii.Error, struct.error) as error:
        message = f"{text!r} is not the base64 form of 20 bytes"
        raise ValueError(message) from error
    source_ip = str(ipaddress.IPv4Address(address))
    return FileStamp(source_ip=source_ip, created=created, size_field=size, crc32=crc32)


def make_tail(extension: str, digits: int) -> str:
    """Return the 7 characters that end a name: digits from `digits`, then `.extension`.

    Args:
        extension: Without its dot, 0 to 6 characters.
        digits: A random number; as many of its last digits are used as there is room for.
    """
    suffix = f".{extension}" if extension else ""
    room = MAX_EXTENSION_BYTES + 1 - len(suffix)
    return (f"{digits % 10**room:0{room}d}" if room else "") + suffix


def make_name(stamp: FileStamp, *, path_index: int = 0, directory: str = "00/00", tail: str) -> str:
    """Return a whole file name."""
    return f"M{path_index:02X}/{directory}/{encode_stamp(stamp)}{tail}"


def parse_name(name: str) -> FileName:
    """Take a file name (without its group) apart.

    Raises:
        ValueError: It has not the form of one.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        message = f"{name!r} is no FastDFS file name"
        raise ValueError(message)
    return FileName(
        path_index=int(match["path"], 16),
        directory=f"{match['high']}/{match['low']}",
        stamp=decode_stamp(match["packed"]),
        tail=match["rest"],
    )


def slave_name(master: str, prefix: str, extension: str) -> str:
    """Return the name of a slave file: the master's without its extension + prefix + `.ext`.

    The extension begins at the first dot of the last 7 characters, so `.tar.gz` goes as a whole.

    Args:
        master: The master's name, without its group.
        prefix: What tells this slave from others, 1 to 16 characters.
        extension: Of the slave, without its dot; empty for none.
    """
    stem_end = master.find(".", len(master) - MAX_EXTENSION_BYTES - 1)
    stem = master if stem_end < 0 else master[:stem_end]
    return f"{stem}{prefix}" + (f".{extension}" if extension else "")


def path_index_of(name: str) -> int:
    """Return the store path of a name, checked only as far as a storage server checks it.

    A live server (6.16.1) takes any characters but `/` after the directories, and then doesn't
    find the file.

    Raises:
        ValueError: The name has not the form `M00/hh/ll/…`, or is too long.
    """
    match = _PATH.fullmatch(name)
    if match is None or len(name) > MAX_NAME_BYTES:
        message = f"{name!r} is no file name"
        raise ValueError(message)
    return int(match["path"], 16)


def split_file_id(file_id: str) -> tuple[str, str]:
    """Split `group1/M00/...` into group and file name.

    Raises:
        ValueError: There is no group or no name.
    """
    group, _, name = file_id.partition("/")
    if not group or not name:
        message = f"{file_id!r} is no FastDFS file id: expected 'group/M00/...'"
        raise ValueError(message)
    return group, name
