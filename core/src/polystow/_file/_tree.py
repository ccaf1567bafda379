"""The directories below the root: every step stays inside, whatever links anybody plants.

Nothing is ever opened by a long path. Each name is opened in the directory before it, without
following links, so no link that appears between a check and its use can lead away. A link that is
met is resolved as text; if that stays below the root, the walk begins again along the result,
again without following links.
"""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from stat import S_ISLNK
from typing import NamedTuple

from polystow._errors import InvalidPathError
from polystow._file._grammar import Components, text_of

_COMMON = os.O_DIRECTORY | os.O_CLOEXEC
# To pass through a directory takes less permission than to read it; not every system can say so.
_PASS = _COMMON | getattr(os, "O_PATH", os.O_RDONLY)
_READ = _COMMON | os.O_RDONLY
_MAX_LINKS = 8


class Directory(NamedTuple):
    """An open directory below the root.

    Attributes:
        fd: Its file descriptor.
        components: Where it really is, links resolved.
    """

    fd: int
    components: Components


class Place(NamedTuple):
    """A name in an open directory, and what stands there.

    Attributes:
        fd: The directory's file descriptor.
        components: Where the name really is, links resolved.
        status: What stands there, None if nothing; a link only if it was not to be followed.
    """

    fd: int
    components: Components
    status: os.stat_result | None

    @property
    def name(self) -> bytes:
        """The name in the directory."""
        return self.components[-1]


class _LinkFound(Exception):
    pass


class Tree:
    """The directories below a root.

    Args:
        root: The root's real path.
        fsync: Whether a new directory is on the disk before anything is put into it.
    """

    def __init__(self, root: bytes, *, fsync: bool = False) -> None:
        self.root = root
        self._fsync = fsync
        self._inside = root if root.endswith(b"/") else root + b"/"

    @contextmanager
    def directory(
        self, components: Components, *, create: bool = False, read: bool = False
    ) -> Generator[Directory]:
        """Open a directory.

        Args:
            components: The names from the root down.
            create: Make what is missing.
            read: Whether it is going to be listed.

        Raises:
            InvalidPathError: A link leaves the root; or, to create it, a file is in the way.
            FileNotFoundError: It is not there.
        """
        opened = self.open_directory(components, create=create, read=read)
        try:
            yield opened
        finally:
            os.close(opened.fd)

    @contextmanager
    def place(
        self, components: Components, *, follow: bool, create: bool = False
    ) -> Generator[Place]:
        """Open the directory of a name, and look what stands there.

        Args:
            components: The names from the root down.
            follow: Whether a link at the end leads to another place. One that leaves the root is
                refused in any case.
            create: Make the directories that are missing.

        Raises:
            InvalidPathError: As for `directory`.
            FileNotFoundError: The directory is not there.
        """
        for _ in range(_MAX_LINKS):
            with self.directory(components[:-1], create=create) as parent:
                here = (*parent.components, components[-1])
                status = lstat(here[-1], parent.fd)
                if status is None or not S_ISLNK(status.st_mode):
                    yield Place(parent.fd, here, status)
                    return
                target = self.resolve(here)
                if not follow:
                    yield Place(parent.fd, here, status)
                    return
            if not target:
                raise FileNotFoundError(errno.ENOENT, "a link to the root is no object")
            components = target
        raise _circle(components)

    def open_directory(
        self, components: Components, *, create: bool = False, read: bool = False
    ) -> Directory:
        """As `directory`; the caller closes the file descriptor."""
        for _ in range(_MAX_LINKS):
            try:
                return Directory(self._walk(components, create=create, read=read), components)
            except _LinkFound:
                components = self.resolve(components)
        raise _circle(components)

    def resolve(self, components: Components) -> Components:
        """Where links lead, as text; nothing is opened.

        Raises:
            InvalidPathError: Out of the root, or into the driver's own directory.
        """
        real = os.path.realpath(self._inside + b"/".join(components))
        if real == self.root:
            return ()
        if not real.startswith(self._inside):
            raise InvalidPathError(
                f"{text_of(components)!r} passes through a symbolic link that leaves the root"
            )
        inside = tuple(real[len(self._inside) :].split(b"/"))
        if inside[0].startswith(b"."):
            raise InvalidPathError(
                f"{text_of(components)!r} passes through a symbolic link into "
                f"{text_of(inside[:1])!r}, which holds no objects"
            )
        return inside

    def prune(self, components: Components) -> None:
        """Remove a directory and those above it while they are empty; the container stays."""
        for depth in range(len(components), 1, -1):
            try:
                with self.directory(components[: depth - 1]) as parent:
                    os.rmdir(components[depth - 1], dir_fd=parent.fd)
            except FileNotFoundError:
                continue
            except OSError:
                return

    def _walk(self, components: Components, *, create: bool, read: bool) -> int:
        last = len(components) - 1
        fd = os.open(self.root, _READ if read and last < 0 else _PASS)
        try:
            for index, name in enumerate(components):
                flags = _READ if read and index == last else _PASS
                try:
                    child = _enter(fd, name, flags)
                except FileNotFoundError:
                    if not create:
                        raise
                    self._make(fd, name)
                    child = _enter(fd, name, flags)
                except NotADirectoryError:
                    if not create:
                        raise FileNotFoundError(errno.ENOENT, "a file is in the way") from None
                    raise _blocked(components[: index + 1]) from None
                os.close(fd)
                fd = child
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _make(self, fd: int, name: bytes) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
            if self._fsync:
                fsync_directory(fd)


def lstat(name: bytes, fd: int) -> os.stat_result | None:
    """What stands at a name in a directory; None if nothing."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def fsync_directory(fd: int) -> None:
    """Wait until the disk has a directory's names, whatever its descriptor was opened for."""
    readable = os.open(b".", _READ, dir_fd=fd)
    try:
        os.fsync(readable)
    finally:
        os.close(readable)


def open_child_directory(fd: int, name: bytes) -> int:
    """Open a directory in another one, to list it.

    Raises:
        OSError: It is gone, or is no directory now; a link is none.
    """
    return os.open(name, _READ | os.O_NOFOLLOW, dir_fd=fd)


def _enter(fd: int, name: bytes, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=fd)
    except OSError as error:
        # Which of the two a link gives depends on the system.
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        status = lstat(name, fd)
        if status is not None and S_ISLNK(status.st_mode):
            raise _LinkFound from None
        raise NotADirectoryError(errno.ENOTDIR, "no directory") from None


def _blocked(components: Components) -> InvalidPathError:
    return InvalidPathError(
        f"{text_of(components)!r} is an object, so no key can begin with "
        f"{text_of(components) + '/'!r}: this driver keeps keys as files and directories"
    )


def _circle(components: Components) -> InvalidPathError:
    return InvalidPathError(f"the symbolic links at {text_of(components)!r} lead in a circle")
