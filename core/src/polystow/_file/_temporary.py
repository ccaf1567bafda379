"""Files that nobody sees yet: an object's content until it is renamed into place."""
# Names are bytes here, as the file system keeps them; pathlib knows only text.
# ruff: noqa: PTH103, PTH108

import os
import secrets
import time
from contextlib import suppress
from zlib import crc32

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STALE_AFTER_S = 86_400
_SWEEP_AT_MOST = 1000


class TemporaryFile:
    """An open file below the root's internals.

    Attributes:
        path: Where it is.
        size: How much was written, in bytes.
        crc32: The checksum of that.
    """

    __slots__ = ("_fd", "crc32", "path", "size")

    def __init__(self, directory: bytes) -> None:
        self.path = b"%s/%d-%s" % (directory, os.getpid(), secrets.token_hex(8).encode())
        self.size = 0
        self.crc32 = 0
        try:
            self._fd = os.open(self.path, _FLAGS, 0o666)
        except FileNotFoundError:
            os.makedirs(directory, exist_ok=True)
            self._fd = os.open(self.path, _FLAGS, 0o666)

    @property
    def is_open(self) -> bool:
        """Whether it still has to be closed or discarded."""
        return self._fd >= 0

    def append(self, data: bytes | memoryview) -> None:
        """Write all of `data` behind what is there."""
        left = memoryview(data)
        self.crc32 = crc32(left, self.crc32)
        self.size += len(left)
        while left:
            left = left[os.write(self._fd, left) :]

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Some of what was written."""
        return os.pread(self._fd, size_bytes, offset)

    def stamp(self, mtime_ns: int) -> int:
        """Set the time of the last change; return what the file system made of it."""
        os.utime(self._fd, ns=(mtime_ns, mtime_ns))
        return os.fstat(self._fd).st_mtime_ns

    def sync(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close it, and leave it where it is now."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def discard(self) -> None:
        """Close and remove it; it may have been closed, moved or removed before."""
        with suppress(OSError):
            self.close()
        with suppress(OSError):
            os.unlink(self.path)


def sweep(directory: bytes) -> None:
    """Remove what processes that crashed have left: files that are a day old, 1000 at most."""
    oldest = time.time() - _STALE_AFTER_S
    try:
        with os.scandir(directory) as entries:
            for _, entry in zip(range(_SWEEP_AT_MOST), entries, strict=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)
    except OSError:
        # Nothing was ever written here, or we may only read; either way there is nothing to do.
        return
