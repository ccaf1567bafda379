"""The operations under way: what their errors are about, and when a closing driver may close."""

from __future__ import annotations

from types import TracebackType
from typing import Final

import anyio

from polystow import LifecycleError, StorageError, Target

NAME: Final = "fastdfs"
"""The driver's name, in errors too."""


class Operations:
    """Counts the operations of a driver.

    Attributes:
        count: How many are under way.
        closing: Whether no more may begin.
        idle: Set when the last one ends after that.
    """

    __slots__ = ("closing", "count", "idle")

    def __init__(self) -> None:
        self.count = 0
        self.closing = False
        self.idle = anyio.Event()

    async def drain(self, timeout_s: float) -> None:
        """Let no more begin, and wait for those under way.

        An upload may still need a connection to set its metadata, or to delete what it could not
        complete, so connections close only after this.

        Args:
            timeout_s: How long to wait, in seconds.
        """
        self.closing = True
        if self.count:
            with anyio.move_on_after(timeout_s):
                await self.idle.wait()


class Operation:
    """Around one operation: counts it, and says in its errors what they are about.

    Entering it raises `LifecycleError` if the driver is closing or closed.
    """

    __slots__ = ("_name", "_operations", "_path")

    def __init__(self, operations: Operations, name: str, path: Target) -> None:
        self._operations = operations
        self._name = name
        self._path = path

    def __enter__(self) -> None:
        if self._operations.closing:
            message = "the FastDFS driver is closed; open the storage again"
            raise LifecycleError(message)
        self._operations.count += 1

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        operations = self._operations
        operations.count -= 1
        if operations.closing and not operations.count:
            operations.idle.set()
        if exc is not None and isinstance(exc, StorageError):
            exc.in_operation(self._name, str(self._path), NAME)
