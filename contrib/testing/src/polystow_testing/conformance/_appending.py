"""Changing objects in place: append, modify, truncate."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from polystow import (
    BytesBody,
    NotFoundError,
    ObjectInfo,
    RangeNotSatisfiableError,
    StreamBody,
    SupportsAppend,
    TruncatedBodyError,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._concurrency import succeeded, together
from polystow_testing.conformance._subject import Subject, pattern
from polystow_testing.conformance._writing import BrokenContentError, pieces

type _Call = Callable[[SupportsAppend, str], Awaitable[None]]

_CHANGES: dict[str, tuple[str, _Call]] = {
    "append": ("append", lambda at, path: at.append(path, BytesBody(b"x"))),
    "modify": ("modify", lambda at, path: at.modify(path, 0, BytesBody(b"x"))),
    "truncate": ("truncate", lambda at, path: at.truncate(path, 1)),
}


class AppendTests(Conformance):
    """`append`, `modify`, `truncate`, on objects that were written as `appendable`."""

    @pytest.fixture
    def appender(self, subject: Subject) -> SupportsAppend:
        """What changes."""
        if subject.capabilities.append is None:
            pytest.skip("the driver declares no append")
        return subject.capabilities.append

    async def _put(self, subject: Subject, content: bytes = b"content") -> ObjectInfo:
        return await subject.put(content, "object.bin", appendable=True, metadata={"a": "b"})

    @representative
    async def test_what_is_appended_comes_at_the_end(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject)
        await appender.append(info.path, BytesBody(b", more"))
        await appender.append(info.path, StreamBody(pieces(b", and more", 3)))
        assert await subject.read(info.path) == b"content, more, and more"
        found = await subject.stat(info.path)
        assert (found.size, found.metadata) == (23, {"a": "b"})

    @cases(nothing=0, byte=1, part=-1, over_a_part=-2)
    async def test_appended_content_of_each_size_arrives_whole(
        self, subject: Subject, appender: SupportsAppend, case: int
    ) -> None:
        size = case if case >= 0 else self.part_size_bytes - 1 - case
        info = await self._put(subject)
        data = pattern(size)
        await appender.append(info.path, StreamBody(pieces(data)))
        assert await subject.read(info.path) == b"content" + data
        assert (await subject.stat(info.path)).size == 7 + size

    async def test_an_empty_object_can_be_appended_to(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject, b"")
        await appender.append(info.path, BytesBody(b"first"))
        assert await subject.read(info.path) == b"first"

    @representative
    @cases(
        start=(0, b"XY", b"XYntent"), within=(2, b"XY", b"coXYent"),
        end=(7, b"XY", b"contentXY"), across=(5, b"XYZ", b"conteXYZ"), nothing=(3, b"", b"content"),
    )  # fmt: skip
    async def test_modifying_writes_over_what_is_there(
        self, subject: Subject, appender: SupportsAppend, case: tuple[int, bytes, bytes]
    ) -> None:
        offset, new, expected = case
        info = await self._put(subject)
        await appender.modify(info.path, offset, BytesBody(new))
        assert await subject.read(info.path) == expected
        assert (await subject.stat(info.path)).size == len(expected)

    async def test_modifying_after_the_end_is_refused(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject)
        with subject.raises(RangeNotSatisfiableError, operation="modify", path=info.path):
            await appender.modify(info.path, 8, BytesBody(b"x"))
        assert await subject.read(info.path) == b"content"

    @representative
    @cases(empty=(0, b""), shorter=(3, b"con"), same=(7, b"content"), longer=(9, b"content\0\0"))
    async def test_truncating_cuts_or_fills_with_zeros(
        self, subject: Subject, appender: SupportsAppend, case: tuple[int, bytes]
    ) -> None:
        size, expected = case
        info = await self._put(subject)
        await appender.truncate(info.path, size)
        assert await subject.read(info.path) == expected
        assert (await subject.stat(info.path)).size == size

    @representative
    @cases(**_CHANGES)
    async def test_changing_what_is_not_there_finds_nothing(
        self, subject: Subject, appender: SupportsAppend, case: tuple[str, _Call]
    ) -> None:
        operation, call = case
        info = await self._put(subject)
        await subject.delete(info.path)
        with subject.raises(NotFoundError, operation=operation, path=info.path):
            await call(appender, info.path)
        assert not await subject.exists(info.path)

    async def test_a_body_that_breaks_off_appends_nothing(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject)

        async def broken() -> AsyncIterator[bytes]:
            yield b"some"
            raise BrokenContentError

        with pytest.raises(BrokenContentError):
            await appender.append(info.path, StreamBody(broken()))
        assert await subject.read(info.path) == b"content"

    async def test_a_body_that_is_too_short_appends_nothing(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject)
        with pytest.raises(TruncatedBodyError):
            await appender.append(info.path, StreamBody(pieces(b"short"), 6))
        assert await subject.read(info.path) == b"content"

    async def test_no_append_of_many_at_once_is_lost(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject, b"")
        lines = [b"%03d:%s\n" % (number, b"x" * number) for number in range(self.writers)]
        calls = [partial(appender.append, info.path, BytesBody(line)) for line in lines]
        succeeded(await together(calls))
        data = await subject.read(info.path)
        assert sorted(data.splitlines(keepends=True)) == lines

    async def test_a_changed_object_has_another_entity_tag(
        self, subject: Subject, appender: SupportsAppend
    ) -> None:
        info = await self._put(subject)
        before = (await subject.stat(info.path)).etag
        if before is None:
            pytest.skip("it has no entity tags")
        await appender.append(info.path, BytesBody(b"x"))
        assert (await subject.stat(info.path)).etag != before
