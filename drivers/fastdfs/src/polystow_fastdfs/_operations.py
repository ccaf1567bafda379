"""The operations under way: what their errors are about, and when a closing driver may close."""

from __future__ import annotations

from types import TracebackType
from typing import Final

import anyio

from polystow import LifecycleError, StorageError, Target

NAME: Final = "fastdfs"
"""The driver's name, in errors too."""


class Operations:
    """Counts the operations of a driver."""

    def __init__(self) -> None:
        self._count = 0
        self._closing = False
        self._idle = anyio.Event()

    def begin(self) -> None:
        """One more.

        Raises:
            LifecycleError: If the driver is closing or closed.
        """
        if self._closing:
            message = "the FastDFS driver is closed; open the storage again"
            raise LifecycleError(message)
        self._count += 1

    def end(self) -> None:
        """One less."""
        self._count -= 1
        if self._closing and not self._count:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Let no more begin, and wait for those under way.

        An upload may still need a connection to set its metadata, or to delete what it could not
        complete, so connections close only after this.

        Args:
            timeout_s: How long to wait, in seconds.
        """
        self._closing = True
        if self._count:
            with anyio.move_on_after(timeout_s):
                await self._idle.wait()


class Operation:
    """Around one operation: counts it, and says in its errors what they are about."""

    __slots__ = ("_name", "_operations", "_path")

    def __init__(self, operations: Operations, name: str, path: Target) -> None:
        self._operations = operations
        self._name = name
        self._path = path

    def __enter__(self) -> None:
        self._operations.begin()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._operations.end()
        if exc is not None and isinstance(exc, StorageError):
            exc.in_operation(self._name, str(self._path), NAME)
