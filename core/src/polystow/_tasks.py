"""Running calls side by side, with errors that leave as themselves."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import anyio


async def run_all(calls: Sequence[Callable[[], Awaitable[None]]], *, limit: int) -> None:
    """Run calls, at most `limit` at once.

    The first error cancels the others and leaves as itself, never in an `ExceptionGroup`.
    """
    if len(calls) == 1:
        await calls[0]()
        return
    rest = iter(calls)

    async def work() -> None:
        for call in rest:
            await call()

    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(limit, len(calls))):
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        failure = sole_error(group)
    if failure is not None:
        raise failure


def sole_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group that is no cancellation; a cancellation if there is nothing else.

    To be raised outside of the `except` block, so that the group does not show as its context.
    """
    cancelled, others = group.split(anyio.get_cancelled_exc_class())
    chosen = cancelled if others is None else others
    assert chosen is not None
    return _first(chosen)


def _first(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    return _first(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
