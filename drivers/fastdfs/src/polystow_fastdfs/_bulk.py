"""The rest of a long body, pulled from the socket in large pieces.

An event loop hands a body over in packets of 64 KiB or so, and each costs it a turn. Here the
kernel is asked to report the socket only when a large piece has come (`SO_RCVLOWAT`), and one read
takes it: no buffer of our own, no copy, and what is not asked for waits in the network.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from typing import ClassVar, Final

MIN_BULK_BYTES: Final = 256 * 1024
"""A body that has less to come is left to the event loop, and so much is read ahead at most."""

MAX_PIECE_BYTES: Final = 1024 * 1024

CAN_PULL = sys.platform != "win32"
"""Whether a socket can be read beside its transport; elsewhere the event loop reads a body."""

_HAS_LOW_WATER_MARK: Final = sys.platform == "linux"


class BulkReader:
    """Reads a connection's socket beside its transport, which has to be paused.

    Args:
        loop: The connection's.
        transport: The connection's; its socket is duplicated.
        readable: Called when a piece can be taken.
    """

    SETTLE_S: ClassVar[float] = 0.05
    """How long to wait for a whole piece before a part of it will do."""

    __slots__ = ("_loop", "_mark", "_readable", "_socket", "_watched")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        readable: Callable[[], None],
    ) -> None:
        # Event loops refuse to watch a descriptor that a transport has.
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        self._socket = socket.socket(fileno=descriptor)
        self._loop = loop
        self._readable = readable
        self._mark = 1
        self._watched = False

    def expect(self, count: int) -> int:
        """Watch for so many bytes.

        Returns:
            How many to take.
        """
        count = min(count, MAX_PIECE_BYTES)
        if _HAS_LOW_WATER_MARK and count != self._mark:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._mark = count
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._socket.fileno(), self._ready)
        return count

    def _ready(self) -> None:
        self._unwatch()
        self._readable()

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._socket.fileno())

    def take(self, max_bytes: int) -> bytes | None:
        """What is there, or None; `b""` is the end of the connection.

        Raises:
            OSError: The connection broke.
        """
        try:
            return self._socket.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            self.expect(self._mark)
            return None

    def close(self) -> None:
        """Leave the socket to the transport again."""
        self._unwatch()
        if _HAS_LOW_WATER_MARK and self._mark != 1:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._socket.close()
