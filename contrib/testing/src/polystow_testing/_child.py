"""A server as a child process, so that a client is measured alone."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from polystow_testing._context import ServerContext

STOP_TIMEOUT_S = 10.0


class ServerProcess(ServerContext):
    """Runs a module as a child that prints a line of JSON when it serves: `with`, `async with`.

    Only this child is ever ended, by its handle. It also ends by itself when this process dies,
    as its stdin closes then.

    Args:
        module: The module that `python -m` runs.
        arguments: Its command line.
        python: The interpreter; default the one that runs this process.
        start_timeout_s: Seconds that the child has for its start.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        python: str = sys.executable,
        start_timeout_s: float = 20.0,
    ) -> None:
        self._command = [python, "-m", module, *arguments]
        self._start_timeout_s = start_timeout_s
        self._child: subprocess.Popen[str] | None = None
        self._told: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """The child's process id, such as for reading its memory use.

        Raises:
            RuntimeError: It is not running.
        """
        return self._running().pid

    @property
    def told(self) -> dict[str, Any]:
        """What the child printed at its start.

        Raises:
            RuntimeError: It is not running.
        """
        self._running()
        return self._told

    def _running(self) -> "subprocess.Popen[str]":
        if self._child is None:
            message = f"this {type(self).__name__} is not running: use it in a with statement"
            raise RuntimeError(message)
        return self._child

    def start(self) -> None:
        """Start the child and wait until it serves.

        Raises:
            RuntimeError: It is running already, or ended or stayed silent at its start.
        """
        if self._child is not None:
            message = f"this {type(self).__name__} is running already"
            raise RuntimeError(message)
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._child = child
        assert child.stdout is not None
        watchdog = threading.Timer(self._start_timeout_s, child.kill)
        watchdog.start()
        try:
            line = child.stdout.readline()
        finally:
            watchdog.cancel()
            watchdog.join()
        if not line:
            self.stop()
            message = f"the process of {type(self).__name__} ended at its start; see its stderr"
            raise RuntimeError(message)
        self._told = json.loads(line)

    def order(self, line: str) -> None:
        """Write a line to the child, and wait until it has repeated it.

        Raises:
            RuntimeError: It is not running, or ended instead.
        """
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(line + "\n")
        child.stdin.flush()
        if child.stdout.readline() != line + "\n":
            message = f"the process of {type(self).__name__} did not obey {line!r}; see its stderr"
            raise RuntimeError(message)

    def stop(self) -> None:
        """End the child and wait until it is gone; harmless when there is none."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
