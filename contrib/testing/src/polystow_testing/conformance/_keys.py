"""Keys that break naive code: kept to the byte, or refused, and never taken for another."""

import pytest

from polystow import BytesBody, InvalidPathError, WriteOptions
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject
from polystow_testing.conformance._writing import WatchedBody

_ODD_KEYS = {
    "unicode_composed": "caf\u00e9",
    "unicode_decomposed": "cafe\u0301",
    "han": "漢字/文件",
    "emoji": "🎉👩\u200d👧",
    "beyond_the_basic_plane": "\uffee-\U00010000",
    "right_to_left": "שלום/עולם",
    "space": "a b",
    "leading_space": " a",
    "trailing_space": "a ",
    "only_a_space": " ",
    "two_spaces": "a  b",
    "plus": "a+b",
    "percent": "100%",
    "percent_encoded": "a%20b%2Fc%25",
    "question_mark": "what?",
    "query": "a?versionId=1&acl",
    "hash": "a#b",
    "ampersand": "a&b&amp;c",
    "equals": "a=b",
    "semicolon_and_comma": "a;b,c",
    "quotes": 'it\'s "so"',
    "angle_brackets": "<a></a>]]>",
    "backslash": "a\\b",
    "colon_and_at": "a:b@c",
    "scheme": "s3://bucket/key",
    "brackets": "[a]{b}|^`~!*()$",
    "tilde": "~user/x",
    "glob": "*?[a-z]",
    "tab": "a\tb",
    "newline": "a\nb\r\nc",
    "control_character": "a\x01b\x7f",
    "not_in_xml": "a\ufffe\uffff",
    "leading_slash": "/a",
    "leading_slashes": "//a",
    "double_slash": "a//b",
    "trailing_slash": "a/",
    "only_a_slash": "/",
    "dot": ".",
    "dot_segment": "a/./b",
    "leading_dot_segment": "./a",
    "trailing_dot_segment": "a/.",
    "two_dots": "..",
    "two_dots_segment": "a/../b",
    "leading_two_dots": "../a",
    "trailing_two_dots": "a/..",
    "three_dots": "a/.../b",
    "hidden": ".hidden/.x",
    "one_character": "x",
    "deep": "/".join("abcdefghijklmnopqrstuvwxyz"),
    "long_segments": "/".join(["x" * 200] * 4),
    "long_name": "x" * 255,
    "one_long_segment": "x" * 600,
}


class KeyTests(Conformance):
    """Keys, where the client names them."""

    @cases(**_ODD_KEYS)
    async def test_an_odd_key_is_kept_to_the_byte(self, keyed: Subject, case: str) -> None:
        path = keyed.path(case)
        info = await keyed.put(b"odd", case)
        assert info.path == path
        assert (await keyed.stat(path)).path == path
        assert await keyed.read(path) == b"odd"
        if keyed.capabilities.list is not None:
            assert await keyed.keys() == [case]
            assert await keyed.keys(case) == [case]
        await keyed.delete(path, missing_ok=False)
        assert not await keyed.exists(path)

    @cases(**_ODD_KEYS)
    async def test_an_odd_key_is_kept_or_refused_unread(self, keyed: Subject, case: str) -> None:
        path = keyed.path(case)
        body = WatchedBody(b"odd", 3)
        try:
            await keyed.put(body, case)
        except InvalidPathError as error:
            keyed.check_error(error, operation="write", path=path)
            assert body.opened == 0
            with keyed.raises(InvalidPathError, operation="stat", path=path):
                await keyed.stat(path)
        else:
            assert await keyed.read(path) == b"odd"

    @cases(
        letter_case=("readme", "README", "ReadMe"),
        unicode_forms=("caf\u00e9", "cafe\u0301"),
        compatible_characters=("ﬁle", "file", "①", "1"),
        spaces_and_their_codes=("a b", "a+b", "a%20b", "a%2Bb"),
        slashes_and_their_codes=("a/b", "a%2Fb", "a\\b"),
        extensions=("a", "a.", "a.txt", "a.txt.gz"),
        zero_padding=("a1", "a01", "a001"),
    )
    async def test_keys_that_look_alike_are_different_objects(
        self, keyed: Subject, case: tuple[str, ...]
    ) -> None:
        await _are_apart(keyed, case)

    @cases(
        key_and_folder=("a", "a/b", "a/b/c"),
        slashes=("a/b", "a//b", "/a/b", "a/b/"),
        dots=("b", "./b", "a/../b", "b/."),
    )
    async def test_keys_that_paths_would_join_are_different_objects(
        self, keyed: Subject, case: tuple[str, ...]
    ) -> None:
        await _are_apart(keyed, case)

    @cases(ascii="x", two_bytes="é", four_bytes="🎉")
    async def test_a_key_of_the_greatest_length_is_kept(self, keyed: Subject, case: str) -> None:
        key = _key_of(keyed.limits.max_key_bytes, case)
        assert len(key.encode()) == keyed.limits.max_key_bytes
        await keyed.put(b"long", key)
        assert await keyed.read(keyed.path(key)) == b"long"
        if keyed.capabilities.list is not None:
            assert await keyed.keys() == [key]

    @cases(ascii="x", two_bytes="é", four_bytes="🎉")
    async def test_a_longer_key_is_refused_unread(self, keyed: Subject, case: str) -> None:
        key = _key_of(keyed.limits.max_key_bytes + 1, case)
        await _is_refused(keyed, keyed.path(key))

    async def test_a_key_that_is_no_text_is_refused_unread(self, keyed: Subject) -> None:
        await _is_refused(keyed, keyed.path("lone \ud800 surrogate"))

    @representative
    async def test_a_path_without_a_key_is_refused_unread(self, keyed: Subject) -> None:
        await _is_refused(keyed, keyed.container)
        await _is_refused(keyed, f"{keyed.container}/")


async def _are_apart(subject: Subject, keys: tuple[str, ...]) -> None:
    for key in keys:
        await subject.put(key.encode(), key)
    for key in keys:
        assert await subject.read(subject.path(key)) == key.encode()
    if subject.capabilities.list is not None:
        assert sorted(await subject.keys()) == sorted(keys)
    await subject.delete(subject.path(keys[0]))
    for key in keys[1:]:
        assert await subject.read(subject.path(key)) == key.encode()
    with pytest.raises(FileNotFoundError):
        await subject.stat(subject.path(keys[0]))


async def _is_refused(subject: Subject, path: str) -> None:
    body = WatchedBody(b"x", 1)
    with subject.raises(InvalidPathError, operation="write", path=path):
        await subject.driver.write(path, body, WriteOptions())
    assert body.opened == 0
    # Small bodies in memory may take another way.
    with subject.raises(InvalidPathError, operation="write", path=path):
        await subject.driver.write(path, BytesBody(b"x"), WriteOptions())


def _key_of(size: int, character: str) -> str:
    """A key of `size` bytes, none of whose segments is longer than file systems take."""
    width = len(character.encode())
    segment = character * (200 // width) + "/"
    key = ""
    while (left := size - len(key.encode())) > 240:
        key += segment
    return key + "y" * (left % width) + character * (left // width)
