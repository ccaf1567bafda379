"""Which faults are in effect, and how often each has fired: what the servers' faults share."""

import threading
from collections.abc import Callable
from typing import Protocol

import attrs


class Limited(Protocol):
    """A fault, as far as counting goes."""

    @property
    def times(self) -> int | None:
        """How often it fires; None for no limit."""
        ...

    @property
    def skip(self) -> int:
        """How many that match pass before it fires first."""
        ...


@attrs.define(eq=False)
class _Armed[F: Limited]:
    fault: F
    seen: int = 0
    fired: int = 0

    def fires(self) -> bool:
        self.seen += 1
        times = self.fault.times
        if self.seen <= self.fault.skip or (times is not None and self.fired >= times):
            return False
        self.fired += 1
        return True


class FaultList[F: Limited]:
    """The faults of a server; safe to use from any thread.

    Of several faults that match a request, the one added first fires.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed[F]] = []

    def add(self, fault: F) -> F:
        """Put `fault` into effect, and return it for `fired` and `remove`."""
        with self._lock:
            self._armed.append(_Armed(fault))
        return fault

    def remove(self, fault: F) -> None:
        """Take `fault` out; harmless when it is not in."""
        with self._lock:
            self._armed = [armed for armed in self._armed if armed.fault is not fault]

    def clear(self) -> None:
        """Take all faults out. What has already hit a connection, such as a stall, stays."""
        with self._lock:
            self._armed = []

    def fired(self, fault: F) -> int:
        """Return how often `fault` has fired; 0 when it is not in."""
        with self._lock:
            return sum(armed.fired for armed in self._armed if armed.fault is fault)

    def first(self, matches: Callable[[F], bool]) -> F | None:
        """Return the fault that fires now, of those that match; it is counted."""
        if not self._armed:
            return None
        with self._lock:
            for armed in self._armed:
                if matches(armed.fault) and armed.fires():
                    return armed.fault
        return None
