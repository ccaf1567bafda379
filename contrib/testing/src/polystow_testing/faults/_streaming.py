"""Streams a large object through a driver, both ways, and watches the memory."""

from collections.abc import AsyncIterator, Sequence

import anyio

from polystow import NameHint, ReadOptions, Target, WriteOptions, make_body
from polystow_testing.faults._leaks import Violation
from polystow_testing.faults._memory import MemoryBound
from polystow_testing.faults._target import FaultTarget

_PIECE = bytes(65_536)


def stream_through(target: FaultTarget, size_bytes: int, limit_bytes: int) -> Sequence[int]:
    """Write an object of unknown length, and read it.

    Args:
        target: Entered already; its server has to keep its objects on disk.
        size_bytes: The object's size, a multiple of 64 KiB, and well above the limit.
        limit_bytes: How much memory there may be in use at once.

    Returns:
        The peaks, in bytes: of writing and of reading.

    Raises:
        Violation: There was more in use, or the object has another size.
    """
    target.clear()
    return anyio.run(_stream_through, target, size_bytes, limit_bytes)


async def _stream_through(target: FaultTarget, size: int, limit: int) -> Sequence[int]:
    goal: Target = NameHint("large.bin")
    if "write_unknown" in target.leaves_out:
        goal = target.put("large.bin", b"")
    async with target.open(target.addresses) as driver:
        with MemoryBound(limit) as writing:
            info = await driver.write(goal, await make_body(_zeros(size)), WriteOptions())
        writing.check()
        got = 0
        with MemoryBound(limit) as reading:
            async with await driver.open_read(info.path, ReadOptions()) as stream:
                async for chunk in stream:
                    got += len(chunk)
        reading.check()
    if got != size:
        raise Violation("right answer", f"{got:,} bytes of {size:,} came back")
    target.clear()
    return writing.peak_bytes, reading.peak_bytes


async def _zeros(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(_PIECE)):
        yield _PIECE
