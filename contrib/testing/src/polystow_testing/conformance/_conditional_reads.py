"""Reads on condition of an entity tag or a time, and headers that come with what is read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from polystow import (
    CopyOptions,
    NotFoundError,
    NotModifiedError,
    ObjectHeaders,
    ObjectInfo,
    PreconditionFailedError,
    ReadOptions,
    ResponseHeaders,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject, receive_all

type _Conditions = Callable[[ObjectInfo], ReadOptions]

_DAY = timedelta(days=1)
_HEADERS = ObjectHeaders(
    cache_control="max-age=60, public",
    content_disposition='attachment; filename="a b.txt"',
    content_encoding="identity",
    content_language="en, ru",
    expires=datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC),
)


def _modified(info: ObjectInfo) -> datetime:
    assert info.modified is not None, "limits.conditional_reads is True, and it has no time"
    return info.modified


_HOLDING: dict[str, _Conditions] = {
    "none_match": lambda _: ReadOptions(if_none_match="another"),
    "modified_since": lambda info: ReadOptions(if_modified_since=_modified(info) - _DAY),
    "unmodified_since": lambda info: ReadOptions(if_unmodified_since=_modified(info) + _DAY),
    "unmodified_since_then": lambda info: ReadOptions(if_unmodified_since=_modified(info)),
    "none_match_and_later": lambda info: ReadOptions(
        if_none_match="another", if_modified_since=_modified(info)
    ),
}
_KNOWN: dict[str, _Conditions] = {
    "none_match": lambda info: ReadOptions(if_none_match=info.etag),
    "modified_since": lambda info: ReadOptions(if_modified_since=_modified(info)),
    "modified_since_later": lambda info: ReadOptions(if_modified_since=_modified(info) + _DAY),
}


class ConditionalReadTests(Conformance):
    """`if_none_match`, `if_modified_since`, `if_unmodified_since`."""

    @pytest.fixture
    def conditional(self, keyed: Subject) -> Subject:
        """A subject that knows these conditions."""
        if not keyed.limits.conditional_reads:
            pytest.skip("limits.conditional_reads is False")
        return keyed

    @representative
    @cases(**_HOLDING)
    async def test_a_read_whose_condition_holds_reads(
        self, conditional: Subject, case: _Conditions
    ) -> None:
        path = (await conditional.put(b"content")).path
        options = case(await conditional.stat(path))
        assert await receive_all(await conditional.driver.open_read(path, options)) == b"content"

    @representative
    @cases(**_KNOWN)
    async def test_what_is_known_already_is_not_modified(
        self, conditional: Subject, case: _Conditions
    ) -> None:
        path = (await conditional.put(b"content")).path
        options = case(await conditional.stat(path))
        with conditional.raises(NotModifiedError, operation="open_read", path=path):
            await conditional.driver.open_read(path, options)
        assert await conditional.read(path) == b"content"

    async def test_what_was_changed_after_the_time_fails_its_condition(
        self, conditional: Subject
    ) -> None:
        path = (await conditional.put(b"content")).path
        options = ReadOptions(if_unmodified_since=_modified(await conditional.stat(path)) - _DAY)
        with conditional.raises(PreconditionFailedError, operation="open_read", path=path):
            await conditional.driver.open_read(path, options)

    async def test_a_new_content_is_modified(self, conditional: Subject) -> None:
        old = await conditional.put(b"old")
        await conditional.put(b"new")
        stream = await conditional.driver.open_read(old.path, ReadOptions(if_none_match=old.etag))
        assert await receive_all(stream) == b"new"

    async def test_a_conditional_read_of_what_is_not_there_finds_nothing(
        self, conditional: Subject
    ) -> None:
        path = await conditional.missing()
        with conditional.raises(NotFoundError, operation="open_read", path=path):
            await conditional.driver.open_read(path, ReadOptions(if_none_match="any"))


class HeaderTests(Conformance):
    """`ObjectHeaders`, kept with the object, and `ResponseHeaders`, of one answer."""

    @pytest.fixture
    def headed(self, subject: Subject) -> Subject:
        """A subject that keeps headers."""
        if not subject.limits.headers:
            pytest.skip("limits.headers is False")
        return subject

    @representative
    async def test_headers_are_kept_with_the_object(self, headed: Subject) -> None:
        path = (await headed.put(b"content", headers=_HEADERS)).path
        assert (await headed.stat(path)).headers == _HEADERS
        stream = await headed.driver.open_read(path, ReadOptions())
        assert await receive_all(stream) == b"content"
        assert stream.info.headers == _HEADERS

    @cases(
        cache_control=ObjectHeaders(cache_control="no-store"),
        content_disposition=ObjectHeaders(content_disposition="inline"),
        content_language=ObjectHeaders(content_language="de"),
        expires=ObjectHeaders(expires=datetime(2030, 1, 1, tzinfo=UTC)),
        none=ObjectHeaders(),
    )
    async def test_one_header_is_kept_and_no_other_is_invented(
        self, headed: Subject, case: ObjectHeaders
    ) -> None:
        path = (await headed.put(b"content", headers=case)).path
        assert (await headed.stat(path)).headers == case

    async def test_headers_of_a_large_object_are_kept(self, headed: Subject) -> None:
        path = (await headed.put(bytes(2 * self.part_size_bytes + 1), headers=_HEADERS)).path
        assert (await headed.stat(path)).headers == _HEADERS

    async def test_overwriting_drops_the_old_headers(self, headed: Subject, keyed: Subject) -> None:
        await keyed.put(b"old", headers=_HEADERS)
        path = (await keyed.put(b"new")).path
        assert (await headed.stat(path)).headers == ObjectHeaders()

    async def test_a_copy_has_the_headers_of_its_source(
        self, headed: Subject, keyed: Subject
    ) -> None:
        copier = headed.capabilities.copy
        if copier is None:
            pytest.skip("the driver declares no copy")
        source = (await keyed.put(b"content", "source", headers=_HEADERS)).path
        copied = await copier.copy(source, keyed.path("copy"), CopyOptions())
        assert (await headed.stat(copied.path)).headers == _HEADERS

    async def test_an_answer_has_the_headers_that_were_asked_for(self, subject: Subject) -> None:
        if not subject.limits.response_headers:
            pytest.skip("limits.response_headers is False")
        path = (await subject.put(b"content", content_type="text/plain")).path
        wanted = ResponseHeaders(
            cache_control="no-store",
            content_disposition='attachment; filename="other"',
            content_type="application/x-other",
        )
        stream = await subject.driver.open_read(path, ReadOptions(response=wanted))
        assert await receive_all(stream) == b"content"
        headers = stream.info.headers
        assert headers is not None
        assert headers.cache_control == wanted.cache_control
        assert headers.content_disposition == wanted.content_disposition
        assert stream.info.content_type == wanted.content_type
        if subject.limits.content_type:
            assert (await subject.stat(path)).content_type == "text/plain"
