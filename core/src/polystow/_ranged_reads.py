"""Several ranges of one object at once: which requests they take, and their bytes."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from anyio import EndOfStream
from attrs import evolve, frozen

from polystow._driver import ReadStream
from polystow._errors import PreconditionFailedError, RangeNotSatisfiableError
from polystow._ranges import ByteRange
from polystow._tasks import run_all
from polystow._value import Value
from polystow._values import ReadOptions

_GAP_BYTES = 65_536
_RECEIVE_SIZE_BYTES = 1_048_576


@frozen(eq=False, repr=False)
class RangeRequest(Value):
    """A request that brings some of the ranges.

    Attributes:
        range: What is asked for.
        members: The ranges' positions in the caller's list.
    """

    range: ByteRange
    members: tuple[int, ...]


def plan_requests(
    ranges: Sequence[ByteRange], *, gap_bytes: int = _GAP_BYTES
) -> Sequence[RangeRequest]:
    """The requests that bring all ranges.

    Ranges with two ends that overlap, or have at most `gap_bytes` between them, come together.
    The others can't be compared without the object's size.
    """
    requests = [
        RangeRequest(wanted, (position,))
        for position, wanted in enumerate(ranges)
        if wanted.first < 0 or wanted.last is None
    ]
    closed = [
        (wanted.first, wanted.last, position)
        for position, wanted in enumerate(ranges)
        if wanted.first >= 0 and wanted.last is not None
    ]
    first = last = -1
    members: list[int] = []
    for begin, end, position in sorted(closed):
        if members and begin <= last + gap_bytes + 1:
            last = max(last, end)
            members.append(position)
            continue
        if members:
            requests.append(RangeRequest(ByteRange(first, last), tuple(members)))
        first, last, members = begin, end, [position]
    if members:
        requests.append(RangeRequest(ByteRange(first, last), tuple(members)))
    return requests


async def read_ranges(
    open_read: Callable[[ReadOptions], Awaitable[ReadStream]],
    options: ReadOptions,
    ranges: Sequence[ByteRange],
    concurrency: int,
) -> Sequence[bytes]:
    """Read ranges; see `Storage.read_ranges`."""
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; 1 is the least")
    found: dict[int, bytes] = {}
    tags: set[str] = set()

    async def read(request: RangeRequest) -> None:
        stream = await open_read(evolve(options, range=request.range))
        try:
            if stream.info.etag is not None:
                tags.add(stream.info.etag)
            if len(tags) > 1:
                raise PreconditionFailedError(
                    "it was changed while its ranges were read",
                    path=stream.info.path,
                    operation="read_ranges",
                )
            size = stream.range.size
            begin = stream.range.offset
            data = await _all(stream)
        finally:
            await stream.aclose()
        for position in request.members:
            wanted = ranges[position]
            if len(request.members) == 1:
                found[position] = data
                continue
            assert wanted.last is not None
            if size is not None and wanted.first >= size:  # as the first of several does not
                raise RangeNotSatisfiableError(
                    f"the range begins at byte {wanted.first}, the object has {size} bytes",
                    path=stream.info.path,
                    operation="read_ranges",
                )
            found[position] = data[wanted.first - begin : wanted.last - begin + 1]

    requests = plan_requests(ranges)
    await run_all([partial(read, request) for request in requests], limit=concurrency)
    return [found[position] for position in range(len(ranges))]


async def _all(stream: ReadStream) -> bytes:
    chunks: list[bytes] = []
    while True:
        try:
            chunks.append(await stream.receive(_RECEIVE_SIZE_BYTES))
        except EndOfStream:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
