"""What `Storage` makes of the arguments of a write: checked metadata, a guessed content type."""

from collections.abc import Mapping
from mimetypes import MimeTypes

from polystow._values import NO_METADATA, NameHint, Target, WriteOptions

_MIME_TYPES = MimeTypes()  # Python's own table alone: the same answers on every machine
_ENCODED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}


def write_options(
    target: Target,
    content_type: str | None,
    metadata: Mapping[str, str] | None,
    filename: str | None,
    overwrite: bool,
    if_match: str | None,
) -> WriteOptions:
    """The options of a write.

    Raises:
        TypeError: Metadata that is no text.
    """
    if metadata is None:
        metadata = NO_METADATA
    else:
        check_metadata(metadata)
    if isinstance(target, NameHint):
        filename = target.filename
    if content_type is None:
        content_type = guess_content_type(filename or str(target))
    return WriteOptions(content_type, metadata, filename, overwrite, if_match)


def guess_content_type(name: str) -> str | None:
    """The media type that a name's extension stands for, or None.

    `x.tar.gz` is `application/gzip`: that is what a client gets, not the archive in it.
    """
    # The slash keeps `mimetypes` from taking a colon or question mark in the name for a URL's.
    kind, encoding = _MIME_TYPES.guess_type("/" + name.rpartition("/")[2], strict=False)
    return kind if encoding is None else _ENCODED.get(encoding)


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse metadata that is no text.

    Raises:
        TypeError: A name or a value is none.
    """
    items: Mapping[object, object] = metadata  # type: ignore[assignment]
    for name, value in items.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata are texts: {name!r} is {type(value).__name__}; write str(value)"
            )
