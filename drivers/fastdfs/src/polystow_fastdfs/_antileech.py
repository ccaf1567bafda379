"""URLs of files as the FastDFS nginx module serves them, with the token that it checks.

`https://files.example.com/group1/M00/00/00/wKg….jpg?token=…&ts=…`: the token is the MD5 of the
name without its group, the secret, and `ts`, a Unix time. Servers refuse it when `ts` is longer
ago than their `token_ttl`; so an expiry other than that is asked for by a `ts` before or after
the present. Source: protocol reference, "HTTP access with anti-leech"; `filename` and its limit by
the module's source.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from email.message import Message
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from polystow import InvalidPathError, ResponseHeaders, Secret, UnsupportedOperationError
from polystow_fastdfs._file_id import FileId, find_group_mistake

MAX_SECRET_BYTES: Final = 128
_MAX_TIMESTAMP: Final = 2**31 - 1
_MAX_ATTACHMENT_BYTES: Final = 232


def find_base_url_mistake(base_urls: Mapping[str, str]) -> str | None:
    """Say what is wrong with the configured base URLs, or None."""
    for group, text in base_urls.items():
        if mistake := find_group_mistake(group):
            return mistake
        try:
            url = urlsplit(text)
            host = url.hostname
        except ValueError:
            host = None
        else:
            if url.scheme not in ("http", "https") or url.username is not None:
                host = None
            if "?" in text or "#" in text or any(char <= " " for char in text):
                host = None
        if not host:
            return (
                f"the base URL of {group!r} is none: write http(s)://host/path, up to what comes"
                " before M00/…, without user, query and fragment"
            )
    return None


def make_token(name: str, secret: str, timestamp: int) -> str:
    """The token for a file name (without its group) and a Unix time in seconds."""
    return hashlib.md5(f"{name}{secret}{timestamp}".encode(), usedforsecurity=False).hexdigest()


def file_url(
    base_urls: Mapping[str, str],
    file: FileId,
    *,
    attachment: str | None = None,
    secret: Secret | None = None,
    timestamp: int = 0,
) -> str:
    """The URL of a file.

    Args:
        base_urls: Group to what goes before `M00/…`.
        file: The file.
        attachment: The name under which a browser shall save it.
        secret: What the servers check tokens with; None for a URL without one.
        timestamp: The token's `ts`.

    Raises:
        UnsupportedOperationError: The group has no base URL.
        InvalidPathError: The attachment's name can't be used.
    """
    base = base_urls.get(file.group)
    if base is None:
        known = ", ".join(sorted(base_urls)) or "none"
        message = f"the group {file.group!r} has no base URL; base_urls has: {known}"
        raise UnsupportedOperationError(message)
    query: dict[str, str] = {}
    if secret is not None:
        query = {"token": make_token(file.name, secret.reveal(), timestamp), "ts": str(timestamp)}
    if attachment is not None:
        _check_attachment(attachment)
        query["filename"] = attachment
    url = f"{base.rstrip('/')}/{quote(file.name)}"
    return f"{url}?{urlencode(query, quote_via=quote, safe='')}" if query else url


def timestamp_for(now_s: float, expires_s: float, token_ttl_s: int) -> int:
    """The `ts` of a token that works from now on for `expires_s` seconds, rounded up.

    Args:
        now_s: Unix time.
        expires_s: In seconds, at least 1.
        token_ttl_s: The servers' `token_ttl`.

    Raises:
        UnsupportedOperationError: The servers can't count so far.
    """
    timestamp = math.ceil(now_s + expires_s) - token_ttl_s
    if expires_s < 1 or not 0 < timestamp <= _MAX_TIMESTAMP:
        message = f"a URL can't expire after {expires_s:g} s; from 1 s to the year 2038 it can"
        raise UnsupportedOperationError(message)
    return timestamp


def attachment_of(response: ResponseHeaders | None) -> str | None:
    """The attachment's name in the headers that an answer shall carry.

    Raises:
        UnsupportedOperationError: They say anything else; the module sets no other header.
    """
    if response is None:
        return None
    disposition = response.content_disposition
    if response != ResponseHeaders(content_disposition=disposition):
        message = "FastDFS servers let a URL choose content_disposition alone"
        raise UnsupportedOperationError(message)
    if disposition is None:
        return None
    header = Message()
    header["Content-Disposition"] = disposition.replace("\r", " ").replace("\n", " ")
    filename = header.get_filename()
    if header.get_content_disposition() != "attachment" or not filename:
        refusal = (
            f"FastDFS servers can't send the Content-Disposition {disposition!r}: give"
            ' attachment; filename="…"'
        )
        raise UnsupportedOperationError(refusal)
    return filename


def _check_attachment(name: str) -> None:
    # The module puts it between quotes as it is, and cuts what is too long.
    size = len(name.encode("utf-8", "surrogatepass"))
    if not name or not name.isprintable() or '"' in name or "\\" in name:
        mistake = "control characters, quotation marks and backslashes can't be sent"
    elif size > _MAX_ATTACHMENT_BYTES:
        mistake = f"it takes {size} bytes, and servers send {_MAX_ATTACHMENT_BYTES}"
    else:
        return
    message = f"{name!r} can't be the name of an attachment: {mistake}"
    raise InvalidPathError(message)
