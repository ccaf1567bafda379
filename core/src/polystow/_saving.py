"""Saving chunks as a local file that is there when it is complete."""

import os
from collections.abc import AsyncIterable, Callable
from errno import EAGAIN, EDQUOT, ENOSPC
from io import RawIOBase
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, cast

from anyio import CancelScope, to_thread

from polystow._errors import NoSpaceError, StorageError

type _Write = Callable[[memoryview], int | None]


async def save_chunks(chunks: AsyncIterable[bytes], target: str | Path | BinaryIO) -> int:
    """Write chunks into a file, in worker threads.

    Args:
        chunks: What to write.
        target: A path, where the file is when it is complete and an old one stays until then; or
            a binary file, written from where it stands and left open.

    Returns:
        How many bytes were written.

    Raises:
        NoSpaceError: The disk is full.
        StorageError: The file can't be written.
    """
    if not isinstance(target, str | Path):
        return await _write(chunks, target, getattr(target, "name", "the file object"))
    path = Path(target)
    # Its own name, so that two at once don't meet; not `tempfile`, whose files only their owner
    # can read, whatever the umask says.
    temporary = path.parent / f".{token_hex(8)}.part"
    try:
        file = await to_thread.run_sync(_create, temporary)
    except OSError as error:
        raise _local(error, path) from error
    try:
        with file:
            size = await _write(chunks, file, path)
        try:
            await to_thread.run_sync(os.replace, temporary, path)
        except OSError as error:
            raise _local(error, path) from error
        return size
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(lambda: temporary.unlink(missing_ok=True))


def _create(temporary: Path) -> BinaryIO:
    temporary.parent.mkdir(parents=True, exist_ok=True)
    return temporary.open("xb", buffering=0)


async def _write(chunks: AsyncIterable[bytes], file: BinaryIO, name: object) -> int:
    size = 0
    async for chunk in chunks:
        try:
            await to_thread.run_sync(_write_all, file, chunk)
        except OSError as error:
            raise _local(error, name) from error
        size += len(chunk)
    return size


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        written = cast("_Write", file.write)(rest)
        if written is None:
            if isinstance(file, RawIOBase):
                raise BlockingIOError(EAGAIN, "it is in non-blocking mode")
            return  # what is no raw file takes all at once, and some tell nothing
        rest = rest[written:]


def _local(error: OSError, path: object) -> StorageError:
    message = f"the local file can't be written: {error.strerror or error}"
    cls = NoSpaceError if error.errno in {ENOSPC, EDQUOT} else StorageError
    return cls(message, path=str(path), operation="zip").settled()
