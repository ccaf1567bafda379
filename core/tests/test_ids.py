from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polystow import (
    ByteRange,
    InvalidPathError,
    KeyPolicy,
    NameHint,
    ObjectPath,
    RangeNotSatisfiableError,
    check_filename,
    check_key,
    format_file_id,
    format_uri,
    is_new_key,
    new_key,
    parse_id,
    parse_object_path,
)

schemes = st.from_regex(r"[a-z][a-z0-9+.-]+", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
paths = st.one_of(
    texts,
    st.sampled_from(
        ["b/100%25?x#y&z=1+2 3", "b//x", "b///", "//b/k", "/b/k", "b/é/日本", "b/k/", "s3:b/k", ""]
    ),
)


@given(schemes, paths)
def test_the_canonical_form_parses_to_what_it_was_made_of(scheme: str, path: str) -> None:
    assert parse_id(format_uri(scheme, path)) == (scheme, path)


@given(schemes, paths)
def test_the_short_form_parses_to_what_it_was_made_of(scheme: str, path: str) -> None:
    assert parse_id(format_file_id(scheme, path)) == (scheme, path)


@given(schemes, texts.filter(lambda path: not path.startswith("//")))
def test_the_short_form_has_no_slashes_behind_its_scheme(scheme: str, path: str) -> None:
    assert format_file_id(scheme, path) == f"{scheme}:{path}"


@given(st.lists(schemes, min_size=2, max_size=4), paths)
def test_nested_ids_come_apart_from_the_outside(names: list[str], path: str) -> None:
    canonical = short = path
    for name in reversed(names):
        canonical, short = format_uri(name, canonical), format_file_id(name, short)
    for name in names:
        (scheme, canonical), (short_scheme, short) = parse_id(canonical), parse_id(short)
        assert (scheme, short_scheme) == (name, name)
    assert (canonical, short) == (path, path)


@given(texts)
def test_what_has_a_slash_before_any_colon_is_a_bare_id(text: str) -> None:
    assume("/" not in text.partition(":")[0])
    bare = f"group1/{text}"
    assert parse_id(bare) == (None, bare)


@pytest.mark.parametrize("bare", ["group1/M00/00/00/a:b", "group1/M00/00/00/x.jpg", "name", "/a:b"])
def test_a_colon_behind_a_slash_makes_no_scheme(bare: str) -> None:
    assert parse_id(bare) == (None, bare)


@pytest.mark.parametrize(
    "file_id", ["S3:b/k", "C:/x", "c:/x", "C:\\x", ":b", "://b", "1s:b", "s_3:b", "s3\n:b", "é3:b"]
)
def test_what_can_be_no_scheme_is_refused(file_id: str) -> None:
    with pytest.raises(InvalidPathError, match="can't be a scheme"):
        parse_id(file_id)


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="empty"):
        parse_id("")


@pytest.mark.parametrize("key", ["a%2Fb?c#d&e=f+g h", "/lead", "//", "trail/", "日本/é", ".", ".."])
def test_keys_are_literal(key: str) -> None:
    assert parse_object_path(f"b/{key}") == ObjectPath("b", key)


@pytest.mark.parametrize("path", ["", "/", "/key", "b", "b/"])
def test_a_path_without_container_or_key_is_refused(path: str) -> None:
    with pytest.raises(InvalidPathError, match="write container/key") as caught:
        parse_object_path(path)
    assert caught.value.path == path


@given(st.text(st.sampled_from("aé日😀"), min_size=1, max_size=1100))
def test_a_key_may_have_1024_bytes_of_utf_8(key: str) -> None:
    if len(key.encode()) <= 1024:
        check_key(key, "b/k")
    else:
        with pytest.raises(InvalidPathError, match="1024"):
            check_key(key, "b/k")


@pytest.mark.parametrize("key", ["a" * 1024, "é" * 512, "😀" * 256])
def test_a_key_of_exactly_1024_bytes_is_taken(key: str) -> None:
    check_key(key, "b/k")


@pytest.mark.parametrize("key", ["a" * 1025, "é" * 512 + "a"])
def test_a_key_of_1025_bytes_is_refused(key: str) -> None:
    with pytest.raises(InvalidPathError, match="1025"):
        check_key(key, "b/k")


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="surrogate"):
        parse_object_path("b/\ud800")


def refusal(parse: Callable[[str], object], text: str) -> InvalidPathError | None:
    try:
        parse(text)
    except InvalidPathError as error:
        return error
    return None


@given(st.text())
def test_errors_about_ids_show_no_control_characters(text: str) -> None:
    for parse in (parse_id, parse_object_path, check_filename):
        error = refusal(parse, text)
        assert error is None or str(error).isprintable()


def test_errors_about_ids_do_not_repeat_a_megabyte() -> None:
    with pytest.raises(InvalidPathError) as caught:
        parse_id("X" * 1_000_000 + ":")
    assert len(str(caught.value)) < 1000


