"""`S3Process`: a `DiskS3Server` in a process of its own, so that a client is measured alone."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_STOP_S = 10.0


class S3Process:
    """A `DiskS3Server` as a child process, ended with the context.

    Args:
        directory: Where objects go; a temporary directory by default.
        discard: As in `DiskS3Server`.
        digests: As in `DiskS3Server`.
        buckets: Buckets that are there from the start.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        discard: bool = False,
        digests: bool | None = None,
        buckets: tuple[str, ...] = (),
    ) -> None:
        self._arguments = [f"--bucket={bucket}" for bucket in buckets]
        if directory is not None:
            self._arguments.append(f"--dir={directory}")
        if discard:
            self._arguments.append("--discard")
        if digests is not None:
            self._arguments.append("--digests" if digests else "--no-digests")
        self._child: subprocess.Popen[str] | None = None
        self.endpoint = ""

    @property
    def pid(self) -> int:
        """The child's process id.

        Raises:
            RuntimeError: It does not run.
        """
        if self._child is None:
            raise RuntimeError("the server does not run")
        return self._child.pid

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "polystow_testing.s3", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self._end(self._child)
            raise RuntimeError("the S3 server process did not start")
        self.endpoint = json.loads(line)["endpoint"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            self._end(child)

    def _end(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
