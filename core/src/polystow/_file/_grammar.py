"""Which paths the driver takes, and where they lie below the root. Pure functions.

`container/key` is the file `root/container/key`. What the file system would read as something
else than a name is refused, never cleaned: two ids never mean one file.
"""

from polystow._errors import InvalidPathError
from polystow._ids import check_key

INTERNALS = b".polystow"
"""Below the root: temporary files, locks and metadata. No container begins with a dot."""

MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 255
"""NAME_MAX of every file system in use; a longer name could never be stored."""

type Components = tuple[bytes, ...]
"""Names from the root down, as the bytes that the file system keeps."""


def parse_path(path: str) -> Components:
    """The names from the root down to an object, the container first.

    Raises:
        InvalidPathError: It can't be an object's path here; the message says why.
    """
    container, slash, key = path.partition("/")
    if not slash or not key:
        raise InvalidPathError("no key: write container/key", path=path)
    check_container(container, path)
    check_key(key, path, max_key_bytes=MAX_KEY_BYTES)
    segments = key.split("/")
    for segment in segments:
        _check_segment(segment, path)
    return tuple(name.encode() for name in (container, *segments))


def check_container(container: str, path: str) -> None:
    """Check a container's name; `path` is what the error shows.

    Raises:
        InvalidPathError: It is no name of a directory, or begins with a dot.
    """
    if not container:
        raise InvalidPathError("no container: write container/key", path=path)
    if "/" in container:
        raise InvalidPathError("a container's name has no slash", path=path)
    if container.startswith("."):
        raise InvalidPathError(
            "a container's name can't begin with a dot: such names are kept for the driver",
            path=path,
        )
    check_key(container, path, max_key_bytes=MAX_KEY_BYTES)
    _check_segment(container, path)


def is_segment(name: bytes) -> bool:
    """Whether `name`, without a slash, can be one of a key's segments."""
    return name not in {b"", b".", b".."} and b"\0" not in name and len(name) <= MAX_SEGMENT_BYTES


def text_of(components: Components) -> str:
    """The path, for messages."""
    return b"/".join(components).decode(errors="backslashreplace")


def _check_segment(segment: str, path: str) -> None:
    name = segment.encode()
    if is_segment(name):
        return
    if not name:
        message = "an empty name: keys here have no slash at an end and no two in a row"
    elif b"\0" in name:
        message = "file names can't have a NUL character"
    elif len(name) > MAX_SEGMENT_BYTES:
        message = (
            f"a name of {len(name)} bytes of UTF-8; file systems take at most "
            f"{MAX_SEGMENT_BYTES} between two slashes"
        )
    else:
        message = f"{segment!r} is no name of a file"
    raise InvalidPathError(message, path=path)
