"""`Canceller`: cancels operations at each of their awaits, or at random, and checks the rest."""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import anyio

from polystow import ObjectInfo, StorageDriver
from polystow_testing.faults._cancelling import CancelAt
from polystow_testing.faults._leaks import (
    LeakWatch,
    Violation,
    check_tasks,
    running_tasks,
    wait_until,
)
from polystow_testing.faults._log import WarningLog
from polystow_testing.faults._operations import Contents, Operation, World, check_next
from polystow_testing.faults._outcomes import Outcome, check_server
from polystow_testing.faults._target import FaultTarget

type How = Literal["scope", "task", "late"]
"""By an anyio scope, by `asyncio.Task.cancel`, or by that when what is waited for has just come."""

_SETTLE_S = 2.0
_MEASURED = 3
_OVERSHOOT = 1.2
_MOST_TRIES = 20


class Canceller:
    """Holds a target; use it with `with`.

    Args:
        target: What to attack; entered already.
    """

    def __init__(self, target: FaultTarget) -> None:
        self.target = target
        self.contents = Contents.of(target)
        self._scratch = Path()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix="polystow-faults-"))
        self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def can(self, operation: Operation) -> bool:
        """Whether the driver can do an operation."""

        async def ask() -> bool:
            async with self._open() as driver:
                return operation.possible(self.target, driver.capabilities)

        return anyio.run(ask)

    def cancel_at(
        self, operation: Operation, nth: int, how: How, *, backend: str = "asyncio"
    ) -> bool:
        """Cancel an operation at its nth await.

        Args:
            operation: It.
            nth: Counted from 1.
            how: See there; on trio only `"scope"`.
            backend: `"asyncio"` or `"trio"`.

        Returns:
            Whether it was cancelled; False when it was done before.

        Raises:
            Violation: Something that must hold does not.
        """
        world = World.of(self.target, self.contents)
        with LeakWatch.over(self._scratch) as leaks:
            outcome, requested = anyio.run(
                self._cancel_at, operation, world, nth, how, backend=backend
            )
            leaks.check()
        check_server(operation, world, outcome)
        return requested

    async def _cancel_at(
        self, operation: Operation, world: World, nth: int, how: How
    ) -> tuple[Outcome, bool]:
        before = running_tasks()
        async with self._open() as driver:
            await check_next(driver, world)
            tasks = running_tasks()
            work = operation.run(driver, world)
            cancel = _by_scope if how == "scope" else _by_task
            result: tuple[Outcome, bool] | None = None
            with anyio.move_on_after(self.target.time_limit_s) as limit:
                result = await cancel(work, nth, late=how == "late")
                await check_tasks(tasks, when="after the cancelled operation")
                await check_next(driver, world)
            if limit.cancelled_caught or result is None:
                raise Violation("time limit", "the cancelled operation does not end")
        await check_tasks(before, when="after the storage was closed")
        return result

    def cancel_at_random(self, operation: Operation, count: int, seed: int) -> int:
        """Cancel an operation many times on one storage, at random moments, on asyncio.

        Args:
            operation: It.
            count: How many times.
            seed: Of the moments.

        Returns:
            How many were cancelled before they were done; fewer than `count` only if the
            operation hardly ever waits.

        Raises:
            Violation: One was swallowed, or something else that must hold does not.
        """
        world = World.of(self.target, self.contents)
        with WarningLog() as log, LeakWatch.over(self._scratch) as leaks:
            made, cancelled = asyncio.run(self._cancel_often(operation, world, count, seed))
            leaks.check()
        wanted = world.before | made
        if operation.effect == "removes":
            wanted -= {world.victim}
        if not wait_until(lambda: self.target.inventory() == wanted, _SETTLE_S):
            now = self.target.inventory()
            # Where an answer with a new id was lost and time ran out, the log says what is left.
            new = {name for name in now - wanted if name.rpartition("/")[2] not in log.text}
            if new or wanted - now:
                raise Violation("leftovers", f"new: {sorted(new)}, gone: {sorted(wanted - now)}")
        return cancelled

    async def _cancel_often(
        self, operation: Operation, world: World, count: int, seed: int
    ) -> tuple[frozenset[str], int]:
        rng = random.Random(seed)  # noqa: S311 - not a secret
        made: set[str] = set()
        cancelled = 0
        async with self._open() as driver:
            await check_next(driver, world)
            tasks = running_tasks()
            duration_s = 0.0
            for _ in range(_MEASURED):
                started = time.perf_counter()
                info = await operation.run(driver, world)
                duration_s = max(duration_s, time.perf_counter() - started)
                made |= {info.path} if info is not None else set()
            for _ in range(_MOST_TRIES * count):
                if cancelled == count:
                    break
                delay_s = rng.uniform(0, _OVERSHOOT * duration_s)
                outcome, requested = await _after(
                    operation.run(driver, world), delay_s, self.target.time_limit_s
                )
                cancelled += requested
                # Each moment gets its chance, but an operation that is over at once stays so.
                duration_s *= 1.0 if requested else 0.9
                made |= {outcome.info.path} if outcome.info is not None else set()
                await check_next(driver, world)
            await check_tasks(tasks, when="after many cancellations")
        return frozenset(made), cancelled

    def _open(self) -> AbstractAsyncContextManager[StorageDriver]:
        return self.target.open(self.target.addresses)


