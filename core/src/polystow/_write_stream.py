"""Writing piece by piece: the stream that `Storage.open_write` gives."""

from collections.abc import AsyncGenerator, Awaitable, Buffer, Callable
from contextlib import asynccontextmanager
from typing import cast, override

import anyio
from anyio import BrokenResourceError, ClosedResourceError
from anyio.abc import ByteSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from polystow._body import Body, StreamBody
from polystow._errors import StorageError
from polystow._lifecycle import Lifecycle
from polystow._tasks import sole_error
from polystow._values import ObjectInfo


class WriteStream(ByteSendStream):
    """Takes an object's content piece by piece; waits while the backend is behind.

    The object is there after a clean exit from `async with storage.open_write(...)`, and only
    then.
    """

    def __init__(self, pieces: MemoryObjectSendStream[bytes]) -> None:
        self._pieces = pieces
        self._closed = False
        self._info: ObjectInfo | None = None
        self._failure: Exception | None = None
        self._ended = anyio.Event()

    @property
    def info(self) -> ObjectInfo:
        """The object that was written.

        Raises:
            StorageError: It is not written yet.
        """
        if self._info is None:
            raise StorageError("the object is written when the `async with` block was left")
        return self._info

    @override
    async def send(self, item: bytes) -> None:
        """Write a piece of any length.

        Raises:
            StorageError: The write has failed; leave the block.
            ClosedResourceError: `aclose` was called, or the block was left.
            TypeError: The piece is not bytes-like.
        """
        if self._closed:
            raise ClosedResourceError
        piece = _immutable(item)
        if not piece:
            return
        try:
            await self._pieces.send(piece)
        except BrokenResourceError:
            # The body was closed: the write is about to end, and its error is what counts.
            await self._ended.wait()
            self.finished()
            raise StorageError(
                "the driver ended the write before all was sent", operation="write"
            ) from None

    @override
    async def aclose(self) -> None:
        """Refuse further pieces. The object is completed when the block is left, not before."""
        self._closed = True

    async def run(
        self,
        write: Callable[[Body], Awaitable[ObjectInfo]],
        pieces: MemoryObjectReceiveStream[bytes],
        size: int | None,
    ) -> None:
        """Write what is sent; the task beside the caller's block."""
        try:
            self._info = await write(StreamBody(pieces, size))
        except Exception as error:  # noqa: BLE001 - raised in the caller's task
            self._failure = error
        finally:
            pieces.close()
            self._ended.set()

    def finished(self) -> None:
        """Raise what made the write fail, if it did."""
        if self._failure is not None:
            raise self._failure


def _immutable(item: object) -> bytes:
    # What the caller may change before it was sent is copied; what is no bytes is a TypeError.
    return item if isinstance(item, bytes) else bytes(memoryview(cast("Buffer", item)))


@asynccontextmanager
async def open_write_stream(
    write: Callable[[Body], Awaitable[ObjectInfo]], size: int | None, lifecycle: Lifecycle
) -> AsyncGenerator[WriteStream]:
    """Run a write whose body is what the block sends."""
    lifecycle.begin()
    failure: BaseException | None = None
    try:
        sender, receiver = anyio.create_memory_object_stream[bytes](0)
        stream = WriteStream(sender)
        with sender, receiver:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stream.run, write, receiver, size)
                    try:
                        yield stream
                    except BaseException as error:
                        # First cancel, then close: to the driver a closed body looks like its end.
                        tasks.cancel_scope.cancel()
                        failure = error
                        raise
                    await stream.aclose()
                    sender.close()
            except BaseExceptionGroup as group:
                if failure is None:
                    failure = sole_error(group)
        if failure is not None:
            raise failure  # the block's own, as it is, be it a group or a cancellation
        stream.finished()
    finally:
        lifecycle.end()
        failure = None
