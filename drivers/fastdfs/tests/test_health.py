"""What is remembered of servers, on a clock that the tests turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polystow_fastdfs._health import FIRST_REST_S, MAX_REST_S, Hedging, Suspects


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_server_that_failed_rests_longer_each_time() -> None:
    clock = Clock()
    suspects = Suspects(clock, trial_s=3.0)
    rest = FIRST_REST_S
    for _ in range(10):
        suspects.failed("a")
        assert suspects.rested("a") == clock.now + rest
        clock.now += rest - 0.001
        assert suspects.avoid("a")
        clock.now += 0.002
        rest = min(MAX_REST_S, 2 * rest)
    assert not suspects.avoid("b")


def test_one_caller_tries_a_server_after_its_rest() -> None:
    clock = Clock()
    suspects = Suspects(clock, trial_s=3.0)
    suspects.failed("a")
    clock.now += FIRST_REST_S
    assert [suspects.avoid("a") for _ in range(3)] == [False, True, True]
    clock.now += 3.0
    assert not suspects.avoid("a")
    suspects.worked("a")
    assert not suspects.known
    assert [suspects.avoid("a") for _ in range(3)] == [False] * 3


def test_without_a_share_no_read_is_hedged() -> None:
    hedging = Hedging(0.0, 0.01, 3.0)
    hedging.note(0.001)
    assert hedging.wait_s() is None
    assert not hedging.spend()


def test_first_reads_have_the_longest_wait() -> None:
    assert Hedging(0.05, 0.01, 3.0).wait_s() == 3.0


@given(st.lists(st.floats(0.0001, 100.0), min_size=1, max_size=50))
def test_wait_stays_in_its_bounds(seconds: list[float]) -> None:
    hedging = Hedging(0.05, 0.01, 3.0)
    for one in seconds:
        hedging.note(one)
    wait = hedging.wait_s()
    assert wait is not None
    assert 0.01 <= wait <= 3.0


def test_wait_follows_what_is_usual() -> None:
    hedging = Hedging(0.05, 0.0001, 3.0)
    for _ in range(200):
        hedging.note(0.02)
    wait = hedging.wait_s()
    assert wait is not None
    assert 0.02 <= wait < 0.03


@given(st.integers(0, 500))
def test_hedges_stay_in_their_budget(reads: int) -> None:
    hedging = Hedging(0.05, 0.01, 3.0)
    for _ in range(reads):
        hedging.note(0.01)
        hedging.spend()
    assert hedging.hedges <= 10 + 0.05 * reads
