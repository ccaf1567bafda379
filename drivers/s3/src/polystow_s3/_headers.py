"""HTTP headers of objects: those that are kept, those that one answer carries, and any others."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import fields

from polystow import InvalidMetadataError, ObjectHeaders, ResponseHeaders, WriteOptions

EXTRA_HEADERS = "PolystowHeaders"
"""The parameter of a call that carries headers which have no parameter of their own."""

NO_HEADERS = WriteOptions().headers
"""None at all."""

_PARAMETERS = {
    "cache_control": "CacheControl",
    "content_disposition": "ContentDisposition",
    "content_encoding": "ContentEncoding",
    "content_language": "ContentLanguage",
    "content_type": "ContentType",
    "expires": "Expires",
}
_KEPT = frozenset(_PARAMETERS.values()) - {"ContentType"}
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")
_MADE_HERE = frozenset(
    {"accept-encoding", "authorization", "connection", "content-length", "content-md5", "date",
     "expect", "host", "transfer-encoding", "user-agent", "x-amz-content-sha256", "x-amz-date",
     "x-amz-security-token"}
)  # fmt: skip
_HAVE_OPTIONS = {
    "cache-control": "headers",
    "content-disposition": "headers",
    "content-encoding": "headers",
    "content-language": "headers",
    "content-type": "content_type",
    "expires": "headers",
    "if-match": "if_match",
    "if-none-match": "overwrite",
    "x-amz-storage-class": "storage_class",
}
_OF_PARTS = (
    "x-amz-server-side-encryption-customer-",
    "x-amz-request-payer",
    "x-amz-expected-bucket-owner",
)


def kept_params(headers: ObjectHeaders, path: str) -> dict[str, object]:
    """Parameters for the headers that are to be kept with an object.

    Raises:
        InvalidMetadataError: One can't stand in a header.
    """
    return {} if headers == NO_HEADERS else _params(headers, "", path)


def response_params(response: ResponseHeaders | None, path: str) -> dict[str, object]:
    """Parameters for the headers that an answer is to carry (API reference, GetObject).

    Raises:
        InvalidMetadataError: One can't stand in a header.
    """
    return {} if response is None else _params(response, "Response", path)


def _params(headers: ObjectHeaders, prefix: str, path: str) -> dict[str, object]:
    params: dict[str, object] = {}
    for attribute in fields(type(headers)):
        value: object = getattr(headers, attribute.name)
        if value is None:
            continue
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise InvalidMetadataError(
                    f"{attribute.name} has no time zone: give datetime.now(UTC) + …", path=path
                )
        else:
            check_value(attribute.name, value, path)
        params[prefix + _PARAMETERS[attribute.name]] = value
    return params


def check_value(name: str, value: object, path: str) -> None:
    """Refuse what can't stand in a header.

    Raises:
        InvalidMetadataError: It is empty, or has other characters than printable ASCII.
    """
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        raise InvalidMetadataError(
            f"{name} can't be {str(value)[:80]!r}: headers are printable ASCII; a file's name in "
            "Content-Disposition is written filename*=UTF-8''… (RFC 6266)",
            path=path,
        )


def extra_params(headers: Mapping[str, str], path: str) -> dict[str, object]:
    """The parameter for headers to send as they are.

    Raises:
        InvalidMetadataError: One can't be sent, is made here, or has an option of its own.
    """
    for name, value in headers.items():
        lower = name.lower()
        if _NAME.fullmatch(name) is None:
            raise InvalidMetadataError(f"{name[:80]!r} can't be a header's name", path=path)
        if lower in _MADE_HERE:
            raise InvalidMetadataError(f"the header {name!r} is made by the driver", path=path)
        if lower in _HAVE_OPTIONS or lower.startswith("x-amz-meta-"):
            option = _HAVE_OPTIONS.get(lower, "metadata")
            raise InvalidMetadataError(f"give the header {name!r} as {option!r}", path=path)
        if lower.startswith("x-amz-checksum-"):
            raise InvalidMetadataError(f"give the header {name!r} as 'checksum'", path=path)
        check_value(name, value, path)
    return {EXTRA_HEADERS: dict(headers)} if headers else {}


def part_params(headers: Mapping[str, str]) -> dict[str, object]:
    """Of those headers, what each part of an upload needs too."""
    needed = {name: value for name, value in headers.items() if name.lower().startswith(_OF_PARTS)}
    return {EXTRA_HEADERS: needed} if needed else {}


def kept_headers(answer: Mapping[str, Any]) -> ObjectHeaders:
    """What an answer says of the headers that are kept with an object."""
    if _KEPT.isdisjoint(answer):
        return NO_HEADERS
    found = {
        name: answer[parameter]
        for name, parameter in _PARAMETERS.items()
        if name != "content_type" and answer.get(parameter)
    }
    if not found:
        return NO_HEADERS
    if not isinstance(found.get("expires"), datetime):
        found.pop("expires", None)  # some keep what is no time
    return ObjectHeaders(**found)
