"""The header Range (RFC 9110, section 14.2): which bytes of an object an answer carries."""

import re
from collections.abc import Sequence

from polystow import ContentRange, RangeNotSatisfiableError

MAX_RANGES = 16
"""So many ranges are answered after joining; more get the whole object (RFC 9110, 14.2)."""

_MAX_HEADER_CHARS = 16_384
_SPEC = re.compile(r"(\d{0,19})-(\d{0,19})", re.ASCII)


def requested_ranges(header: str | None, size: int) -> Sequence[ContentRange] | None:
    """The parts of an object of `size` bytes that a request asks for.

    Ranges that overlap or touch are joined, and come sorted, so that no byte is sent twice
    whatever was asked for.

    Args:
        header: The header's value, or None.
        size: Of the object, in bytes.

    Returns:
        One or more parts; None for the whole object: there is no header, it is in another unit
        or malformed (such a header is ignored, as RFC 9110 says), or asks for too many parts.

    Raises:
        RangeNotSatisfiableError: No part lies in the object.
    """
    if header is None or len(header) > _MAX_HEADER_CHARS:
        return None
    unit, _, specs = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    parts: list[tuple[int, int]] = []
    for spec in specs.split(","):
        bounds = _bounds(spec.strip(" \t"), size)
        if bounds is None:
            return None
        if bounds[0] < bounds[1]:
            parts.append(bounds)
    if not parts:
        raise RangeNotSatisfiableError(f"none of the ranges lies in its {size} bytes")
    joined = _join(parts)
    if len(joined) > MAX_RANGES:
        return None
    return [ContentRange(start, end - start, size) for start, end in joined]


def _bounds(spec: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; equal where nothing is satisfiable."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        return None
    first, last = match[1], match[2]
    if not first:
        return (max(0, size - int(last)), size) if last else None
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return start, start
    return start, min(int(last) + 1, size) if last else size


def _join(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    parts.sort()
    joined = [parts[0]]
    for start, end in parts[1:]:
        last_start, last_end = joined[-1]
        if start <= last_end:
            joined[-1] = (last_start, max(last_end, end))
        else:
            joined.append((start, end))
    return joined
