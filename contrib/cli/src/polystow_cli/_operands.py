"""What an operand of a command means: a local path, an id, a pipe."""

import re
from pathlib import Path
from typing import Literal

from attrs import frozen

from polystow import InvalidPathError, NoRouteError, Storage
from polystow_cli._exits import CommandError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MAGIC = re.compile(r"[*?\[]")


@frozen
class Operand:
    """A place.

    Attributes:
        text: As it was written.
        kind: A local path, an id of the storage, or stdin and stdout.
    """

    text: str
    kind: Literal["local", "id", "pipe"]

    @property
    def path(self) -> Path:
        """The local path."""
        return Path(self.text).expanduser()


def operand(text: str, storage: Storage) -> Operand:
    """Tell what is meant.

    `-` is a pipe; what begins with a scheme, or is an id that a mount knows without one, is an
    id; all else is a local path. `./` in front makes a path of anything.

    Raises:
        CommandError: It is empty.
        InvalidPathError: It has a scheme that is none (`S3:`).
        NoRouteError: It has a scheme that is not mounted.
    """
    if not text:
        raise CommandError("an operand is empty")
    if text == "-":
        return Operand(text, "pipe")
    if _SCHEME.match(text):
        storage.route(text)
        return Operand(text, "id")
    if text.startswith((".", "/", "~")):
        return Operand(text, "local")
    try:
        storage.route(text)
    except (NoRouteError, InvalidPathError):
        return Operand(text, "local")
    return Operand(text, "id")


def is_pattern(text: str) -> bool:
    """Whether an operand has a wildcard."""
    return _MAGIC.search(text) is not None


def fixed_prefix(pattern: str) -> str:
    """What all that matches begins with: up to the last slash before the first wildcard."""
    magic = _MAGIC.search(pattern)
    head = pattern if magic is None else pattern[: magic.start()]
    for end in ("/", ":"):
        if end in head:
            return head[: head.rindex(end) + 1]
    return ""


def matches(pattern: str, uri: str) -> bool:
    """Whether an id in canonical form matches a pattern in any form.

    `*` and `?` stay within a segment, `**` does not.
    """
    from wcmatch import glob  # a tenth of the command's start, which few commands need

    flags = glob.GLOBSTAR | glob.DOTGLOB | glob.CASE | glob.FORCEUNIX
    scheme, _, rest = pattern.partition(":")
    own_scheme, _, path = uri.partition("://")
    rest = rest.removeprefix("//")
    return scheme == own_scheme and glob.globmatch(path, rest, flags=flags)


def last_segment(file_id: str) -> str:
    """The last part of an id, for the name of a local file."""
    return file_id.rstrip("/").rpartition("/")[2].rpartition(":")[2]
