"""The user's metadata: kept as given or refused, replaced and merged."""

from collections.abc import Mapping

import pytest

from polystow import InvalidMetadataError, MetadataOptions, SupportsMetadata
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject

_ODD_METADATA: Mapping[str, dict[str, str]] = {
    "empty_value": {"name": ""},
    "unicode_value": {"name": "Jürgen 漢字 🎉"},
    "spaces_around_value": {"name": "  two spaces  "},
    "newline_in_value": {"name": "one\r\ntwo"},
    "tab_in_value": {"name": "one\ttwo"},
    "control_character_in_value": {"name": "one\x01two"},
    "encoded_word_as_value": {"name": "=?UTF-8?B?4pyT?="},
    "percent_in_value": {"name": "100%25"},
    "separators_in_value": {"name": 'a=b; c="d", e&f'},
    "quoted_value": {"name": '"quoted"'},
    "upper_case_name": {"Name": "value"},
    "unicode_name": {"größe": "value"},
    "space_in_name": {"a name": "value"},
    "punctuation_in_name": {"a-b_c.d": "value"},
    "colon_in_name": {"a:b": "value"},
    "digits_as_name": {"42": "value"},
    "empty_name": {"": "value"},
    "names_in_two_cases": {"name": "one", "NAME": "two"},
}


class MetadataTests(Conformance):
    """Metadata of writes, and `set_metadata`."""

    @pytest.fixture
    def setter(self, subject: Subject) -> SupportsMetadata:
        """What sets metadata."""
        if subject.capabilities.set_metadata is None:
            pytest.skip("the driver declares no set_metadata")
        return subject.capabilities.set_metadata

    @cases(
        none={},
        one={"author": "john"},
        many={f"name-{number}": f"value {number}" for number in range(20)},
        long_value={"name": "x" * 256},
        long_name={"n" * 64: "value"},
        url={"source": "https://example.org/a?b=c&d=%20#e"},
        number={"count": "0042"},
    )
    async def test_metadata_is_kept_as_it_was_given(
        self, subject: Subject, case: dict[str, str]
    ) -> None:
        info = await subject.put(b"x", "a.txt", metadata=case)
        assert info.metadata in (None, case)
        assert (await subject.stat(info.path)).metadata == case

    @cases(**_ODD_METADATA)
    async def test_odd_metadata_is_kept_as_it_was_given(
        self, subject: Subject, case: dict[str, str]
    ) -> None:
        info = await subject.put(b"x", "a.txt", metadata=case)
        assert (await subject.stat(info.path)).metadata == case

    @cases(**_ODD_METADATA, no_text={"name": "\ud800"})
    async def test_odd_metadata_keeps_its_values_or_is_refused(
        self, subject: Subject, case: dict[str, str]
    ) -> None:
        try:
            info = await subject.put(b"x", "a.txt", metadata=case)
        except InvalidMetadataError as error:
            subject.check_error(error, operation="write")
            if subject.limits.client_names_keys:
                assert not await subject.exists(subject.path("a.txt"))
        else:
            found = (await subject.stat(info.path)).metadata
            assert found is not None
            assert sorted(found.values()) == sorted(case.values())

    async def test_metadata_of_the_greatest_size_is_kept(self, subject: Subject) -> None:
        limit = subject.limits.max_metadata_bytes
        if limit is None:
            pytest.skip("limits.max_metadata_bytes is None")
        # Without a name of its own: that may count too.
        target = subject.target("object")
        metadata = {"name": "x" * (limit - len("name"))}
        assert isinstance(target, str), "write this test for drivers that name objects"
        await subject.put(b"x", metadata=metadata)
        assert (await subject.stat(target)).metadata == metadata

    async def test_metadata_over_the_limit_is_refused(self, keyed: Subject) -> None:
        limit = keyed.limits.max_metadata_bytes
        if limit is None:
            pytest.skip("limits.max_metadata_bytes is None")
        path = keyed.path("object")
        with keyed.raises(InvalidMetadataError, operation="write", path=path):
            await keyed.put(b"x", metadata={"name": "x" * (limit - len("name") + 1)})
        assert not await keyed.exists(path)

    @representative
    async def test_replacing_drops_what_is_not_given(
        self, subject: Subject, setter: SupportsMetadata
    ) -> None:
        info = await subject.put(b"x", "a.txt", metadata={"a": "1", "b": "2"})
        await setter.set_metadata(info.path, {"b": "3", "c": "4"}, MetadataOptions("replace"))
        assert (await subject.stat(info.path)).metadata == {"b": "3", "c": "4"}
        await setter.set_metadata(info.path, {}, MetadataOptions("replace"))
        assert (await subject.stat(info.path)).metadata == {}

    @representative
    async def test_merging_keeps_what_is_not_given(
        self, subject: Subject, setter: SupportsMetadata
    ) -> None:
        info = await subject.put(b"x", "a.txt", metadata={"a": "1", "b": "2"})
        await setter.set_metadata(info.path, {"b": "3", "c": "4"}, MetadataOptions("merge"))
        assert (await subject.stat(info.path)).metadata == {"a": "1", "b": "3", "c": "4"}
        await setter.set_metadata(info.path, {}, MetadataOptions("merge"))
        assert (await subject.stat(info.path)).metadata == {"a": "1", "b": "3", "c": "4"}

    @pytest.mark.parametrize("mode", ["replace", "merge"])
    async def test_metadata_can_be_set_where_there_was_none(
        self, subject: Subject, setter: SupportsMetadata, mode: str
    ) -> None:
        info = await subject.put(b"x", "a.txt")
        await setter.set_metadata(
            info.path, {"a": "ä"}, MetadataOptions("replace" if mode == "replace" else "merge")
        )
        assert (await subject.stat(info.path)).metadata == {"a": "ä"}

    @representative
    @pytest.mark.parametrize("mode", ["replace", "merge"])
    async def test_setting_metadata_changes_nothing_else(
        self, subject: Subject, setter: SupportsMetadata, mode: str
    ) -> None:
        info = await subject.put(b"content", "ä.bin", content_type="text/plain", filename="ä.bin")
        before = await subject.stat(info.path)
        await setter.set_metadata(
            info.path, {"a": "b"}, MetadataOptions("replace" if mode == "replace" else "merge")
        )
        after = await subject.stat(info.path)
        for name in ("size", "content_type", "filename", "checksum", "storage_class"):
            assert getattr(after, name) == getattr(before, name), f"{name} has changed"
        assert await subject.read(info.path) == b"content"

    @cases(**_ODD_METADATA, no_text={"name": "\ud800"})
    async def test_odd_metadata_is_set_or_refused_and_then_the_old_stays(
        self, subject: Subject, setter: SupportsMetadata, case: dict[str, str]
    ) -> None:
        info = await subject.put(b"x", "a.txt", metadata={"old": "1"})
        expected = {"old": "1", **case}
        try:
            await setter.set_metadata(info.path, case, MetadataOptions("merge"))
        except InvalidMetadataError as error:
            subject.check_error(error, operation="set_metadata", path=info.path)
            expected = {"old": "1"}
        found = (await subject.stat(info.path)).metadata
        assert found is not None
        assert sorted(found.values()) == sorted(expected.values())
