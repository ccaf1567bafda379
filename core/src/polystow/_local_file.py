"""The local file that is filled beside the one that it replaces when it is complete."""

import os
import zlib
from collections.abc import AsyncGenerator, Awaitable, Buffer, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from errno import EDQUOT, ENOSPC
from functools import partial
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import cast

from attrs import define

from polystow._download_plan import Journal
from polystow._errors import NoSpaceError, StorageError
from polystow._threads import clean_up_in_thread, in_thread

_READ_SIZE_BYTES = 1_048_576


@define(eq=False)
class LocalFile:
    """A file under a temporary name.

    Attributes:
        path: What it will replace.
        temporary: Where it is.
        fd: Its descriptor.
    """

    path: Path
    temporary: Path
    fd: int

    @staticmethod
    def make(path: Path) -> "LocalFile":
        """A new file beside `path`, whose folders are made; blocks."""
        # Its own name, so that two downloads to one path don't meet; not `tempfile`, whose files
        # only their owner can read, whatever the umask says.
        temporary = path.parent / f".{token_hex(8)}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(temporary, flags, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(temporary, flags, 0o666)
        return LocalFile(path, temporary, fd)

    def write(self, chunk: Buffer, offset: int) -> None:
        """Write all of a chunk; blocks."""
        rest = memoryview(chunk)
        while rest:
            written = os.pwrite(self.fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def commit(self) -> None:
        """Replace the file at `path`; blocks."""
        self.temporary.replace(self.path)

    def discard(self) -> None:
        """Close it, and remove it if it was not committed; blocks."""
        os.close(self.fd)
        self.temporary.unlink(missing_ok=True)


@define(eq=False)
class ResumableFile(LocalFile):
    """A file that stays if its download fails, with a journal of what it has."""

    journal_fd: int

    def read_journal(self) -> Journal | None:
        """What a former download noted; None if there is nothing to go on with; blocks."""
        length = os.fstat(self.journal_fd).st_size
        return Journal.parse(os.pread(self.journal_fd, length, 0))

    def crc32(self, offset: int, length: int) -> int:
        """The CRC-32 of what is on the disk; blocks."""
        crc32 = 0
        while length:
            chunk = os.pread(self.fd, min(length, _READ_SIZE_BYTES), offset)
            if not chunk:
                break
            crc32 = zlib.crc32(chunk, crc32)
            offset, length = offset + len(chunk), length - len(chunk)
        return crc32

    def begin(self, journal: Journal | None) -> None:
        """Forget what a former download noted, and begin anew; blocks."""
        os.ftruncate(self.journal_fd, 0)
        os.ftruncate(self.fd, 0)
        if journal is not None:
            os.write(self.journal_fd, journal.header())

    def note(self, index: int, crc32: int) -> None:
        """Note a part that is written, after it has reached the disk; blocks."""
        os.fsync(self.fd)
        os.write(self.journal_fd, Journal.line(index, crc32))


@asynccontextmanager
async def temporary_file(path: Path) -> AsyncGenerator[LocalFile]:
    """A new file beside `path`, whose folders are made; it is removed if it was not committed.

    Raises:
        NoSpaceError: The disk is full.
        StorageError: The file can't be made.
    """
    with local_errors(path):
        file = await in_thread(partial(LocalFile.make, path), LocalFile.discard)
    try:
        yield file
    finally:
        await clean_up_in_thread(file.discard)


def save_whole(path: Path, content: bytes) -> None:
    """Make a file of content, or replace one by it, wholly or not at all; blocks.

    Raises:
        NoSpaceError: The disk is full.
        StorageError: The file can't be made.
    """
    with local_errors(path):
        file = LocalFile.make(path)
        try:
            file.write(content, 0)
            file.commit()
        finally:
            file.discard()


@asynccontextmanager
async def resumable_file(path: Path, identity: str) -> AsyncGenerator[ResumableFile]:
    """The file that a former download of the same object to `path` left, or a new one.

    Args:
        path: What it will replace; its folders are made.
        identity: What is downloaded.

    Raises:
        NoSpaceError: The disk is full.
        StorageError: The file can't be made, or another download fills it.
    """
    digest = sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    name = path.name.encode("utf-8", "surrogateescape")[:200].decode("utf-8", "ignore")
    temporary = path.parent / f".{name}.{digest}.part"
    journal = temporary.with_suffix(".journal")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC

    def make() -> ResumableFile:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(temporary, flags, 0o666)
        try:
            _lock(fd, temporary, path)
            return ResumableFile(path, temporary, fd, os.open(journal, flags | os.O_APPEND, 0o666))
        except BaseException:
            os.close(fd)
            raise

    def close(file: ResumableFile) -> None:
        noted = file.read_journal()
        if not temporary.exists() or noted is None or not noted.finished:
            journal.unlink(missing_ok=True)
            temporary.unlink(missing_ok=True)
        os.close(file.journal_fd)
        os.close(file.fd)  # and the lock with it

    with local_errors(path):
        file = await in_thread(make, close)
    try:
        yield file
    finally:
        await clean_up_in_thread(lambda: close(file))


def _lock(fd: int, temporary: Path, path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StorageError(
            "another download of the same object to the same file is under way",
            path=str(path),
            operation="download",
        ) from None
    if not temporary.exists() or os.stat(fd).st_ino != temporary.stat().st_ino:
        raise StorageError(
            "another download of the same object has just been completed",
            path=str(path),
            operation="download",
        )


@contextmanager
def local_errors(path: Path) -> Generator[None]:
    """Around work on the local file: its errors name it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        message = f"the local file can't be written: {error.strerror or error}"
        cls = NoSpaceError if error.errno in {ENOSPC, EDQUOT} else StorageError
        raise cls(message, path=str(path), operation="download").settled() from error


def write_of(file: object) -> Callable[[bytes], object]:
    """The `write` of a file object of the caller's.

    Raises:
        TypeError: It has none.
    """
    write: Callable[[bytes], object] | None = getattr(file, "write", None)
    if write is None:
        raise TypeError(f"a {type(file).__name__} is neither a path nor a file that can be written")
    return write


async def write_all(write: Callable[[bytes], object], chunk: bytes) -> None:
    """Write a chunk: an async `write` is awaited, another one called in a worker thread."""
    from inspect import isawaitable, iscoroutinefunction

    rest = chunk
    while rest:
        if iscoroutinefunction(write):
            written = await cast("Awaitable[object]", write(rest))
        else:
            written = await in_thread(partial(write, rest))
            if isawaitable(written):
                written = await cast("Awaitable[object]", written)
        # A raw file may take a part; what tells no number has taken all.
        rest = rest[written:] if isinstance(written, int) else b""
