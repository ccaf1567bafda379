"""What a cancellation waits for before something is undone."""

import asyncio

import anyio
import pytest

from polystow_s3._shield import to_the_end, with_grace


@pytest.mark.parametrize("how", ["scope", "task"])
async def test_a_cancellation_lets_the_request_end_before_it_is_raised(how: str) -> None:
    sent, answered, ended = anyio.Event(), anyio.Event(), list[str]()

    async def request() -> str:
        sent.set()
        await answered.wait()
        ended.append("request")
        return "made"

    async def copy(scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await with_grace(request, 5)
            finally:
                ended.append("undone")

    scope = anyio.CancelScope()
    task = asyncio.create_task(copy(scope))
    await sent.wait()
    if how == "scope":
        scope.cancel()
    else:
        task.cancel()
    await asyncio.sleep(0)
    answered.set()
    await asyncio.wait([task])
    assert ended == ["request", "undone"]
    assert task.cancelled() == (how == "task")


async def test_a_request_that_goes_on_for_too_long_is_cancelled_too() -> None:
    sent, ended = anyio.Event(), list[str]()

    async def request() -> None:
        sent.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("request")

    task = asyncio.create_task(with_grace(request, 0.05))
    await sent.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended == ["request"]


async def test_results_and_errors_come_through() -> None:
    async def works() -> int:
        return 5

    async def fails() -> None:
        raise ZeroDivisionError

    assert await with_grace(works, 1) == 5
    with pytest.raises(ZeroDivisionError):
        await with_grace(fails, 1)


async def test_a_failure_that_a_cancellation_hides_is_told() -> None:
    begun, ended, told = anyio.Event(), anyio.Event(), list[str]()

    async def clean_up() -> None:
        begun.set()
        await ended.wait()
        raise OSError("it is still there")

    task = asyncio.create_task(to_the_end(clean_up, 5, lambda error: told.append(str(error))))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    ended.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert told == ["it is still there"]
