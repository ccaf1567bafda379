"""Which bytes an answer carries: what was asked for, against what the server says it sends."""

import re
from typing import NamedTuple

from polystow import ByteRange, ContentRange

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Slice(NamedTuple):
    """What to take of an answer's body.

    Attributes:
        range: What the caller gets.
        skip: Bytes of the body to throw away first: the server ignored the range.
    """

    range: ContentRange
    skip: int


def parse_content_range(header: str) -> ContentRange | None:
    """Take a `Content-Range` apart (RFC 9110, section 14.4); None if it is none of bytes."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    if last < first:
        return None
    return ContentRange(first, last - first + 1, None if match[3] == "*" else int(match[3]))


def slice_answer(asked: ByteRange | None, content_range: str | None, length: int) -> Slice:
    """What to take of an answer.

    rclone answers a ranged GET with 200 and a Content-Range; others ignore the range and send
    everything. Both are dealt with, so the status is not looked at.

    Args:
        asked: The range of the request; None for the whole object.
        content_range: The answer's `Content-Range`, if it has one.
        length: The length of the answer's body, in bytes.

    Raises:
        RangeNotSatisfiableError: The whole object came, and the range is not in it.
        ValueError: The answer does not have what was asked for.
    """
    if asked is None:
        if content_range is not None:
            raise ValueError("the server sent a part of the object and was asked for all of it")
        return Slice(ContentRange(0, length, length), 0)
    if content_range is None:
        wanted = asked.resolve(length)
        return Slice(wanted, wanted.offset)
    sent = parse_content_range(content_range)
    if sent is None or sent.length != length:
        raise ValueError(f"the server sent {length} bytes with Content-Range {content_range!r}")
    if not _answers(asked, sent):
        raise ValueError(
            f"the server was asked for {asked} and sent Content-Range {content_range!r}"
        )
    return Slice(sent, 0)


def _answers(asked: ByteRange, sent: ContentRange) -> bool:
    if sent.size is not None:
        return sent.offset < sent.size and asked.resolve(sent.size) == sent
    if asked.first < 0:
        return sent.length <= -asked.first
    if sent.offset != asked.first:
        return False
    return asked.last is None or sent.length <= asked.last - asked.first + 1
