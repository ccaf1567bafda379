"""The time by the service's clock, as far as the service has told it."""

import logging
import time
from datetime import UTC, datetime, timedelta

_logger = logging.getLogger("polystow.s3")

TOLERATED_S = 240.0
"""A difference that is left alone. S3 allows 15 minutes (API reference, "Error responses",
RequestTimeTooSkewed), some servers 5."""


class Clock:
    """This machine's clock, corrected by what was learned.

    Attributes:
        offset_s: What to add to this machine's time, in seconds.
    """

    __slots__ = ("offset_s",)

    def __init__(self) -> None:
        self.offset_s = 0.0

    def time(self) -> float:
        """Seconds since 1970, by the service's clock."""
        return time.time() + self.offset_s

    def now(self) -> datetime:
        """The time, by the service's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.offset_s)

    def difference_s(self, told: datetime) -> float:
        """By how much the service's clock is ahead of this one, in seconds."""
        return told.timestamp() - self.time()

    def learn(self, told: datetime) -> None:
        """Take over the service's time, from the Date of an answer, if it is another."""
        difference = self.difference_s(told)
        if abs(difference) <= TOLERATED_S:
            return
        self.offset_s += difference
        _logger.warning(
            "the service's clock differs from this machine's by %.0f s; requests are signed for "
            "its time",
            self.offset_s,
        )
