"""The request policy: concurrency limit, retry and per-attempt timeout of single requests.

Retry has one owner, this. A driver is handed the policy in its context and applies it to each
single request, with its SDK's own retries off; nothing above repeats multi-request work.
"""

import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio import CancelScope
from attrs import evolve, field, frozen, validators

from polystow._backoff import Backoff
from polystow._errors import OperationTimeoutError, StorageError
from polystow._value import Value

_positive = validators.gt(0.0)


@frozen(eq=False, repr=False)
class RequestPolicyConfig(Value):
    """How requests are limited, timed and repeated.

    Attributes:
        attempts: How often a request is sent at most, the first time included.
        retry_budget_s: No repetition begins later than this many seconds after the first failure.
        base_delay_s: The first pause is random between 0 and this; each further one may be twice
            as long ("full jitter").
        max_delay_s: The longest pause, unless the backend asks for a longer one.
        attempt_timeout_s: How long one attempt may take, not counting the time that it waits for
            the caller; None for no limit beside the driver's own.
        max_concurrency: How many requests are under way at once; None for no limit.
        queue_timeout_s: How long a request waits for its turn.
    """

    attempts: int = field(default=4, validator=validators.ge(1))
    retry_budget_s: float = field(default=60.0, validator=_positive)
    base_delay_s: float = field(default=0.1, validator=_positive)
    max_delay_s: float = field(default=10.0, validator=_positive)
    attempt_timeout_s: float | None = field(default=None, validator=validators.optional(_positive))
    max_concurrency: int | None = field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    queue_timeout_s: float = field(default=30.0, validator=_positive)


@frozen(slots=False, eq=False, repr=False)  # made for each request: 3 times as fast as with slots
class Request(Value):
    """What the policy has to know of a request.

    Attributes:
        operation: The operation that it belongs to, for errors.
        path: What that is about, for errors.
        idempotent: Whether it may be repeated after its attempt timed out, when it is not known
            what the server did. For every other failure the error's `retryable` decides.
    """

    operation: str
    path: str
    idempotent: bool = True


class Attempt:
    """One attempt at a request.

    Attributes:
        number: Counted from 1.
        scope: Its timer, which `paused` stops; None if it has no time limit.
        holds_slot: Whether it counts against the concurrency limit right now.
    """

    __slots__ = ("_policy", "_request", "holds_slot", "number", "scope")

    def __init__(self, policy: "RequestPolicy", request: Request, number: int) -> None:
        self._policy = policy
        self._request = request
        self.number = number
        self.scope: CancelScope | None = None
        self.holds_slot = False

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Around a wait for the caller: the timer stops, and the slot goes to another request."""
        scope, left = self.scope, math.inf
        if scope is not None:
            left = scope.deadline - anyio.current_time()
            scope.deadline = math.inf
        had_slot = self.holds_slot
        self._policy.give_slot(self)
        # Not in a finally: an attempt that fails in the pause ends without its slot.
        yield
        if had_slot:
            await self._policy.take_slot(self, self._request)
        if scope is not None:
            scope.deadline = anyio.current_time() + left


class RequestPolicy:
    """Applies a `RequestPolicyConfig`: `await policy(request, send)`.

    Args:
        config: See there.
        rng: Where the jitter comes from: a function that gives numbers from 0 to 1.
    """

    def __init__(
        self,
        config: RequestPolicyConfig | None = None,
        *,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.config = config = config or RequestPolicyConfig()
        self._backoff = Backoff(
            config.attempts, config.retry_budget_s, config.base_delay_s, config.max_delay_s, rng
        )
        limit = self.config.max_concurrency
        self._slots = None if limit is None else anyio.Semaphore(limit, fast_acquire=True)
        self._unlimited = limit is None and self.config.attempt_timeout_s is None

    def with_attempts(self, attempts: int) -> Self:
        """The same policy, sharing its slots, with another number of attempts."""
        copy = type(self)(evolve(self.config, attempts=attempts), rng=self._backoff.rng)
        copy._slots = self._slots  # noqa: SLF001 - of the same class
        return copy

    @classmethod
    def once(cls) -> Self:
        """A policy that sends each request once, without limits."""
        return cls(RequestPolicyConfig(attempts=1))

    async def __call__[T](self, request: Request, send: Callable[[Attempt], Awaitable[T]], /) -> T:
        """Send a request, within the limits, until it succeeds or may not be repeated.

        Args:
            request: What it is.
            send: Sends it once. It raises a `StorageError` with `retryable` set if, and only if,
                a repetition can do no harm and may help.

        Raises:
            OperationTimeoutError: No turn within `queue_timeout_s`, or the last attempt timed out.
            StorageError: As `send` raised it last.
        """
        start: float | None = None
        number = 1
        unknown = False
        while True:
            try:
                if self._unlimited:
                    return await send(Attempt(self, request, number))
                return await self._attempt(request, send, number)
            except StorageError as error:
                # What a former attempt may have done stays done when this one could not connect.
                unknown = unknown or error.outcome == "unknown"
                if unknown:
                    error.outcome = "unknown"
                if not error.retryable:
                    raise
                now = anyio.current_time()
                start = now if start is None else start
                pause_s = self._backoff.pause_s(number, now - start, error.retry_after_s)
                if pause_s is None:
                    raise
            await anyio.sleep(pause_s)
            number += 1

    async def _attempt[T](
        self, request: Request, send: Callable[[Attempt], Awaitable[T]], number: int
    ) -> T:
        attempt = Attempt(self, request, number)
        if self._slots is None:
            return await self._timed(attempt, request, send)
        await self.take_slot(attempt, request)
        try:
            return await self._timed(attempt, request, send)
        finally:
            self.give_slot(attempt)

    def give_slot(self, attempt: Attempt) -> None:
        """Let another request have the slot that the attempt holds, if it holds one."""
        if self._slots is not None and attempt.holds_slot:
            attempt.holds_slot = False
            self._slots.release()

    async def take_slot(self, attempt: Attempt, request: Request) -> None:
        """Wait for a slot.

        Raises:
            OperationTimeoutError: There was none within `queue_timeout_s`.
        """
        slots = self._slots
        if slots is None:
            return
        try:
            slots.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(self.config.queue_timeout_s) as scope:
                await slots.acquire()
            if scope.cancelled_caught:
                raise OperationTimeoutError(
                    f"no turn within {self.config.queue_timeout_s:g} s: "
                    f"{self.config.max_concurrency} requests are under way; "
                    "raise max_concurrency or queue_timeout_s",
                    path=request.path,
                    operation=request.operation,
                ) from None
        attempt.holds_slot = True

    async def _timed[T](
        self, attempt: Attempt, request: Request, send: Callable[[Attempt], Awaitable[T]]
    ) -> T:
        limit = self.config.attempt_timeout_s
        if limit is None:
            return await send(attempt)
        with anyio.move_on_after(limit) as scope:
            attempt.scope = scope
            return await send(attempt)
        raise OperationTimeoutError(
            f"no answer within {limit:g} s",
            path=request.path,
            operation=request.operation,
            retryable=request.idempotent,
            outcome="failed" if request.idempotent else "unknown",
        )
