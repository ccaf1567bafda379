"""Conditional requests (RFC 9110, section 13): whether an answer needs its body."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum

from polystow import ObjectInfo

_TAGS = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')
_OPAQUE = re.compile(r"[\x21\x23-\x7e]+")


class Verdict(Enum):
    """What the conditions of a request say."""

    PROCEED = 200
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412


def entity_tag(info: ObjectInfo) -> str | None:
    """The header ETag of an object, quoted; None if nothing tells its content apart.

    Backends without entity tags, such as FastDFS, have a checksum.
    """
    tag = info.etag
    if tag is None and info.checksum is not None:
        tag = f"{info.checksum.algorithm}-{info.checksum.value}-{info.size}"
    return f'"{tag}"' if tag and _OPAQUE.fullmatch(tag) else None


def last_modified(info: ObjectInfo) -> datetime | None:
    """When an object was last changed, to the second, or None."""
    moment = info.modified or info.created
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0)


def http_date(moment: datetime) -> str:
    """As in Last-Modified and Expires."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def judge(headers: Mapping[str, str], info: ObjectInfo) -> Verdict:
    """Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since, in this order.

    Args:
        headers: Of a GET or HEAD request; names are looked up in lower case.
        info: The object.
    """
    tag, modified = entity_tag(info), last_modified(info)
    if (match := headers.get("if-match")) is not None:
        if not _names(match, tag, weakly=False):
            return Verdict.PRECONDITION_FAILED
    elif (since := _date(headers.get("if-unmodified-since"))) is not None and (
        modified is not None and modified > since
    ):
        return Verdict.PRECONDITION_FAILED
    if (match := headers.get("if-none-match")) is not None:
        return Verdict.NOT_MODIFIED if _names(match, tag, weakly=True) else Verdict.PROCEED
    since = _date(headers.get("if-modified-since"))
    if since is not None and modified is not None and modified <= since:
        return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def range_holds(headers: Mapping[str, str], info: ObjectInfo) -> bool:
    """Whether If-Range lets the header Range count; a changed object is sent whole."""
    condition = headers.get("if-range")
    if condition is None:
        return True
    condition = condition.strip()
    if condition.startswith(('"', "W/")):
        return _names(condition, entity_tag(info), weakly=False)
    since = _date(condition)
    return since is not None and since == last_modified(info)


def _names(header: str, tag: str | None, *, weakly: bool) -> bool:
    """Whether a list of entity tags names this one; `*` names whatever is there."""
    if header.strip() == "*":
        return True
    if tag is None:
        return False
    return any(
        (weakly or not weak) and f'"{opaque}"' == tag for weak, opaque in _TAGS.findall(header)
    )


def _date(header: str | None) -> datetime | None:
    """An HTTP date; None for what is none, which has to be ignored."""
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
