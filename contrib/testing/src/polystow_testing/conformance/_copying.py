"""Copies and batches of deletions, where the driver has them."""

from functools import partial

import pytest

from polystow import (
    AlreadyExistsError,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    NameHint,
    NotFoundError,
    SupportsCopy,
    SupportsDeleteMany,
)
from polystow_testing.conformance._base import Conformance, bare_only, cases, representative
from polystow_testing.conformance._concurrency import together
from polystow_testing.conformance._subject import Subject, pattern


class CopyTests(Conformance):
    """`copy`."""

    @pytest.fixture
    def copier(self, subject: Subject) -> SupportsCopy:
        """What copies."""
        if subject.capabilities.copy is None:
            pytest.skip("the driver declares no copy")
        return subject.capabilities.copy

    @cases(empty=0, small=10, two_parts=-1)
    async def test_a_copy_has_content_type_and_metadata_of_its_source(
        self, subject: Subject, copier: SupportsCopy, case: int
    ) -> None:
        data = pattern(2 * self.part_size_bytes + 1 if case < 0 else case)
        source = await subject.put(
            data, "source.bin", content_type="text/x-odd", metadata={"a": "ä"}, filename="ö.bin"
        )
        copied = await copier.copy(source.path, subject.target("copy.bin"), CopyOptions())
        assert copied.path != source.path
        before, after = await subject.stat(source.path), await subject.stat(copied.path)
        for name in ("size", "content_type", "metadata", "checksum"):
            assert getattr(after, name) == getattr(before, name), f"{name} differs"
        if subject.limits.client_names_keys:
            assert copied.path == subject.path("copy.bin")
            assert after.filename == before.filename
        assert await subject.read(copied.path) == data
        await subject.delete(source.path)
        assert await subject.read(copied.path) == data

    @representative
    async def test_a_copy_to_a_name_is_a_new_object_of_that_name(
        self, subject: Subject, copier: SupportsCopy
    ) -> None:
        source = await subject.put(b"content", "source.txt", metadata={"a": "b"})
        hint = NameHint("copy ä.txt", container=subject.hint_container)
        copies = [await copier.copy(source.path, hint, CopyOptions()) for _ in range(2)]
        assert len({source.path, *(copied.path for copied in copies)}) == 3
        for copied in copies:
            found = await subject.stat(copied.path)
            assert found.filename in {None, hint.filename}
            assert found.metadata == {"a": "b"}
            assert await subject.read(copied.path) == b"content"

    @representative
    async def test_a_copy_overwrites_its_target(self, keyed: Subject, copier: SupportsCopy) -> None:
        source = await keyed.put(b"new", "source", metadata={"new": "x"})
        target = await keyed.put(b"older", "target", metadata={"old": "y"})
        await copier.copy(source.path, target.path, CopyOptions())
        assert await keyed.read(target.path) == b"new"
        assert (await keyed.stat(target.path)).metadata == {"new": "x"}

    @representative
    async def test_a_create_only_copy_leaves_what_is_there(
        self, keyed: Subject, copier: SupportsCopy
    ) -> None:
        # A composite copies by reading and writing where its mount can't, and says which failed.
        streamed = keyed.bare.capabilities.copy is None
        if streamed and not keyed.limits.create_only:
            pytest.skip("limits.create_only is False, and copies are written")
        source = await keyed.put(b"new", "source")
        await copier.copy(source.path, keyed.path("first"), CopyOptions(overwrite=False))
        target = await keyed.put(b"old", "target")
        operation = "write" if streamed else "copy"
        with keyed.raises(AlreadyExistsError, operation=operation, path=target.path):
            await copier.copy(source.path, target.path, CopyOptions(overwrite=False))
        assert await keyed.read(target.path) == b"old"

    async def test_a_copy_onto_itself_changes_nothing(
        self, keyed: Subject, copier: SupportsCopy
    ) -> None:
        source = await keyed.put(b"content", metadata={"a": "b"})
        await copier.copy(source.path, source.path, CopyOptions())
        assert await keyed.read(source.path) == b"content"
        assert (await keyed.stat(source.path)).metadata == {"a": "b"}

    @cases(
        unicode=("ä 漢", "é"), spaces=(" a b ", " "), plus=("a+b", "a%2Bb"),
        question_mark=("a?b=c", "?"), percent=("100%", "%41"), slashes=("a/b/c", "b/c"),
    )  # fmt: skip
    async def test_odd_keys_are_copied(
        self, keyed: Subject, copier: SupportsCopy, case: tuple[str, str]
    ) -> None:
        source, target = case
        await keyed.put(source.encode(), source)
        await copier.copy(keyed.path(source), keyed.path(target), CopyOptions())
        assert await keyed.read(keyed.path(target)) == source.encode()

    async def test_a_copy_to_no_path_is_refused(self, keyed: Subject, copier: SupportsCopy) -> None:
        source = await keyed.put(b"content")
        operation = "write" if keyed.bare.capabilities.copy is None else "copy"
        with keyed.raises(InvalidPathError, operation=operation):
            await copier.copy(source.path, keyed.container, CopyOptions())


