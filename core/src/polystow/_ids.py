"""The grammar of file ids: `scheme://container/key`, `scheme:container/key`, or a bare id.

Ids are literal: keys are byte-exact, nothing is percent-decoded, `?` and `#` are ordinary.
"""

import re
from typing import NamedTuple

from polystow._errors import InvalidPathError

MAX_KEY_BYTES = 1024
"""The longest key, in bytes of UTF-8 (S3 User Guide, "Naming Amazon S3 objects")."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+")


class FileId(NamedTuple):
    """An id, taken apart.

    Attributes:
        scheme: The mount that it names; None for a bare id.
        path: What is left for that mount's driver.
    """

    scheme: str | None
    path: str


class ObjectPath(NamedTuple):
    """A backend's path, taken apart.

    Attributes:
        container: The bucket, group or directory.
        key: The object's name in it.
    """

    container: str
    key: str


def is_scheme(text: str) -> bool:
    """Whether `text` can name a mount: `[a-z][a-z0-9+.-]+`."""
    return _SCHEME.fullmatch(text) is not None


def parse_id(file_id: str) -> FileId:
    """Take an id apart: `s3:bucket/key` and `s3://bucket/key` give the same.

    Args:
        file_id: An id of any of the three forms.

    Returns:
        Its scheme, None for a bare id, and the path behind it.

    Raises:
        InvalidPathError: It is empty, or what stands before its first colon can't be a scheme.
    """
    if not file_id:
        raise InvalidPathError("the id is empty", path=file_id)
    scheme, colon, path = file_id.partition(":")
    if not colon or "/" in scheme:
        return FileId(None, file_id)
    if not is_scheme(scheme):
        raise InvalidPathError(
            f"{scheme[:40]!r} can't be a scheme: schemes are two or more of a-z, 0-9, '+', '.', "
            "'-', and begin with a letter; write scheme:container/key",
            path=file_id,
        )
    return FileId(scheme, path.removeprefix("//"))


def format_uri(scheme: str, path: str) -> str:
    """The canonical form, `scheme://path`."""
    return f"{scheme}://{path}"


def format_file_id(scheme: str, path: str) -> str:
    """The short form, `scheme:path`, unless it would parse to something else."""
    return f"{scheme}://{path}" if path.startswith("//") else f"{scheme}:{path}"


def parse_object_path(path: str, *, max_key_bytes: int = MAX_KEY_BYTES) -> ObjectPath:
    """Split `container/key` at its first slash, and check both.

    Args:
        path: What a driver is given; the key keeps every further slash.
        max_key_bytes: The longest key that the backend takes, in bytes of UTF-8.

    Raises:
        InvalidPathError: No container, no key, a key that is too long or no UTF-8 text.
    """
    container, slash, key = path.partition("/")
    if not container:
        raise InvalidPathError("no container: write container/key", path=path)
    if not slash or not key:
        raise InvalidPathError("no key: write container/key", path=path)
    check_key(key, path, max_key_bytes=max_key_bytes)
    return ObjectPath(container, key)


def check_key(key: str, path: str, *, max_key_bytes: int = MAX_KEY_BYTES) -> None:
    """Check a key's length and encoding; `path` is what the error shows.

    Raises:
        InvalidPathError: It is longer than `max_key_bytes`, or no UTF-8 text.
    """
    if key.isascii():
        size = len(key)
    else:
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            message = "the key is no UTF-8 text: it has a lone surrogate"
            raise InvalidPathError(message, path=path) from None
    if size > max_key_bytes:
        message = f"the key has {size} bytes of UTF-8; at most {max_key_bytes} are possible"
        raise InvalidPathError(message, path=path)
