"""Puts an answer together from the packets it arrives in, however they are cut. Does no I/O.

An answer is either short and taken whole, or the content of a file and taken as a stream. The
state says whether an exchange is under way, which is what decides whether its connection may be
used again.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from polystow_fastdfs._protocol import HEADER_BYTES, STATUS_NOT_FOUND, FrameError, parse_header

MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Longest answer that is taken whole (addresses, ids, metadata); file contents are streamed."""


class State(Enum):
    """Where an exchange stands."""

    IDLE = "nothing is owed"
    MESSAGE = "a short answer is to come"
    HEAD = "the header of a stream is to come"
    STREAM = "a stream is arriving"
    DONE = "a short answer is complete and not yet taken"
    SPOILT = "the server may close the connection now"


# Attributes of an enum are looked up on every packet; module globals are cheaper.
_IDLE, _MESSAGE, _HEAD, _STREAM, _DONE, _SPOILT = State


class Answer:
    """One answer after the other of one connection.

    Attributes:
        state: Where the exchange stands.
        status: The server's status; -1 before the header was complete.
        left: Bytes of the body that were not taken yet, known with the header.
        buffered: Bytes of a stream that arrived and were not taken yet.
    """

    __slots__ = ("_body", "_chunks", "_excess", "_partial", "buffered", "left", "state", "status")

    def __init__(self) -> None:
        self.state = _IDLE
        self.status = -1
        self.left = 0
        self.buffered = 0
        self._partial = bytearray()
        self._body = b""
        self._excess = False
        self._chunks: deque[bytes | memoryview] = deque()

    def expect(self, *, stream: bool) -> None:
        """Begin an exchange.

        Args:
            stream: Whether the body is taken with `take_chunk`, not with `take_message`.
        """
        self.state = _HEAD if stream else _MESSAGE
        self.status = -1

    def feed(self, data: bytes | memoryview) -> bool:
        """Take in a packet.

        Args:
            data: It may change afterwards: what is kept of it is copied.

        Returns:
            Whether there is something new for who waits: the header of a refusal or of a stream,
            the whole of a short answer, or bytes of a stream.

        Raises:
            FrameError: If the bytes are not what is expected.
        """
        state = self.state
        if state is _STREAM:
            self._add_chunk(data)
            return True
        if state is not _MESSAGE and state is not _HEAD:
            msg = f"{len(data)} bytes that nobody asked for"
            raise FrameError(msg)
        if self.status < 0:
            if self._partial or len(data) < HEADER_BYTES:
                self._partial += data
                if len(self._partial) < HEADER_BYTES:
                    return False
                data = bytes(self._partial)
                self._partial.clear()
            self.left, self.status = parse_header(data)
            data = data[HEADER_BYTES:]
            if state is _HEAD:
                self.state = _STREAM
                if data:
                    self._add_chunk(data)
                elif not self.left:
                    self._finish()
                return True
            if self.left > MAX_MESSAGE_BYTES:
                msg = f"an answer of {self.left} bytes where a short one belongs"
                raise FrameError(msg)
            if len(data) == self.left:
                self._body = bytes(data)
                self.state = _DONE
                return True
        return self._add_to_message(data)

    def _add_to_message(self, data: bytes | memoryview) -> bool:
        if self._partial or len(data) < self.left:
            self._partial += data
            if len(self._partial) < self.left:
                return self.status > 0
            data = bytes(self._partial)
            self._partial.clear()
        if len(data) > self.left:
            if not self.status:
                msg = f"{len(data) - self.left} bytes more than its header announced"
                raise FrameError(msg)
            # A server that refuses before it has the body takes the rest of it for requests, and
            # answers these as well (protocol reference, "Quirks").
            data = data[: self.left]
            self._excess = True
        self._body = bytes(data)
        self.state = _DONE
        return True

    def _add_chunk(self, data: bytes | memoryview) -> None:
        self._chunks.append(bytes(data))
        self.buffered += len(data)
        if self.buffered > self.left:
            msg = f"{self.buffered - self.left} bytes more than its header announced"
            raise FrameError(msg)

    def take_message(self) -> bytes:
        """The body of a short answer that is complete; ends the exchange."""
        body, self._body = self._body, b""
        self._finish()
        return body

    def take_chunk(self, max_bytes: int) -> bytes:
        """The next bytes of a stream, of those that are buffered; the last end the exchange."""
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            # A view, so that handing out a large packet in small pieces copies each byte once.
            rest = memoryview(chunk)
            self._chunks.appendleft(rest[max_bytes:])
            chunk = rest[:max_bytes]
        self.left -= len(chunk)
        self.buffered -= len(chunk)
        if not self.left:
            self._finish()
        return chunk if isinstance(chunk, bytes) else bytes(chunk)

    def passed(self, count: int) -> None:
        """Count bytes of a stream that were taken past this; the last end the exchange."""
        self.left -= count
        if not self.left:
            self._finish()

    def _finish(self) -> None:
        # A server may close after it refused; only success and "not found" are known to leave the
        # connection in order (protocol table, "Statuses").
        in_order = (not self.status or self.status == STATUS_NOT_FOUND) and not self._excess
        self.state = _IDLE if in_order else _SPOILT
