"""Retry for people's own functions: the same engine as that of the drivers' requests."""

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from typing import cast

import anyio
from attrs import field, frozen

from polystow._backoff import Backoff
from polystow._errors import StorageError
from polystow._value import Value

type RetryOn = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
"""What is worth another attempt: exceptions, or a function that decides."""

type OnRetry = Callable[[int, Exception, float], None]
"""Told before each pause: how many attempts there were, the error, the pause in seconds."""


def may_help(error: Exception) -> bool:
    """Whether a repetition may help: `StorageError.retryable`, else a lost connection or time."""
    if isinstance(error, StorageError):
        return error.retryable
    return isinstance(error, ConnectionError | TimeoutError)


@frozen(eq=False, repr=False)
class Retry(Value):
    """A retry policy: `retry` makes one. It decorates functions, and calls them.

    Attributes:
        backoff: How often, and with which pauses.
        on: What is worth another attempt.
        on_retry: Who is told.
    """

    backoff: Backoff
    on: RetryOn = may_help
    on_retry: OnRetry | None = field(default=None)

    def __call__[**P, T](self, function: Callable[P, T], /) -> Callable[P, T]:
        """The function, async or not, repeated as the policy says."""
        if iscoroutinefunction(function):

            @wraps(function)
            async def repeat(*args: P.args, **kwargs: P.kwargs) -> object:
                return await self._repeat(lambda: function(*args, **kwargs))

            return cast("Callable[P, T]", repeat)

        @wraps(function)
        def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
            return self.call(function, *args, **kwargs)

        return repeated

    def call[**P, T](self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function, repeated as the policy says; await what it gives if it is async.

        A function that is not async sleeps in its thread: not for the event loop's.

        Raises:
            Exception: As the last attempt raised it.
        """
        if iscoroutinefunction(function):
            return cast("T", self._repeat(lambda: function(*args, **kwargs)))
        pauses = _Pauses(self, time.monotonic)
        while True:
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                pause_s = pauses.after(error)
                if pause_s is None:
                    raise
            else:
                if isawaitable(result):  # of a lambda around something async
                    return cast("T", self._repeat(lambda: function(*args, **kwargs), result))
                return result
            time.sleep(pause_s)

    async def _repeat(
        self, function: Callable[[], object], first: Awaitable[object] | None = None
    ) -> object:
        pauses = _Pauses(self, anyio.current_time)
        while True:
            try:
                attempt = cast("Awaitable[object]", function()) if first is None else first
                return await attempt
            except Exception as error:
                pause_s = pauses.after(error)
                if pause_s is None:
                    raise
            first = None
            await anyio.sleep(pause_s)


class _Pauses:
    """The pauses of one call."""

    def __init__(self, retry: Retry, clock: Callable[[], float]) -> None:
        self._retry = retry
        self._clock = clock
        self._number = 0
        self._start: float | None = None

    def after(self, error: Exception) -> float | None:
        """The seconds to wait after a failure; None if it is final."""
        self._number += 1
        on = self._retry.on
        worth = isinstance(error, on) if isinstance(on, type | tuple) else on(error)
        if not worth:
            return None
        now = self._clock()
        self._start = now if self._start is None else self._start
        asked_s = error.retry_after_s if isinstance(error, StorageError) else None
        pause_s = self._retry.backoff.pause_s(self._number, now - self._start, asked_s)
        if pause_s is not None and self._retry.on_retry is not None:
            self._retry.on_retry(self._number, error, pause_s)
        return pause_s


def retry(
    *,
    on: RetryOn = may_help,
    attempts: int = 4,
    budget_s: float = 60.0,
    base_delay_s: float = 0.1,
    max_delay_s: float = 10.0,
    jitter: bool = True,
    on_retry: OnRetry | None = None,
) -> Retry:
    """Repeat functions of your own that fail, with pauses that grow.

    Not for single operations of a storage, which repeats its requests itself, but for what you
    make of several.

    ```python
    @retry(on=ConnectionError, attempts=5)
    async def publish(name: str) -> None: ...

    info = await retry(attempts=2).call(storage.stat, "s3:bucket/key")
    ```

    Args:
        on: Exceptions, or a function that says of an exception whether it is worth another
            attempt. By default errors of this library that say so (`retryable`), lost
            connections and timeouts.
        attempts: How often the function is called at most, the first time included.
        budget_s: No repetition begins later than this many seconds after the first failure.
        base_delay_s: The first pause in seconds; each further one is twice as long.
        max_delay_s: The longest pause, in seconds.
        jitter: Whether each pause is a random part of that, so that many clients don't come
            back at once.
        on_retry: Called before each pause with the number of attempts so far, the error and the
            pause in seconds; it must not raise or block.

    Returns:
        A decorator, for async functions and others; its `call` calls a function at once.

    Raises:
        ValueError: `attempts` is below 1, or a time is not above 0.
    """
    backoff = Backoff(attempts, budget_s, base_delay_s, max_delay_s)
    if not jitter:
        backoff = Backoff(attempts, budget_s, base_delay_s, max_delay_s, lambda: 1.0)
    return Retry(backoff, on, on_retry)
