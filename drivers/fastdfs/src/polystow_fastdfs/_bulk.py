"""Long bodies past the event loop, by large pieces.

An event loop hands a body over in packets of 64 KiB or so, and each costs it a turn. Here a
connection's socket is used beside its transport. What a caller takes into memory is read on the
event loop when a large piece has come (`SO_RCVLOWAT`). What goes from or to a file does so in a
worker thread, for a slice of time that is so short that cancellations and time limits are left to
the event loop between two of them: no thread is held by a server that stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from io import BufferedIOBase
from typing import ClassVar, Final

from polystow import Saved, WriteAt, crc32_of, in_thread

MIN_BULK_BYTES: Final = 256 * 1024
"""A body that has less to come is left to the event loop, and so much is read ahead at most."""

MAX_PIECE_BYTES: Final = 1024 * 1024

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""How much of a long body may wait in the kernel, so that its sender does not wait for us. Where
each piece that is taken out lets a sender go on, its packets are worked on in our time."""

SEND_PIECE_BYTES: Final = 512 * 1024

SLICE_S: Final = 0.1
"""After how long a thread begins no more pieces."""

CAN_PULL = sys.platform != "win32"
"""Whether a socket can be read beside its transport; elsewhere the event loop reads a body."""

_HAS_LOW_WATER_MARK: Final = sys.platform == "linux"


class SocketBroke(Exception):
    """The connection broke, or the server closed it."""


class Bulk:
    """A connection's socket beside its transport.

    Args:
        loop: The connection's.
        transport: The connection's; its socket is duplicated.
    """

    SETTLE_S: ClassVar[float] = 0.05
    """How long to wait for a whole piece before a part of it will do."""

    __slots__ = ("_busy", "_closed", "_loop", "_poll", "_socket")

    _EVENT: ClassVar[int] = select.POLLIN if CAN_PULL else 0

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        # Event loops refuse to watch a descriptor that a transport has.
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        self._socket = socket.socket(fileno=descriptor)
        self._loop = loop
        self._poll = select.poll()
        self._poll.register(descriptor, self._EVENT)
        self._busy = False
        self._closed = False

    async def in_thread[T](self, function: Callable[[], T]) -> T:
        """Use the socket in a worker thread."""
        self._busy = True
        try:
            return await in_thread(function)
        finally:
            self._busy = False
            if self._closed:
                self._socket.close()

    def _settles(self) -> bool:
        return bool(self._poll.poll(self.SETTLE_S * 1000))

    def close(self) -> None:
        """Leave the socket to the transport again."""
        if self._closed:
            return
        self._closed = True
        self._detach()
        if not self._busy:
            self._socket.close()
            return
        # A thread that has the descriptor must not meet another one in its place.
        with contextlib.suppress(OSError):  # it is down
            self._socket.shutdown(socket.SHUT_RDWR)

    def _detach(self) -> None:
        """Undo what concerns the event loop and the transport."""


class BulkReader(Bulk):
    """Reads a connection's socket; its transport has to be paused.

    Args:
        loop: The connection's.
        transport: The connection's.
        readable: Called when a piece can be taken.
        size: How many bytes are to come.
    """

    __slots__ = ("_buffer", "_mark", "_readable", "_watched")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        readable: Callable[[], None],
        size: int,
    ) -> None:
        super().__init__(loop, transport)
        if _HAS_LOW_WATER_MARK and size > WINDOW_BYTES:
            # The kernel grows the receive buffer with the mark, and leaves it to its own tuning,
            # as SO_RCVBUF would not.
            for mark in (WINDOW_BYTES, 1):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
        self._readable = readable
        self._buffer: memoryview | None = None
        self._mark = 1
        self._watched = False

    def expect(self, count: int) -> int:
        """Watch for so many bytes.

        Returns:
            How many to take.
        """
        count = self._wait_for(count)
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._socket.fileno(), self._ready)
        return count

    def _wait_for(self, count: int) -> int:
        count = min(count, MAX_PIECE_BYTES)
        if _HAS_LOW_WATER_MARK and count != self._mark:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._mark = count
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

    def save(self, write: WriteAt, offset: int, max_bytes: int, crc32: int) -> Saved:
        """Write what comes to a file, for a slice of time; for worker threads.

        Returns:
            How much it was; nothing if nothing came.

        Raises:
            SocketBroke: If nothing came, and nothing will.
            Exception: What `write` raises.
        """
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = memoryview(bytearray(min(max_bytes, MAX_PIECE_BYTES)))
        done, end = 0, time.monotonic() + SLICE_S
        while done < max_bytes:
            wanted = self._wait_for(min(max_bytes - done, len(buffer)))
            settled = self._settles()
            try:
                count = self._socket.recv_into(buffer[:wanted])
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if done:
                    break
                reason = f"the connection broke: {error}"
                raise SocketBroke(reason) from error
            if not count:
                if done:
                    break
                reason = "the server closed the connection"
                raise SocketBroke(reason)
            piece = buffer[:count]
            write(piece, offset + done)
            crc32 = crc32_of(piece, crc32)
            done += count
            if not settled or time.monotonic() >= end:
                break
        return Saved(done, crc32)

    def _detach(self) -> None:
        self._unwatch()
        self._wait_for(1)


class BulkWriter(Bulk):
    """Sends the rest of a file over a connection's socket; its transport must have nothing to send.

    The last piece is left for the transport: once that is sent, a cancellation is no longer what
    decides whether the server stores a file.

    Args:
        loop: The connection's.
        transport: The connection's.
        file: The file, read from where it stands.
        size: How many bytes are to come.
        crc32: Of the bytes before them.

    Attributes:
        read: How many came; `size` and one more if there are more.
        crc32: Of all of them.
        last: The last piece, once it was read.
        ended: Whether the file ended too early.
    """

    __slots__ = ("_buffer", "_file", "_rest", "_size", "crc32", "ended", "last", "read")

    _EVENT = select.POLLOUT if CAN_PULL else 0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        file: BufferedIOBase,
        size: int,
        crc32: int,
    ) -> None:
        super().__init__(loop, transport)
        self._file = file
        self._size = size
        self._buffer = memoryview(bytearray(min(size, SEND_PIECE_BYTES)))
        self._rest = self._buffer[:0]
        self.read = 0
        self.crc32 = crc32
        self.last: bytes | None = None
        self.ended = False

    def send(self) -> bool:
        """Send what the socket takes, for a slice of time; for worker threads.

        Returns:
            Whether the socket can take more.

        Raises:
            SocketBroke: The connection broke.
        """
        end = time.monotonic() + SLICE_S
        while self.last is None and not self.ended:
            if self._rest:
                try:
                    self._rest = self._rest[self._socket.send(self._rest) :]
                except (BlockingIOError, InterruptedError):
                    if not self._settles():
                        return False
                except OSError as error:
                    reason = f"the connection broke: {error}"
                    raise SocketBroke(reason) from error
            else:
                self._read_piece()
            if time.monotonic() >= end:
                break
        return True

    def _read_piece(self) -> None:
        left = self._size - self.read
        count = self._file.readinto(self._buffer[:left])
        self.ended = not count
        piece = self._buffer[:count]
        self.crc32 = crc32_of(piece, self.crc32)
        self.read += count
        if count < left:
            self._rest = piece
        else:
            self.last = bytes(piece)
            self.read += len(self._file.read(1))

    def watch(self, writable: Callable[[], None]) -> None:
        """Have `writable` called once, when the socket takes more."""

        def ready() -> None:
            self._loop.remove_writer(self._socket.fileno())
            writable()

        self._loop.add_writer(self._socket.fileno(), ready)

    def _detach(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
