# pyright: reportPrivateUsage=false
import math
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio import CancelScope, Event, create_task_group, fail_after, sleep_forever
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    Attempt,
    BackendUnavailableError,
    OperationTimeoutError,
    RateLimitedError,
    Request,
    RequestPolicy,
    RequestPolicyConfig,
    StorageError,
)

REQUEST = Request("stat", "b/k")


def policy(*, rng: Callable[[], float] = lambda: 0.0, **config: object) -> RequestPolicy:
    return RequestPolicy(RequestPolicyConfig(**config), rng=rng)  # type: ignore[arg-type]


class Sender:
    """Fails with the given errors, one after the other, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.numbers: list[int] = []

    async def __call__(self, attempt: Attempt) -> str:
        self.numbers.append(attempt.number)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def down() -> StorageError:
    return BackendUnavailableError("down", retryable=True)


class Naps:
    """Replaces `anyio.sleep` in the policy; time passes by as much as was slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await checkpoint()

    def now(self) -> float:
        return sum(self.seconds)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    naps = Naps()
    monkeypatch.setattr(anyio, "sleep", naps.sleep)
    monkeypatch.setattr(anyio, "current_time", naps.now)
    return naps


# Retry


async def test_a_success_is_sent_once(naps: Naps) -> None:
    send = Sender()
    assert await policy()(REQUEST, send) == "done"
    assert (send.numbers, naps.seconds) == ([1], [])


async def test_a_retryable_failure_is_repeated_up_to_the_number_of_attempts(naps: Naps) -> None:
    send = Sender(*[down() for _ in range(9)])
    with pytest.raises(BackendUnavailableError):
        await policy(attempts=3)(REQUEST, send)
    assert send.numbers == [1, 2, 3]


async def test_the_last_attempt_may_succeed(naps: Naps) -> None:
    send = Sender(down(), down())
    assert await policy(attempts=3)(REQUEST, send) == "done"


@pytest.mark.parametrize("error", [StorageError("no"), ZeroDivisionError(), OSError()])
async def test_what_is_not_retryable_is_sent_once(error: Exception, naps: Naps) -> None:
    send = Sender(error)
    with pytest.raises(type(error)):
        await policy()(REQUEST, send)
    assert send.numbers == [1]


async def test_pauses_are_random_up_to_a_ceiling_that_doubles(naps: Naps) -> None:
    send = Sender(*[down() for _ in range(5)])
    await policy(attempts=6, base_delay_s=1, max_delay_s=5, rng=lambda: 0.999)(REQUEST, send)
    assert naps.seconds == pytest.approx([0.999, 1.998, 3.996, 4.995, 4.995])


async def test_retry_after_is_waited_for(naps: Naps) -> None:
    error = RateLimitedError("slow down", retryable=True, retry_after_s=20)
    await policy(max_delay_s=1)(REQUEST, Sender(error))
    assert naps.seconds == [20]


async def test_retry_after_beyond_the_budget_fails_at_once(naps: Naps) -> None:
    error = RateLimitedError("slow down", retryable=True, retry_after_s=20)
    with pytest.raises(RateLimitedError):
        await policy(retry_budget_s=19)(REQUEST, Sender(error))
    assert naps.seconds == []


async def test_no_repetition_begins_after_the_budget(naps: Naps) -> None:
    send = Sender(*[down() for _ in range(99)])
    retry = policy(attempts=99, base_delay_s=4, max_delay_s=4, retry_budget_s=10, rng=lambda: 1.0)
    with pytest.raises(BackendUnavailableError):
        await retry(REQUEST, send)
    assert naps.seconds == [4, 4]


async def test_once_sends_once_without_limits() -> None:
    send = Sender(down())
    with pytest.raises(BackendUnavailableError):
        await RequestPolicy.once()(REQUEST, send)
    assert send.numbers == [1]


