"""User metadata as FastDFS keeps it: what fits, and its form on the wire.

Servers cut what is too long, which leaves garbage behind (protocol reference, "Quirks"), so
nothing that does not fit byte for byte is ever sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiofdfs import async_fdfs_protol as fdfs

MAX_NAME_BYTES: Final = fdfs.FDFS_MAX_META_NAME_LEN
MAX_VALUE_BYTES: Final = fdfs.FDFS_MAX_META_VALUE_LEN

_RECORD: Final = fdfs.FDFS_RECORD_SEPERATOR.encode()
_FIELD: Final = fdfs.FDFS_FIELD_SEPERATOR.encode()
_RESERVED: Final = (fdfs.FDFS_RECORD_SEPERATOR, fdfs.FDFS_FIELD_SEPERATOR, "\x00")


def find_metadata_mistake(metadata: Mapping[str, str]) -> str | None:
    """Say what is wrong with metadata, or None if FastDFS can keep it unchanged.

    Args:
        metadata: Names and values; only read.
    """
    for name, value in metadata.items():
        if not name:
            return "a metadata name is empty"
        for what, text, limit in (
            ("name", name, MAX_NAME_BYTES),
            ("value of", value, MAX_VALUE_BYTES),
        ):
            mistake = _find_text_mistake(text, limit)
            if mistake:
                return f"the metadata {what} {name!r} {mistake}"
    return None


def _find_text_mistake(text: str, limit: int) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if size > limit:
        return f"takes {size} bytes in UTF-8; FastDFS keeps {limit}"
    if any(char in text for char in _RESERVED):
        return r"contains one of the characters \x00, \x01 and \x02, which FastDFS reserves"
    return None


def encode_metadata(metadata: Mapping[str, str]) -> bytes:
    """Encode user metadata for the frame that sets it; the mapping is only read.

    Args:
        metadata: Already validated by `find_metadata_mistake`.
    """
    return _RECORD.join(k.encode() + _FIELD + v.encode() for k, v in metadata.items())


def decode_metadata(body: bytes) -> dict[str, str]:
    r"""Read metadata (row 15): `k\x02v` joined by `\x01`.

    Other clients write what they like: bytes that are no UTF-8 become surrogate escapes, a record
    without a separator a name with an empty value, and the NULs that a trailing separator leaves
    behind are dropped.
    """
    metadata: dict[str, str] = {}
    for record in body.rstrip(b"\x00").split(_RECORD):
        if record:
            name, _, value = record.partition(_FIELD)
            metadata[name.decode("utf-8", "surrogateescape")] = value.decode(
                "utf-8", "surrogateescape"
            )
    return metadata