# Names of new objects


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "a\x7fb"])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidPathError):
        new_key(NameHint(name))


@pytest.mark.parametrize("name", ["a b.txt", "日本.pdf", "...", "100%.txt", "a:b"])
def test_ordinary_file_names_are_taken(name: str) -> None:
    assert new_key(NameHint(name)).endswith(f"_{name}")


def test_a_new_key_is_folder_sixteen_hex_digits_and_the_name() -> None:
    key = new_key(NameHint("r.pdf", folder="/a/b/"))
    assert key.startswith("a/b/")
    digits, _, name = key.removeprefix("a/b/").partition("_")
    assert (len(digits), name) == (16, "r.pdf")
    int(digits, 16)


def test_new_keys_differ() -> None:
    assert len({new_key(NameHint("x")) for _ in range(100)}) == 100


def test_a_new_key_that_gets_too_long_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="1024"):
        new_key(NameHint("a" * 1020))


def test_a_dated_key_is_folder_day_and_uuid() -> None:
    hint = NameHint("My report.TAR.gz", folder="/a/", key_policy="dated")
    before, key, after = datetime.now(UTC), new_key(hint), datetime.now(UTC)
    folder, *day, name = key.split("/")
    assert folder == "a"
    assert "/".join(day) in {f"{before:%Y/%m/%d}", f"{after:%Y/%m/%d}"}
    stem, _, extension = name.partition(".")
    assert (UUID(stem).version, extension) == (4, "TAR.gz")
    assert "." not in new_key(NameHint("none", key_policy="dated"))


def test_an_exact_key_is_folder_and_name() -> None:
    assert new_key(NameHint("r.pdf", folder="a/b/", key_policy="exact")) == "a/b/r.pdf"


def test_a_function_makes_the_whole_key() -> None:
    hint = NameHint("r.pdf", "f", "c", key_policy=lambda hint: f"{hint.container}-{hint.filename}")
    assert new_key(hint) == "c-r.pdf"
    with pytest.raises(InvalidPathError, match="empty key"):
        new_key(NameHint("r.pdf", key_policy=lambda hint: ""))
    with pytest.raises(InvalidPathError, match="1024"):
        new_key(NameHint("r.pdf", key_policy=lambda hint: "k" * 1025))


@pytest.mark.parametrize("policy", ["unique", "dated", "exact", lambda hint: "key"])
def test_every_policy_checks_the_file_name(policy: KeyPolicy) -> None:
    with pytest.raises(InvalidPathError):
        new_key(NameHint("../x", key_policy=policy))


def test_only_keys_that_nobody_else_can_have_are_new() -> None:
    policies: list[KeyPolicy | None] = [None, "unique", "dated", "exact", lambda hint: "key"]
    new = [is_new_key(NameHint("x", key_policy=policy)) for policy in policies]
    assert new == [True, True, True, False, False]


def test_a_policy_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="no key policy 'uniqe': 'unique', 'dated', 'exact'"):
        new_key(NameHint("x", key_policy=cast("KeyPolicy", "uniqe")))


# Ranges

sizes = st.integers(0, 40)
data = bytes(range(41))


@given(sizes, st.integers(0, 50), st.none() | st.integers(0, 50))
def test_a_range_is_a_slice(size: int, first: int, length: int | None) -> None:
    whole = data[:size]
    last = None if length is None else first + length
    wanted = whole[first:] if last is None else whole[first : last + 1]
    part = ByteRange(first, last)
    if first >= size:
        with pytest.raises(RangeNotSatisfiableError):
            part.resolve(size)
    else:
        offset, count, total = part.resolve(size)
        assert (whole[offset : offset + count], total) == (wanted, size)
        assert len(wanted) == count


@given(st.integers(1, 40), st.integers(1, 60))
def test_a_suffix_is_the_end(size: int, length: int) -> None:
    offset, count, _ = ByteRange.suffix(length).resolve(size)
    assert data[:size][offset : offset + count] == data[:size][-length:]


def test_no_range_of_an_empty_object_can_be_satisfied() -> None:
    for part in (ByteRange(), ByteRange(0, 0), ByteRange.suffix(1)):
        with pytest.raises(RangeNotSatisfiableError):
            part.resolve(0)


@pytest.mark.parametrize(("first", "last"), [(5, 4), (-3, 7), (-1, -1), (0, -1)])
def test_an_impossible_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="range"):
        ByteRange(first, last)


def test_a_suffix_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="suffix"):
        ByteRange.suffix(0)


@pytest.mark.parametrize(
    ("part", "header"),
    [
        (ByteRange(0, 1023), "bytes=0-1023"),
        (ByteRange(5), "bytes=5-"),
        (ByteRange.suffix(500), "bytes=-500"),
        (ByteRange(), "bytes=0-"),
        (ByteRange(7, 7), "bytes=7-7"),
    ],
)
def test_the_text_of_a_range_is_the_header(part: ByteRange, header: str) -> None:
    assert str(part) == header
