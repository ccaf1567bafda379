"""Reading: whole objects, ranges, and how streams behave."""

import pytest
from anyio import ClosedResourceError, EndOfStream

from polystow import ByteRange, ContentRange, RangeNotSatisfiableError, ReadOptions
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject, pattern, receive_all

_SIZE = 100_000
_EARLY_CLOSED = 40
"""More than any driver's pool has connections by default for one server, so a leak shows."""


class ReadingTests(Conformance):
    """`open_read` and its streams."""

    @representative
    async def test_a_stream_tells_what_stat_tells(self, subject: Subject) -> None:
        path = (await subject.put(pattern(_SIZE), "a.txt", metadata={"a": "b"})).path
        found = await subject.stat(path)
        async with await subject.driver.open_read(path, ReadOptions()) as stream:
            info, part = stream.info, stream.range
        assert (info.path, info.size, info.etag) == (found.path, found.size, found.etag)
        assert info.content_type in {None, found.content_type}
        assert info.metadata is None or info.metadata == found.metadata
        assert info.checksum is None or info.checksum == found.checksum
        assert part.offset == 0
        assert part.length == _SIZE
        assert part.size in {None, _SIZE}

    @cases(one=1, few=7, odd=1000, all=_SIZE, more=10 * _SIZE)
    async def test_receive_gives_at_most_what_was_asked_for(
        self, subject: Subject, case: int
    ) -> None:
        data = pattern(_SIZE if case > 10 else 100)
        path = (await subject.put(data)).path
        stream = await subject.driver.open_read(path, ReadOptions())
        assert await receive_all(stream, case) == data

    @cases(one=1, odd=999, default=262_144)
    async def test_iterating_gives_chunks_of_at_most_the_chunk_size(
        self, subject: Subject, case: int
    ) -> None:
        data = pattern(300_000 if case > 1 else 50)
        path = (await subject.put(data)).path
        stream = await subject.driver.open_read(path, ReadOptions(chunk_size_bytes=case))
        async with stream:
            assert stream.chunk_size_bytes == case
            chunks = [chunk async for chunk in stream]
        assert all(0 < len(chunk) <= case for chunk in chunks)
        assert b"".join(chunks) == data

    @cases(empty=0, one_byte=1, some=1000)
    async def test_the_end_of_a_stream_comes_again(self, subject: Subject, case: int) -> None:
        path = (await subject.put(pattern(case))).path
        async with await subject.driver.open_read(path, ReadOptions()) as stream:
            while case:
                case -= len(await stream.receive())
            for _ in range(3):
                with pytest.raises(EndOfStream):
                    await stream.receive()

    @cases(unread=0, begun=1, read=_SIZE)
    async def test_a_stream_can_be_closed_at_any_place_and_twice(
        self, subject: Subject, case: int
    ) -> None:
        path = (await subject.put(pattern(_SIZE))).path
        stream = await subject.driver.open_read(path, ReadOptions())
        received = 0
        while received < case:
            received += len(await stream.receive(1 if case == 1 else 65_536))
        await stream.aclose()
        await stream.aclose()
        with pytest.raises((ClosedResourceError, EndOfStream)):
            await stream.receive()

    async def test_streams_that_are_closed_early_hold_nothing(self, subject: Subject) -> None:
        data = pattern(300_000)
        path = (await subject.put(data)).path
        for _ in range(_EARLY_CLOSED):
            stream = await subject.driver.open_read(path, ReadOptions())
            assert data.startswith(await stream.receive(1))
            await stream.aclose()
        assert await subject.read(path) == data

    @representative
    async def test_streams_of_one_object_do_not_disturb_each_other(self, subject: Subject) -> None:
        data = pattern(_SIZE)
        path = (await subject.put(data)).path
        streams = [await subject.driver.open_read(path, ReadOptions()) for _ in range(3)]
        received = [b"", b"", b""]
        while any(len(each) < _SIZE for each in received):
            for number, stream in enumerate(streams):
                if len(received[number]) < _SIZE:
                    received[number] += await stream.receive(10_000 + number)
        for stream in streams:
            await stream.aclose()
        assert received == [data, data, data]

    @cases(
        first_byte=(ByteRange(0, 0), 0, 1),
        middle=(ByteRange(10, 19), 10, 10),
        one_byte=(ByteRange(500, 500), 500, 1),
        open=(ByteRange(400), 400, 600),
        open_from_start=(ByteRange(0), 0, 1000),
        last_byte=(ByteRange(999, 999), 999, 1),
        whole=(ByteRange(0, 999), 0, 1000),
        end_beyond=(ByteRange(990, 5000), 990, 10),
        suffix_of_one=(ByteRange.suffix(1), 999, 1),
        suffix=(ByteRange.suffix(300), 700, 300),
        suffix_of_all=(ByteRange.suffix(1000), 0, 1000),
        suffix_longer_than_all=(ByteRange.suffix(1001), 0, 1000),
    )
    async def test_a_range_gives_its_bytes_and_no_others(
        self, subject: Subject, case: tuple[ByteRange, int, int]
    ) -> None:
        part, offset, length = case
        data = pattern(1000)
        path = (await subject.put(data)).path
        stream = await subject.driver.open_read(path, ReadOptions(range=part))
        assert stream.range == ContentRange(offset, length, 1000)
        assert stream.info.size in {None, 1000}, "info is about the object, not about the range"
        assert await receive_all(stream) == data[offset : offset + length]

    @cases(
        at_the_end=(1000, ByteRange(1000)),
        at_the_end_with_last=(1000, ByteRange(1000, 1000)),
        beyond_the_end=(1000, ByteRange(5000, 6000)),
        of_nothing=(0, ByteRange(0)),
        suffix_of_nothing=(0, ByteRange.suffix(5)),
    )
    async def test_a_range_that_begins_at_or_after_the_end_is_refused(
        self, subject: Subject, case: tuple[int, ByteRange]
    ) -> None:
        size, part = case
        path = (await subject.put(pattern(size))).path
        with subject.raises(RangeNotSatisfiableError, operation="open_read", path=path):
            await subject.read(path, part)
        assert await subject.read(path) == pattern(size)

    async def test_ranges_across_a_part_boundary_are_exact(self, subject: Subject) -> None:
        part = self.part_size_bytes
        data = pattern(2 * part + 10)
        path = (await subject.put(data)).path
        for first in (part - 1, part, part + 1):
            for length in (1, 2, 3):
                got = await subject.read(path, ByteRange(first, first + length - 1))
                assert got == data[first : first + length]
