"""The blocking half of the driver: what each operation does to the file system.

Everything here runs in worker threads and raises `StorageError` or `OSError`; the driver fills in
the operation and the path.
"""

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Literal, NamedTuple

from attrs import evolve, frozen

from polystow._errors import (
    AlreadyExistsError,
    BackendUnavailableError,
    InvalidPathError,
    NotFoundError,
    PreconditionFailedError,
    StorageError,
)
from polystow._file._entries import Entry, Identity, candidate_times, identity_of
from polystow._file._entry_store import EntryStore, KeyEntries
from polystow._file._grammar import INTERNALS, Components, text_of
from polystow._file._locks import KeyLocks
from polystow._file._temporary import TemporaryFile, sweep
from polystow._file._tree import Place, Tree, fsync_directory, lstat
from polystow._value import Value
from polystow._values import NO_METADATA

_OPEN_OBJECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ATTEMPTS = 64


class Stored(NamedTuple):
    """An object as it was found.

    Attributes:
        components: Where its file really is, links resolved.
        identity: Of its file.
        entry: What is kept beside it; None for a file that another tool has put there.
    """

    components: Components
    identity: Identity
    entry: Entry | None


@frozen(eq=False, repr=False)
class Condition(Value):
    """What must be true of the object that a write replaces.

    Attributes:
        overwrite: False if there must be none.
        if_match: The entity tag that it must have; None for any.
    """

    overwrite: bool = True
    if_match: str | None = None

    def check(self, status: os.stat_result | None) -> None:
        """Check it against what is there now.

        Raises:
            AlreadyExistsError: There is an object, and must be none.
            PreconditionFailedError: It has another entity tag, or there is none.
        """
        if status is not None and not self.overwrite:
            raise _exists()
        check_match(self.if_match, None if status is None else identity_of(status))


def check_match(if_match: str | None, identity: Identity | None) -> None:
    """Check an entity tag.

    Raises:
        PreconditionFailedError: The object has another one, or there is none.
    """
    if if_match is None or (identity is not None and identity.etag == if_match):
        return
    found = "there is no object" if identity is None else f"the object has {identity.etag!r}"
    raise PreconditionFailedError(f"if_match asks for the entity tag {if_match!r}, but {found}")


