"""Local names for keys: a recursive download stays inside its folder."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from polystow_cli._exits import CommandError, Exit


class Folder:
    """A folder that keys are downloaded into.

    Args:
        root: The folder; it is made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._taken: dict[str, Path] = {}

    def place(self, relative: str) -> Path:
        """The file for what is left of a key.

        Raises:
            CommandError: It has a segment that is empty, `.` or `..`, or that this system does
                not take; it would go through a symbolic link; or it differs from an earlier one
                only in case and this file system does not tell them apart.
        """
        segments = relative.split("/")
        for segment in segments:
            if segment in {"", ".", ".."} or "\0" in segment:
                raise CommandError(
                    f"{relative!r} can't be a local file: it has the segment {segment!r}",
                    Exit.FAILED,
                )
            if os.sep in segment or (sys.platform == "win32" and set(segment) & set('\\:*?"<>|')):
                raise CommandError(
                    f"{relative!r} can't be a local file on this system", Exit.FAILED
                )
        path = self._root.joinpath(*segments)
        for parent in (path, *path.parents):
            if parent == self._root:
                break
            if parent.is_symlink():
                raise CommandError(
                    f"{relative!r} would be written through the symbolic link {str(parent)!r}; "
                    "remove it first",
                    Exit.FAILED,
                )
        earlier = self._taken.setdefault(relative.casefold(), path)
        if earlier != path and path.exists() and earlier.exists() and path.samefile(earlier):
            raise CommandError(
                f"{relative!r} differs from another key only in case, which this file system "
                "does not tell apart",
                Exit.EXISTS,
            )
        return path


class LocalEntry(NamedTuple):
    """A file below a folder.

    Attributes:
        path: The file.
        relative: Its path from the folder, with slashes.
        size: In bytes.
    """

    path: str
    relative: str
    size: int


def walk(root: Path) -> Iterator[LocalEntry]:
    """The regular files below a folder, sorted; links are left.

    Raises:
        OSError: A folder can't be read.
    """

    def failed(error: OSError) -> None:
        raise error

    for folder, names, files in os.walk(root, onerror=failed):
        names.sort()
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118 - five times as fast as a `Path`
            status = os.lstat(path)
            if S_ISREG(status.st_mode):
                yield LocalEntry(path, prefix + name, status.st_size)
