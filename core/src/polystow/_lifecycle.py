"""When a storage may be used: while it is open, on its own event loop, in its own process."""

import asyncio
import os
from enum import Enum

import anyio

from polystow._errors import LifecycleError

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


def fork_count() -> int:
    """How many forks lie between this process and the first one that imported this."""
    return _forks


os.register_at_fork(after_in_child=_count_fork)


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


def _running_loop() -> object:
    # asyncio's is compared by identity: that takes 30 ns, anyio's token 1 µs, and the first one
    # 10 ms of imports. Trio has no such loop, so there the token decides.
    loop = asyncio._get_running_loop()  # noqa: SLF001 - exported by asyncio.events
    if loop is None:
        from anyio.lowlevel import current_token

        return current_token()
    return loop


class Lifecycle:
    """Counts what is under way, and refuses what may not begin.

    Made on the event loop that the storage belongs to.
    """

    def __init__(self) -> None:
        self._state = _State.OPEN
        self._forks = _forks
        self._loop = _running_loop()
        self._active = 0
        self._idle: anyio.Event | None = None

    def begin(self) -> None:
        """Begin an operation, which `end` ends.

        Raises:
            LifecycleError: It may not be used (any more), or not here.
        """
        if (
            self._state is not _State.OPEN
            or self._forks != _forks
            or asyncio._get_running_loop() is not self._loop  # noqa: SLF001 - see _running_loop
        ):
            self._refuse()
        self._active += 1

    def end(self, *_: object) -> None:
        """End an operation."""
        self._active -= 1
        if self._active == 0 and self._idle is not None:
            self._idle.set()

    __enter__, __exit__ = begin, end

    def _refuse(self) -> None:
        if self._forks != _forks:
            raise LifecycleError(
                "the storage was opened before the process forked; connections can't be shared: "
                "open one in each process"
            )
        if self._state is not _State.OPEN:
            raise LifecycleError(
                f"the storage is {self._state.value}; use it inside `async with open_storage(...)`"
            )
        try:
            here = _running_loop()
        except Exception as error:
            raise LifecycleError("the storage can only be used on an event loop") from error
        if here != self._loop:
            raise LifecycleError("the storage belongs to another event loop; open one on each loop")

    async def drain(self, timeout_s: float) -> int:
        """Refuse new operations, and wait for those under way.

        Args:
            timeout_s: How long to wait at most, in seconds.

        Returns:
            How many are still under way.
        """
        self._state = _State.CLOSING
        if self._active:
            self._idle = anyio.Event()
            with anyio.move_on_after(timeout_s, shield=True):
                await self._idle.wait()
        self._state = _State.CLOSED
        return self._active