async def _by_scope(
    work: Awaitable[ObjectInfo | None], nth: int, *, late: bool
) -> tuple[Outcome, bool]:
    requested = done = False
    info: ObjectInfo | None = None
    with anyio.CancelScope() as scope:

        def cancel() -> None:
            nonlocal requested
            requested = True
            scope.cancel()

        steps = CancelAt(work, nth, cancel, late=late)
        try:
            info = await steps
            done = True
        finally:
            # Also if its answer was found to be wrong: that comes of it.
            if steps.interrupted and (done or isinstance(sys.exception(), Violation)):
                raise Violation("cancellation", f"it was swallowed at await {nth}")
    if done:
        return Outcome("done", info), requested
    return Outcome("cancelled"), requested


async def _by_task(
    work: Awaitable[ObjectInfo | None], nth: int, *, late: bool
) -> tuple[Outcome, bool]:
    requested = False

    def cancel() -> None:
        nonlocal requested
        requested = task.cancel() or requested

    async def run() -> ObjectInfo | None:
        return await CancelAt(work, nth, cancel, late=late)

    task = asyncio.create_task(run())
    await asyncio.wait({task})
    return _judge(task, requested=requested, moment=f"at await {nth}")


async def _after(
    work: Awaitable[ObjectInfo | None], delay_s: float, limit_s: float
) -> tuple[Outcome, bool]:
    task = asyncio.ensure_future(work)
    requested = False

    def cancel() -> None:
        nonlocal requested
        requested = task.cancel()

    timer = asyncio.get_running_loop().call_later(delay_s, cancel)
    try:
        await asyncio.wait({task}, timeout=limit_s)
    finally:
        timer.cancel()
    if not task.done():
        raise Violation("time limit", "the cancelled operation does not end")
    return _judge(task, requested=requested, moment=f"after {delay_s * 1000:.2f} ms")


def _judge(
    task: "asyncio.Future[ObjectInfo | None]", *, requested: bool, moment: str
) -> tuple[Outcome, bool]:
    if task.cancelled():
        if not requested:
            raise Violation("cancellation", "it ends cancelled, and nobody has cancelled it")
        return Outcome("cancelled"), True
    error = task.exception()
    if isinstance(error, Violation) and not requested:
        raise error
    if requested:
        instead = "it goes on" if error is None else f"it ends with {error!r}"
        raise Violation("cancellation", f"it was swallowed {moment}: {instead}") from error
    if error is not None:
        raise Violation("right answer", f"without a fault, it fails: {error!r}") from error
    return Outcome("done", task.result()), False
