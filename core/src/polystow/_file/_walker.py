"""The keys below a container, in the order of their bytes, with bounded memory.

What can't match is not entered. Of a directory's names no more than a batch is kept, however many
there are; a huge directory is read again for the next batch.
"""

import heapq
import os
from collections.abc import Iterator
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from attrs import define

from polystow._errors import StorageError
from polystow._file._grammar import Components
from polystow._file._listing import Found, Kind, is_wanted, only_name
from polystow._file._tree import Tree, lstat, open_child_directory

_BATCH = 1000


class _Candidate(NamedTuple):
    name: bytes  # with a slash at the end if it is a directory: so it sorts right
    is_link: bool


@define(eq=False)
class _Level:
    fd: int
    components: Components
    base: bytes
    batch: list[_Candidate]
    last: bytes = b""
    exhausted: bool = False


class Walker:
    """The keys of a container, sorted; `skip` jumps ahead while it is being iterated.

    Args:
        tree: The root's tree.
        container: The container.
        prefix: What keys must begin with.
        after: What keys must sort after.
    """

    def __init__(self, tree: Tree, container: Components, prefix: bytes, after: bytes) -> None:
        self._tree = tree
        self._container = container
        self._prefix = prefix
        self._after = after
        self._levels: list[_Level] = []

    def skip(self, after: bytes) -> None:
        """Go on with the first key that sorts after `after`."""
        self._after = after

    def __iter__(self) -> Iterator[Found]:
        """Walk; what disappears meanwhile is left out.

        Raises:
            FileNotFoundError: There is no such container.
            OSError: A directory can't be read.
        """
        root = self._tree.open_directory(self._container, read=True)
        self._levels = [_Level(root.fd, root.components, b"", [])]
        try:
            while self._levels:
                level = self._levels[-1]
                candidate = self._next(level)
                if candidate is None:
                    os.close(self._levels.pop().fd)
                elif candidate.name.endswith(b"/"):
                    self._enter(level, candidate)
                else:
                    status = self._status(level, candidate)
                    if status is not None:
                        yield Found(level.base + candidate.name, status)
        finally:
            for level in self._levels:
                os.close(level.fd)

    def _wanted(self, level: _Level, candidate: _Candidate) -> bool:
        name = candidate.name
        kind: Kind = "directory" if name.endswith(b"/") else "file"
        return is_wanted(level.base + name, kind, prefix=self._prefix, after=self._after)

    def _next(self, level: _Level) -> _Candidate | None:
        if level.base and not is_wanted(
            level.base, "directory", prefix=self._prefix, after=self._after
        ):
            return None
        while True:
            while level.batch:
                candidate = level.batch.pop()
                if self._wanted(level, candidate):
                    return candidate
            if level.exhausted:
                return None
            self._read_batch(level)

    def _read_batch(self, level: _Level) -> None:
        name = only_name(level.base, self._prefix)
        if name is None:
            found = heapq.nsmallest(_BATCH, self._scan(level))
            level.exhausted = len(found) < _BATCH
        else:
            found = self._look(level, name) if name else []
            level.exhausted = True
        if found:
            level.last = found[-1].name
        level.batch = found[::-1]

    def _scan(self, level: _Level) -> Iterator[_Candidate]:
        with os.scandir(level.fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_symlink():
                    candidate = self._link(level, name)
                elif entry.is_dir(follow_symlinks=False):
                    candidate = _Candidate(name + b"/", is_link=False)
                elif entry.is_file(follow_symlinks=False):
                    candidate = _Candidate(name, is_link=False)
                else:
                    continue
                if (
                    candidate is not None
                    and candidate.name > level.last
                    and self._wanted(level, candidate)
                    and _is_text(name)
                ):
                    yield candidate

    def _look(self, level: _Level, name: bytes) -> list[_Candidate]:
        status = lstat(name, level.fd)
        if status is None:
            return []
        if S_ISDIR(status.st_mode):
            return [_Candidate(name + b"/", is_link=False)]
        candidate = self._link(level, name)
        return [] if candidate is None else [candidate]

    def _link(self, level: _Level, name: bytes) -> _Candidate | None:
        status = self._target(level, name)
        if status is None:
            return None
        if S_ISDIR(status.st_mode):
            return _Candidate(name + b"/", is_link=True)
        return _Candidate(name, is_link=True) if S_ISREG(status.st_mode) else None

    def _target(self, level: _Level, name: bytes) -> os.stat_result | None:
        # Links that lead nowhere, in a circle or out of the root are no objects.
        try:
            with self._tree.place((*level.components, name), follow=True) as place:
                return place.status
        except (StorageError, FileNotFoundError):
            return None

    def _status(self, level: _Level, candidate: _Candidate) -> os.stat_result | None:
        if candidate.is_link:
            status = self._target(level, candidate.name)
        else:
            status = lstat(candidate.name, level.fd)
        return status if status is not None and S_ISREG(status.st_mode) else None

    def _enter(self, level: _Level, candidate: _Candidate) -> None:
        name = candidate.name[:-1]
        components = (*level.components, name)
        try:
            if candidate.is_link:
                directory = self._tree.open_directory(components, read=True)
                fd, components = directory.fd, directory.components
                if self._is_open(fd):
                    os.close(fd)
                    return
            else:
                fd = open_child_directory(level.fd, name)
        except (StorageError, FileNotFoundError, NotADirectoryError):
            return
        self._levels.append(_Level(fd, components, level.base + candidate.name, []))

    def _is_open(self, fd: int) -> bool:
        # A link to a directory above itself would be walked for ever.
        return any(os.path.sameopenfile(fd, level.fd) for level in self._levels)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