class DeleteManyTests(Conformance):
    """`delete_many`."""

    @pytest.fixture
    def deleter(self, subject: Subject) -> SupportsDeleteMany:
        """What deletes many."""
        if subject.capabilities.delete_many is None:
            pytest.skip("the driver declares no delete_many")
        return subject.capabilities.delete_many

    @representative
    async def test_all_that_are_named_are_deleted_and_no_others(
        self, subject: Subject, deleter: SupportsDeleteMany
    ) -> None:
        paths = [(await subject.put(b"x", f"{number}.txt")).path for number in range(10)]
        kept = (await subject.put(b"kept", "kept.txt")).path
        done = await deleter.delete_many(tuple(paths), DeleteOptions())
        assert (list(done.succeeded), list(done.failed)) == (paths, [])
        for path in paths:
            assert not await subject.exists(path)
        assert await subject.read(kept) == b"kept"

    @representative
    async def test_what_is_not_there_counts_as_deleted(
        self, subject: Subject, deleter: SupportsDeleteMany
    ) -> None:
        there = (await subject.put(b"x", "there")).path
        missing = await subject.missing()
        done = await deleter.delete_many((missing, there), DeleteOptions())
        assert (list(done.succeeded), list(done.failed)) == ([missing, there], [])
        assert not await subject.exists(there)

    @representative
    async def test_what_is_not_there_fails_alone_where_it_must_be_there(
        self, subject: Subject, deleter: SupportsDeleteMany
    ) -> None:
        there = (await subject.put(b"x", "there")).path
        missing = await subject.missing()
        done = await deleter.delete_many((missing, there), DeleteOptions(missing_ok=False))
        assert list(done.succeeded) == [there]
        [failure] = done.failed
        assert failure.path == missing
        assert isinstance(failure.error, NotFoundError)
        assert failure.error.operation in {"delete", "delete_many"}
        subject.check_error(failure.error, operation=failure.error.operation, path=missing)
        assert not await subject.exists(there)

    @representative
    async def test_a_path_that_is_none_fails_alone(
        self, subject: Subject, deleter: SupportsDeleteMany
    ) -> None:
        there = (await subject.put(b"x", "there")).path
        wrong = subject.container
        done = await deleter.delete_many((wrong, there), DeleteOptions())
        assert list(done.succeeded) == [there]
        [failure] = done.failed
        assert failure.path == wrong
        assert isinstance(failure.error, InvalidPathError)
        assert failure.error.path == wrong
        assert not await subject.exists(there)

    async def test_nothing_to_delete_is_no_error(
        self, subject: Subject, deleter: SupportsDeleteMany
    ) -> None:
        assert subject.capabilities.delete_many is not None
        done = await deleter.delete_many((), DeleteOptions())
        assert (list(done.succeeded), list(done.failed)) == ([], [])

    @cases(
        unicode="ä 漢 🎉", markup="<a>&amp;</a>]]>", quotes="\"it's\"", spaces=" a  b ",
        percent="%41 +", control="a\x01b", newline="a\nb",
    )  # fmt: skip
    async def test_odd_keys_are_deleted(
        self, keyed: Subject, deleter: SupportsDeleteMany, case: str
    ) -> None:
        path = (await keyed.put(b"x", case)).path
        other = (await keyed.put(b"x", "other")).path
        done = await deleter.delete_many((path, other), DeleteOptions())
        assert (list(done.succeeded), list(done.failed)) == ([path, other], [])
        assert not await keyed.exists(path)

    @bare_only
    async def test_more_are_deleted_than_fit_into_one_request(
        self, keyed: Subject, deleter: SupportsDeleteMany
    ) -> None:
        await together([partial(keyed.put, b"x", f"{number:06d}") for number in (0, 999, 1000)])
        paths = tuple(keyed.path(f"{number:06d}") for number in range(1100))
        done = await deleter.delete_many(paths, DeleteOptions())
        assert (tuple(done.succeeded), list(done.failed)) == (paths, [])
        for number in (0, 999, 1000):
            assert not await keyed.exists(keyed.path(f"{number:06d}"))
