"""Locks that exclude all other writers of a key, in this process and in others.

The keys are spread over a fixed number of lock files, which are never removed: removing one that
another process waits for would give it a lock that excludes nobody.
"""
# Names are bytes here, as the file system keeps them; pathlib knows only text.
# ruff: noqa: PTH103, PTH120

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock

from polystow._errors import BackendUnavailableError

_STRIPES = 256
_FIRST_PAUSE_S = 0.0002
_LAST_PAUSE_S = 0.01


class KeyLocks:
    """The lock files of a root.

    Args:
        directory: Where they are; made on demand.
        timeout_s: How long to wait for one, in seconds. They are held for one commit, so only a
            process that is stopped in the middle of one makes anybody wait as long.
    """

    def __init__(self, directory: bytes, *, timeout_s: float = 10.0) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        # flock alone would do, but it can only be polled; threads can wait for each other.
        self._threads = [Lock() for _ in range(_STRIPES)]

    @contextmanager
    def held(self, digest: bytes) -> Generator[None]:
        """Hold the lock of the key with this digest, in hexadecimal digits.

        Raises:
            BackendUnavailableError: Another process did not release it in time.
        """
        stripe = int(digest[:2], 16)
        deadline = time.monotonic() + self._timeout_s
        path = self._directory + b"/%02x" % stripe
        if not self._threads[stripe].acquire(timeout=self._timeout_s):
            raise self._busy(path)
        try:
            fd = _open(path)
            try:
                self._lock(fd, path, deadline)
                yield
            finally:
                # Closing is not enough: a child that was forked meanwhile has the file open too.
                _unlock(fd)
                os.close(fd)
        finally:
            self._threads[stripe].release()

    def _lock(self, fd: int, path: bytes, deadline: float) -> None:
        import fcntl

        pause = _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._busy(path) from None
            else:
                return
            time.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE_S)

    def _busy(self, path: bytes) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"another process has held the lock {os.fsdecode(path)} for {self._timeout_s:g} s; "
            "look whether one that writes here is stopped",
            retryable=True,
        )


def _unlock(fd: int) -> None:
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_UN)


def _open(path: bytes) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)
    except PermissionError:
        # Another user's lock file: reading it is enough to lock it.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
