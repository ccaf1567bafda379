"""User metadata as S3 keeps it: lower-case names, ASCII values, 2 KB in all.

Values that HTTP headers can't carry are written as RFC 2047 encoded words, in base64, as S3
itself does with what it is sent in other encodings (User Guide, "User-defined object metadata"),
and are decoded when they are read. The original file name is kept as s3py-helper keeps it.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from polystow import InvalidMetadataError, InvalidPathError

FILENAME_KEY = "--real-file-name--"
MAX_METADATA_BYTES = 2048
"""Names and values together, as they are sent."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PLAIN = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_WORDS = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bBqQ]\?[^?]*\?=)*")
_WORD_BYTES = 45
"""UTF-8 bytes in one encoded word, so that it has at most 75 characters (RFC 2047, section 2)."""


def encode_metadata(metadata: Mapping[str, str], filename: str | None, path: str) -> dict[str, str]:
    """What to send.

    Args:
        metadata: The user's entries.
        filename: The original name; None to keep none.
        path: What errors show.

    Raises:
        InvalidMetadataError: A name can't stand in a header, two are the same in lower case, a name
            is taken, or all together is too long.
        InvalidPathError: The file name is no UTF-8 text.
    """
    encoded: dict[str, str] = {}
    if not metadata and filename is None:
        return encoded
    for name, value in metadata.items():
        lower = name.lower()
        if _NAME.fullmatch(name) is None:
            raise InvalidMetadataError(
                f"the metadata name {name!r} can't stand in an HTTP header: use letters, digits, "
                "'-', '_' and '.'",
                path=path,
            )
        if lower == FILENAME_KEY:
            raise InvalidMetadataError(
                f"the metadata name {name!r} is taken: give the file's name as filename", path=path
            )
        if lower in encoded:
            raise InvalidMetadataError(
                f"two metadata names are {lower!r} in lower case, which is how S3 keeps them",
                path=path,
            )
        encoded[lower] = encode_value(value, path)
    if filename is not None:
        try:
            encoded[FILENAME_KEY] = quote(filename)
        except UnicodeEncodeError:
            raise InvalidPathError("the file name is no UTF-8 text", path=path) from None
    size = sum(len(name) + len(value) for name, value in encoded.items())
    if size > MAX_METADATA_BYTES:
        raise InvalidMetadataError(
            f"the metadata has {size} bytes as it is sent, the file's name included; S3 keeps at "
            f"most {MAX_METADATA_BYTES}",
            path=path,
        )
    return encoded


def decode_metadata(stored: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """The user's entries, and the original file name, from what the server sent."""
    if not stored:
        return {}, None
    metadata = {name.lower(): decode_value(value) for name, value in stored.items()}
    filename = metadata.pop(FILENAME_KEY, None)
    return metadata, None if filename is None else unquote(filename)


def encode_value(value: str, path: str) -> str:
    """One value: itself if a header carries it unchanged, encoded words otherwise.

    Raises:
        InvalidMetadataError: It is no UTF-8 text.
    """
    if _PLAIN.fullmatch(value) is not None and "=?" not in value:
        return value
    words: list[str] = []
    piece = b""
    for character in value:
        try:
            data = character.encode()
        except UnicodeEncodeError:
            raise InvalidMetadataError("a metadata value is no UTF-8 text", path=path) from None
        if len(piece) + len(data) > _WORD_BYTES:
            words.append(_word(piece))
            piece = b""
        piece += data
    words.append(_word(piece))
    return " ".join(words)


def _word(data: bytes) -> str:
    return f"=?UTF-8?B?{b64encode(data).decode()}?="


def decode_value(value: str) -> str:
    """The opposite; what is no sequence of encoded words is taken as it stands."""
    if "=?" not in value or _WORDS.fullmatch(value) is None:
        return value
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        return "".join(
            piece if isinstance(piece, str) else piece.decode(charset or "ascii")
            for piece, charset in decode_header(value)
        )
    except (HeaderParseError, binascii.Error, LookupError, UnicodeDecodeError):
        return value


@lru_cache(256)
def _is_content_type(text: str) -> bool:
    return bool(text) and _PLAIN.fullmatch(text) is not None


def check_content_type(content_type: str, path: str) -> None:
    """Refuse what can't stand in a header.

    Raises:
        InvalidMetadataError: It is empty or has other characters than printable ASCII.
    """
    if not _is_content_type(content_type):
        raise InvalidMetadataError(f"{content_type[:80]!r} can't be a content type", path=path)
