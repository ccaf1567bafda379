"""Options of a write that only some backends know: a checksum, a storage class, other headers."""

import hashlib
import zlib
from collections.abc import Callable, Mapping

import pytest

from polystow import (
    Checksum,
    ChecksumMismatchError,
    CompositeDriver,
    CopyOptions,
    InvalidMetadataError,
    WriteOptions,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject, pattern
from polystow_testing.conformance._writing import WatchedBody

_MADE: Mapping[str, Callable[[bytes], str]] = {
    "crc32": lambda data: f"{zlib.crc32(data):08x}",
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
}


class OptionTests(Conformance):
    """`checksum`, `storage_class`, `extra_headers`."""

    @cases(empty=0, small=1000, parts=-1)
    @pytest.mark.parametrize("algorithm", _MADE)
    async def test_the_callers_checksum_is_compared(
        self, subject: Subject, case: int, algorithm: str
    ) -> None:
        if algorithm not in subject.limits.checksums:
            pytest.skip(f"limits.checksums has no {algorithm}")
        content = pattern(2 * self.part_size_bytes + 7 if case < 0 else case)
        await self._compare(subject, content, algorithm)

    @representative
    @pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
    async def test_a_composite_compares_the_checksum_that_a_backend_does_not(
        self, subject: Subject, algorithm: str
    ) -> None:
        if "://" in subject.container:
            pytest.skip("the wrapping has a composite already")
        mounted = CompositeDriver({"mount": subject.driver}, write_to="mount")
        inner = Subject.of(
            mounted, subject.bare, subject.container, subject.missing_container, "mount://"
        )
        await self._compare(inner, pattern(1000), algorithm)

    async def _compare(self, subject: Subject, content: bytes, algorithm: str) -> None:
        right = Checksum(algorithm, _MADE[algorithm](content))
        info = await subject.put(content, checksum=right)
        assert await subject.read(info.path) == content
        await subject.delete(info.path)
        wrong = Checksum(algorithm, _MADE[algorithm](content + b"!"))
        with pytest.raises(ChecksumMismatchError):
            await subject.put(content, checksum=wrong)
        if subject.limits.client_names_keys:
            assert not await subject.exists(subject.path("object"))

    async def test_an_object_has_the_storage_class_that_was_asked_for(
        self, subject: Subject
    ) -> None:
        if not subject.limits.storage_class:
            pytest.skip("limits.storage_class is False")
        info = await subject.put(b"content", storage_class=self.storage_class)
        found = await subject.stat(info.path)
        # Some tell nothing of the class that is the default.
        assert found.storage_class in {None, self.storage_class}
        copier = subject.capabilities.copy
        if copier is not None:
            options = CopyOptions(storage_class=self.storage_class)
            copied = await copier.copy(info.path, subject.target("copy"), options)
            found = await subject.stat(copied.path)
            assert found.storage_class in {None, self.storage_class}
            assert await subject.read(copied.path) == b"content"

    @pytest.fixture
    def sending(self, subject: Subject) -> Subject:
        """A subject that sends other headers."""
        if not subject.limits.extra_headers:
            pytest.skip("limits.extra_headers is False")
        return subject

    @cases(small=100, parts=-1)
    async def test_other_headers_disturb_nothing(self, sending: Subject, case: int) -> None:
        content = pattern(2 * self.part_size_bytes + 7 if case < 0 else case)
        info = await sending.put(content, extra_headers={"x-conformance": "1 2, 3"})
        assert await sending.read(info.path) == content

    @cases(
        line_in_value=("x-a", "b\r\nx-c: d"), line_in_name=("x-a\r\nx-b", "c"), nul=("x-a", "\0"),
        no_name=("", "b"), space_in_name=("x a", "b"), unicode=("x-a", "ä"),
        framing=("Content-Length", "3"), host=("Host", "elsewhere"),
    )  # fmt: skip
    async def test_what_can_be_no_header_of_the_callers_is_refused_unread(
        self, sending: Subject, case: tuple[str, str]
    ) -> None:
        body = WatchedBody(b"x", 1)
        options = WriteOptions(extra_headers=dict([case]))
        with sending.raises(InvalidMetadataError, operation="write"):
            await sending.driver.write(sending.target("object"), body, options)
        assert body.opened == 0
