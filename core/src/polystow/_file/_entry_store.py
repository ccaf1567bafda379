"""The entries of a root on the disk: one directory for each key, one file for each entry."""
# ruff: noqa: PTH -- names are bytes here, as the file system keeps them; pathlib knows only text

import logging
import os
import secrets
from contextlib import suppress
from hashlib import sha256

from polystow._file._entries import Entry, Identity, decode_entry, encode_entry
from polystow._file._grammar import Components, text_of

_logger = logging.getLogger("polystow.file")


def digest_of(components: Components) -> bytes:
    """A key's digest: the place of its entries, and its lock."""
    return sha256(b"/".join(components)).digest()


class EntryStore:
    """The entries of a root; each key has a directory for them.

    Args:
        directory: Where they are; made on demand.
        fsync: Whether an entry is on the disk before `add` and `replace` return.
    """

    def __init__(self, directory: bytes, *, fsync: bool = False) -> None:
        self._directory = directory
        self._fsync = fsync

    def read(self, components: Components, identity: Identity) -> Entry | None:
        """The entry of a data file; None if there is none, or none that can be read."""
        path = self._path(components, identity)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            data = file.read()
        try:
            return decode_entry(data)
        except ValueError as error:
            # A power cut without fsync can leave this; the data is all that is left then.
            _logger.warning("the metadata of %r is damaged: %s", text_of(components), error)
            return None

    def exists(self, components: Components, identity: Identity) -> bool:
        """Whether a data file of this identity has, or is about to get, an entry."""
        return os.path.lexists(self._path(components, identity))

    def add(self, components: Components, identity: Identity, entry: Entry) -> None:
        """Write the entry of a data file that is not in place yet."""
        path = self._path(components, identity)
        self._make_parents(os.path.dirname(path))
        self._write(path, encode_entry(entry, components))

    def replace(self, components: Components, identity: Identity, entry: Entry) -> None:
        """Write the entry of a data file that is in place, in one step."""
        path = self._path(components, identity)
        self._make_parents(os.path.dirname(path))
        temporary = path + b"." + secrets.token_hex(4).encode()
        try:
            self._write(temporary, encode_entry(entry, components))
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if self._fsync:
            _fsync(os.path.dirname(path))

    def drop(self, components: Components, *, keep: Identity | None) -> None:
        """Remove a key's entries but one; the caller holds the key's lock.

        What can't be removed stays: it belongs to no file any more.
        """
        directory = self._key_directory(components)
        kept = None if keep is None else os.fsencode(_name(keep))
        with suppress(OSError):
            for name in os.listdir(directory):
                if name != kept:
                    with suppress(OSError):
                        os.unlink(os.path.join(directory, name))
            if kept is None:
                os.rmdir(directory)

    def has_any(self, components: Components) -> bool:
        """Whether a key has entries, of whatever file."""
        return os.path.lexists(self._key_directory(components))

    def _key_directory(self, components: Components) -> bytes:
        digest = sha256(b"/".join(components[1:])).hexdigest()
        return os.path.join(
            self._directory,
            components[0],
            digest[:2].encode(),
            digest[2:4].encode(),
            digest.encode(),
        )

    def _path(self, components: Components, identity: Identity) -> bytes:
        return os.path.join(self._key_directory(components), os.fsencode(_name(identity)))

    def _write(self, path: bytes, data: bytes) -> None:
        # A crash leaves at worst a part of an entry that no data file belongs to.
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
        )
        with open(fd, "wb", buffering=0) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            if self._fsync:
                os.fsync(fd)
        if self._fsync:
            _fsync(os.path.dirname(path))

    def _make_parents(self, directory: bytes) -> None:
        try:
            os.mkdir(directory)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_parents(os.path.dirname(directory))
            with suppress(FileExistsError):
                os.mkdir(directory)
        if self._fsync:
            _fsync(os.path.dirname(directory))


def _name(identity: Identity) -> str:
    return identity.etag + ".json"


def _fsync(directory: bytes) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
