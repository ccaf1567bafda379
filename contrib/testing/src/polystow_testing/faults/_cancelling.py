"""`CancelAt`: cancels what it awaits at its nth wait, and not by the clock."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast


class CancelAt[T]:
    """Awaits something, counts how often it waits, and cancels it once.

    It stands inside the task and sees each value that the awaited coroutine yields to the event
    loop, of asyncio or trio. So "cancelled at its 3rd await" means the same in each run.

    Args:
        awaitable: What to await; once.
        nth: The wait to cancel at, counted from 1; None only counts.
        cancel: Called at that wait, within the task.
        late: Call `cancel` only when what is waited for has come, but before the task runs on: the
            moment in which a result, a lock or a connection is lost most easily. On asyncio.

    Attributes:
        waits: How often it has waited so far.
        interrupted: Whether an exception was thrown into it after `cancel` was called.
    """

    def __init__(
        self,
        awaitable: Awaitable[T],
        nth: int | None = None,
        cancel: Callable[[], object] | None = None,
        *,
        late: bool = False,
    ) -> None:
        self.waits = 0
        self.interrupted = False
        self._called = False
        self._awaitable = awaitable
        self._nth = nth
        self._cancel = cancel
        self._late = late

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._awaitable.__await__()
        try:
            waited = next(steps)
            while True:
                self._count(waited)
                try:
                    value = yield waited
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - handed on
                    self.interrupted = self.interrupted or self._called
                    waited = steps.throw(error)
                else:
                    waited = steps.send(value)
        except StopIteration as end:
            result: T = end.value
            return result

    def _count(self, waited: object) -> None:
        self.waits += 1
        cancel = self._cancel
        if self.waits != self._nth or cancel is None:
            return

        def call(_: object = None) -> None:
            self._called = True
            cancel()

        if self._late and isinstance(waited, asyncio.Future):
            # It is called before the task's own callback, which is added after this.
            future = cast("asyncio.Future[object]", waited)
            future.add_done_callback(call)
        else:
            call()
