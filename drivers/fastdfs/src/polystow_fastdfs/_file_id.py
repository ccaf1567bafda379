"""The grammar of FastDFS file ids, and all that an id tells without asking a server.

`group1/M00/02/44/wKgDrE34E8wAAAAAAAAGkEIYJK42378.sh` is the group, the store path, two levels of
directories, and a name of 27 base64 characters (20 bytes: source, time, size, crc32), then random
digits and the extension. Source: protocol reference, "File id".
"""

from __future__ import annotations

import binascii
import re
import struct
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, Self

from attrs import frozen

from polystow import InvalidPathError, Value

# The same as aiofdfs's constants, which a test compares; this module is imported with the package
# and so may not import the SDK.
_BASE64_CHARS: Final = 27
_TRUNK_CHARS: Final = 16
_TAIL_CHARS: Final = 7
MAX_PREFIX_BYTES: Final = 16
MAX_EXTENSION_BYTES: Final = 6

MAX_NAME_BYTES: Final = 127
"""A tracker refuses longer names, counted without their group."""

_DIRECTORIES: Final = "M00/00/00/"
_MIN_NAME_BYTES: Final = len(_DIRECTORIES) + _BASE64_CHARS + 1
_FREE_BYTES: Final = MAX_NAME_BYTES - len(_DIRECTORIES) - _BASE64_CHARS

_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,16}", re.ASCII)
_STORE_PATH: Final = re.compile(r"M[0-9A-F]{2}", re.ASCII)
_DIRECTORY: Final = re.compile(r"[0-9A-F]{2}", re.ASCII)
_BASE64: Final = re.compile(rf"[A-Za-z0-9_-]{{{_BASE64_CHARS}}}", re.ASCII)
_REFUSED: Final = re.compile(r"[^\x21-\x7e]")
_ID: Final = re.compile(
    rf"(?!.*\.\.)(?P<group>{_GROUP.pattern})/"
    rf"(?P<name>M(?P<path>[0-9A-F]{{2}})/[0-9A-F]{{2}}/[0-9A-F]{{2}}/"
    rf"(?P<packed>{_BASE64.pattern})(?P<rest>[\x21-\x2e\x30-\x7e]{{1,{_FREE_BYTES}}}))",
    re.ASCII,
)
_TAIL: Final = re.compile(r"[0-9]{7}|[0-9]{0,5}\.[^/]{1,6}", re.ASCII)
_NAME_PART: Final = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)
_EXTENSION: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)

_FIELDS: Final = struct.Struct(">4sIQI")
_SMALL_SIZE: Final = 1 << 63
_APPENDER: Final = 1 << 58
_TRUNK: Final = 1 << 59
_LOW_WORD: Final = 0xFFFFFFFF
_MAX_SERVER_ID: Final = 0xFFFFFF
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

type FileKind = Literal["normal", "appender", "slave"]


@frozen(slots=False, eq=False, repr=False)  # made for each new file: slots take twice the time
class FileId(Value):
    """A FastDFS file id, taken apart; made by `parse`.

    Attributes:
        group: Group of storage servers that keeps the file.
        name: The rest of the id as the servers know it, `M00/…`.
        path_index: Store path on the servers, 0 to 255.
        source: IPv4 address of the storage server that took the upload, or its id in digits where
            the cluster puts ids into names. Of a slave file, the one that took its master.
        created_s: Unix time of the upload in seconds; of a slave file, its master's.
        size: Size in bytes; None for appender and slave files, whose names don't tell.
        crc32: zlib's CRC-32 of the content; None where the name doesn't tell the content's.
        appender: Whether the file can be appended to; a slave of an appender file can, too.
        trunk: Whether the file shares a trunk file with others.
        slave: Whether the name was derived from a master file's.
    """

    group: str
    name: str
    path_index: int
    source: str
    created_s: int
    size: int | None = None
    crc32: int | None = None
    appender: bool = False
    trunk: bool = False
    slave: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take an id apart, asking no server.

        Args:
            text: `group/Mxx/hh/ll/name`, without a scheme.

        Raises:
            InvalidPathError: It is no FastDFS id; the message says why.
        """
        return cls._parse(text)

    @classmethod
    @lru_cache(maxsize=1024)  # what was just uploaded or read is read or deleted next
    def _parse(cls, text: str) -> Self:
        match = _ID.fullmatch(text)
        if match is None:
            raise _refusal(text, _why_refused(text))
        group, name, path_index, packed, rest = match.groups()
        source, created_s, raw_size, crc32 = _FIELDS.unpack(
            binascii.a2b_base64(packed.encode().translate(_TO_STANDARD) + b"=")
        )
        trunk = bool(raw_size & _TRUNK)
        if trunk and len(rest) <= _TRUNK_CHARS:
            raise _refusal(text, f"a trunk file's name has {_TRUNK_CHARS} characters more")
        tail = rest[_TRUNK_CHARS:] if trunk else rest
        slave = len(tail) != _TAIL_CHARS or _TAIL.fullmatch(tail) is None
        appender = bool(raw_size & _APPENDER)
        own = not (appender or slave)
        in_low_word = trunk or raw_size & _SMALL_SIZE
        return cls(
            group,
            name,
            int(path_index, 16),
            _source(source),
            created_s,
            (raw_size & _LOW_WORD if in_low_word else raw_size) if own else None,
            crc32 if own else None,
            appender,
            trunk,
            slave,
        )

    def __str__(self) -> str:
        return self.path

    @property
    def path(self) -> str:
        """The whole id, `group/Mxx/hh/ll/name`."""
        return f"{self.group}/{self.name}"

    @property
    def kind(self) -> FileKind:
        """What was uploaded: a file of its own, one that can be appended to, or a master's slave.

        Whether it lies in a trunk file is the server's affair; see `trunk`.
        """
        return "slave" if self.slave else "appender" if self.appender else "normal"

    @property
    def mistakable(self) -> bool:
        """Whether it is a slave file whose server takes it for a file of its own.

        Servers go by the length of a name. Of a slave whose name is as short as its master's they
        tell the master's checksum, and they don't find it in a trunk file (seen on 6.16.1).
        """
        longest = len(_DIRECTORIES) + _BASE64_CHARS + _TAIL_CHARS
        return self.slave and len(self.name) <= longest + (_TRUNK_CHARS if self.trunk else 0)

    @property
    def created(self) -> datetime:
        """Time of the upload, in UTC; of a slave file, its master's."""
        return datetime.fromtimestamp(self.created_s, UTC)

    @property
    def extension(self) -> str:
        """The extension without its dot, or an empty string."""
        return self.name[self._stem_end() :].removeprefix(".")

    def slave_id(self, prefix: str, extension: str) -> FileId:
        """The id that a slave file of this one has: the name without its extension, then these.

        Args:
            prefix: What tells this slave from others, 1 to 16 of ASCII letters, digits, `.`, `_`
                and `-`, such as `_150x150`.
            extension: Without its dot, up to 6 bytes; an empty string for none.

        Raises:
            InvalidPathError: FastDFS can't have such a slave; the message says why.
        """
        check_extension(extension)
        mistake = None
        if not 0 < len(prefix) <= MAX_PREFIX_BYTES or not _NAME_PART.fullmatch(prefix):
            mistake = f"give 1 to {MAX_PREFIX_BYTES} of A-Z, a-z, 0-9, '.', '_' and '-'"
        elif prefix == "-m" and not extension:
            mistake = "without an extension that is the name of the master's metadata"
        name = self.name[: self._stem_end()] + prefix + (f".{extension}" if extension else "")
        if mistake is None and len(name) > MAX_NAME_BYTES:
            mistake = f"the name gets {len(name)} bytes, and trackers take {MAX_NAME_BYTES}"
        elif mistake is None and ".." in name:
            mistake = "the name would contain '..'"
        if mistake is None:
            slave = FileId.parse(f"{self.group}/{name}")
            if slave.slave and not slave.mistakable:
                return slave
            mistake = "servers would take it for a file of its own; give a longer one"
        message = f"{prefix!r} can't be the prefix of a slave file of {self.path}: {mistake}"
        raise InvalidPathError(message)

    def _stem_end(self) -> int:
        # Servers look for the first dot of the last seven characters.
        end = self.name.find(".", len(self.name) - _TAIL_CHARS)
        return len(self.name) if end < 0 else end


