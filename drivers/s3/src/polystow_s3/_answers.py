"""From answers of the service to `ObjectInfo`s: pure."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from polystow import Checksum, ObjectInfo, TransportError
from polystow_s3._digests import ALGORITHMS
from polystow_s3._headers import kept_headers
from polystow_s3._lane._parsing import UsualEntries
from polystow_s3._metadata import decode_metadata

_CHECKSUM_HEADERS = tuple((f"x-amz-checksum-{name}", name) for name in ALGORITHMS)


def headers_of(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """An answer's HTTP headers, names in lower case."""
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


def required(answer: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    """A field that the API reference promises.

    Raises:
        TransportError: It is not there: what answered is no S3, perhaps a proxy's page.
    """
    try:
        return answer[name]
    except KeyError:
        raise TransportError(f"the answer is none of S3's: it has no {name}") from None


def unquote_etag(etag: str | None) -> str | None:
    """An entity tag without its quotes; a weak one stays as it is."""
    if etag is not None and len(etag) >= 2 and etag[0] == etag[-1] == '"':
        return etag[1:-1]
    return etag or None


def quote_etag(etag: str) -> str:
    """An entity tag as in If-Match: quoted, if it is not weak, quoted already or `*`."""
    if etag == "*" or etag.startswith(('"', "W/")):
        return etag
    return f'"{etag}"'


def checksum_of(headers: Mapping[str, str]) -> Checksum | None:
    """The whole object's checksum, if an answer tells one.

    A checksum of the parts' checksums (`COMPOSITE`, or with `-N` behind it) is none (User Guide,
    "Checking object integrity", "Using full object and composite checksum types").
    """
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    for header, name in _CHECKSUM_HEADERS:
        if header in headers:
            checksum = _checksum(name, headers[header])
            if checksum is not None:
                return checksum
    return None


def checksum_of_fields(entry: Mapping[str, Any]) -> Checksum | None:
    """The checksum in an element of an answer, such as a part's."""
    for name, algorithm in ALGORITHMS.items():
        checksum = _checksum(name, entry.get(algorithm.parameter))
        if checksum is not None:
            return checksum
    return None


def _checksum(name: str, text: str | None) -> Checksum | None:
    if not text or "-" in text:
        return None
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return Checksum(name, value.hex()) if len(value) == ALGORITHMS[name].size else None


def object_info(path: str, answer: Mapping[str, Any], size: int | None) -> ObjectInfo:
    """From the answer to HeadObject or GetObject.

    Args:
        path: `bucket/key`.
        answer: As botocore parses it.
        size: The whole object's size in bytes.
    """
    headers = headers_of(answer)
    metadata, filename = decode_metadata(answer.get("Metadata") or {})
    get = answer.get
    # By position, which takes half of the time.
    return ObjectInfo(
        path,
        size,
        filename,
        get("ContentType"),
        unquote_etag(get("ETag")),
        checksum_of(headers),
        get("LastModified"),
        None,
        # The header is left out for this one (API reference, HeadObject, x-amz-storage-class).
        get("StorageClass") or "STANDARD",
        get("VersionId"),
        metadata,
        kept_headers(answer),
    )


def listed_infos(bucket: str, entries: Iterable[Mapping[str, Any]]) -> list[ObjectInfo]:
    """From the Contents of ListObjectsV2."""
    # Made by position: a listing makes thousands of them.
    if isinstance(entries, UsualEntries):
        return [
            ObjectInfo(
                f"{bucket}/{key}", size, None, None, etag, None, modified, None, storage_class
            )
            for key, modified, etag, size, storage_class in entries.rows
        ]
    return [
        ObjectInfo(
            path=f"{bucket}/{entry['Key']}",
            size=entry.get("Size"),
            etag=unquote_etag(entry.get("ETag")),
            modified=entry.get("LastModified"),
            storage_class=entry.get("StorageClass"),
        )
        for entry in entries
    ]
