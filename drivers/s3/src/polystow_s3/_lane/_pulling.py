"""A large body from a socket beside its transport, taken by worker threads.

As `_sending`, the other way round: for a slice of time a thread receives and hands on, with no
step of the event loop for each piece; the loop alone waits for a service that falls silent.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

_SLICE_S = 0.1
_SETTLE_MS = 20
_PIECE_BYTES = 524_288

CAN_PULL = hasattr(select, "poll")
"""Whether this system can."""

type Keep = Callable[[memoryview], object]
"""Takes a piece, which is overwritten afterwards; blocks."""


class Pulled(NamedTuple):
    """What a slice brought.

    Attributes:
        size: How many bytes were handed on.
        trouble: Why no more will come; None if they may.
    """

    size: int
    trouble: str | None


class Puller:
    """Receives from a connection's socket, whose transport is paused.

    Args:
        descriptor: The socket's; it is duplicated.
    """

    __slots__ = ("_buffer", "_poll", "_socket")

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = memoryview(bytearray(_PIECE_BYTES))

    def pull(self, keep: Keep, max_bytes: int) -> Pulled:
        """Receive for a slice of time; for worker threads.

        Args:
            keep: See there.
            max_bytes: How many bytes to take at most.

        Raises:
            Exception: What `keep` raises; bytes are lost then.
        """
        done, end = 0, time.monotonic() + _SLICE_S
        while done < max_bytes:
            try:
                count = self._socket.recv_into(self._buffer[: max_bytes - done])
            except (BlockingIOError, InterruptedError):
                if not self._poll.poll(_SETTLE_MS):
                    break
                continue
            except OSError as error:
                return Pulled(done, str(error))
            if not count:
                return Pulled(done, "the service closed it")
            keep(self._buffer[:count])
            done += count
            if time.monotonic() >= end:
                break
        return Pulled(done, None)

    def stop(self) -> None:
        """Let a thread that is receiving end at once."""
        with contextlib.suppress(OSError):  # it is down already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave the socket to the transport again; no thread may be receiving."""
        self._socket.close()
