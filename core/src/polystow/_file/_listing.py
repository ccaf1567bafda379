"""What a page of a listing holds: prefixes, delimiters and cursors, as pure functions on bytes.

Keys sort as their UTF-8 bytes. Among siblings, the directory `a` counts as `a/`, so that `a.txt`
comes before `a/x`, as in every object store.
"""

import os
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from polystow._errors import StorageError
from polystow._file._grammar import MAX_KEY_BYTES, is_segment

_AFTER_ALL = b"\xff"
"""Sorts after whatever UTF-8 text can follow."""

type Kind = Literal["file", "directory"]


class Found(NamedTuple):
    """A key, and the file that it names.

    Attributes:
        key: The key.
        status: Of the file.
    """

    key: bytes
    status: os.stat_result


def is_wanted(key: bytes, kind: Kind, *, prefix: bytes, after: bytes) -> bool:
    """Whether a file, or anything below a directory, belongs into a listing.

    Args:
        key: The key; a directory's with a slash at its end.
        kind: Which of the two.
        prefix: What keys must begin with.
        after: What keys must sort after.
    """
    if kind == "file":
        return key > after and key.startswith(prefix) and len(key) <= MAX_KEY_BYTES
    if not (key.startswith(prefix) or prefix.startswith(key)) or len(key) >= MAX_KEY_BYTES:
        return False
    return key > after or (after.startswith(key) and not after.startswith(key + _AFTER_ALL))


def only_name(base: bytes, prefix: bytes) -> bytes | None:
    """The one name in the directory `base` below which keys with `prefix` can be, if there is one.

    Empty if none can be there at all.
    """
    if not prefix.startswith(base):
        return None
    name, slash, _ = prefix[len(base) :].partition(b"/")
    if not slash:
        return None
    return name if is_segment(name) else b""


def after_all_below(prefix: bytes) -> bytes:
    """What sorts after every key that begins with `prefix`, and before all others after those."""
    return prefix + _AFTER_ALL


class Page(NamedTuple):
    """A page of keys.

    Attributes:
        items: The files.
        prefixes: What the delimiter folded.
        cursor: Where the next page begins; None after the last.
    """

    items: list[Found]
    prefixes: list[bytes]
    cursor: bytes | None


def fold(key: bytes, prefix: bytes, delimiter: bytes | None) -> bytes | None:
    """What a delimiter makes of a key: the group that it falls into, or None for the key itself."""
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return None if end < 0 else key[: end + len(delimiter)]


def take_page(
    found: Iterator[Found],
    skip: Callable[[bytes], None],
    *,
    prefix: bytes,
    delimiter: bytes | None,
    page_size: int,
) -> Page:
    """Take a page from sorted keys.

    Args:
        found: The keys.
        skip: Makes `found` go on after a key.
        prefix: What they all begin with.
        delimiter: What folds them into groups.
        page_size: The most entries.
    """
    items: list[Found] = []
    prefixes: list[bytes] = []
    last = b""
    for entry in found:
        if len(items) + len(prefixes) >= page_size:
            return Page(items, prefixes, last)
        group = fold(entry.key, prefix, delimiter)
        if group is None:
            items.append(entry)
            last = entry.key
        else:
            prefixes.append(group)
            last = after_all_below(group)
            skip(last)
    return Page(items, prefixes, None)


def encode_cursor(after: bytes) -> str:
    """A page's cursor, as it is given to the caller."""
    if after.endswith(_AFTER_ALL):
        return "~" + after[:-1].decode()
    return "=" + after.decode()


def decode_cursor(cursor: str) -> bytes:
    """What the next page's keys must sort after.

    Raises:
        StorageError: It is no cursor of this driver.
    """
    try:
        after = cursor[1:].encode()
    except UnicodeEncodeError:
        after = b""
    if cursor[:1] not in {"=", "~"} or not after:
        raise StorageError("the cursor does not come from a listing of this driver")
    return after_all_below(after) if cursor[0] == "~" else after
