"""What a proxy can do to a connection, and when."""

from typing import Literal

import attrs

type Direction = Literal["connect", "up", "down"]
"""When a connection is made, on its way to the server, or on its way back."""

_not_negative = attrs.validators.ge(0)
_not_negative_s = attrs.validators.ge(0.0)


def _check_times(_: object, __: object, times: int | None) -> None:
    if times is not None and times < 1:
        raise ValueError(f"times is {times}; 1 is the least, None is no limit")


@attrs.frozen
class Refuse:
    """Stop listening, and close all connections; `FaultProxy.heal` listens again.

    Attributes:
        for_s: Listen again after so many seconds, on the same port; None not before `heal`.
    """

    for_s: float | None = None


@attrs.frozen
class Close:
    """Close both sides of the connection; what has not passed is lost.

    Attributes:
        reset: Send TCP resets in place of an orderly end.
    """

    reset: bool = False


@attrs.frozen
class Truncate:
    """Tell the client that the answer ends here, and go on taking what it sends."""


@attrs.frozen
class Hang:
    """Let nothing pass any more, with the connection open; after `heal` it arrives, late."""


@attrs.frozen
class Delay:
    """Let it pass, late.

    Attributes:
        delay_s: How late, in seconds.
    """

    delay_s: float = attrs.field(default=0.05, validator=_not_negative_s)


@attrs.frozen
class Split:
    """Pass it on in small writes.

    Attributes:
        piece_bytes: The size of each.
        first_bytes: How much of each block is split; large bodies would take for ever.
    """

    piece_bytes: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    first_bytes: int = attrs.field(default=1024, validator=_not_negative)


@attrs.frozen
class Drip:
    """Pass one byte at a time, with pauses, until `heal`.

    Attributes:
        pause_s: The pause after each byte, in seconds.
    """

    pause_s: float = attrs.field(default=0.02, validator=_not_negative_s)


@attrs.frozen
class Flip:
    """Change one byte.

    Attributes:
        mask: Which of its bits.
    """

    mask: int = attrs.field(default=1, validator=attrs.validators.in_(range(1, 256)))


type WireAction = Refuse | Close | Truncate | Hang | Delay | Split | Drip | Flip


@attrs.frozen
class WireFault:
    """One thing that goes wrong on the way.

    Attributes:
        action: What happens.
        direction: To what: a new connection, requests (`"up"`) or answers (`"down"`).
        after_bytes: How many bytes pass in this direction, on all connections together and since
            the fault was armed, before it happens; 0 waits for the first. Of no meaning to
            `"connect"`.
        times: How often; None for every block of bytes, or connection, from then on.
    """

    action: WireAction
    direction: Direction = "down"
    after_bytes: int = attrs.field(default=0, validator=_not_negative)
    times: int | None = attrs.field(default=1, validator=_check_times)


@attrs.frozen
class Traffic:
    """What has passed since the counts were last reset.

    Attributes:
        connections: How many were made.
        up_bytes: Bytes that clients have sent.
        down_bytes: Bytes that the server has answered.
    """

    connections: int
    up_bytes: int
    down_bytes: int
