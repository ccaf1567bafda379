"""Saving a stream as a local file that is there when it is complete; progress of transfers."""

import os
from collections.abc import Callable
from errno import EDQUOT, ENOSPC
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, override

from anyio import CancelScope, EndOfStream, to_thread
from anyio.abc import ByteReceiveStream
from attrs import frozen

from polystow._body import Body
from polystow._driver import ReadStream
from polystow._errors import NoSpaceError, StorageError

type Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the size, or None where that is not known."""

_WRITE_SIZE_BYTES = 1_048_576


async def save_stream(stream: ReadStream, path: Path, progress: Progress | None) -> None:
    """Write a stream into a temporary file beside `path`, and rename it.

    Raises:
        NoSpaceError: The disk is full.
        StorageError: The file can't be written, or the stream fails.
    """
    # Its own name, so that two downloads to one path don't meet; not `tempfile`, whose files only
    # their owner can read, whatever the umask says.
    temporary = path.parent / f".{token_hex(8)}.part"
    try:
        file = await to_thread.run_sync(lambda: temporary.open("xb", buffering=0))
    except OSError as error:
        raise _local(error, path) from error
    try:
        with file:
            await _fill(file, stream, progress)
        await to_thread.run_sync(os.replace, temporary, path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise _local(error, path) from error
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(lambda: temporary.unlink(missing_ok=True))


async def _fill(file: BinaryIO, stream: ReadStream, progress: Progress | None) -> None:
    done = 0
    while True:
        try:
            chunk = await stream.receive(_WRITE_SIZE_BYTES)
        except EndOfStream:
            return
        await to_thread.run_sync(_write_all, file, chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, stream.range.length)


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _local(error: OSError, path: Path) -> StorageError:
    message = f"the local file can't be written: {error.strerror or error}"
    cls = NoSpaceError if error.errno in {ENOSPC, EDQUOT} else StorageError
    return cls(message, path=str(path), operation="download").settled()


@frozen
class ProgressBody:
    """A body that tells how much of it was read.

    Attributes:
        body: The body.
        report: Who is told.
    """

    body: Body
    report: Progress

    @property
    def size(self) -> int | None:
        """Its length in bytes, if known."""
        return self.body.size

    @property
    def replayable(self) -> bool:
        """As the body; the count begins anew."""
        return self.body.replayable

    async def open(self) -> ByteReceiveStream:
        """Open it, and count."""
        return _ProgressStream(await self.body.open(), self.report, self.body.size)


class _ProgressStream(ByteReceiveStream):
    def __init__(self, stream: ByteReceiveStream, report: Progress, size: int | None) -> None:
        self._stream = stream
        self._report = report
        self._size = size
        self._done = 0

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        chunk = await self._stream.receive(max_bytes)
        self._done += len(chunk)
        self._report(self._done, self._size)
        return chunk

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()
