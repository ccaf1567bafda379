"""Changing an object: it is written anew, with the change, and put in its place whole."""

import os
from zlib import crc32

from attrs import define, field

from polystow._errors import (
    ChecksumMismatchError,
    RangeNotSatisfiableError,
    TruncatedBodyError,
)
from polystow._file._entries import Entry
from polystow._file._store import Condition, FileStore, Stored
from polystow._file._temporary import TemporaryFile

_STEP_BYTES = 8_388_608
_PIECE_BYTES = 1_048_576


@define(eq=False)
class Change:
    """What of the old content stays, and what comes between.

    Attributes:
        new: What comes between; None for nothing.
        offset: Where it begins; None for the old content's end.
        size: The size that the result is cut or filled with zeros to; None for neither.
    """

    new: TemporaryFile | None = None
    offset: int | None = None
    size: int | None = None

    def kept(self, size: int) -> tuple[int, int]:
        """The end of the first part of the old content that stays, and the begin of the last.

        Args:
            size: Of the old content.

        Raises:
            RangeNotSatisfiableError: The offset is after its end.
        """
        if self.size is not None:
            return min(size, self.size), size
        offset = size if self.offset is None else self.offset
        if offset > size:
            raise RangeNotSatisfiableError(
                f"the offset is {offset}, and the object has {size} bytes"
            )
        return offset, offset + (0 if self.new is None else self.new.size)


@define(eq=False)
class ChangeJob:
    """A change under way; all its methods block.

    The whole old content is read, also what does not stay: else damaged data would get a checksum
    that is right.

    Attributes:
        store: Where it happens.
        fd: The open object; the job closes it.
        source: What it is.
        change: See there.
    """

    store: FileStore
    fd: int
    source: Stored
    change: Change
    _temporary: TemporaryFile | None = field(default=None, init=False)
    _position: int = field(default=0, init=False)
    _crc32: int = field(default=0, init=False)
    _added: int = field(default=0, init=False)

    def step(self) -> bool:
        """Do some of it; whether it is done.

        Raises:
            RangeNotSatisfiableError: The offset is after the end.
            TruncatedBodyError: The file was shortened in place.
            ChecksumMismatchError: The old content is not what was written.
            PreconditionFailedError: The object was changed meanwhile.
            NotFoundError: It was deleted meanwhile.
        """
        size = self.source.identity.size
        head, tail = self.change.kept(size)
        if self._temporary is None:
            self._temporary = self.store.begin(self.source.components, Condition())
        temporary = self._temporary
        for _ in range(_STEP_BYTES // _PIECE_BYTES):
            if self._position < head:
                temporary.append(self._read(min(head, size)))
            elif (piece := self._new(head)) is not None:
                temporary.append(piece)
            elif self._position < size:
                start = self._position
                piece = self._read(size)
                temporary.append(piece[max(0, tail - start) :])
            else:
                return self._commit(temporary)
        return False

    def close(self) -> None:
        """Close the object, and remove what was not put in place."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        if self._temporary is not None:
            self._temporary.discard()

    def _read(self, end: int) -> bytes:
        piece = os.pread(self.fd, min(_PIECE_BYTES, end - self._position), self._position)
        if not piece:
            raise TruncatedBodyError(
                f"the file was shortened in place: it ended after {self._position} of "
                f"{self.source.identity.size} bytes; nothing was changed"
            )
        self._position += len(piece)
        self._crc32 = crc32(piece, self._crc32)
        return piece

    def _new(self, head: int) -> bytes | None:
        """The next piece of what comes between; None after the last."""
        new, size = self.change.new, self.change.size
        length = max(0, size - head) if size is not None else 0 if new is None else new.size
        count = min(_PIECE_BYTES, length - self._added)
        if count <= 0:
            return None
        piece = bytes(count) if new is None else new.read(self._added, count)
        self._added += len(piece)
        return piece

    def _commit(self, temporary: TemporaryFile) -> bool:
        entry = self.source.entry or Entry()
        if entry.crc32 is not None and entry.crc32 != f"{self._crc32:08x}":
            raise ChecksumMismatchError(
                f"the object's data has the CRC-32 {self._crc32:08x}, and {entry.crc32} was "
                "written; nothing was changed"
            )
        condition = Condition(if_match=self.source.identity.etag)
        self.store.commit(self.source.components, temporary, entry, condition)
        return True