class FileStore:
    """The objects below a root.

    Args:
        root: The root's real path.
        fsync: Whether changes are on the disk before the operations return.
    """

    def __init__(self, root: bytes, *, fsync: bool = False) -> None:
        internals = root + b"/" + INTERNALS + b"/"
        self.tree = Tree(root, fsync=fsync)
        self._entries = EntryStore(internals + b"meta", fsync=fsync)
        self._locks = KeyLocks(internals + b"locks")
        self._temporary = internals + b"tmp"
        self._fsync = fsync

    def sweep(self) -> None:
        """Remove what writers that crashed long ago have left."""
        sweep(self._temporary)

    def open(self, components: Components) -> tuple[int, Stored]:
        """Open an object; the caller closes the file descriptor.

        Raises:
            NotFoundError: There is no regular file.
        """
        for _ in range(_ATTEMPTS):
            with self.tree.place(components, follow=True) as place:
                _regular(place.status)
                try:
                    fd = os.open(place.name, _OPEN_OBJECT, dir_fd=place.fd)
                except OSError as error:
                    if error.errno == errno.ELOOP:
                        continue
                    raise
                try:
                    status = _regular(os.fstat(fd))
                    stored = self._with_entry(place, status)
                    if stored is not None:
                        return fd, stored
                except BaseException:
                    os.close(fd)
                    raise
                os.close(fd)
        raise _restless()

    def stat(self, components: Components) -> Stored:
        """What is known of an object.

        Raises:
            NotFoundError: There is no regular file.
        """
        for _ in range(_ATTEMPTS):
            with self.tree.place(components, follow=True) as place:
                stored = self._with_entry(place, _regular(place.status))
            if stored is not None:
                return stored
        raise _restless()

    def begin(self, components: Components, condition: Condition) -> TemporaryFile:
        """Start a write: find out early what would make it fail in the end.

        Raises:
            StorageError: As `commit` would.
        """
        try:
            with self.tree.place(components, follow=False) as place:
                condition.check(self._replaceable(place))
        except FileNotFoundError:
            condition.check(None)
        return TemporaryFile(self._temporary)

    def commit(
        self, components: Components, temporary: TemporaryFile, entry: Entry, condition: Condition
    ) -> Stored:
        """Put a temporary file, with its entry, in the place of what is there.

        Raises:
            AlreadyExistsError: There is an object, and must be none.
            PreconditionFailedError: There is not the object that must be there.
            InvalidPathError: A directory or an object is in the way.
        """
        entry = evolve(entry, crc32=f"{temporary.crc32:08x}")
        if self._fsync:
            # The long wait comes before the lock; inside, only the new time is left to sync.
            temporary.sync()
        for _ in range(_ATTEMPTS):
            try:
                with self.tree.place(components, follow=False, create=True) as place:
                    return self._commit_at(place, temporary, entry, condition)
            except NotFoundError:
                raise
            except FileNotFoundError:
                # Somebody deleted the last file of a directory, and the directory, before ours
                # was in it. If it is the temporary file that is gone, no repetition helps.
                if not os.path.lexists(temporary.path):
                    raise _vanished() from None
        raise _restless()

    def store(
        self,
        components: Components,
        data: bytes | memoryview,
        entry: Entry,
        condition: Condition,
    ) -> Stored:
        """Write an object that is in memory, in one call."""
        temporary = TemporaryFile(self._temporary)
        try:
            temporary.append(data)
            return self.commit(components, temporary, entry, condition)
        finally:
            temporary.discard()

    def delete(self, components: Components) -> None:
        """Delete an object, or the link that leads to it.

        Raises:
            NotFoundError: There is none.
        """
        try:
            with self.tree.place(components, follow=False) as place:
                components = place.components
                _deletable(place.status)
        except FileNotFoundError:
            if not self._entries.of(components).any():
                raise
        entries = self._entries.of(components)
        with self._locks.held(entries.digest):
            self._delete_locked(components, entries)

    def set_metadata(
        self, components: Components, metadata: Mapping[str, str], mode: Literal["replace", "merge"]
    ) -> None:
        """Change an object's metadata in one step.

        Raises:
            NotFoundError: There is no regular file.
        """
        real = self.stat(components).components
        entries = self._entries.of(real)
        with self._locks.held(entries.digest):
            stored = self.stat(real)
            entry = stored.entry or Entry()
            kept = entry.metadata if mode == "merge" else NO_METADATA
            entries.replace(stored.identity, evolve(entry, metadata={**kept, **metadata}))
            entries.drop(keep=stored.identity)

    def check(self, container: Components) -> None:
        """Make sure that the root, or a container, is there and can be written to.

        Raises:
            NotFoundError: It is not there.
        """
        try:
            with self.tree.directory(container):
                pass
        except FileNotFoundError:
            what = "container" if container else "root directory"
            raise NotFoundError(f"there is no such {what}") from None
        TemporaryFile(self._temporary).discard()

    def _with_entry(self, place: Place, status: os.stat_result) -> Stored | None:
        identity = identity_of(status)
        entry = self._entries.of(place.components).read(identity)
        if entry is None:
            # Either another tool's file, or ours, replaced before we looked for its entry.
            now = lstat(place.name, place.fd)
            if now is None:
                raise NotFoundError("there is no such object")
            if now.st_ino != status.st_ino or identity_of(now) != identity:
                return None
        return Stored(place.components, identity, entry)

    def _commit_at(
        self, place: Place, temporary: TemporaryFile, entry: Entry, condition: Condition
    ) -> Stored:
        entries = self._entries.of(place.components)
        with self._locks.held(entries.digest):
            place = place._replace(status=lstat(place.name, place.fd))
            status = self._replaceable(place)
            condition.check(status)
            current = None if status is None else identity_of(status)
            identity = self._stamp(entries, temporary, current)
            if self._fsync:
                temporary.sync()
            entries.add(identity, entry)
            try:
                _move(temporary.path, place, overwrite=condition.overwrite)
            except BaseException:
                # Not all the others: if the directory was pruned, what we took for nothing may
                # be an object in the new one.
                entries.remove(identity)
                raise
            entries.drop(keep=identity)
            if self._fsync:
                _sync_committed(place.fd)
        return Stored(place.components, identity, entry)

    def _stamp(
        self, entries: KeyEntries, temporary: TemporaryFile, current: Identity | None
    ) -> Identity:
        for time_ns in candidate_times(time.time_ns(), current):
            identity = Identity(temporary.stamp(time_ns), temporary.size)
            if identity != current and not entries.has(identity):
                return identity
        raise BackendUnavailableError(
            "the file system keeps times so coarsely that two versions can't be told apart; "
            "try again later",
            retryable=True,
        )

    def _replaceable(self, place: Place) -> os.stat_result | None:
        status = place.status
        if status is not None and S_ISLNK(status.st_mode):
            # The link will be replaced, but a condition is about what readers see.
            status = self._behind_link(place.components)
        if status is None or S_ISREG(status.st_mode):
            return status
        if S_ISDIR(status.st_mode):
            # Nothing but another tool, or a crash, leaves an empty directory.
            with suppress(OSError):
                os.rmdir(place.name, dir_fd=place.fd)
                return None
            raise InvalidPathError(
                f"{text_of(place.components)!r} is a directory: there are keys that begin with "
                f"{text_of(place.components) + '/'!r}, and this driver keeps keys as files and "
                "directories"
            )
        raise InvalidPathError(
            f"{text_of(place.components)!r} is a pipe, a socket or a device, which the driver "
            "does not replace"
        )

    def _behind_link(self, components: Components) -> os.stat_result | None:
        try:
            with self.tree.place(components, follow=True) as target:
                return target.status
        except FileNotFoundError:
            return None

    def _delete_locked(self, components: Components, entries: KeyEntries) -> None:
        try:
            with self.tree.place(components, follow=False) as place:
                _deletable(place.status)
                os.unlink(place.name, dir_fd=place.fd)
                if self._fsync:
                    _sync_committed(place.fd)
                real = place.components
        except FileNotFoundError:
            entries.drop(keep=None)
            raise
        # Only now: a crash before leaves entries that no file belongs to.
        entries.drop(keep=None)
        self.tree.prune(real[:-1])


