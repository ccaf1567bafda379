"""The entries of a root on the disk: one directory for each key, one file for each entry."""

import logging
import os
import secrets
from contextlib import suppress
from hashlib import sha256

from polystow._file._entries import Entry, Identity, decode_entry, encode_entry
from polystow._file._grammar import Components, text_of

# Names are bytes here, as the file system keeps them; pathlib knows only text.
# ruff: noqa: PTH102, PTH105, PTH106, PTH108, PTH120, PTH123, PTH208

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_logger = logging.getLogger("polystow.file")


class EntryStore:
    """The entries of a root.

    Args:
        directory: Where they are; made on demand.
        fsync: Whether an entry is on the disk before `add` and `replace` return.
    """

    def __init__(self, directory: bytes, *, fsync: bool = False) -> None:
        self._directory = directory
        self._fsync = fsync

    def of(self, components: Components) -> "KeyEntries":
        """The entries of one key."""
        return KeyEntries(self._directory, components, fsync=self._fsync)


class KeyEntries:
    """The entries of one key: that of its file, and perhaps those that a crash has left.

    Attributes:
        digest: The key's SHA-256. The key itself could not be the name of a directory: it may
            be too long, and `k` and `k/x` would meet.
    """

    __slots__ = ("_components", "_directory", "_fsync", "digest")

    def __init__(self, directory: bytes, components: Components, *, fsync: bool) -> None:
        self.digest = sha256(b"/".join(components[1:])).hexdigest().encode()
        self._directory = b"/".join(
            (directory, components[0], self.digest[:2], self.digest[2:4], self.digest)
        )
        self._components = components
        self._fsync = fsync

    def read(self, identity: Identity) -> Entry | None:
        """The entry of a data file; None if there is none, or none that can be read."""
        try:
            fd = os.open(self._path(identity), _READ)
        except FileNotFoundError:
            return None
        with open(fd, "rb", buffering=0) as file:
            data = file.read()
        try:
            return decode_entry(data)
        except ValueError as error:
            # A power cut without fsync can leave this; the data is all that is left then.
            _logger.warning("metadata of %r is damaged: %s", text_of(self._components), error)
            return None

    def has(self, identity: Identity) -> bool:
        """Whether a data file of this identity has an entry, or would get an old one."""
        return os.path.lexists(self._path(identity))

    def any(self) -> bool:
        """Whether there are entries, of whatever file."""
        return os.path.lexists(self._directory)

    def add(self, identity: Identity, entry: Entry) -> None:
        """Write the entry of a data file that is not in place yet."""
        # A crash leaves at worst a part of an entry that no data file belongs to.
        self._write(self._path(identity), entry)

    def replace(self, identity: Identity, entry: Entry) -> None:
        """Write the entry of a data file that is in place, in one step."""
        path = self._path(identity)
        temporary = path + b"." + secrets.token_hex(4).encode()
        try:
            self._write(temporary, entry)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if self._fsync:
            _fsync_directory(self._directory)

    def remove(self, identity: Identity) -> None:
        """Take back what `add` wrote."""
        with suppress(OSError):
            os.unlink(self._path(identity))
            os.rmdir(self._directory)

    def drop(self, *, keep: Identity | None) -> None:
        """Remove all entries but one; the caller holds the key's lock.

        What can't be removed stays: it belongs to no file any more.
        """
        kept = None if keep is None else _name(keep)
        with suppress(OSError):
            for name in os.listdir(self._directory):
                if name != kept:
                    with suppress(OSError):
                        os.unlink(self._directory + b"/" + name)
            if kept is None:
                os.rmdir(self._directory)

    def _path(self, identity: Identity) -> bytes:
        return self._directory + b"/" + _name(identity)

    def _write(self, path: bytes, entry: Entry) -> None:
        try:
            fd = os.open(path, _WRITE, 0o666)
        except FileNotFoundError:
            self._make(self._directory)
            fd = os.open(path, _WRITE, 0o666)
        with open(fd, "wb", buffering=0) as file:
            left = memoryview(encode_entry(entry, self._components))
            while left:
                left = left[file.write(left) :]
            if self._fsync:
                os.fsync(fd)
        if self._fsync:
            _fsync_directory(self._directory)

    def _make(self, directory: bytes) -> None:
        parent = os.path.dirname(directory)
        with suppress(FileExistsError):
            try:
                os.mkdir(directory)
            except FileNotFoundError:
                self._make(parent)
                os.mkdir(directory)
        if self._fsync:
            _fsync_directory(parent)


def _name(identity: Identity) -> bytes:
    return identity.etag.encode() + b".json"


def _fsync_directory(directory: bytes) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
