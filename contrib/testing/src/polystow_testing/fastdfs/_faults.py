"""Faults that a test puts into the servers: what goes wrong, when, and how often."""

import attrs

from polystow_testing._fault_list import FaultList
from polystow_testing.fastdfs._wire import Header, encode_header

_non_negative = attrs.validators.ge(0)
_non_negative_s = attrs.validators.ge(0.0)


def _check_times(_: object, __: object, times: int | None) -> None:
    if times is not None and times < 1:
        message = f"times={times}: give at least 1, or None for no limit"
        raise ValueError(message)


@attrs.frozen
class CloseConnection:
    """Close the connection after some bytes of the reply; the request has been carried out.

    Attributes:
        after_bytes: Bytes of the reply, its 10-byte header included, that still arrive. 0 closes
            before the reply, 1 to 9 within the header, more within the body.
        reset: Send a TCP reset in place of an orderly end.
    """

    after_bytes: int = attrs.field(default=0, validator=_non_negative)
    reset: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Stall:
    """Send some bytes of the reply and then nothing, with the connection open.

    The request has been carried out. The stall ends when the client or the server closes.

    Attributes:
        after_bytes: Bytes of the reply, its 10-byte header included, that still arrive.
    """

    after_bytes: int = attrs.field(default=0, validator=_non_negative)


@attrs.frozen
class SplitReply:
    """Send the reply in small pieces.

    Attributes:
        piece_bytes: Bytes of each piece, at least 1.
        delay_s: Seconds between two pieces; with 0 they are still separate TCP segments where
            the network stack allows.
    """

    piece_bytes: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    delay_s: float = attrs.field(default=0.0, validator=_non_negative_s)


@attrs.frozen
class DelayReply:
    """Carry the request out and answer it late.

    Attributes:
        delay_s: Seconds before the reply.
    """

    delay_s: float = attrs.field(validator=_non_negative_s)


@attrs.frozen
class AnswerStatus:
    """Read the request, don't carry it out, and answer with a status and no body.

    Attributes:
        status: 0 to 255; see `Status`.
        close: Whether the server closes the connection afterwards.
    """

    status: int = attrs.field(validator=[_non_negative, attrs.validators.le(255)])
    close: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class AnswerBytes:
    """Read the request, don't carry it out, and send these bytes in place of a reply.

    Attributes:
        data: Anything; `garbage()` and `header()` make common cases.
        close: Whether the server closes the connection afterwards.
    """

    data: bytes
    close: bool = attrs.field(default=False, kw_only=True)

    @classmethod
    def garbage(cls) -> "AnswerBytes":
        """Return an answer that is no FastDFS header at all."""
        return cls(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    @classmethod
    def header(cls, body_length: int, *, command: int = 100, status: int = 0) -> "AnswerBytes":
        """Return a header with a body length (negative or huge ones too) that no body follows."""
        return cls(encode_header(Header(body_length, command, status)))


@attrs.frozen
class CloseDuringRequest:
    """Close the connection while the request is arriving; it is not carried out.

    Attributes:
        after_bytes: Bytes of the request's body that are read before.
    """

    after_bytes: int = attrs.field(default=0, validator=_non_negative)


@attrs.frozen
class StopReading:
    """Read part of the request and no more, so that a large upload can't be sent.

    Attributes:
        after_bytes: Bytes of the request's body that are read before.
    """

    after_bytes: int = attrs.field(default=0, validator=_non_negative)


@attrs.frozen
class CloseOnConnect:
    """Accept a connection and close it at once."""


@attrs.frozen
class DelayAccept:
    """Leave a new connection unserved for a while.

    The kernel completes the TCP handshake; requests are first read after the delay.

    Attributes:
        delay_s: Seconds.
    """

    delay_s: float = attrs.field(validator=_non_negative_s)


type ReplyAction = CloseConnection | Stall | SplitReply | DelayReply
type RequestAction = AnswerStatus | AnswerBytes | CloseDuringRequest | StopReading
type ConnectAction = CloseOnConnect | DelayAccept
type Action = ReplyAction | RequestAction | ConnectAction


@attrs.frozen(eq=False)
class Fault:
    """One thing that goes wrong.

    Attributes:
        command: Number of the request that it hits (see `Command`); None hits any request.
            Of no meaning to `CloseOnConnect` and `DelayAccept`, which hit new connections.
        action: What happens. By default the connection closes before the reply.
        on: Which servers: "tracker", "storage", a "host:port" or a group's name; None for all.
        times: How often it fires; None for no limit.
        skip: Matching requests (or connections) that pass before it fires first.

    Example:
        >>> Fault(command=14, action=CloseConnection(after_bytes=100), times=2)  # doctest: +SKIP
    """

    command: int | None = None
    action: Action = attrs.field(factory=CloseConnection, kw_only=True)
    on: str | None = attrs.field(default=None, kw_only=True)
    times: int | None = attrs.field(default=1, kw_only=True, validator=_check_times)
    skip: int = attrs.field(default=0, kw_only=True, validator=_non_negative)


class Faults(FaultList[Fault]):
    """The faults of a FastDFS server; see `FaultList`."""

    def on_request(
        self, labels: frozenset[str], command: int
    ) -> ReplyAction | RequestAction | None:
        """Return what happens to a request of `command` to the server with `labels`."""

        def hits(fault: Fault) -> bool:
            on_connect = isinstance(fault.action, CloseOnConnect | DelayAccept)
            return not on_connect and fault.command in (None, command) and _is_on(fault, labels)

        fault = self.first(hits)
        if fault is None or isinstance(fault.action, CloseOnConnect | DelayAccept):
            return None
        return fault.action

    def on_connect(self, labels: frozenset[str]) -> ConnectAction | None:
        """Return what happens to a new connection to the server with `labels`."""

        def hits(fault: Fault) -> bool:
            on_connect = isinstance(fault.action, CloseOnConnect | DelayAccept)
            return on_connect and _is_on(fault, labels)

        fault = self.first(hits)
        if fault is None or not isinstance(fault.action, CloseOnConnect | DelayAccept):
            return None
        return fault.action


def _is_on(fault: Fault, labels: frozenset[str]) -> bool:
    return fault.on is None or fault.on in labels
