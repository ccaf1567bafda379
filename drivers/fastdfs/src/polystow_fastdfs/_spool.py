"""Bodies of unknown length, where a request has to say beforehand how long its body is.

Short ones are kept in memory, longer ones in a temporary file of bounded length.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import BinaryIO, Final, Self, cast

import anyio
from anyio.abc import ByteReceiveStream

from polystow import (
    Body,
    BytesBody,
    FileObjectBody,
    FileTooLargeError,
    clean_up_in_thread,
    in_thread,
)
from polystow_fastdfs._bodies import Chunk, Source
from polystow_fastdfs._config import FastdfsConfig

CLOSE_S: Final = 5.0
"""How long a body's stream may take to close."""


class Opener:
    """Opens a body, as often as it is needed, and closes what it has opened.

    Args:
        body: The body.
    """

    __slots__ = ("_body", "_stack")

    def __init__(self, body: Body) -> None:
        self._body = body
        self._stack: AsyncExitStack | None = None

    @property
    def replayable(self) -> bool:
        """Whether it can be opened again."""
        return self._body.replayable

    async def open(self) -> Source:
        """The chunks of the body, from its beginning."""
        if isinstance(self._body, BytesBody):
            return Source.of_memory(self._body.data)
        if self._stack is None:
            self._stack = AsyncExitStack()
        return await self._stack.enter_async_context(open_source(self._body))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stack is not None:
            await self._stack.aclose()


@asynccontextmanager
async def open_source(body: Body) -> AsyncGenerator[Source]:
    """The chunks of a body, from its beginning."""
    if isinstance(body, BytesBody):
        yield Source.of_memory(body.data)
        return
    stream = await body.open()
    try:
        yield Source((), stream)
    finally:
        await _close(stream)


@asynccontextmanager
async def sized(body: Body, config: FastdfsConfig) -> AsyncGenerator[Body]:
    """A body of known length with the same content.

    Args:
        body: Any; one of known length is given back as it is.
        config: How much may be kept in memory, and how much on disk.

    Raises:
        FileTooLargeError: It has more than `spool_max_bytes`.
    """
    if body.size is not None:
        yield body
        return
    async with open_source(body) as source:
        part = await source.take(config.append_size_bytes)
        more = await source.next()
        if not more:
            yield BytesBody(b"".join(part))
            return
        source.put_back(more)
        async with spooled(part, source, config) as whole:
            yield whole


@asynccontextmanager
async def spooled(
    part: list[Chunk], source: Source, config: FastdfsConfig
) -> AsyncGenerator[FileObjectBody]:
    """What was read of a body, and the rest of it, in a temporary file.

    Args:
        part: What was read; emptied.
        source: The rest.
        config: Where to, and how much.

    Raises:
        FileTooLargeError: It has more than `spool_max_bytes`.
    """
    async with _temporary_file(config) as file:
        size = 0
        chunk: Chunk = b"".join(part)
        part.clear()
        while chunk:
            size += len(chunk)
            if size > config.spool_max_bytes:
                limit = config.spool_max_bytes
                message = f"a body of unknown length has more than spool_max_bytes, {limit}"
                raise FileTooLargeError(message)
            await in_thread(partial(file.write, chunk))
            chunk = await source.next()
        yield FileObjectBody(file, size, 0)


@asynccontextmanager
async def _temporary_file(config: FastdfsConfig) -> AsyncGenerator[BinaryIO]:
    def make() -> BinaryIO:
        return cast("BinaryIO", tempfile.TemporaryFile(dir=config.spool_directory))

    file = await in_thread(make, undo=lambda file: file.close())
    try:
        yield file
    finally:
        await clean_up_in_thread(file.close)


async def _close(stream: ByteReceiveStream) -> None:
    with anyio.move_on_after(CLOSE_S, shield=True):
        await stream.aclose()
