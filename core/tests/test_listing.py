# pyright: reportPrivateUsage=false
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st

from polystow import ListOptions
from polystow._listing import PlannedPage, _beyond, plan_page

keys_of = st.lists(
    st.text(st.sampled_from("ab/"), min_size=1, max_size=5)
    | st.text(st.sampled_from("ab/é\U0010ffff\ud7ff\ue000"), min_size=1, max_size=6),
    unique=True,
).map(sorted)
delimiters = st.none() | st.sampled_from(["/", "ab", "a", "//", "aa", "\U0010ffff", "é/", ""])
places = st.text(st.sampled_from("ab/é"), max_size=4)


def keys_from(keys: list[str], after: str, *, inclusive: bool) -> Iterable[str]:
    return iter(keys[(bisect_left if inclusive else bisect_right)(keys, after) :])


def entries(
    keys: list[str], prefix: str, delimiter: str | None, start_after: str | None
) -> list[tuple[str, bool]]:
    """The model: every entry of the whole listing, with whether it is a fold, in order."""
    found: list[tuple[str, bool]] = []
    for key in sorted(keys):
        if not key.startswith(prefix) or (start_after is not None and key <= start_after):
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = (key, False) if cut < 0 else (key[: cut + len(delimiter or "")], True)
        if entry not in found:
            found.append(entry)
    return found


def shown(page: PlannedPage) -> list[tuple[str, bool]]:
    return sorted([(key, False) for key in page.keys] + [(fold, True) for fold in page.prefixes])


@given(keys_of, places, delimiters, st.none() | places, st.integers(1, 4))
@example(["aa", "aab"], "a", "aa", None, 1).via("the delimiter overlaps the prefix")
@settings(max_examples=400)
def test_all_pages_together_are_the_listing(
    keys: list[str], prefix: str, delimiter: str | None, start_after: str | None, page_size: int
) -> None:
    options = ListOptions(delimiter, start_after, page_size)
    found: list[tuple[str, bool]] = []
    cursor: str | None = None
    for _ in range(100):
        page = plan_page(partial(keys_from, keys), prefix, options, cursor)
        assert len(page.keys) + len(page.prefixes) <= page_size
        found += shown(page)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == entries(keys, prefix, delimiter, start_after)


@given(keys_of, keys_of, places, delimiters, st.integers(1, 3))
@settings(max_examples=400)
def test_a_cursor_is_a_place_while_keys_come_and_go(
    before: list[str], after: list[str], prefix: str, delimiter: str | None, page_size: int
) -> None:
    options = ListOptions(delimiter, None, page_size)
    first = plan_page(partial(keys_from, before), prefix, options, None)
    if first.cursor is None:
        return
    last = shown(first)[-1]
    rest: list[tuple[str, bool]] = []
    cursor: str | None = first.cursor
    while cursor is not None:
        page = plan_page(partial(keys_from, after), prefix, options, cursor)
        rest += shown(page)
        cursor = page.cursor
    wanted = [
        entry
        for entry in entries(after, prefix, delimiter, None)
        if entry[0] > last[0] and not (last[1] and entry[0].startswith(last[0]))
    ]
    assert rest == wanted


@given(keys_of, places, st.integers(1, 3))
def test_the_last_page_has_no_cursor_even_when_it_is_full(
    keys: list[str], prefix: str, page_size: int
) -> None:
    matching = [key for key in keys if key.startswith(prefix)]
    page = plan_page(partial(keys_from, keys), prefix, ListOptions(None, None, page_size), None)
    assert (page.cursor is None) == (len(matching) <= page_size)


@given(st.text(min_size=1))
def test_what_sorts_behind_a_fold_is_text_that_can_be_sent(prefix: str) -> None:
    beyond = _beyond(prefix.encode("utf-8", "replace").decode())
    assert beyond is None or beyond.encode()


def test_the_character_behind_the_last_one_before_the_surrogates_is_none_of_them() -> None:
    assert _beyond("a\ud7ff") == "a\ue000"
    assert _beyond("a\U0010ffff") == "b"
    assert _beyond("\U0010ffff") is None


def test_a_fold_of_many_keys_is_skipped_and_not_walked() -> None:
    keys = sorted([f"a/{number:05d}" for number in range(10_000)] + ["b"])
    walked = 0

    def counted(after: str, *, inclusive: bool) -> Iterable[str]:
        nonlocal walked
        for key in keys_from(keys, after, inclusive=inclusive):
            walked += 1
            yield key

    page = plan_page(counted, "", ListOptions("/"), None)
    assert (page.keys, page.prefixes, walked) == (["b"], ["a/"], 2)
