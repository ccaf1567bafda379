"""Requests that make something under a name that nobody knows yet: cancelled, they are undone.

A request that was sent to its end goes on at the gateway, whether its caller is still there or
not, and only its answer tells the new name. So a cancellation waits for that answer, with a time
limit, and removes what it tells of.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from anyio import CancelScope, move_on_after

from polystow import StorageError
from polystow_gateway._calls import Call
from polystow_gateway._http import Http
from polystow_gateway._sending import Progress

_logger = logging.getLogger("polystow.gateway")


async def make[T](
    http: Http, call: Call, answer: type[T], remove: Callable[[T], Awaitable[None]]
) -> T:
    """Send a request that makes something; if that is cancelled, nothing is left.

    Args:
        http: The connections.
        call: The request.
        answer: What it answers.
        remove: Removes what was made.
    """
    progress = Progress()
    task = asyncio.create_task(http.fetch(call, answer, progress))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        limit_s = http.cleanup_timeout_s
        if not progress.sent:
            progress.abandoned = True  # of a body that breaks off the gateway stores nothing
            task.cancel()
        if not await _to_the_end(_removed(task, remove, limit_s), 2 * limit_s):
            _logger.warning(
                "%s of %r was cancelled, and what it made may be left: the gateway did not tell",
                call.operation,
                call.path,
            )
        raise
    return task.result()


async def _removed[T](
    task: "asyncio.Task[T]", remove: Callable[[T], Awaitable[None]], limit_s: float
) -> bool:
    _, late = await asyncio.wait([task], timeout=limit_s)
    if late:
        task.cancel()
        await asyncio.wait([task])
    if task.cancelled():
        return not late
    error = task.exception()
    if error is not None:
        return not (isinstance(error, StorageError) and error.outcome == "unknown")
    try:
        await remove(task.result())
    except StorageError as failure:
        _logger.warning("what a cancelled request made could not be removed: %s", failure)
        return False
    return True


async def _to_the_end(work: Awaitable[bool], limit_s: float) -> bool:
    """Await something, whoever cancels meanwhile: anyio's scopes, or asyncio's own `cancel`."""

    async def limited() -> bool:
        with move_on_after(limit_s):
            return await work
        return False

    task = asyncio.create_task(limited())
    while not task.done():
        try:
            with CancelScope(shield=True):
                await asyncio.wait([task])
        except asyncio.CancelledError:
            continue  # the caller raises its own
    return not task.cancelled() and task.result()
