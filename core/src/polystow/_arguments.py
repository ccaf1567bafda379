"""What `Storage` makes of the arguments of a write: checked metadata, a guessed content type."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from polystow._encryption import Encryption
from polystow._ranges import ByteRange
from polystow._values import (
    NO_METADATA,
    Checksum,
    NameHint,
    ObjectHeaders,
    ResponseHeaders,
    Target,
    WriteOptions,
)

if TYPE_CHECKING:
    from mimetypes import MimeTypes

_ENCODED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}


class ReadArguments(TypedDict, total=False):
    """What can be said of a read, beside what; see `ReadOptions`.

    Attributes:
        range: The part of it; None for the whole.
        version: Read this version.
        if_match: Read only if it has this entity tag (`PreconditionFailedError`).
        if_none_match: Read only if it has another one (`NotModifiedError`).
        if_modified_since: Read only if it changed after this time (`NotModifiedError`).
        if_unmodified_since: Read only if it did not (`PreconditionFailedError`).
        response: Headers that the answer shall carry, and `info` then tells.
        encryption: The customer's key that it is encrypted with.
    """

    range: ByteRange | None
    version: str | None
    if_match: str | None
    if_none_match: str | None
    if_modified_since: datetime | None
    if_unmodified_since: datetime | None
    response: ResponseHeaders | None
    encryption: Encryption | None


class UploadArguments(TypedDict, total=False):
    """What can be said of a new object, beside its name and content; see `WriteOptions`.

    Attributes:
        content_type: The media type; by default guessed from the name, then from the first
            bytes.
        metadata: Names to values, kept with the object.
        headers: HTTP headers to keep with the object.
        storage_class: The backend's own name of the class to keep it in.
        checksum: The content's digest, where it is known already; other content is refused
            (`ChecksumMismatchError`).
        appendable: Make an object that can be appended to, where the backend has two kinds.
        extra_headers: Request headers to send as they are, for drivers that speak HTTP.
        encryption: How the backend encrypts it.
    """

    content_type: str | None
    metadata: Mapping[str, str] | None
    headers: ObjectHeaders
    storage_class: str | None
    checksum: Checksum | None
    appendable: bool
    extra_headers: Mapping[str, str]
    encryption: Encryption | None


class WriteArguments(UploadArguments, total=False):
    """What can be said of a write, beside its target and content; see `WriteOptions`.

    Attributes:
        filename: The original name, kept where the backend can; a `NameHint`'s own counts.
        overwrite: False raises `AlreadyExistsError` if the object is there.
        if_match: Write only over the object that has this entity tag
            (`PreconditionFailedError`).
    """

    filename: str | None
    overwrite: bool
    if_match: str | None


def write_options(target: Target, **arguments: Unpack[WriteArguments]) -> WriteOptions:
    """The options of a write.

    Raises:
        TypeError: Metadata or headers that are no text.
    """
    if not arguments and not isinstance(target, NameHint):
        return _plain_options(guess_content_type(target))
    metadata = arguments.get("metadata")
    if metadata is None:
        arguments["metadata"] = NO_METADATA
    else:
        check_metadata(metadata)
    if "extra_headers" in arguments:
        check_metadata(arguments["extra_headers"], "extra_headers")
    if isinstance(target, NameHint):
        arguments["filename"] = target.filename
    if arguments.get("content_type") is None:
        arguments["content_type"] = guess_content_type(arguments.get("filename") or str(target))
    return WriteOptions(**cast("dict[str, Any]", arguments))


@lru_cache(512)
def _plain_options(content_type: str | None) -> WriteOptions:
    return WriteOptions(content_type=content_type)


def guess_content_type(name: str) -> str | None:
    """The media type that a name's extension stands for, or None.

    `x.tar.gz` is `application/gzip`: that is what a client gets, not the archive in it.
    """
    base = name.rpartition("/")[2]
    extensions = base.rsplit(".", 2)[1:]
    # Never more than two count, and asking for one takes 10 µs. A leading dot begins no extension.
    if base.startswith(".") or not extensions:
        return _guess(base)
    return _guess("x." + ".".join(extensions)) if len(base) <= 64 else _guess_anew(base)


def _guess_anew(base: str) -> str | None:
    # The slash keeps `mimetypes` from taking a colon or question mark in the name for a URL's.
    kind, encoding = _mime_types().guess_type("/" + base, strict=False)
    return kind if encoding is None else _ENCODED.get(encoding)


_guess = lru_cache(512)(_guess_anew)


@cache
def _mime_types() -> "MimeTypes":
    from mimetypes import MimeTypes  # which reads the system's tables too: 7 ms

    return MimeTypes()  # Python's own table alone: the same answers on every machine


def check_metadata(metadata: Mapping[str, str], what: str = "metadata") -> None:
    """Refuse metadata, or other entries, that are no text.

    Raises:
        TypeError: A name or a value is none.
    """
    items: Mapping[object, object] = metadata  # type: ignore[assignment]
    for name, value in items.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"{what} are texts: {name!r} is {type(value).__name__}; write str(value)"
            )
