"""What the file driver is told: its root, and how careful it has to be."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote

from attrs import Attribute, field, frozen

from polystow._errors import InvalidPathError
from polystow._file._grammar import check_container
from polystow._value import Value


def _is_container(_instance: object, _attribute: "Attribute[str]", value: str) -> None:
    try:
        check_container(value, value)
    except InvalidPathError as error:
        raise ValueError(error.message) from None


def _has_no_nul(_instance: object, _attribute: "Attribute[Path]", value: Path) -> None:
    if "\0" in str(value):
        raise ValueError("a path can't have a NUL character")


@frozen(eq=False, repr=False)
class FileConfig(Value):
    """The configuration of the file driver.

    Attributes:
        root: The directory whose subdirectories are the containers. It may be a symbolic link
            itself; a relative one counts from the working directory at opening.
        create_root: Make the root where it is missing. Off by default: a file system that is not
            mounted should be noticed, not filled in its mount point.
        default_container: Where new objects go that name no container.
        fsync: Wait until the disk has everything before a write, a deletion or a change of
            metadata ends. Without it a power cut, but no crash of a process, may undo the last
            seconds.
    """

    root: Path = field(validator=_has_no_nul)
    create_root: bool = False
    default_container: str = field(default="files", validator=_is_container)
    fsync: bool = False


def url_options(url: SplitResult) -> Mapping[str, str]:
    """The options in `file:///srv/data?fsync=true`; the path is percent-decoded, as in all URLs.

    Raises:
        ValueError: It names a host, no absolute path, the root twice, an option twice, or has
            a fragment.
    """
    if url.netloc not in {"", "localhost"}:
        raise ValueError("a file URL names no host: write file:///directory, with three slashes")
    if not url.path.startswith("/"):
        raise ValueError("a file URL needs an absolute path: write file:///directory")
    if url.fragment:
        raise ValueError("a file URL has no fragment: write a '#' in its path as %23")
    options = {"root": unquote(url.path)}
    for name, value in parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)):
        if name in options:
            raise ValueError(f"{name!r} is given twice (the root is the URL's path)")
        options[name] = value
    return options
