"""Writing piece by piece: the stream that `Storage.open_write` gives."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import override

import anyio
from anyio import BrokenResourceError, ClosedResourceError
from anyio.abc import ByteSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from polystow._body import Body, StreamBody
from polystow._errors import StorageError
from polystow._tasks import sole_error
from polystow._values import ObjectInfo


class WriteStream(ByteSendStream):
    """Takes an object's content piece by piece; waits while the backend is behind.

    The object is there after a clean exit from `async with storage.open_write(...)`, and only
    then.
    """

    def __init__(self, pieces: MemoryObjectSendStream[bytes]) -> None:
        self._pieces = pieces
        self._info: ObjectInfo | None = None
        self._failure: Exception | None = None

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
        """
        if not item:
            return
        try:
            await self._pieces.send(item)
        except (BrokenResourceError, ClosedResourceError):
            if self._failure is not None:
                raise self._failure from None
            raise

    @override
    async def aclose(self) -> None:
        """Say that the content ends here; leaving the block does it too."""
        await self._pieces.aclose()

    async def run(
        self,
        write: Callable[[Body], Awaitable[ObjectInfo]],
        pieces: MemoryObjectReceiveStream[bytes],
        size: int | None,
    ) -> None:
        """Write what is sent; the task beside the caller's block."""
        async with pieces:
            try:
                self._info = await write(StreamBody(pieces, size))
            except Exception as error:  # noqa: BLE001 - raised in the caller's task
                self._failure = error

    def finished(self) -> None:
        """Raise what made the write fail, if it did."""
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def open_write_stream(
    write: Callable[[Body], Awaitable[ObjectInfo]], size: int | None
) -> AsyncGenerator[WriteStream]:
    """Run a write whose body is what the block sends."""
    sender, receiver = anyio.create_memory_object_stream[bytes](0)
    stream = WriteStream(sender)
    failure: BaseException | None = None
    with sender, receiver:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stream.run, write, receiver, size)
                try:
                    yield stream
                except BaseException:
                    # First cancel, then close: to the driver a closed body looks like its end.
                    tasks.cancel_scope.cancel()
                    raise
                await sender.aclose()
        except BaseExceptionGroup as group:
            failure = sole_error(group)
    if failure is not None:
        raise failure
    stream.finished()
