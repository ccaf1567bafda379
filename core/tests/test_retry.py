import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest
from anyio import CancelScope
from hypothesis import given
from hypothesis import strategies as st

from polystow import BackendUnavailableError, NotFoundError, RateLimitedError, Retry, retry
from polystow._backoff import Backoff


class Flaky:
    """Fails with the given errors, one after the other, and then gives its arguments back."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return args, kwargs


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, noted instead of slept."""
    slept: list[float] = []

    async def nap(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", nap)
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@given(
    st.builds(
        Backoff,
        attempts=st.integers(1, 9),
        budget_s=st.floats(0.1, 99),
        base_delay_s=st.floats(0.01, 9),
        max_delay_s=st.floats(0.01, 9),
        rng=st.floats(0, 1).map(lambda part: lambda: part),
    ),
    st.integers(1, 5000),
    st.floats(0, 100),
    st.none() | st.floats(0, 50),
)
def test_a_pause_lies_within_its_ceiling_and_its_budget(
    backoff: Backoff, number: int, elapsed_s: float, asked_s: float | None
) -> None:
    pause_s = backoff.pause_s(number, elapsed_s, asked_s)
    ceiling = min(backoff.max_delay_s, backoff.base_delay_s * 2.0 ** min(number - 1, 64))
    wanted = max(backoff.rng() * ceiling, asked_s or 0.0)
    if number >= backoff.attempts or elapsed_s + wanted > backoff.budget_s:
        assert pause_s is None
    else:
        assert pause_s == wanted


def way_plain(policy: Retry, function: Flaky) -> Callable[[], object]:
    return partial(policy(function), 1, a=2)


def way_call(policy: Retry, function: Flaky) -> Callable[[], object]:
    return lambda: policy.call(function, 1, a=2)


def way_async(policy: Retry, function: Flaky) -> Callable[[], object]:
    @policy
    async def call(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return partial(call, 1, a=2)


def way_async_call(policy: Retry, function: Flaky) -> Callable[[], object]:
    async def call(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return lambda: policy.call(call, 1, a=2)


def way_lambda(policy: Retry, function: Flaky) -> Callable[[], object]:
    async def call(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return lambda: policy.call(lambda: call(1, a=2))


WAYS = [way_plain, way_call, way_async, way_async_call, way_lambda]


async def run(call: Callable[[], object]) -> object:
    result = call()
    return await result if isinstance(result, Awaitable) else result


@pytest.mark.parametrize("way", WAYS)
async def test_a_function_is_called_until_it_succeeds(
    way: Callable[[Retry, Flaky], Callable[[], object]], naps: list[float]
) -> None:
    function = Flaky(
        ConnectionResetError(), TimeoutError(), BackendUnavailableError("", retryable=True)
    )
    call = way(retry(jitter=False, base_delay_s=1, max_delay_s=3), function)
    assert await run(call) == ((1,), {"a": 2})
    assert (function.calls, naps) == (4, [1, 2, 3])


@pytest.mark.parametrize("way", WAYS)
async def test_the_last_error_leaves_as_itself(
    way: Callable[[Retry, Flaky], Callable[[], object]], naps: list[float]
) -> None:
    errors = [ConnectionError(str(number)) for number in range(9)]
    function = Flaky(*errors)
    with pytest.raises(ConnectionError) as caught:
        await run(way(retry(attempts=3), function))
    assert caught.value is errors[2]
    assert (function.calls, len(naps)) == (3, 2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "error",
    [NotFoundError("gone"), BackendUnavailableError("down"), ValueError(), FileNotFoundError()],
)
async def test_what_a_repetition_can_not_help_is_called_once(
    error: Exception, way: Callable[[Retry, Flaky], Callable[[], object]], naps: list[float]
) -> None:
    function = Flaky(error)
    with pytest.raises(type(error)):
        await run(way(retry(), function))
    assert function.calls == 1


@pytest.mark.parametrize(
    "on", [ValueError, (ValueError, KeyError), lambda error: str(error) == "x"]
)
def test_exceptions_are_chosen(on: type[Exception], naps: list[float]) -> None:
    function = Flaky(ValueError("x"))
    retry(on=on).call(function)
    assert function.calls == 2
    with pytest.raises(IndexError):
        retry(on=on).call(Flaky(IndexError("y")))


def test_each_repetition_is_told_before_its_pause(naps: list[float]) -> None:
    told: list[tuple[int, str, float]] = []
    policy = retry(
        jitter=False,
        base_delay_s=2,
        on_retry=lambda number, error, pause_s: told.append((number, str(error), pause_s)),
    )
    policy.call(Flaky(ConnectionError("a"), ConnectionError("b")))
    assert told == [(1, "a", 2), (2, "b", 4)]


def test_a_pause_that_the_backend_asked_for_is_kept(naps: list[float]) -> None:
    retry().call(Flaky(RateLimitedError("slow down", retryable=True, retry_after_s=20)))
    assert naps == [20]


async def test_a_cancellation_is_no_failure() -> None:
    calls = 0

    @retry(on=Exception)
    async def wait() -> None:
        nonlocal calls
        calls += 1
        scope.cancel()
        await anyio.sleep_forever()

    with CancelScope() as scope:
        await wait()
    assert (scope.cancelled_caught, calls) == (True, 1)


def test_a_decorated_function_keeps_its_name() -> None:
    @retry()
    def function() -> None:
        """What it does."""

    assert (function.__name__, function.__doc__) == ("function", "What it does.")


@pytest.mark.parametrize(
    "settings", [{"attempts": 0}, {"budget_s": 0}, {"base_delay_s": -1}, {"max_delay_s": 0}]
)
def test_a_policy_of_nothing_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        retry(**settings)  # type: ignore[arg-type]
