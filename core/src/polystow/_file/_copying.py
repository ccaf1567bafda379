"""Copying inside the root, some megabytes in each thread call, so that it can be cancelled."""

import os

from attrs import define, evolve, field

from polystow._errors import ChecksumMismatchError, TruncatedBodyError
from polystow._file._entries import Entry
from polystow._file._grammar import Components
from polystow._file._store import Condition, FileStore, Stored
from polystow._file._temporary import TemporaryFile

_STEP_BYTES = 8_388_608
_PIECE_BYTES = 1_048_576


@define(eq=False)
class CopyJob:
    """A copy under way; all its methods block.

    The bytes pass through here instead of `copy_file_range`, since that would copy damaged data
    under a checksum that then seems to be right. A hard link is out of the question: an edit in
    place would show in both objects.

    Attributes:
        store: Where it happens.
        fd: The open source; the job closes it.
        source: What the source is.
        components: The target.
        condition: What must be true of the target.
        filename: The target's original name; None to keep the source's.
    """

    store: FileStore
    fd: int
    source: Stored
    components: Components
    condition: Condition
    filename: str | None = None
    _temporary: TemporaryFile | None = field(default=None, init=False)

    def step(self) -> Stored | None:
        """Copy some of it; the result, once it is in place.

        Raises:
            TruncatedBodyError: The source was shortened in place.
            ChecksumMismatchError: The source's data is not what was written.
        """
        if self._temporary is None:
            self._temporary = self.store.begin(self.components, self.condition)
        temporary = self._temporary
        size = self.source.identity.size
        end = min(size, temporary.size + _STEP_BYTES)
        while temporary.size < end:
            piece = os.pread(self.fd, min(_PIECE_BYTES, end - temporary.size), temporary.size)
            if not piece:
                raise TruncatedBodyError(
                    f"the source was shortened in place: it ended after {temporary.size} of "
                    f"{size} bytes; nothing was stored"
                )
            temporary.append(piece)
        if end < size:
            return None
        entry = self.source.entry or Entry()
        if entry.crc32 is not None and entry.crc32 != f"{temporary.crc32:08x}":
            raise ChecksumMismatchError(
                f"the source's data has the CRC-32 {temporary.crc32:08x}, and {entry.crc32} was "
                "written; nothing was stored"
            )
        if self.filename is not None:
            entry = evolve(entry, filename=self.filename)
        return self.store.commit(self.components, temporary, entry, self.condition)

    def close(self) -> None:
        """Close the source, and remove what was not put in place."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        if self._temporary is not None:
            self._temporary.discard()