def accepts(path: str) -> bool:
    """Whether `path` has the shape of a FastDFS file id; used to route ids that have no scheme.

    Args:
        path: Any id, without a scheme.
    """
    try:
        FileId.parse(path)
    except InvalidPathError:
        return False
    return True


def find_group_mistake(group: str) -> str | None:
    """Say why a text is no group name, or None."""
    if _GROUP.fullmatch(group):
        return None
    return f"{group!r} is no group name: 1 to 16 of A-Z, a-z, 0-9, '_' and '-'"


def check_extension(extension: str) -> None:
    """Check an extension that a caller gave for a new file, without its dot.

    Raises:
        InvalidPathError: Servers refuse it.
    """
    if not extension:
        return
    if len(extension) > MAX_EXTENSION_BYTES or not _EXTENSION.fullmatch(extension):
        message = (
            f"{extension!r} can't be the extension of a FastDFS file: give at most"
            f" {MAX_EXTENSION_BYTES} of A-Z, a-z, 0-9, '_', '-' and '.', without the first dot"
        )
        raise InvalidPathError(message)


def _refusal(text: str, reason: str) -> InvalidPathError:
    shown = text if len(text) <= 160 else f"{text[:160]}…"
    return InvalidPathError(f"{shown!r} is no FastDFS id: {reason}")


def _why_refused(text: str) -> str:
    if not text:
        return "it is empty; ids look like group1/M00/00/0A/wKgB….jpg"
    if ".." in text:
        return "it contains '..'"
    if refused := _REFUSED.search(text):
        return f"it contains {refused[0]!r}, and ids are printable ASCII without spaces"
    parts = text.split("/")
    if len(parts) != 5:
        found = f"{len(parts)} part" + "s" * (len(parts) != 1)
        return f"it has {found} between slashes, not the five of group1/M00/00/0A/wKgB….jpg"
    group, store_path, *directories, name = parts
    if mistake := find_group_mistake(group):
        return mistake
    if not _STORE_PATH.fullmatch(store_path):
        return f"{store_path!r} is no store path: M and two of 0-9 and A-F"
    for directory in directories:
        if not _DIRECTORY.fullmatch(directory):
            return f"{directory!r} is no directory: two of 0-9 and A-F"
    length = len(_DIRECTORIES) + len(name)
    if not _MIN_NAME_BYTES <= length <= MAX_NAME_BYTES:
        limits = f"{_MIN_NAME_BYTES} to {MAX_NAME_BYTES}"
        return f"after the group come {length} characters, and it takes {limits}"
    return f"{name[:_BASE64_CHARS]!r} is not made of A-Z, a-z, 0-9, '-' and '_' alone"


@lru_cache(maxsize=256)
def _source(raw: bytes) -> str:
    # A server id (use_storage_id with ids in names) is at most 24 bits, kept low byte first, so
    # it looks like an address that ends in .0, which no server has.
    number = int.from_bytes(raw, "little")
    return str(number) if number <= _MAX_SERVER_ID else ".".join(map(str, raw))
