"""A FastDFS server as a child process, for measurements that the client must not share."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import anyio.to_thread
import attrs

from polystow_testing.fastdfs._options import FastdfsOptions

STOP_TIMEOUT_S = 5.0


@attrs.frozen
class _Addresses:
    pid: int
    trackers: list[str]
    storages: dict[str, list[str]]


class FastdfsProcess:
    """Runs `python -m polystow_testing.fastdfs` as a child: `with` and `async with`.

    Only this child is ever ended, by its handle. It also ends by itself when this process dies,
    as its stdin closes then.

    Args:
        options: What the server is made of; default `FastdfsOptions()`.
        python: The interpreter; default the one that runs this process.
        start_timeout_s: Seconds that the child has for its start; default 20.

    Example:
        >>> with FastdfsProcess() as server:  # doctest: +SKIP
        ...     connect(server.trackers)
    """

    def __init__(
        self,
        options: FastdfsOptions | None = None,
        *,
        python: str = sys.executable,
        start_timeout_s: float = 20.0,
    ) -> None:
        self.options = options or FastdfsOptions()
        self._python = python
        self._start_timeout_s = start_timeout_s
        self._child: subprocess.Popen[str] | None = None
        self._addresses: _Addresses | None = None

    @property
    def trackers(self) -> list[str]:
        """Addresses of the trackers, "host:port"."""
        return list(self._started().trackers)

    def storages(self, group: str | None = None) -> list[str]:
        """Return the addresses of all storage servers, or of those of `group`."""
        storages = self._started().storages
        return [
            address
            for name, addresses in storages.items()
            if group in (None, name)
            for address in addresses
        ]

    @property
    def pid(self) -> int:
        """The child's process id, such as for reading its memory use."""
        return self._started().pid

    def _started(self) -> _Addresses:
        if self._addresses is None:
            message = "this FastdfsProcess is not running: use it in a with statement"
            raise RuntimeError(message)
        return self._addresses

    def start(self) -> None:
        """Start the child and wait for its addresses.

        Raises:
            RuntimeError: It is running already, or ended or stayed silent at its start.
        """
        if self._child is not None:
            message = "this FastdfsProcess is running already"
            raise RuntimeError(message)
        command = [self._python, "-m", "polystow_testing.fastdfs", *_arguments(self.options)]
        self._child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdout is not None
        watchdog = threading.Timer(self._start_timeout_s, self._child.kill)
        watchdog.start()
        try:
            line = self._child.stdout.readline()
        finally:
            watchdog.cancel()
            watchdog.join()
        if not line:
            self.stop()
            message = "the FastDFS process ended before it told its addresses; see its stderr"
            raise RuntimeError(message)
        self._addresses = _Addresses(**json.loads(line))

    def stop(self) -> None:
        """End the child and wait until it is gone; harmless when there is none."""
        child = self._child
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
        self._child = self._addresses = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)


def _arguments(options: FastdfsOptions) -> list[str]:
    """Return the command line that stands for `options`."""
    arguments: list[str] = []
    values: dict[str, Any] = attrs.asdict(options, recurse=False)
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif isinstance(value, Mapping):
            counts: Mapping[str, int] = options.groups
            arguments += [flag, ",".join(f"{group}:{count}" for group, count in counts.items())]
        elif value is not None and value is not False:
            arguments += [flag, str(value)]
        elif name == "network_timeout_s":
            arguments += [flag, "inf"]
    return arguments
