"""API keys and rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import BackendUnavailableError, RateLimitedError
from polystow_gateway.server._keys import is_key_hash, matches, new_key, parse_key
from polystow_gateway.server._rates import Bucket, Rates, Transfers

names = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)


@given(names)
def test_a_new_key_fits_its_hash_and_no_other(name: str) -> None:
    text, kept = new_key(name)
    key = parse_key(text)
    assert key is not None
    assert key.name == name
    assert is_key_hash(kept)
    assert matches(key, kept)
    assert text.rpartition("_")[2] not in kept
    assert not matches(key, new_key(name)[1])
    assert not matches(key, None)


@given(st.text(max_size=90))
def test_what_is_no_key_is_taken_for_none(text: str) -> None:
    key = parse_key(text)
    assert key is None or text.startswith("polystow_")


def test_a_hash_of_zeros_is_not_nobodys() -> None:
    key = parse_key(new_key("a")[0])
    assert key is not None
    zeros = key._replace(hash="sha256:" + "0" * 64)
    assert not matches(zeros, None)


@given(st.lists(st.floats(0, 10), max_size=60), st.floats(0.1, 20), st.integers(1, 10))
def test_a_bucket_gives_no_more_than_its_rate_and_its_burst(
    pauses: list[float], per_s: float, burst: int
) -> None:
    now = 0.0
    bucket = Bucket(per_s, burst, now)
    taken = 0
    for pause in pauses:
        now += pause
        wait_s = bucket.take(now)
        taken += wait_s == 0
        if wait_s:
            assert bucket.take(now + wait_s + 1e-6) == 0
            now += wait_s + 1e-6
            taken += 1
        assert taken <= burst + now * per_s + 1e-3


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1, 100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(50.0) > 0
    assert bucket.take(100.5) > 0


def test_names_have_buckets_of_their_own_and_memory_is_bounded() -> None:
    rates = Rates(lambda: 0.0, max_buckets=2)
    rates.take("a", 1, 1)
    with pytest.raises(RateLimitedError) as caught:
        rates.take("a", 1, 1)
    assert caught.value.retry_after_s == 1
    rates.take("b", 1, 1)
    rates.take("c", 1, 1)
    assert len(rates._buckets) == 2


def test_transfers_are_counted_for_each_and_for_all() -> None:
    transfers = Transfers(2)
    transfers.begin("a", 1)
    with pytest.raises(RateLimitedError):
        transfers.begin("a", 1)
    transfers.begin("b", 1)
    with pytest.raises(BackendUnavailableError):
        transfers.begin("c", 1)
    transfers.end("a")
    transfers.begin("c", 1)
    transfers.end("b")
    transfers.end("c")
    assert not transfers._of
    assert not transfers._all