@pytest.mark.parametrize(
    "key",
    [
        "attempts",
        "retry_budget_s",
        "base_delay_s",
        "max_delay_s",
        "queue_timeout_s",
        "attempt_timeout_s",
        "max_concurrency",
    ],
)
def test_nothing_of_a_policy_may_be_zero(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        RequestPolicyConfig(**{key: 0})


# The time limit of an attempt


async def hang(attempt: Attempt) -> str:
    await sleep_forever()
    return "never"


async def test_an_attempt_over_its_time_is_a_timeout() -> None:
    with pytest.raises(OperationTimeoutError, match="no answer within") as caught:
        await policy(attempts=1, attempt_timeout_s=0.01)(REQUEST, hang)
    error = caught.value
    assert (error.operation, error.path, error.outcome) == ("stat", "b/k", "failed")
    assert error.retryable


async def test_an_attempt_that_timed_out_is_repeated() -> None:
    numbers: list[int] = []

    async def send(attempt: Attempt) -> str:
        numbers.append(attempt.number)
        if attempt.number == 1:
            await sleep_forever()
        return "done"

    assert await policy(attempt_timeout_s=0.01, base_delay_s=1e-6)(REQUEST, send) == "done"
    assert numbers == [1, 2]


async def test_what_is_not_idempotent_is_not_repeated_after_a_timeout() -> None:
    numbers: list[int] = []

    async def send(attempt: Attempt) -> str:
        numbers.append(attempt.number)
        await sleep_forever()
        return "never"

    with pytest.raises(OperationTimeoutError) as caught:
        await policy(attempt_timeout_s=0.01)(Request("write", "b/k", idempotent=False), send)
    assert (numbers, caught.value.outcome, caught.value.retryable) == ([1], "unknown", False)


async def test_a_cancellation_is_no_timeout() -> None:
    with CancelScope() as scope:
        scope.cancel()
        await policy(attempt_timeout_s=60)(REQUEST, hang)
        raise AssertionError("not cancelled")
    assert scope.cancelled_caught


async def test_the_timer_stops_in_a_pause() -> None:
    async def send(attempt: Attempt) -> float:
        assert attempt.scope is not None
        async with attempt.paused():
            assert attempt.scope.deadline == math.inf
        return attempt.scope.deadline - anyio.current_time()

    assert 0 < await policy(attempt_timeout_s=60)(REQUEST, send) <= 60


async def test_the_time_before_a_pause_counts() -> None:
    async def send(attempt: Attempt) -> str:
        assert attempt.scope is not None
        attempt.scope.deadline -= 61
        async with attempt.paused():
            await checkpoint()
        await checkpoint()
        return "never"

    with pytest.raises(OperationTimeoutError):
        await policy(attempts=1, attempt_timeout_s=60)(REQUEST, send)


# Slots


async def test_no_more_requests_than_the_limit_are_under_way() -> None:
    limited = policy(max_concurrency=2)
    running = most = 0

    async def send(attempt: Attempt) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await checkpoint()
        running -= 1

    async with create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(limited, REQUEST, send)
    assert most == 2


async def occupied(limited: RequestPolicy, until: Event, began: Event) -> None:
    async def send(attempt: Attempt) -> None:
        began.set()
        await until.wait()

    await limited(REQUEST, send)


async def test_waiting_for_a_turn_has_a_time_limit() -> None:
    limited = policy(max_concurrency=1, queue_timeout_s=0.01)
    until, began = Event(), Event()
    async with create_task_group() as tasks:
        tasks.start_soon(occupied, limited, until, began)
        await began.wait()
        with pytest.raises(OperationTimeoutError, match=r"no turn within 0\.01 s: 1 req") as caught:
            await limited(REQUEST, Sender())
        assert (caught.value.retryable, caught.value.path) == (False, "b/k")
        until.set()
    assert await limited(REQUEST, Sender()) == "done"


async def test_a_failed_attempt_has_no_slot_while_it_waits_to_be_repeated() -> None:
    limited = policy(max_concurrency=1, base_delay_s=1e-6, max_delay_s=1e-6)
    slots = limited._slots
    assert slots is not None
    seen: list[int] = []
    sleep = anyio.sleep

    async def watched(seconds: float) -> None:
        seen.append(slots.value)
        await sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "sleep", watched)
        await limited(REQUEST, Sender(down()))
    assert seen == [1]


async def test_a_pause_gives_the_slot_to_another_request() -> None:
    limited = policy(max_concurrency=1, queue_timeout_s=5)

    async def send(attempt: Attempt) -> tuple[bool, str, bool]:
        async with attempt.paused():
            paused = attempt.holds_slot
            other = await limited(REQUEST, Sender())
        return paused, other, attempt.holds_slot

    assert await limited(REQUEST, send) == (False, "done", True)


