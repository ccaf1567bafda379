"""Blocking work in worker threads, ended before anybody goes on.

`anyio.to_thread.run_sync` shields its thread from anyio's cancellation, but not from
`asyncio.Task.cancel` (which `asyncio.timeout` uses): then it raises at once, and the thread works
on behind everyone's back, on a file that the caller is about to close. Here a cancelled call ends
only after its thread has, or was kept from starting.
"""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from anyio import CancelScope, get_cancelled_exc_class, to_thread


class _Job[T]:
    __slots__ = ("_function", "_lock", "_results", "failed", "settled")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._lock = Lock()
        self._results: list[T] = []
        self.failed = False
        self.settled = False

    def __call__(self) -> T:
        with self._lock:
            if self.settled:
                raise RuntimeError("the call was cancelled before its thread began")
            try:
                result = self._function()
            except BaseException:
                self.failed = True
                raise
            self._results.append(result)
            return result

    def settle(self, undo: Callable[[T], object] | None) -> None:
        with self._lock:
            self.settled = True
            if undo is not None and self._results:
                undo(self._results.pop())


async def in_thread[T](function: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Call a blocking function in a worker thread.

    Args:
        function: What to call.
        undo: Called in a thread with the function's result if it came too late, because the
            caller was cancelled.
    """
    job = _Job(function)
    try:
        return await to_thread.run_sync(job)
    except BaseException:
        if not job.failed:
            with CancelScope(shield=True):
                while not job.settled:
                    # A further Task.cancel adds nothing to the one that is being obeyed.
                    with suppress(get_cancelled_exc_class()):
                        await to_thread.run_sync(job.settle, undo)
        raise
