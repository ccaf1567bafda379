"""Rights: which action on which ids. Pure: ids come in canonical, with physical containers."""

import re
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import unquote

from attrs import frozen

from polystow import InvalidPathError

EVERYTHING = "*"
"""The prefix of a right for all mounts."""

_SEPARATORS = re.compile(r"[/\\]")


class Action(StrEnum):
    """What a request does with its targets."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    LIST = "list"
    PRESIGN = "presign"
    FETCH = "fetch"
    ADMIN = "admin"


@frozen
class Place:
    """Where an id points to.

    Attributes:
        mounts: The schemes on the way, the outermost first.
        container: Bucket, group or directory; empty for all of the mount.
        key: The object's name, or a prefix of names; empty for all of the container.
    """

    mounts: tuple[str, ...]
    container: str = ""
    key: str = ""


def place_at(mounts: Sequence[str], path: str) -> Place:
    """The place of a path.

    Args:
        mounts: The schemes on the way to its driver.
        path: `container/key` there, or less of it; with the container's physical name.

    Raises:
        InvalidPathError: It has a key but no container.
    """
    container, slash, key = path.partition("/")
    if slash and not container:
        raise InvalidPathError("no container: write container/key", path=path)
    return Place(tuple(mounts), container, key)


def covers(prefix: Place, place: Place) -> bool:
    """Whether a right for `prefix` and all below it is one for `place`.

    Prefixes end between slashes. Below one inside a container, a key that something on the way
    to its backend might take for a path and shorten (`..`, `.`, empty segments, also with
    backslashes or percent-encoded) is not covered; whoever has the whole container has it too,
    since keys are byte-exact.

    Args:
        prefix: Of the right.
        place: An object, or the folder of a new one.
    """
    if not prefix.container:
        return place.mounts[: len(prefix.mounts)] == prefix.mounts
    if place.mounts != prefix.mounts or place.container != prefix.container:
        return False
    wanted = prefix.key.rstrip("/")
    if not wanted:
        return True
    if place.key != wanted and not place.key.startswith(f"{wanted}/"):
        return False
    return not is_evasive(place.key)


def covers_listing(prefix: Place, place: Place) -> bool:
    """Whether a right for `prefix` covers a listing of all whose id begins with that of `place`.

    `reports` also lists `reports2`, so that a right for `reports` wants the slash.
    """
    whole = prefix.key.rstrip("/")
    return covers(prefix, place) and (not whole or place.key.startswith(f"{whole}/"))


def is_evasive(key: str) -> bool:
    """Whether a key has segments that a path would lose: `.`, `..`, or empty ones."""
    *folders, last = _SEPARATORS.split(unquote(key))
    return any(segment in {"", ".", ".."} for segment in folders) or last in {".", ".."}


@frozen
class Grant:
    """Some actions, allowed below some prefixes.

    Attributes:
        actions: Which.
        prefixes: Where, as ids; `*` is everywhere.
    """

    actions: frozenset[Action]
    prefixes: tuple[str, ...]
