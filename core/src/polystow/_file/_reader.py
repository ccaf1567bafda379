"""The stream that a read gives."""

import os
from io import FileIO
from threading import Lock
from typing import override
from zlib import crc32

from anyio import ClosedResourceError, EndOfStream, ResourceGuard

from polystow._conditions import check_read
from polystow._driver import ReadStream
from polystow._errors import ChecksumMismatchError, StorageError, TruncatedBodyError
from polystow._file._describe import describe
from polystow._file._grammar import Components
from polystow._file._os_errors import translate
from polystow._file._store import FileStore
from polystow._ranges import ContentRange
from polystow._threads import clean_up_in_thread, in_thread
from polystow._values import ObjectInfo, ReadOptions

DRIVER = "file"
_SMALL_BYTES = 65_536
_READ_AHEAD_BYTES = 65_536


class FileReadStream(ReadStream):
    """Over an open file; what replaces or deletes the object meanwhile does not touch it.

    Args:
        file: The file; the stream closes it.
        info: The object.
        part: What of it to read.
        chunk_size_bytes: See `ReadStream`.
    """

    def __init__(
        self, file: FileIO, info: ObjectInfo, part: ContentRange, chunk_size_bytes: int
    ) -> None:
        self.info = info
        self.range = part
        self.chunk_size_bytes = chunk_size_bytes
        self._file = file
        self._position = part.offset
        self._end = part.offset + part.length
        self._buffer = memoryview(b"")
        # Only the whole content can be compared with its checksum.
        whole = part.length == part.size and info.checksum is not None
        self._crc32: int | None = 0 if whole else None
        self.verified = whole
        self._failure: ChecksumMismatchError | None = None
        self._closed = False
        self._guard = ResourceGuard("reading from")
        # A number that was closed may be another file's a moment later.
        self._lock = Lock()

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        with self._guard:
            if self._closed:
                raise ClosedResourceError
            if not self._buffer and self._position < self._end:
                await self._fill(max(max_bytes, _READ_AHEAD_BYTES))
            if self._failure is not None:
                raise self._failure
            if not self._buffer:
                raise EndOfStream
            chunk = bytes(self._buffer[:max_bytes])
            self._buffer = self._buffer[max_bytes:]
            return chunk

    @override
    async def aclose(self) -> None:
        self._closed = True
        self._buffer = memoryview(b"")
        if not self._file.closed:
            await clean_up_in_thread(self.close_now)

    def prefetch(self) -> None:
        """Read all, and close the file, if it is little; blocks.

        Raises:
            TruncatedBodyError: The file is shorter than a moment ago.
        """
        if self._end - self._position <= _SMALL_BYTES:
            while self._position < self._end:
                self._take(*self._read(_SMALL_BYTES), before=self._buffer)
            self._verify()
            self.close_now()

    def close_now(self) -> None:
        """Close the file, after a read that is under way; blocks."""
        with self._lock:
            self._file.close()

    async def _fill(self, max_bytes: int) -> None:
        try:
            # A cancelled call changes nothing: the next one reads the same bytes again.
            data, checksum = await in_thread(lambda: self._read(max_bytes))
        except StorageError as error:
            error.in_operation("open_read", self.info.path, DRIVER)
            raise
        except OSError as error:
            raise translate(
                error, operation="open_read", path=self.info.path, driver=DRIVER
            ) from error
        self._take(data, checksum)
        self._verify()

    def _read(self, max_bytes: int) -> tuple[bytes, int | None]:
        left = self._end - self._position
        with self._lock:
            if self._file.closed:
                raise ClosedResourceError
            data = os.pread(self._file.fileno(), min(left, max_bytes), self._position)
        if not data:
            raise TruncatedBodyError(
                f"the file was shortened in place while it was being read: it ended after byte "
                f"{self._position} of {self._end}"
            )
        return data, None if self._crc32 is None else crc32(data, self._crc32)

    def _take(self, data: bytes, checksum: int | None, *, before: memoryview | None = None) -> None:
        self._buffer = memoryview(bytes(before) + data if before else data)
        self._position += len(data)
        self._crc32 = checksum

    def _verify(self) -> None:
        if self._position < self._end or self._crc32 is None or self.info.checksum is None:
            return
        found, expected = f"{self._crc32:08x}", self.info.checksum.value
        if found != expected:
            self._failure = ChecksumMismatchError(
                f"the data has the CRC-32 {found}, and {expected} was written: the file was "
                "changed in place, or the disk has failed",
                path=self.info.path,
                operation="open_read",
                driver=DRIVER,
            )


def open_stream(
    store: FileStore, path: str, components: Components, options: ReadOptions
) -> FileReadStream:
    """Open an object and, if it is little, read it; blocks.

    Raises:
        NotFoundError: There is none.
        PreconditionFailedError: `if_match` or `if_unmodified_since` does not hold.
        NotModifiedError: `if_none_match` or `if_modified_since` does not hold.
        RangeNotSatisfiableError: The range begins at or after its end.
    """
    fd, stored = store.open(components)
    file = FileIO(fd, "rb")
    try:
        size = stored.identity.size
        info = describe(path, stored)
        check_read(options, info.etag, info.modified)
        wanted = options.range
        part = ContentRange(0, size, size) if wanted is None else wanted.resolve(size)
        stream = FileReadStream(file, info, part, options.chunk_size_bytes)
        stream.prefetch()
    except BaseException:
        file.close()
        raise
    return stream
