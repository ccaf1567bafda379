"""Faults that a test puts into a `DiskS3Server`: what goes wrong, when, and how often."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from polystow_testing._fault_list import FaultList

_non_negative = attrs.validators.ge(0)


def _at_least_one(_: object, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} is {value}; 1 is the least, None is no limit")


@attrs.frozen
class AnswerStatus:
    """Read the request, don't carry it out, and answer with an error.

    Attributes:
        status: The HTTP status.
        code: The error code in the XML body; empty for an answer without a body.
        headers: Headers of the answer, such as `{"Retry-After": "1"}`.
    """

    status: int = attrs.field(validator=attrs.validators.in_(range(200, 600)))
    code: str = "InternalError"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], kw_only=True)


@attrs.frozen
class AnswerBytes:
    """Read the request, don't carry it out, and answer 200 with these bytes.

    Attributes:
        data: Anything; `b"<html>"` makes an answer that is none of S3's.
    """

    data: bytes


@attrs.frozen
class ErrorIn200:
    """Answer 200 with an error inside, as CompleteMultipartUpload and CopyObject may.

    Attributes:
        code: The error code.
        carry_out: Whether the request is carried out nevertheless.
    """

    code: str = "InternalError"
    carry_out: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class CloseConnection:
    """Close the connection after some bytes of the answer's body; the request is carried out.

    Attributes:
        after_bytes: Bytes of the body that still arrive; None closes before the answer's head.
        reset: Send a TCP reset in place of an orderly end.
    """

    after_bytes: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_non_negative)
    )
    reset: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Stall:
    """Send part of the answer and then nothing, with the connection open.

    The request has been carried out. The stall ends when the client or the server closes.

    Attributes:
        after_bytes: Bytes of the body that still arrive; None stalls before the answer's head.
    """

    after_bytes: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_non_negative)
    )


@attrs.frozen
class DelayReply:
    """Carry the request out and answer it late.

    Attributes:
        delay_s: Seconds before the answer.
    """

    delay_s: float = attrs.field(validator=_non_negative)


@attrs.frozen
class CloseDuringRequest:
    """Close the connection while the request's body is arriving; it is not carried out.

    Attributes:
        after_bytes: Bytes of the body that are read before.
    """

    after_bytes: int = attrs.field(default=0, validator=_non_negative)


@attrs.frozen
class StopReading:
    """Read part of the request's body and no more, so that a large upload can't be sent.

    Attributes:
        after_bytes: Bytes of the body that are read before.
    """

    after_bytes: int = attrs.field(default=0, validator=_non_negative)


@attrs.frozen
class AnswerRange:
    """Deal with a ranged GetObject as other servers do.

    Attributes:
        style: `"200"` sends the range with status 200 and a Content-Range, as rclone does;
            `"ignored"` sends the whole object.
    """

    style: Literal["200", "ignored"] = "200"


@attrs.frozen
class EmptyPage:
    """Answer a listing with an empty page that has a continuation token."""


type Action = (
    AnswerStatus
    | AnswerBytes
    | ErrorIn200
    | CloseConnection
    | Stall
    | DelayReply
    | CloseDuringRequest
    | StopReading
    | AnswerRange
    | EmptyPage
)


@attrs.frozen(eq=False)
class Fault:
    """One thing that goes wrong.

    Attributes:
        operation: The operation that it hits, as in the API reference (`"UploadPart"`); None
            hits any request.
        action: What happens. By default the connection closes before the answer.
        key: The key that it hits; None for all.
        times: How often it fires; None for no limit.
        skip: Matching requests that pass before it fires first.

    Example:
        >>> Fault("GetObject", action=CloseConnection(after_bytes=100), times=2)  # doctest: +SKIP
    """

    operation: str | None = None
    action: Action = attrs.field(factory=CloseConnection, kw_only=True)
    key: str | None = attrs.field(default=None, kw_only=True)
    times: int | None = attrs.field(default=1, kw_only=True, validator=_at_least_one)
    skip: int = attrs.field(default=0, kw_only=True, validator=_non_negative)


class Faults(FaultList[Fault]):
    """The faults of an S3 server; see `FaultList`."""

    def on_request(self, operation: str, key: str) -> Action | None:
        """Return what happens to a request."""
        fault = self.first(
            lambda fault: fault.operation in (None, operation) and fault.key in (None, key)
        )
        return None if fault is None else fault.action