def _move(path: bytes, place: Place, *, overwrite: bool) -> None:
    if overwrite:
        os.rename(path, place.name, dst_dir_fd=place.fd)
        return
    try:
        os.link(path, place.name, dst_dir_fd=place.fd)
    except FileExistsError:
        raise _exists() from None
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        # No hard links here. Those who respect the lock are excluded by that.
        if lstat(place.name, place.fd) is not None:
            raise _exists() from None
        os.rename(path, place.name, dst_dir_fd=place.fd)


def _sync_committed(fd: int) -> None:
    try:
        fsync_directory(fd)
    except OSError as error:
        raise StorageError(
            f"it was done, but the disk may not have it: {error.strerror}", outcome="unknown"
        ) from error


def _regular(status: os.stat_result | None) -> os.stat_result:
    if status is None:
        raise NotFoundError("there is no such object")
    if not S_ISREG(status.st_mode):
        what = "a directory" if S_ISDIR(status.st_mode) else "no regular file"
        raise NotFoundError(f"there is no such object: that is {what}")
    return status


def _deletable(status: os.stat_result | None) -> None:
    if status is None or not S_ISLNK(status.st_mode):
        _regular(status)


def _exists() -> AlreadyExistsError:
    return AlreadyExistsError("there is an object already, and overwrite is False")


def _vanished() -> StorageError:
    return StorageError(
        "the temporary file of this write was removed by somebody; nothing was stored"
    )


def _restless() -> BackendUnavailableError:
    return BackendUnavailableError(
        f"it was changed by others each of {_ATTEMPTS} times; try again", retryable=True
    )
