"""How long to wait before something is tried again, and when not to: the engine of all retries."""

import random
from collections.abc import Callable

from attrs import field, frozen, validators

from polystow._value import Value

_positive = validators.gt(0.0)


@frozen(eq=False, repr=False)
class Backoff(Value):
    """Exponential, with full jitter, inside a budget of attempts and of time.

    Attributes:
        attempts: How often something is tried at most, the first time included.
        budget_s: No repetition begins later than this many seconds after the first failure.
        base_delay_s: The first pause's ceiling; each further one is twice as long.
        max_delay_s: The longest pause, unless the other side asks for a longer one.
        rng: Which part of its ceiling a pause takes: a function that gives numbers from 0 to 1.
    """

    attempts: int = field(default=4, validator=validators.ge(1))
    budget_s: float = field(default=60.0, validator=_positive)
    base_delay_s: float = field(default=0.1, validator=_positive)
    max_delay_s: float = field(default=10.0, validator=_positive)
    rng: Callable[[], float] = field(default=random.random, repr=False)

    def pause_s(self, number: int, elapsed_s: float, asked_s: float | None) -> float | None:
        """The seconds until the next attempt; None if there has to be none.

        Args:
            number: How many attempts there were.
            elapsed_s: The seconds since the first failure.
            asked_s: The least pause that the other side asked for, in seconds.
        """
        if number >= self.attempts:
            return None
        ceiling = min(self.max_delay_s, self.base_delay_s * 2.0 ** min(number - 1, 64))
        pause_s = max(self.rng() * ceiling, asked_s or 0.0)
        return None if elapsed_s + pause_s > self.budget_s else pause_s
