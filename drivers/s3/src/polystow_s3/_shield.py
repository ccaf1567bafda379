"""What has to come to its end although its task is cancelled.

anyio's shielded scopes hold back anyio's cancellation, and not asyncio's own `Task.cancel`, which
`asyncio.timeout`, `asyncio.TaskGroup` and many servers use. A task of its own is safe from both.
"""

import asyncio
from collections.abc import Awaitable, Callable

from anyio import CancelScope, move_on_after

from polystow import OperationTimeoutError


async def to_the_end[T](
    work: Callable[[], Awaitable[T]],
    limit_s: float,
    on_failure: Callable[[Exception], None] | None = None,
) -> T:
    """Await something; a cancellation waits until it is done, and is raised then.

    Args:
        work: What to do.
        limit_s: How long it may take, in seconds.
        on_failure: Told of an error that a cancellation hides.

    Raises:
        OperationTimeoutError: It took longer, and was cancelled.
    """
    task = asyncio.create_task(_limited(work, limit_s))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with CancelScope(shield=True):
                await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        hidden = None if task.cancelled() else task.exception()
        if isinstance(hidden, Exception) and on_failure is not None:
            on_failure(hidden)
        raise cancelled
    return task.result()


async def with_grace[T](work: Callable[[], Awaitable[T]], grace_s: float) -> T:
    """Await something; a cancellation gives it some time to end by itself, and is raised then.

    For a request whose effect has to be undone: an undoing that overtakes it on another
    connection would find nothing to undo.

    Args:
        work: What to do.
        grace_s: How long it may go on after a cancellation, in seconds; then it is cancelled too.
    """
    task = asyncio.create_task(_started(work))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await to_the_end(lambda: _ended(task, grace_s), 2 * grace_s)
        raise
    return task.result()


async def _started[T](work: Callable[[], Awaitable[T]]) -> T:
    return await work()


async def _ended(task: "asyncio.Task[object]", grace_s: float) -> None:
    _, late = await asyncio.wait([task], timeout=grace_s)
    if late:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # marked as seen: the cancellation is what is raised


async def _limited[T](work: Callable[[], Awaitable[T]], limit_s: float) -> T:
    with move_on_after(limit_s):
        return await work()
    raise OperationTimeoutError(
        f"it was not done within {limit_s:g} s", retryable=True, outcome="unknown"
    )
