"""Blocking work in worker threads, ended before anybody goes on.

`anyio.to_thread.run_sync` shields its thread from anyio's cancellation, but not from
`asyncio.Task.cancel` (which `asyncio.timeout` uses): then it raises at once, and the thread works
on behind everyone's back, on a file that the caller is about to close. Here a cancelled call ends
only after its thread has, or was kept from starting.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from anyio import CancelScope, get_cancelled_exc_class, to_thread

if TYPE_CHECKING:
    from anyio import CapacityLimiter

_logger = logging.getLogger("polystow.threads")


class _Job[T]:
    """A call that can be withdrawn: not done, or undone, but never under way after that."""

    __slots__ = ("_function", "_lock", "_results", "_withdrawn")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._lock = Lock()
        self._results: list[T] = []
        self._withdrawn = False

    def __call__(self) -> T:
        with self._lock:
            if self._withdrawn:
                raise RuntimeError("the call was cancelled before its thread began")
            result = self._function()
            self._results.append(result)
            return result

    def withdraw(self, undo: Callable[[T], object] | None) -> None:
        with self._lock:
            self._withdrawn = True
            if undo is not None and self._results:
                try:
                    undo(self._results.pop())
                except Exception:
                    # The cancellation is on its way; this must not take its place.
                    _logger.exception("what was done too late could not be undone")


class _Once:
    """A call that is done once, by whichever thread comes first; the others wait for it."""

    __slots__ = ("_function", "_lock", "done")

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._lock = Lock()
        self.done = False

    def __call__(self) -> None:
        with self._lock:
            if not self.done:
                try:
                    self._function()
                finally:
                    self.done = True


async def in_thread[T](
    function: Callable[[], T],
    undo: Callable[[T], object] | None = None,
    *,
    limiter: "CapacityLimiter | None" = None,
) -> T:
    """Call a blocking function in a worker thread.

    If the caller is cancelled meanwhile, the call ends when the thread has, or was kept from
    starting; so what comes after may close what the thread used.

    Args:
        function: What to call.
        undo: Called in a thread with the function's result if it came too late, because the
            caller was cancelled; its own errors are logged.
        limiter: How many threads there may be; by default anyio's own.

    Raises:
        Exception: What the function raises.
    """
    job = _Job(function)
    try:
        return await to_thread.run_sync(job, limiter=limiter)
    except get_cancelled_exc_class():
        await clean_up_in_thread(lambda: job.withdraw(undo))
        raise


async def clean_up_in_thread(function: Callable[[], object]) -> None:
    """Call a blocking function in a worker thread, cancelled or not.

    A cancellation is obeyed when it is done.

    Args:
        function: What to call; it is called once.

    Raises:
        Exception: What the function raises.
    """
    once = _Once(function)
    cancelled: BaseException | None = None
    with CancelScope(shield=True):
        while not once.done:
            try:
                await to_thread.run_sync(once)
            except get_cancelled_exc_class() as error:
                # Task.cancel gets through the shield; it is obeyed when this is done.
                cancelled = error
    if cancelled is not None:
        raise cancelled
