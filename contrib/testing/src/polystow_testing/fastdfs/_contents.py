"""Where the bytes of stored files live: in memory, or in files below a directory.

A request's data goes into a `Spool` first and becomes part of a `Content` only when it is whole,
so that a client that goes away in the middle leaves nothing behind.
"""

import abc
import contextlib
import io
import itertools
import os
import shutil
import zlib
from pathlib import Path
from typing import BinaryIO

import attrs

CHUNK_BYTES = 256 * 1024

type Buffer = bytes | bytearray | memoryview


@attrs.frozen
class FileSlice:
    """A part of a file on disk, to be sent without being read into memory."""

    path: Path
    offset: int
    length: int


class Spool(abc.ABC):
    """Takes the data of one request.

    Attributes:
        size_bytes: Bytes received so far.
        crc32: zlib crc32 of them.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.crc32 = 0

    def write(self, data: Buffer) -> None:
        """Add `data` to the end."""
        self._store(data)
        self.size_bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    @abc.abstractmethod
    def _store(self, data: Buffer) -> None: ...

    @abc.abstractmethod
    def discard(self) -> None:
        """Forget the data; harmless after `ContentStore.keep`."""


class Content(abc.ABC):
    """The bytes of one stored file."""

    @property
    @abc.abstractmethod
    def size_bytes(self) -> int:
        """Size now."""

    @abc.abstractmethod
    def part(self, offset: int, length: int) -> Buffer | FileSlice:
        """Return the bytes from `offset`; the range lies within the file."""

    @abc.abstractmethod
    def splice(self, offset: int, spool: Spool) -> None:
        """Write the spooled data at `offset`, growing the file when needed."""

    @abc.abstractmethod
    def truncate(self, size_bytes: int) -> None:
        """Cut the file, or fill it with zeros, to `size_bytes`."""

    @abc.abstractmethod
    def read(self) -> bytes:
        """Return everything."""

    @abc.abstractmethod
    def crc32(self) -> int:
        """Compute the crc32 of everything."""

    @abc.abstractmethod
    def rename(self, name: str) -> None:
        """Take a new name (command 38)."""

    @abc.abstractmethod
    def delete(self) -> None:
        """Drop the bytes."""


class ContentStore(abc.ABC):
    """Makes spools, and contents of them."""

    @abc.abstractmethod
    def spool(self) -> Spool:
        """Return an empty spool."""

    @abc.abstractmethod
    def keep(self, spool: Spool, name: str, *, growable: bool) -> Content:
        """Make the spooled data the content of the file `name`."""


class _MemorySpool(Spool):
    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def _store(self, data: Buffer) -> None:
        self.data += data

    def discard(self) -> None:
        self.data = bytearray()


class _MemoryContent(Content):
    def __init__(self, data: bytearray, *, growable: bool) -> None:
        self._data = data
        self._growable = growable

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def part(self, offset: int, length: int) -> Buffer:
        view = memoryview(self._data)[offset : offset + length]
        # A bytearray can't be resized while a view of it waits in a send queue.
        return bytes(view) if self._growable else view

    def splice(self, offset: int, spool: Spool) -> None:
        assert isinstance(spool, _MemorySpool)
        self._data[offset : offset + spool.size_bytes] = spool.data

    def truncate(self, size_bytes: int) -> None:
        del self._data[size_bytes:]
        self._data.extend(bytes(size_bytes - len(self._data)))

    def read(self) -> bytes:
        return bytes(self._data)

    def crc32(self) -> int:
        return zlib.crc32(self._data)

    def rename(self, name: str) -> None:  # noqa: ARG002
        self._growable = False

    def delete(self) -> None:
        self._data = bytearray()


class MemoryStore(ContentStore):
    """Keeps contents in memory."""

    def spool(self) -> Spool:
        return _MemorySpool()

    def keep(self, spool: Spool, name: str, *, growable: bool) -> Content:  # noqa: ARG002
        assert isinstance(spool, _MemorySpool)
        content = _MemoryContent(spool.data, growable=growable)
        spool.data = bytearray()
        return content


class _DiskSpool(Spool):
    """Goes to a file when it gets larger than a chunk: small uploads need one file, not two."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._start = bytearray()
        self._file: io.FileIO | None = None

    def _store(self, data: Buffer) -> None:
        if self._file is None:
            if len(self._start) + len(data) <= CHUNK_BYTES:
                self._start += data
                return
            self._file = io.FileIO(self._path, "xb")
            _write_all(self._file, self._start)
            self._start = bytearray()
        _write_all(self._file, data)

    def move_to(self, target: Path) -> None:
        """Make the data the file `target`."""
        if self._file is None:
            with io.FileIO(target, "wb") as file:
                _write_all(file, self._start)
        else:
            self._file.close()
            self._path.rename(target)

    def copy_to(self, target: BinaryIO) -> None:
        """Write the data where `target` stands."""
        if self._file is None:
            target.write(self._start)
            return
        with self._path.open("rb") as source:
            shutil.copyfileobj(source, target, CHUNK_BYTES)

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


def _write_all(file: io.FileIO, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        # A raw file may take less than all.
        view = view[file.write(view) :]


class _DiskContent(Content):
    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._path = root / name

    @property
    def size_bytes(self) -> int:
        return self._path.stat().st_size

    def part(self, offset: int, length: int) -> Buffer | FileSlice:
        if length > CHUNK_BYTES:
            return FileSlice(self._path, offset, length)
        with io.FileIO(self._path) as file:
            return os.pread(file.fileno(), length, offset)

    def splice(self, offset: int, spool: Spool) -> None:
        assert isinstance(spool, _DiskSpool)
        with self._path.open("r+b") as target:
            target.seek(offset)
            spool.copy_to(target)
        spool.discard()

    def truncate(self, size_bytes: int) -> None:
        os.truncate(self._path, size_bytes)

    def read(self) -> bytes:
        return self._path.read_bytes()

    def crc32(self) -> int:
        crc32 = 0
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                crc32 = zlib.crc32(chunk, crc32)
        return crc32

    def rename(self, name: str) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path = self._path.rename(target)

    def delete(self) -> None:
        self._path.unlink(missing_ok=True)


class DiskStore(ContentStore):
    """Keeps contents in files below `root`, at the paths that their names say."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            with contextlib.suppress(OSError):
                leftover.unlink()
        self._numbers = itertools.count()
        self._directories: set[Path] = set()

    def spool(self) -> Spool:
        return _DiskSpool(self._incoming / str(next(self._numbers)))

    def keep(self, spool: Spool, name: str, *, growable: bool) -> Content:  # noqa: ARG002
        assert isinstance(spool, _DiskSpool)
        target = self._root / name
        if target.parent not in self._directories:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._directories.add(target.parent)
        spool.move_to(target)
        return _DiskContent(self._root, name)
