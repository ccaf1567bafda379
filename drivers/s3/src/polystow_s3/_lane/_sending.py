"""Bodies that go from a file to a socket, beside its transport, in worker threads.

A thread sends for a slice of time that is so short that cancellations, refusals and time limits
are left to the event loop, which alone waits for a socket that takes nothing. The bytes never come
here, so this is for those that nobody hashes or encrypts.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from polystow import TruncatedBodyError

_SLICE_S = 0.1
_SETTLE_MS = 20
_PIECE_BYTES = 1_048_576

CAN_SEND_FILES = hasattr(os, "sendfile") and hasattr(select, "poll")
"""Whether this system can."""


class FileRange(NamedTuple):
    """Bytes of a file that is open.

    Attributes:
        descriptor: The file's.
        offset: Where they begin.
        size: How many they are.
    """

    descriptor: int
    offset: int
    size: int

    def read(self) -> bytes:
        """All of them; blocks.

        Raises:
            TruncatedBodyError: The file ends before them.
        """
        pieces: list[bytes] = []
        left = self.size
        while left:
            piece = os.pread(self.descriptor, left, self.offset + self.size - left)
            if not piece:
                raise _cut_short(self)
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def pieces(self, max_bytes: int) -> Iterator[memoryview]:
        """All of them, piece by piece, each in the place of the last one; blocks.

        Args:
            max_bytes: The most bytes of a piece.

        Raises:
            TruncatedBodyError: The file ends before them.
        """
        buffer = memoryview(bytearray(min(max_bytes, self.size)))
        at, end = self.offset, self.offset + self.size
        while at < end:
            count = os.preadv(self.descriptor, [buffer[: end - at]], at)
            if not count:
                raise _cut_short(self)
            at += count
            yield buffer[:count]


def size_of(body: "bytes | memoryview | FileRange") -> int:
    """How many bytes a body has."""
    return body.size if isinstance(body, FileRange) else len(body)


def _cut_short(body: FileRange) -> TruncatedBodyError:
    return TruncatedBodyError(
        f"the file ended before byte {body.offset + body.size:,}, which it had when the write "
        "began; nothing was stored"
    )


class Sender:
    """Sends a range over a connection's socket; its transport must have nothing to send.

    Args:
        descriptor: The socket's; it is duplicated.
        body: What to send.

    Attributes:
        left: How many bytes are still to be sent.
    """

    __slots__ = ("_body", "_poll", "_socket", "left")

    def __init__(self, descriptor: int, body: FileRange) -> None:
        # Event loops refuse to watch a descriptor that a transport has.
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLOUT)
        self._body = body
        self.left = body.size

    @property
    def descriptor(self) -> int:
        """Of the duplicate."""
        return self._socket.fileno()

    def send(self) -> bool:
        """Send what the socket takes, for a slice of time; for worker threads.

        Returns:
            Whether the socket can take more.

        Raises:
            OSError: The connection broke.
            TruncatedBodyError: The file is shorter than it was.
        """
        end = time.monotonic() + _SLICE_S
        while self.left:
            try:
                self.left -= self._send_piece()
            except (BlockingIOError, InterruptedError):
                if not self._poll.poll(_SETTLE_MS):
                    return False
            if time.monotonic() >= end:
                break
        return True

    def _send_piece(self) -> int:
        body, count = self._body, min(self.left, _PIECE_BYTES)
        end = body.offset + body.size
        sent = os.sendfile(self.descriptor, body.descriptor, end - self.left, count)
        if not sent:
            raise _cut_short(body)
        return sent

    def stop(self) -> None:
        """Let a thread that is sending fail at once."""
        with contextlib.suppress(OSError):  # it is down already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave the socket to the transport again; no thread may be sending."""
        self._socket.close()