async def test_a_pause_inside_a_pause_takes_one_slot_back() -> None:
    limited = policy(max_concurrency=2)

    async def send(attempt: Attempt) -> int:
        async with attempt.paused():
            async with attempt.paused():
                pass
            return slots_of(limited)

    assert await limited(REQUEST, send) == 2
    assert slots_of(limited) == 2


async def test_three_streams_under_a_limit_of_two_do_not_deadlock() -> None:
    limited = policy(max_concurrency=2, queue_timeout_s=5)
    ready: list[int] = []
    all_ready = Event()

    async def stream(attempt: Attempt) -> None:
        for _ in range(3):
            async with attempt.paused():  # each waits for the others, as a caller may
                ready.append(1)
                if len(ready) == 3:
                    all_ready.set()
                await all_ready.wait()
            await checkpoint()

    with fail_after(5):
        async with create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(limited, REQUEST, stream)
    assert slots_of(limited) == 2


def slots_of(limited: RequestPolicy) -> int:
    assert limited._slots is not None
    return limited._slots.value


async def test_policies_with_other_attempts_share_the_slots() -> None:
    limited = policy(max_concurrency=1, queue_timeout_s=0.01)
    once = limited.with_attempts(1)
    until, began = Event(), Event()
    async with create_task_group() as tasks:
        tasks.start_soon(occupied, limited, until, began)
        await began.wait()
        with pytest.raises(OperationTimeoutError, match="no turn"):
            await once(REQUEST, Sender())
        until.set()
    assert (once.config.attempts, limited.config.attempts) == (1, 4)


@pytest.mark.parametrize("fails", [StorageError("x"), ZeroDivisionError(), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["before", "in", "after"])
async def test_a_failure_anywhere_leaks_no_slot(fails: BaseException, where: str) -> None:
    limited = policy(max_concurrency=1)

    async def send(attempt: Attempt) -> None:
        if where == "before":
            raise fails
        async with attempt.paused():
            if where == "in":
                raise fails
        raise fails

    with pytest.raises(type(fails)):
        await limited(REQUEST, send)
    assert slots_of(limited) == 1


@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from(["asyncio", "trio"]),
    st.booleans(),
)
def test_cancellation_anywhere_leaks_no_slot(
    tasks_to_run: list[tuple[int, bool]], limit: int, backend: str, timed: bool
) -> None:
    async def check() -> None:
        limited = policy(max_concurrency=limit, attempt_timeout_s=60 if timed else None)

        async def send(attempt: Attempt) -> None:
            await checkpoint()
            async with attempt.paused():
                await checkpoint()
            await checkpoint()

        async def run_and_cancel(scope: CancelScope, steps: int) -> None:
            for _ in range(steps):
                await checkpoint()
            scope.cancel()

        async def one(steps: int, cancel: bool) -> None:
            with CancelScope() as scope:
                async with create_task_group() as inner:
                    if cancel:
                        inner.start_soon(run_and_cancel, scope, steps)
                    inner.start_soon(limited, REQUEST, send)

        with fail_after(10):
            async with create_task_group() as tasks:
                for steps, cancel in tasks_to_run:
                    tasks.start_soon(one, steps, cancel)
        assert slots_of(limited) == limit

    anyio.run(check, backend=backend)


async def test_cancellation_while_waiting_for_a_turn_leaks_no_slot() -> None:
    limited = policy(max_concurrency=1)
    until, began = Event(), Event()
    async with create_task_group() as tasks:
        tasks.start_soon(occupied, limited, until, began)
        await began.wait()
        with CancelScope() as scope:
            scope.cancel()
            await limited(REQUEST, Sender())
        assert scope.cancelled_caught
        until.set()
    assert slots_of(limited) == 1


async def test_a_policy_without_a_limit_has_no_slots() -> None:
    unlimited = policy(max_concurrency=None)

    async def send(attempt: Attempt) -> bool:
        async with attempt.paused():
            pass
        return attempt.holds_slot

    sent: Awaitable[bool] = unlimited(REQUEST, send)
    assert await sent is False


async def test_what_a_former_attempt_may_have_done_stays_unknown() -> None:
    send = Sender(
        StorageError("the answer was lost", retryable=True, outcome="unknown"),
        StorageError("no connection", retryable=True),
    )
    with pytest.raises(StorageError, match="no connection") as caught:
        await policy(attempts=2)(REQUEST, send)
    assert caught.value.outcome == "unknown"
