"""How often, and how many at once: token buckets and counters, for each key."""

from collections import OrderedDict
from collections.abc import Callable

from polystow import BackendUnavailableError, RateLimitedError

_MAX_BUCKETS = 16_384
_BUSY_RETRY_S = 1.0


class Bucket:
    """A token bucket: `burst` at once, `per_s` on average."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: int, now: float) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token; 0, or how long to wait for one, in seconds."""
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._tokens = min(self._burst, self._tokens + passed * self._per_s)
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._per_s
        self._tokens -= 1.0
        return 0.0


class Rates:
    """A bucket for each name; those not used for longest are forgotten, so memory is bounded.

    Args:
        clock: Seconds, monotonic.
        max_buckets: How many names are kept.
    """

    def __init__(self, clock: Callable[[], float], *, max_buckets: int = _MAX_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str, per_s: float, burst: int) -> None:
        """Count a request.

        Raises:
            RateLimitedError: There were too many; it says when to come again.
        """
        now = self._clock()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(per_s, burst, now)
            if len(self._buckets) > self._max_buckets:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        wait_s = bucket.take(now)
        if wait_s:
            raise RateLimitedError(
                f"too many requests: at most {per_s:g} a second", retry_after_s=wait_s
            )


class Transfers:
    """How many transfers are under way: of each name, and of all.

    Args:
        max_all: How many there may be.
    """

    def __init__(self, max_all: int) -> None:
        self._max_all = max_all
        self._all = 0
        self._of: dict[str, int] = {}

    def begin(self, name: str, limit: int) -> None:
        """Count one; `end` has to follow.

        Raises:
            RateLimitedError: This name has too many.
            BackendUnavailableError: There are too many in all.
        """
        if self._of.get(name, 0) >= limit:
            raise RateLimitedError(
                f"too many transfers at once: at most {limit}", retry_after_s=_BUSY_RETRY_S
            )
        if self._all >= self._max_all:
            raise BackendUnavailableError(
                "the gateway is busy with other transfers", retry_after_s=_BUSY_RETRY_S
            )
        self._of[name] = self._of.get(name, 0) + 1
        self._all += 1

    def end(self, name: str) -> None:
        """Count one less."""
        self._all -= 1
        left = self._of[name] - 1
        if left:
            self._of[name] = left
        else:
            del self._of[name]
