"""`MemoryBound`: a driver that keeps a whole object in memory is found out."""

import tracemalloc
from types import TracebackType
from typing import Self

from polystow_testing.faults._leaks import Violation


class MemoryBound:
    """Measures what Python allocates while it is entered, with `tracemalloc`.

    It sees the whole process: a server of the test has to keep its objects on disk.

    Args:
        limit_bytes: How much more than before there may be at any moment.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._before = 0
        self._started = False
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._started = not tracemalloc.is_tracing()
        if self._started:
            tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.peak_bytes = tracemalloc.get_traced_memory()[1] - self._before
        if self._started:
            tracemalloc.stop()

    def check(self) -> None:
        """Judge what was measured.

        Raises:
            Violation: It was more.
        """
        if self.peak_bytes > self._limit_bytes:
            raise Violation(
                "memory",
                f"{self.peak_bytes:,} bytes at once; at most {self._limit_bytes:,} are expected",
            )
