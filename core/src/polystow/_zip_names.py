"""Names inside an archive: none leaves the folder that it is unpacked in, none comes twice."""

import re
from unicodedata import normalize

from polystow._errors import InvalidPathError
from polystow._values import ObjectInfo

MAX_NAME_BYTES = 65_535
"""The longest name of a member, in bytes of UTF-8 (APPNOTE, 4.4.10)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVES = re.compile(r"([A-Za-z]:)+")


def member_name(name: str | None, info: ObjectInfo) -> str:
    """The name of an object in the archive: it can't leave the folder that it is unpacked in.

    Backslashes count as slashes; empty, `.` and `..` segments, drive letters and control
    characters are dropped.

    Args:
        name: What the caller wants; None for the original name, or the end of the id.
        info: The object.
    """
    name = name or info.filename or info.uri.rpartition("/")[2]
    name = _CONTROL.sub("", name).replace("\\", "/")
    # A lone surrogate has no place in UTF-8.
    name = name.encode("utf-8", "replace").decode()
    segments = [segment[_drives_end(segment) :] for segment in name.split("/")]
    return "/".join(part for part in segments if part.strip(" .")) or "file"


def check_member_name(name: str, file_id: str) -> None:
    """Refuse a name that no archive can have.

    Raises:
        InvalidPathError: It is too long.
    """
    size = len(name.encode("utf-8", "replace"))
    if size > MAX_NAME_BYTES:
        raise InvalidPathError(
            f"its name in the archive has {size} bytes; at most {MAX_NAME_BYTES} are possible",
            path=file_id,
            operation="zip",
        )


def _drives_end(segment: str) -> int:
    drives = _DRIVES.match(segment)
    return 0 if drives is None else drives.end()


class Names:
    """The names that an archive has so far.

    Names that differ only in case or in the form of their Unicode text count as the same, since
    some file systems hold so; and no name is also a folder.
    """

    def __init__(self) -> None:
        # Each with the last number that was tried, so that a thousand of one name take no
        # quadratic time.
        self._files: dict[str, int] = {}
        self._folders: set[str] = set()

    def take(self, name: str) -> str:
        """`name`, with `_1`, `_2` … before its extension if it is taken; takes it."""
        *folders, base = name.split("/")
        parent = ""
        for folder in folders:
            parent = self._free(parent, folder, folder=True)
            self._folders.add(_folded(parent))
            parent += "/"
        taken = self._free(parent, base, folder=False)
        self._files.setdefault(_folded(taken), 0)
        return taken

    def _free(self, parent: str, name: str, *, folder: bool) -> str:
        first = candidate = parent + name
        if self._is_free(candidate, folder=folder):
            return candidate
        stem, dot, extension = name.rpartition(".")
        if folder or not stem:
            stem, dot, extension = name, "", ""
        number = self._files.get(_folded(first), 0)
        while not self._is_free(candidate, folder=folder):
            number += 1
            candidate = f"{parent}{stem}_{number}{dot}{extension}"
        if not folder:
            self._files[_folded(first)] = number
        return candidate

    def _is_free(self, name: str, *, folder: bool) -> bool:
        folded = _folded(name)
        return folded not in self._files and (folder or folded not in self._folders)


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()
