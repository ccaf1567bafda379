"""The time limits of all waits on one event loop, by one timer.

Each exchange waits, most for less than a millisecond, so a timer for each would cost more than the
wait. Those that wait are looked at a hundred times a second, and only while there are any.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

TICK_S: Final = 0.01
"""How late a time limit may be noticed."""


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
    """

    __slots__ = ("_loop", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiting: Waiting, limit_s: float) -> None:
        """Have `overdue` called after so many seconds, unless `end` comes first."""
        waiting.deadline = self._loop.time() + limit_s
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
        now = self._loop.time()
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
