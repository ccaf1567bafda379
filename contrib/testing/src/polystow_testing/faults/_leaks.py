"""What an operation may not leave behind in this process: sockets, files, tasks."""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs

_POLL_S = 0.005


class Violation(AssertionError):
    """An invariant does not hold.

    Args:
        check: Which one: `"right answer"`, `"right error"`, `"time limit"`, `"next answer"`,
            `"sockets"`, `"tasks"`, `"temporary files"`, `"leftovers"`, `"event loop"`,
            `"memory"` or `"cancellation"`.
        detail: What was seen instead.
    """

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"[{check}] {detail}")
        self.check = check
        self.detail = detail

    @property
    def may_be_the_machine(self) -> bool:
        """Whether a busy machine can look so; then it does not come again."""
        return self.check in {"event loop", "fault"} or isinstance(self.__cause__, TimeoutError)


def open_descriptors() -> dict[str, str]:
    """The open files and sockets of this process: what is unique about each, and what it is.

    Empty on a system without `/proc/self/fd`, where nothing can be told.
    """
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - of numbers, many times
            with suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - likewise
                if target.startswith("socket:"):
                    found[target] = f"descriptor {name}, {target}"
                elif target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
                    found[f"{name} {target}"] = f"descriptor {name}, {target}"
    return found


@attrs.frozen
class LeakWatch:
    """What was open when it was made; servers of the test should be up and quiet by then.

    Attributes:
        before: As `open_descriptors` gives it.
        scratch: Where temporary files go while it watches.
    """

    before: dict[str, str]
    scratch: Path

    @classmethod
    @contextmanager
    def over(cls, scratch: Path) -> "Generator[LeakWatch]":
        """Watch; Python's own temporary files go to `scratch` meanwhile."""
        old = tempfile.tempdir
        tempfile.tempdir = str(scratch)
        try:
            yield cls(open_descriptors(), scratch)
        finally:
            tempfile.tempdir = old

    def check(self, *, known: Collection[str] = (), settle_s: float = 1.0) -> None:
        """Compare with now.

        Args:
            known: New ones that are none of the driver's, as `/proc/self/fd` shows them.
            settle_s: How long sockets have to close, in seconds: the servers' sides of them
                close a little later.

        Raises:
            Violation: Something is open that was not, or a temporary file is there.
        """
        if not wait_until(lambda: not self._new(known), settle_s):
            gc.collect()
            raise Violation("sockets", f"still open: {', '.join(self._new(known))}")
        left = sorted(path.name for path in self.scratch.iterdir())
        if left:
            raise Violation("temporary files", f"still there: {', '.join(left)}")

    def _new(self, known: Collection[str]) -> list[str]:
        now = open_descriptors()
        return [now[key] for key in now.keys() - self.before.keys() - set(known)]


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Poll until something is so, blocking the thread; False if it does not become so."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def running_tasks() -> frozenset[int]:
    """The tasks of the event loop, of asyncio or trio."""
    return frozenset(task.id for task in anyio.get_running_tasks())


async def check_tasks(before: frozenset[int], *, when: str, settle_s: float = 0.5) -> None:
    """Compare the tasks with those of before; those that end within `settle_s` do no harm.

    Args:
        before: As `running_tasks` gave it.
        when: For the message.
        settle_s: How long they have to end, in seconds.

    Raises:
        Violation: There are new ones.
    """
    for _ in range(10):
        if running_tasks() <= before:
            return
        await anyio.lowlevel.checkpoint()
    with anyio.move_on_after(settle_s):
        while not running_tasks() <= before:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(_POLL_S)
        return
    new = [str(task.name) for task in anyio.get_running_tasks() if task.id not in before]
    raise Violation("tasks", f"still running {when}: {', '.join(new)}")
