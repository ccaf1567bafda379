"""What the connections of one event loop share: a timer, a buffer to read into, a way to send.

Each exchange waits, most for less than a millisecond, so a timer for each would cost more than the
wait. Those that wait are looked at a hundred times a second, and only while there are any.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, Protocol

from polystow import Outbox

TICK_S: Final = 0.01
"""How late a time limit may be noticed."""

BUFFER_BYTES: Final = 256 * 1024
"""The most that is read from a connection at once."""


class Waiting(Protocol):
    """Something that waits."""

    deadline: float

    def overdue(self) -> None:
        """Called once its deadline has passed."""
        ...


class Watch:
    """Keeps the time limits of whatever waits.

    Args:
        loop: The event loop.

    Attributes:
        buffer: What was read; it is there until somebody else reads.
    """

    __slots__ = ("_loop", "_outbox", "_timer", "_waiting", "buffer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outbox = Outbox(loop)
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def post(self, transport: asyncio.Transport, request: bytes) -> None:
        """Write a whole request, together with those of other connections."""
        self._outbox.post(transport, request, len(self._waiting))

    def begin(self, waiting: Waiting, limit_s: float) -> None:
        """Have `overdue` called after so many seconds, unless `end` comes first."""
        waiting.deadline = monotonic() + limit_s
        self._waiting.add(waiting)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._look)

    def end(self, waiting: Waiting) -> None:
        """It waits no more."""
        self._waiting.discard(waiting)

    def _look(self) -> None:
        if not self._waiting:
            self._timer = None
            return
        now = monotonic()
        late = [one for one in self._waiting if one.deadline <= now]
        for one in late:
            self._waiting.discard(one)
            one.overdue()
        self._timer = self._loop.call_later(TICK_S, self._look)

    def close(self) -> None:
        """Stop; who still waits does so without a limit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
