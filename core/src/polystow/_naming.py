"""Names of new objects: the key that a `NameHint` becomes where the client names keys."""

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from polystow._errors import InvalidPathError
from polystow._ids import check_key, parse_object_path
from polystow._uris import extension_of
from polystow._values import NameHint, Target

_BAD = re.compile(r"[/\\\x00-\x1f\x7f]")


def new_key(hint: NameHint) -> str:
    """The key of a new object, as the hint's key policy says.

    Args:
        hint: The name; slashes at the folder's ends are dropped.

    Raises:
        InvalidPathError: The filename is empty, `.` or `..`, has a slash, a backslash or a
            control character; or the key is empty or too long.
        ValueError: There is no such policy.
    """
    check_filename(hint.filename)
    policy = hint.key_policy or "unique"
    if callable(policy):
        key = policy(hint)
        if not key:
            raise InvalidPathError("the key policy gave an empty key", path=str(hint))
    else:
        make = _POLICIES.get(policy)
        if make is None:
            known = ", ".join(map(repr, _POLICIES))
            raise ValueError(f"there is no key policy {policy!r}: {known}, or a function")
        folder = (hint.folder or "").strip("/")
        name = make(hint.filename)
        key = f"{folder}/{name}" if folder else name
    check_key(key, str(hint))
    return key


def is_new_key(hint: NameHint) -> bool:
    """Whether nobody else can have the key that `new_key` makes, so that it may be cleaned up."""
    return not callable(hint.key_policy) and hint.key_policy != "exact"


def _unique(filename: str) -> str:
    return f"{secrets.token_hex(8)}_{filename}"


def _dated(filename: str) -> str:
    extension = extension_of(filename)
    dot = "." if extension else ""
    from uuid import uuid4

    return f"{datetime.now(UTC):%Y/%m/%d}/{uuid4()}{dot}{extension}"


def _exact(filename: str) -> str:
    return filename


_POLICIES: Mapping[str, Callable[[str], str]] = {
    "unique": _unique,
    "dated": _dated,
    "exact": _exact,
}


def exact_path(target: Target, default_container: str) -> str:
    """Where a write goes, for drivers whose client names the keys.

    Args:
        target: A path, which stays as it is; or a name, which gets a new key.
        default_container: For a name without a container.

    Raises:
        InvalidPathError: The path is no `container/key`, or the name can't be used.
    """
    if not isinstance(target, NameHint):
        parse_object_path(target)
        return target
    container = target.container or default_container
    if "/" in container:
        raise InvalidPathError("a container's name has no slash", path=container)
    return f"{container}/{new_key(target)}"


def check_filename(filename: str) -> None:
    r"""Check the name of a new file.

    Raises:
        InvalidPathError: It is empty, `.` or `..`, or has a slash, a backslash or a control
            character.
    """
    if not filename:
        raise InvalidPathError("the file name is empty", path=filename)
    if filename in {".", ".."}:
        raise InvalidPathError("that is no file name", path=filename)
    bad = _BAD.search(filename)
    if bad is not None:
        raise InvalidPathError(
            f"the file name has the character {bad[0]!r}; give the folder apart", path=filename
        )
