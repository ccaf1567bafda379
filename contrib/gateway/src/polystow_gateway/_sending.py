"""A request's body on its way to the gateway."""

import math
from collections.abc import AsyncGenerator

import anyio
from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from attrs import define

from polystow import Attempt

CHUNK_SIZE_BYTES = 262_144
_STOP_TIMEOUT_S = 10.0


@define
class Progress:
    """How far a body is.

    Attributes:
        sent: Whether it has been taken to its end, so that the gateway may have all of it.
        abandoned: Whether nothing more of it shall be taken.
    """

    sent: bool = False
    abandoned: bool = False


class Sending:
    """The body of one attempt, on its way; the client's own task takes its chunks.

    Attributes:
        failure: What the body raised.
        waiting: Limits the wait for leave to send it.
        progress: Tells when the body has been taken to its end.
    """

    def __init__(
        self,
        stream: ByteReceiveStream | None,
        size: int | None,
        attempt: Attempt,
        progress: Progress,
    ) -> None:
        self.progress = progress
        self._size = size
        self.waiting: anyio.CancelScope | None = None
        self._stream = stream
        self._attempt = attempt
        self._timed = attempt.scope is not None or attempt.holds_slot
        self._stopped = False
        self._idle = anyio.Event()
        self._idle.set()
        self.failure: Exception | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body's chunks."""
        if self.waiting is not None:
            self.waiting.deadline = math.inf
        taken = 0
        while True:
            self._idle = anyio.Event()
            try:
                chunk = await self._next()
            except EndOfStream:
                break
            except Exception as error:
                self.failure = self.failure or error
                raise
            finally:
                self._idle.set()
            if self.progress.abandoned:
                raise ConnectionAbortedError
            if chunk:
                taken += len(chunk)
                if taken == self._size:
                    self.progress.sent = True  # with this chunk the gateway has all of it
                yield chunk
        if self._stopped or self.progress.abandoned:
            # A stream that was closed looks as if it had ended.
            raise ConnectionAbortedError
        self.progress.sent = True

    async def _next(self) -> bytes:
        assert self._stream is not None
        if not self._timed:
            return await self._stream.receive(CHUNK_SIZE_BYTES)
        async with self._attempt.paused():  # timers stop while the body's owner is waited for
            return await self._stream.receive(CHUNK_SIZE_BYTES)

    async def stop(self) -> None:
        """Take nothing more for the body's end, and wait until nobody reads it any more."""
        self._stopped = True
        with anyio.move_on_after(_STOP_TIMEOUT_S, shield=True):
            await self._idle.wait()
