"""What the client remembers of its servers: who failed lately, and how fast answers usually come.

Pure bookkeeping over a clock that is handed in; nothing here waits or does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_REST_S: Final = 1.0
"""How long a server that failed is left alone; twice as long after each further failure."""

MAX_REST_S: Final = 30.0

_BURST: Final = 10.0
_WEIGHT: Final = 0.1
_DEVIATIONS: Final = 4.0


class Suspects:
    """Servers that failed, and until when they are left alone.

    After its rest a server gets one caller on trial, and rests again at once if that fails.

    Args:
        clock: Seconds that only grow.
        trial_s: How long others stay away while one caller tries.

    Attributes:
        known: How often each failed, and when its rest ends; each operation looks whether there is
            any.
    """

    __slots__ = ("_clock", "_trial_s", "known")

    def __init__(self, clock: Callable[[], float], trial_s: float) -> None:
        self._clock = clock
        self._trial_s = trial_s
        self.known: dict[str, tuple[int, float]] = {}

    def failed(self, server: str) -> None:
        """A server did not do what it should."""
        count = self.known.get(server, (0, 0.0))[0] + 1
        rest = min(MAX_REST_S, FIRST_REST_S * 2.0 ** (count - 1))
        self.known[server] = (count, self._clock() + rest)

    def worked(self, server: str) -> None:
        """A server did what it should: all is forgotten."""
        if self.known:
            self.known.pop(server, None)

    def avoid(self, server: str) -> bool:
        """Whether to ask another server; whoever gets False after a rest is the one on trial."""
        known = self.known.get(server)
        if known is None:
            return False
        count, until = known
        now = self._clock()
        if now < until:
            return True
        self.known[server] = (count, now + self._trial_s)
        return False

    def rested(self, server: str) -> float:
        """When a server's rest ends or has ended; the least is the one to try when all rest."""
        return self.known.get(server, (0, 0.0))[1]


class Hedging:
    """When a second server is asked beside one that lets a read wait, and how often at most.

    The wait follows the usual time to the first byte: its mean and four mean deviations, as TCP's
    retransmission timer does. The budget is a bucket of tokens: each read adds a share of one, each
    hedge takes one, and ten are the most that is saved up for a server that has just frozen.

    Args:
        share: Hedges per read in the long run; 0 for none.
        least_s: The shortest wait.
        most_s: The longest.
    """

    __slots__ = ("_deviation", "_least_s", "_mean", "_most_s", "_share", "_tokens", "hedges", "won")

    def __init__(self, share: float, least_s: float, most_s: float) -> None:
        self._share = share
        self._least_s = least_s
        self._most_s = most_s
        self._tokens = _BURST if share else 0.0
        self._mean = 0.0
        self._deviation = 0.0
        self.hedges = 0
        self.won = 0

    def wait_s(self) -> float | None:
        """How long the next read waits before it is hedged; None if it may not be."""
        if self._tokens < 1.0 or not self._mean:
            # Without an idea of what is usual, only the longest wait is safe.
            return self._most_s if self._tokens >= 1.0 else None
        return min(self._most_s, max(self._least_s, self._mean + _DEVIATIONS * self._deviation))

    def note(self, seconds: float) -> None:
        """A read got its first byte after so long."""
        if not self._mean:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            error = seconds - self._mean
            self._mean += _WEIGHT * error
            self._deviation += _WEIGHT * (abs(error) - self._deviation)
        if self._tokens < _BURST:
            self._tokens += self._share

    def spend(self) -> bool:
        """Take a token for a hedge; False if there is none."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        self.hedges += 1
        return True
