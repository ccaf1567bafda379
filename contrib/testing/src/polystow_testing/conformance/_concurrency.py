"""Many at once: writers of one key, readers beside a writer, and operations of all kinds."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
import pytest

from polystow import (
    AlreadyExistsError,
    ObjectInfo,
    PreconditionFailedError,
    ReadOptions,
    StorageError,
    StreamBody,
)
from polystow_testing.conformance._base import Conformance, bare_only, representative
from polystow_testing.conformance._subject import Subject, pattern, receive_all
from polystow_testing.conformance._writing import pieces

_AT_ONCE = 16


async def together[T](calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | StorageError]:
    """Run calls side by side, some at once; what each gave or raised, in their order."""
    results: dict[int, T | StorageError] = {}
    waiting = iter(enumerate(calls))

    async def work() -> None:
        for number, call in waiting:
            try:
                results[number] = await call()
            except StorageError as error:
                results[number] = error

    async with anyio.create_task_group() as tasks:
        for _ in range(min(_AT_ONCE, len(calls))):
            tasks.start_soon(work)
    return [results[number] for number in range(len(calls))]


def succeeded[T](results: Sequence[T | StorageError]) -> list[T]:
    """What was given; an error is raised."""
    for result in results:
        if isinstance(result, StorageError):
            raise result
    return [result for result in results if not isinstance(result, StorageError)]


class ConcurrencyTests(Conformance):
    """Operations side by side."""

    async def test_writers_of_one_key_leave_one_whole_object(self, keyed: Subject) -> None:
        async def write(number: int) -> ObjectInfo:
            data = pattern(20_000 + number, number)
            return await keyed.put(StreamBody(pieces(data, 3_000)), metadata={"n": str(number)})

        results = await together([partial(write, number) for number in range(self.writers)])
        succeeded(results)
        data = await keyed.read(keyed.path("object"))
        number = len(data) - 20_000
        assert data == pattern(20_000 + number, number)
        found = await keyed.stat(keyed.path("object"))
        assert (found.size, found.metadata) == (len(data), {"n": str(number)})

    async def test_large_writers_of_one_key_leave_one_whole_object(self, keyed: Subject) -> None:
        size = self.part_size_bytes + 1

        async def write(number: int) -> ObjectInfo:
            return await keyed.put(StreamBody(pieces(pattern(size, number))))

        succeeded(await together([partial(write, number) for number in range(3)]))
        assert await keyed.read(keyed.path("object")) in [pattern(size, n) for n in range(3)]

    async def test_readers_see_an_object_whole_while_it_is_overwritten(
        self, keyed: Subject
    ) -> None:
        versions = {pattern(60_000 + number, number): number for number in range(6)}
        contents = list(versions)
        path = (await keyed.put(contents[0])).path
        done = anyio.Event()
        seen: list[int] = []

        async def read() -> None:
            while True:
                last = done.is_set()
                stream = await keyed.driver.open_read(path, ReadOptions())
                data = await receive_all(stream, 7_000)
                assert data in versions, "the reader got parts of two contents"
                assert stream.info.size in {None, len(data)}
                seen.append(versions[data])
                if last:
                    return
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)
            for content in contents[1:]:
                await keyed.put(StreamBody(pieces(content, 9_000)))
            done.set()
        assert seen[-1] == len(contents) - 1

    @representative
    async def test_one_of_many_creators_wins(self, keyed: Subject) -> None:
        if not keyed.limits.create_only:
            pytest.skip("limits.create_only is False")

        async def create(number: int) -> int:
            await keyed.put(pattern(100, number), overwrite=False)
            return number

        results = await together([partial(create, number) for number in range(self.writers)])
        winners = [result for result in results if isinstance(result, int)]
        assert len(winners) == 1
        for error in results:
            if isinstance(error, StorageError):
                assert isinstance(error, AlreadyExistsError)
        assert await keyed.read(keyed.path("object")) == pattern(100, winners[0])

    async def test_one_of_many_writers_with_the_same_entity_tag_wins(self, keyed: Subject) -> None:
        if not keyed.limits.if_match:
            pytest.skip("limits.if_match is False")
        old = await keyed.put(b"old")

        async def replace(number: int) -> int:
            await keyed.put(pattern(100, number), if_match=old.etag)
            return number

        results = await together([partial(replace, number) for number in range(self.writers)])
        winners = [result for result in results if isinstance(result, int)]
        assert len(winners) == 1
        for error in results:
            if isinstance(error, StorageError):
                assert isinstance(error, PreconditionFailedError)
        assert await keyed.read(keyed.path("object")) == pattern(100, winners[0])

    @representative
    async def test_operations_on_different_objects_do_not_disturb_each_other(
        self, subject: Subject
    ) -> None:
        async def live(number: int) -> None:
            data = pattern(1000 * number, number)
            info = await subject.put(data, f"{number}.bin", metadata={"n": str(number)})
            assert await subject.read(info.path) == data
            found = await subject.stat(info.path)
            assert (found.size, found.metadata) == (len(data), {"n": str(number)})
            await subject.delete(info.path, missing_ok=False)
            assert not await subject.exists(info.path)

        succeeded(await together([partial(live, number) for number in range(12)]))

    @bare_only
    async def test_many_open_streams_do_not_keep_others_from_working(
        self, subject: Subject
    ) -> None:
        data = pattern(200_000)
        path = (await subject.put(data)).path
        streams = [await subject.driver.open_read(path, ReadOptions()) for _ in range(8)]
        other = await subject.put(b"meanwhile", "other")
        assert await subject.read(other.path) == b"meanwhile"
        for stream in streams:
            assert await receive_all(stream) == data
