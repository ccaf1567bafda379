"""Planning a page of a listing over sorted keys: prefix, delimiter, start after, cursor."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from polystow._values import ListOptions


class PlannedPage(NamedTuple):
    """What a page shows.

    Attributes:
        keys: Of objects.
        prefixes: What the delimiter folded, each ending with it.
        cursor: The last key or folded prefix; None on the last page.
    """

    keys: list[str]
    prefixes: list[str]
    cursor: str | None


class KeysFrom(Protocol):
    """Gives sorted keys from a place on."""

    def __call__(self, after: str, /, *, inclusive: bool) -> Iterable[str]:
        """Keys that sort after `after`, or from it on if `inclusive`."""
        ...


def plan_page(
    keys_from: KeysFrom, prefix: str, options: ListOptions, cursor: str | None
) -> PlannedPage:
    """One page.

    Keys may come and go between pages: the cursor is a place, not a count.

    Args:
        keys_from: The keys, sorted by code point.
        prefix: What they have to begin with.
        options: See there.
        cursor: The cursor of the page before.
    """
    delimiter = options.delimiter
    place, inclusive = prefix, True
    for after in (options.start_after, cursor):
        if after is not None and after >= place:
            place, inclusive = after, False
    # A key that was listed has no delimiter behind the prefix; a cursor with one is a fold.
    folded_before = cursor if delimiter and cursor and delimiter in cursor[len(prefix) :] else None
    keys: list[str] = []
    prefixes: list[str] = []
    last: str | None = None
    while True:
        skip_past: str | None = folded_before
        folded_before = None
        if skip_past is None:
            for key in keys_from(place, inclusive=inclusive):
                if not key.startswith(prefix):
                    return PlannedPage(keys, prefixes, None)
                if len(keys) + len(prefixes) >= options.page_size:
                    return PlannedPage(keys, prefixes, last)
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                if delimiter and cut >= 0:
                    skip_past = last = key[: cut + len(delimiter)]
                    prefixes.append(skip_past)
                    break
                keys.append(key)
                last = key
            else:
                return PlannedPage(keys, prefixes, None)
        # Everything below a folded prefix is behind us: go on at the first key that sorts after
        # all that begin with it.
        beyond = _beyond(skip_past)
        if beyond is None:
            return PlannedPage(keys, prefixes, None)
        place, inclusive = beyond, True


def _beyond(prefix: str) -> str | None:
    """The least text that sorts after all texts with this prefix; None if there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    return stem[:-1] + _next_character(stem[-1])


def _next_character(character: str) -> str:
    following = ord(character) + 1
    return chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)
