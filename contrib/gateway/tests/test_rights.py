"""The matching of rights: segments, listings, and what tries to look like something else."""

from posixpath import normpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import CompositeDriver, ContainerMap, InvalidPathError, MemoryDriver, Mount, Storage
from polystow_gateway.server._places import place_of, shown
from polystow_gateway.server._rights import Place, covers, covers_listing, is_evasive, place_at

MOUNT = ("s3",)
segments = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\%", exclude_categories=["Cs"]),
    min_size=1,
    max_size=8,
).filter(lambda text: text not in {".", ".."})
keys = st.lists(segments, min_size=1, max_size=5).map("/".join)
anything = st.text(alphabet="ab./\\%25eF", max_size=24)


def at(text: str) -> Place:
    scheme, _, path = text.partition(":")
    return place_at((scheme,), path)


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("s3:", "s3:bucket/a"),
        ("s3:", "s3:"),
        ("s3:bucket", "s3:bucket/a"),
        ("s3:bucket/", "s3:bucket/a/../b//c"),
        ("s3:bucket/foo", "s3:bucket/foo"),
        ("s3:bucket/foo", "s3:bucket/foo/bar"),
        ("s3:bucket/foo/", "s3:bucket/foo/bar"),
        ("s3:bucket/foo/", "s3:bucket/foo/"),
        ("s3:bucket/foo/", "s3:bucket/foo/a..b/.c"),
    ],
)
def test_a_right_covers_what_is_below_its_prefix(prefix: str, place: str) -> None:
    assert covers(at(prefix), at(place))


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("s3:bucket", "s3:bucket2/a"),
        ("s3:bucket", "s3:Bucket/a"),
        ("s3:bucket", "s4:bucket/a"),
        ("s3:bucket", "s3:"),
        ("s3:bucket/foo", "s3:bucket/foobar"),
        ("s3:bucket/foo/", "s3:bucket/foobar/x"),
        ("s3:bucket/foo/", "s3:bucket/fo"),
        ("s3:bucket/foo/", "s3:bucket/Foo/x"),
        ("s3:bucket/foo/", "s3:bucket/"),
        ("s3:bucket/foo/", "s3:bucket/foo/../bar"),
        ("s3:bucket/foo/", "s3:bucket/foo/.."),
        ("s3:bucket/foo/", "s3:bucket/foo/./bar"),
        ("s3:bucket/foo/", "s3:bucket/foo//bar"),
        ("s3:bucket/foo/", "s3:bucket//foo/bar"),
        ("s3:bucket/foo/", "s3:bucket/foo/%2e%2e/bar"),
        ("s3:bucket/foo/", "s3:bucket/foo/..%2fbar"),
        ("s3:bucket/foo/", "s3:bucket/foo\\..\\bar"),
        ("s3:bucket/foo/", "s3:bucket/foo/..\\bar"),
        ("s3:bucket/foo/", "s3:bucket/./foo/bar"),
    ],
)
def test_a_right_covers_nothing_else(prefix: str, place: str) -> None:
    assert not covers(at(prefix), at(place))


@given(keys, keys)
def test_below_a_prefix_means_more_segments(prefix: str, key: str) -> None:
    covered = covers(Place(MOUNT, "b", prefix), Place(MOUNT, "b", key))
    wanted, given_ = prefix.split("/"), key.split("/")
    assert covered == (given_[: len(wanted)] == wanted)


@given(keys, anything)
def test_no_spelling_of_a_key_leads_out_of_a_prefix(prefix: str, tail: str) -> None:
    # As a server would resolve the path that cleans it up: decoded, both slashes, dots removed.
    key = f"{prefix}/{tail}"
    if covers(Place(MOUNT, "b", prefix), Place(MOUNT, "b", key)):
        cleaned = normpath(unquote(key).replace("\\", "/"))
        assert cleaned == prefix or cleaned.startswith(f"{prefix}/")


@given(keys)
def test_ordinary_keys_are_not_taken_for_evasive(key: str) -> None:
    assert not is_evasive(key)
    assert not is_evasive(f"{key}/")


@pytest.mark.parametrize(
    ("prefix", "listed", "allowed"),
    [
        ("s3:", "s3:bucket", True),
        ("s3:bucket", "s3:bucket", True),
        ("s3:bucket", "s3:bucket/fo", True),
        ("s3:bucket", "s3:buck", False),
        ("s3:bucket", "s3:", False),
        ("s3:bucket/foo", "s3:bucket/foo/", True),
        ("s3:bucket/foo", "s3:bucket/foo/ba", True),
        ("s3:bucket/foo", "s3:bucket/foo", False),
        ("s3:bucket/foo", "s3:bucket/fo", False),
        ("s3:bucket/foo", "s3:bucket", False),
        ("s3:bucket/foo", "s3:bucket/foo/../", False),
    ],
)
def test_a_listing_has_to_begin_below_the_prefix(prefix: str, listed: str, allowed: bool) -> None:
    assert covers_listing(at(prefix), at(listed)) is allowed


@given(keys, keys, keys)
def test_what_a_listing_shows_is_covered(prefix: str, listed: str, more: str) -> None:
    right = Place(MOUNT, "b", prefix)
    if covers_listing(right, Place(MOUNT, "b", f"{listed}/")):
        assert covers(right, Place(MOUNT, "b", f"{listed}/{more}"))


def test_a_key_without_a_container_is_no_place() -> None:
    with pytest.raises(InvalidPathError):
        place_at(MOUNT, "/key")


@pytest.mark.anyio
async def test_every_spelling_of_an_id_has_one_place() -> None:
    memory = Mount(MemoryDriver(), containers=ContainerMap({"mine": "physical"}, show="logical"))
    inner = CompositeDriver({"mem": MemoryDriver(), "other": MemoryDriver()}, write_to="mem")
    storage = Storage(CompositeDriver({"s3": memory, "both": inner}, write_to="s3"))
    spellings = ["s3:mine/a", "s3://mine/a", "s3:physical/a", "s3://physical/a"]
    assert {place_of(storage, each) for each in spellings} == {Place(("s3",), "physical", "a")}
    assert place_of(storage, "both:mem:c/k") == Place(("both", "mem"), "c", "k")
    assert place_of(storage, "both://mem://c/k") == Place(("both", "mem"), "c", "k")
    assert place_of(storage, "both:") == Place(("both",))
    assert place_of(storage, "both:mem:") == Place(("both", "mem"))
    assert covers(place_of(storage, "both:"), place_of(storage, "both:mem:c/k"))
    assert not covers(place_of(storage, "both:other:"), place_of(storage, "both:mem:c/k"))
    assert not covers(place_of(storage, "both:mem:"), place_of(storage, "both:"))
    assert shown(storage, "s3://physical/a") == "s3://mine/a"
    assert shown(storage, "nowhere:x") == "nowhere:x"
