"""An object's content from the gateway, which goes on where it broke off."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import override

import aiohttp
from aiohttp import ClientResponse
from anyio import EndOfStream
from attrs import evolve

from polystow import (
    ByteRange,
    ContentRange,
    ObjectInfo,
    ReadOptions,
    ReadStream,
    StorageError,
    TransportError,
)
from polystow_gateway._breakage import broken_read
from polystow_gateway._wire import INFO_HEADER, RANGE_HEADER, WireError, loads

_RESUMES = 3
"""How often in succession a stream goes on without a byte having come."""

type Reopen = Callable[[ReadOptions], Awaitable[tuple[ClientResponse, ObjectInfo, ContentRange]]]


def described(response: ClientResponse) -> tuple[ObjectInfo, ContentRange]:
    """What an answer tells of its object, and of the part that it carries.

    Raises:
        StorageError: It tells nothing: it is no gateway's.
    """
    try:
        info = loads(ObjectInfo, response.headers[INFO_HEADER])
        offset, length, size = response.headers[RANGE_HEADER].split(" ")
        part = ContentRange(int(offset), int(length), None if size == "*" else int(size))
    except (KeyError, ValueError, WireError) as error:
        raise StorageError("that is no answer of a gateway; is the address right?") from error
    return info, part


class GatewayStream(ReadStream):
    """Carries an answer's bytes; a connection that breaks is replaced by one more request.

    Args:
        response: The answer.
        info: What is known of the object.
        part: What of it the answer carries.
        options: How it was read.
        reopen: Reads the object once more.
        blame: Fills what an error does not say.
    """

    def __init__(
        self,
        response: ClientResponse,
        info: ObjectInfo,
        part: ContentRange,
        options: ReadOptions,
        reopen: Reopen,
        blame: Callable[[StorageError], StorageError],
    ) -> None:
        self.info = info
        self.range = part
        self.chunk_size_bytes = options.chunk_size_bytes
        self._response: ClientResponse | None = response
        self._options = options
        self._reopen = reopen
        self._blame = blame
        self._left = part.length
        self._fruitless = 0

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        while self._left:
            if self._response is None:
                raise self._blame(
                    TransportError("the read was cancelled, so the rest of it is lost")
                )
            try:
                chunk = await self._response.content.read(min(max_bytes, self._left))
                if not chunk:
                    raise TransportError(
                        f"the gateway's answer ended {self._left} bytes early", retryable=True
                    )
            except (aiohttp.ClientError, TimeoutError, TransportError) as error:
                await self._go_on(error)
                continue
            except asyncio.CancelledError:
                self._drop()
                raise
            self._fruitless = 0
            self._left -= len(chunk)
            if not self._left:
                await self._finish()
            return chunk
        await self._finish()
        raise EndOfStream

    async def _go_on(self, error: Exception) -> None:
        failure = error if isinstance(error, StorageError) else broken_read(error)
        if failure is not error:
            failure.__cause__ = error
        self._drop()
        self._fruitless += 1
        if self._fruitless > _RESUMES:
            raise self._blame(failure)
        start = self.range.offset + self.range.length - self._left
        options = evolve(
            self._options,
            range=ByteRange(start, start + self._left - 1),
            if_match=self.info.etag,
            if_none_match=None,
            if_modified_since=None,
        )
        response, info, part = await self._reopen(options)
        same = (info.etag, info.checksum, info.size) == (
            self.info.etag,
            self.info.checksum,
            self.info.size,
        )
        if not same or (part.offset, part.length) != (start, self._left):
            response.close()
            raise self._blame(failure)
        self._response = response

    async def _finish(self) -> None:
        # Its end was not seen yet, without which the connection could not be used again.
        response, self._response = self._response, None
        if response is None:
            return
        try:
            await response.content.read(1)
        except (aiohttp.ClientError, TimeoutError):
            response.close()
        except BaseException:
            response.close()
            raise
        else:
            response.release()

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    @override
    async def aclose(self) -> None:
        """Give the connection back, or close it if bytes are left."""
        self._drop()
        self._left = 0
