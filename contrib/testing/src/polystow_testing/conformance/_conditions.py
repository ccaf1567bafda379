"""Conditional reads and writes: honoured where declared, refused where not."""

import pytest

from polystow import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionFailedError,
    ReadOptions,
    StreamBody,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject, pattern
from polystow_testing.conformance._writing import pieces


class ConditionTests(Conformance):
    """`overwrite=False` and `if_match`."""

    @pytest.fixture
    def creating(self, subject: Subject) -> Subject:
        """A subject with create-only writes."""
        if not subject.limits.create_only:
            pytest.skip("limits.create_only is False")
        return subject

    @pytest.fixture
    def matching(self, keyed: Subject) -> Subject:
        """A subject with entity tags."""
        if not keyed.limits.if_match:
            pytest.skip("limits.if_match is False")
        return keyed

    @representative
    async def test_a_create_only_write_makes_a_new_object(self, creating: Subject) -> None:
        info = await creating.put(b"content", overwrite=False)
        assert await creating.read(info.path) == b"content"

    async def test_a_create_only_write_of_several_parts_makes_a_new_object(
        self, creating: Subject
    ) -> None:
        data = pattern(2 * self.part_size_bytes + 1)
        info = await creating.put(data, overwrite=False)
        assert await creating.read(info.path) == data

    @cases(bytes=0, stream=1, two_parts=2)
    async def test_a_create_only_write_leaves_what_is_there(
        self, creating: Subject, keyed: Subject, case: int
    ) -> None:
        old = await keyed.put(b"old", metadata={"old": "x"})
        with creating.raises(AlreadyExistsError, operation="write", path=old.path):
            if case:
                data = pattern(2 * self.part_size_bytes + 1 if case == 2 else 10)
                await creating.put(StreamBody(pieces(data)), overwrite=False)
            else:
                await creating.put(b"new", overwrite=False)
        found = await creating.stat(old.path)
        assert (found.size, found.metadata, found.etag) == (3, {"old": "x"}, old.etag)
        assert await creating.read(old.path) == b"old"

    async def test_a_key_can_be_created_again_after_its_deletion(
        self, creating: Subject, keyed: Subject
    ) -> None:
        info = await creating.put(b"old", overwrite=False)
        await keyed.delete(info.path)
        await creating.put(b"new", overwrite=False)
        assert await creating.read(info.path) == b"new"

    async def test_each_content_has_another_entity_tag(self, matching: Subject) -> None:
        tags = [(await matching.put(content)).etag for content in (b"1", b"2", b"22", b"")]
        assert None not in tags
        assert len(set(tags)) == 4
        assert (await matching.stat(matching.path("object"))).etag == tags[-1]

    @cases(small=10, two_parts=-1)
    async def test_a_write_that_matches_replaces(self, matching: Subject, case: int) -> None:
        data = pattern(2 * self.part_size_bytes + 1 if case < 0 else case)
        old = await matching.put(b"old")
        new = await matching.put(data, if_match=old.etag)
        assert new.etag != old.etag
        assert await matching.read(new.path) == data
        newest = await matching.put(b"newest", if_match=new.etag)
        assert await matching.read(newest.path) == b"newest"

    @cases(bytes=0, stream=1, two_parts=2)
    async def test_a_write_that_does_not_match_leaves_what_is_there(
        self, matching: Subject, case: int
    ) -> None:
        before = await matching.put(b"before")
        now = await matching.put(b"now")
        with matching.raises(PreconditionFailedError, operation="write", path=now.path):
            if case:
                data = pattern(2 * self.part_size_bytes + 1 if case == 2 else 10)
                await matching.put(StreamBody(pieces(data)), if_match=before.etag)
            else:
                await matching.put(b"new", if_match=before.etag)
        assert await matching.read(now.path) == b"now"
        assert (await matching.stat(now.path)).etag == now.etag

    @representative
    async def test_nothing_matches_where_nothing_is(self, matching: Subject) -> None:
        old = await matching.put(b"old")
        await matching.delete(old.path)
        with matching.raises(PreconditionFailedError, operation="write", path=old.path):
            await matching.put(b"new", if_match=old.etag)
        assert not await matching.exists(old.path)

    async def test_a_read_that_matches_reads(self, matching: Subject) -> None:
        info = await matching.put(b"content")
        assert await matching.read(info.path, if_match=info.etag) == b"content"

    @representative
    async def test_a_read_that_does_not_match_is_refused(self, matching: Subject) -> None:
        old = await matching.put(b"old")
        await matching.put(b"new")
        with matching.raises(PreconditionFailedError, operation="open_read", path=old.path):
            await matching.driver.open_read(old.path, ReadOptions(if_match=old.etag))
        assert await matching.read(old.path) == b"new"

    async def test_a_conditional_read_of_nothing_finds_nothing(self, matching: Subject) -> None:
        path = await matching.missing()
        with matching.raises(NotFoundError, operation="open_read", path=path):
            await matching.driver.open_read(path, ReadOptions(if_match="any"))
