"""`LoopStallDetector`: sees when something keeps the event loop from running."""

import asyncio
import gc
import sys
import threading
import time
import traceback
from types import FrameType, TracebackType
from typing import Any, Self, cast

import attrs

from polystow_testing.faults._leaks import Violation

_BEAT_S = 0.01


@attrs.frozen
class Stall:
    """One time that the loop stood still.

    Attributes:
        cpu_s: CPU time of the loop's thread between two of its beats, in seconds.
        silent_s: For how long a punctual watcher saw no beat, in seconds.
        stack: Where the loop's thread was, as far as it was seen.
    """

    cpu_s: float
    silent_s: float
    stack: str


class LoopStallDetector:
    """Watches an asyncio event loop; use it with `with`, within the loop.

    A beat is scheduled every 10 ms. If the loop's thread computes for longer than `cpu_limit_s`
    between two of them, something has kept the loop for so long. Wall time alone would blame a
    driver for a busy machine, so a loop that waits (`time.sleep`, a blocking read) is found by
    another thread: it counts the time in which it is punctual itself and the loop is not, and
    allows `blocked_limit_s`. Garbage collection does not count.

    Args:
        cpu_limit_s: In seconds.
        blocked_limit_s: In seconds; larger, as it includes waiting for Python's own lock.
    """

    def __init__(self, *, cpu_limit_s: float = 0.05, blocked_limit_s: float = 0.25) -> None:
        self.stalls: list[Stall] = []
        self.longest_s = 0.0
        self._cpu_limit_s = cpu_limit_s
        self._blocked_limit_s = blocked_limit_s
        self._thread_id = 0
        self._beats = 0
        self._cpu_s = 0.0
        self._gc_s = 0.0
        self._gc_started_s = 0.0
        self._silent_s = 0.0
        self._stack = ""
        self._timer: asyncio.TimerHandle | None = None
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="stall-watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread_id = threading.get_ident()
        self._cpu_s = time.thread_time()
        gc.callbacks.append(self._on_gc)
        self._timer = asyncio.get_running_loop().call_later(_BEAT_S, self._beat)
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._note()
        gc.callbacks.remove(self._on_gc)
        self._done.set()
        self._watcher.join()

    def check(self) -> None:
        """Judge what was seen.

        Raises:
            Violation: The loop stood still.
        """
        if self.stalls:
            worst = max(self.stalls, key=lambda stall: max(stall.cpu_s, stall.silent_s))
            raise Violation(
                "event loop",
                f"it stood still {len(self.stalls)} times, once for {worst.cpu_s * 1000:.0f} ms of "
                f"CPU and {worst.silent_s * 1000:.0f} ms in all, at\n{worst.stack}",
            )

    def _beat(self) -> None:
        self._note()
        self._beats += 1
        self._timer = asyncio.get_running_loop().call_later(_BEAT_S, self._beat)

    def _note(self) -> None:
        now = time.thread_time()
        cpu_s, self._cpu_s = now - self._cpu_s - self._gc_s, now
        silent_s = self._silent_s - self._gc_s
        self._gc_s = self._silent_s = 0.0
        self.longest_s = max(self.longest_s, cpu_s)
        if cpu_s > self._cpu_limit_s or silent_s > self._blocked_limit_s:
            self.stalls.append(Stall(cpu_s, silent_s, self._stack or "(not seen)"))
        self._stack = ""

    def _on_gc(self, phase: str, _: dict[str, Any]) -> None:
        if threading.get_ident() == self._thread_id:
            now = time.thread_time()
            if phase == "start":
                self._gc_started_s = now
            else:
                self._gc_s += now - self._gc_started_s

    def _watch(self) -> None:
        seen, last = -1, time.monotonic()
        while not self._done.wait(_BEAT_S):
            now = time.monotonic()
            # If the watcher itself was late, so was the machine.
            punctual_s = min(now - last, 2 * _BEAT_S)
            last = now
            if self._beats != seen:
                seen = self._beats
                continue
            self._silent_s += punctual_s
            if self._silent_s > self._cpu_limit_s / 2 and not self._stack:
                self._stack = _stack_of(cast("Any", sys)._current_frames().get(self._thread_id))  # noqa: SLF001 - the only way


def _stack_of(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame, limit=None)[-8:]) if frame else ""
