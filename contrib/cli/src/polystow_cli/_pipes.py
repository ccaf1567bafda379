"""stdin and stdout as streams that a cancellation does not wait for."""

import os
import sys
from collections.abc import AsyncIterable, AsyncIterator

from anyio import to_thread

_PIECE_BYTES = 1_048_576


async def read_stdin() -> AsyncIterator[bytes]:
    """What comes in, until it ends."""
    fd = sys.stdin.fileno()
    while chunk := await to_thread.run_sync(os.read, fd, _PIECE_BYTES, abandon_on_cancel=True):
        yield chunk


async def write_stdout(chunks: AsyncIterable[bytes]) -> None:
    """Send chunks out.

    Raises:
        BrokenPipeError: Nobody reads any more.
    """
    sys.stdout.flush()
    fd = sys.stdout.fileno()
    async for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            rest = rest[await to_thread.run_sync(os.write, fd, rest, abandon_on_cancel=True) :]
