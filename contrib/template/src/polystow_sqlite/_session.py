"""A connection in worker threads."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Concatenate

from anyio import CancelScope, Lock, create_task_group, to_thread
from anyio.lowlevel import checkpoint_if_cancelled

import polystow as ps
from polystow_sqlite._errors import about, translate


class Session:
    """A connection, made by the first call; calls run in threads, one after the other."""

    def __init__(self, file: Path, busy_timeout_s: float, policy: ps.RequestPolicy) -> None:
        self._file = file
        self._busy_timeout_s = busy_timeout_s
        self._policy = policy
        self._lock = Lock()
        self._db: sqlite3.Connection | None = None

    def another(self) -> "Session":
        """One with a connection of its own, for what takes long."""
        return Session(self._file, self._busy_timeout_s, self._policy)

    async def call[**P, T](
        self,
        operation: str,
        work: Callable[Concatenate[sqlite3.Connection, str, P], T],
        path: str,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do `work(connection, path, ...)`, which blocks; again, if the policy says so."""

        async def send(_: ps.Attempt) -> T:
            async with self._lock:
                return await _in_thread(lambda: work(self._connected(), path, *args, **kwargs))

        with about(operation, path):
            return await self._policy(ps.Request(operation, path), send)

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            # No isolation level: transactions begin where the statements say so.
            self._db = sqlite3.connect(
                self._file,
                timeout=self._busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        return self._db

    async def aclose(self) -> None:
        """Close the connection, cancelled or not; what was not committed never happened."""
        with CancelScope(shield=True):
            async with self._lock:
                if self._db is not None:
                    await _in_thread(self._db.close)


async def _in_thread[T](function: Callable[[], T]) -> T:
    # A cancelled caller waits for its thread, or a late deletion would hit what is written next.
    # anyio sees to that, except with asyncio's `Task.cancel`, and so `asyncio.timeout`, which get
    # through shields. But a task group waits for its tasks whatever happens.
    outcome = Future[T]()

    async def work() -> None:
        with CancelScope(shield=True):
            try:
                outcome.set_result(await to_thread.run_sync(function))
            except Exception as error:  # noqa: BLE001 - raised below
                outcome.set_exception(error)

    await checkpoint_if_cancelled()
    with CancelScope(shield=True):
        async with create_task_group() as tasks:
            tasks.start_soon(work)
    try:
        return outcome.result()
    except sqlite3.Error as error:
        raise translate(error) from error
    except UnicodeEncodeError as error:
        raise ps.InvalidPathError("a name is no UTF-8 text: it has a lone surrogate") from error
