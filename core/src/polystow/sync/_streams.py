"""Streams, listings and archives of a sync storage."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self, cast

from anyio import EndOfStream

import polystow._multipart as multipart
from polystow._driver import ReadStream as AsyncReadStream
from polystow._pages import Listing as AsyncListing
from polystow._ranges import ContentRange
from polystow._values import Checksum, Failure, ObjectInfo, Part, PartLimits
from polystow._write_stream import WriteStream as AsyncWriteStream
from polystow._zip import ZipStream as AsyncZipStream
from polystow.sync._content import Content, to_async
from polystow.sync._portal import Portal

_END = object()


class ReadStream:
    """What `Storage.open_read` gives; as `polystow.ReadStream`.

    Attributes:
        info: The object.
        range: The part of it that the stream carries.
        chunk_size_bytes: The most bytes that a step of an iteration gives.
    """

    def __init__(self, portal: Portal, stream: AsyncReadStream) -> None:
        self.info: ObjectInfo = stream.info
        self.range: ContentRange = stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._portal = portal
        self._stream = stream

    def receive(self, max_bytes: int = 65_536) -> bytes:
        """At least one byte and at most so many.

        Raises:
            EndOfStream: After the last.
        """
        return self._portal.run(lambda: self._stream.receive(max_bytes))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self.receive(self.chunk_size_bytes)
        except EndOfStream:
            raise StopIteration from None

    def close(self) -> None:
        """End it early; leaving the `with` block does that too."""
        self._portal.run(self._stream.aclose)


class WriteStream:
    """What `Storage.open_write` gives; as `polystow.WriteStream`."""

    def __init__(self, portal: Portal, stream: AsyncWriteStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def info(self) -> ObjectInfo:
        """The object that was written.

        Raises:
            StorageError: It is not written yet.
        """
        return self._stream.info

    def send(self, item: bytes) -> None:
        """Write a piece of any length."""
        self._portal.run(lambda: self._stream.send(item))

    def close(self) -> None:
        """Refuse further pieces. The object is completed when the block is left, not before."""
        self._portal.run(self._stream.aclose)


class MultipartSession:
    """What `Storage.multipart` gives; as `polystow.MultipartSession`.

    Parts go side by side where several threads put them.
    """

    def __init__(self, portal: Portal, session: multipart.MultipartSession) -> None:
        self._portal = portal
        self._session = session

    @property
    def limits(self) -> PartLimits:
        """How large parts can be and how many there can be."""
        return self._session.limits

    @property
    def uri(self) -> str:
        """The id of the object that it becomes."""
        return self._session.uri

    @property
    def token(self) -> str:
        """For `Storage.multipart(token=…)`, also in another process."""
        return self._session.token

    @property
    def parts(self) -> Sequence[Part]:
        """The parts that the backend has, by number."""
        return self._session.parts

    @property
    def bytes_sent(self) -> int:
        """How many bytes they have."""
        return self._session.bytes_sent

    @property
    def info(self) -> ObjectInfo:
        """The object.

        Raises:
            StorageError: It is not completed yet.
        """
        return self._session.info

    def put_part(
        self,
        content: Content,
        number: int | None = None,
        *,
        size: int | None = None,
        checksum: Checksum | None = None,
    ) -> Part:
        """Upload a part; without a number it gets the one after the highest."""

        async def put() -> Part:
            content_ = to_async(content)
            return await self._session.put_part(content_, number, size=size, checksum=checksum)

        return self._portal.run(put)

    def complete(self) -> ObjectInfo:
        """Make the object of the parts; the end of the `with` does that by itself."""
        return self._portal.run(self._session.complete)

    def abort(self) -> None:
        """Drop the upload with all of its parts."""
        self._portal.run(self._session.abort)

    def keep(self) -> None:
        """Let the upload be as it is when the block is left, for who has the `token`."""
        self._session.keep()


class Listing[T]:
    """An iterator over a listing, for `for`; as `polystow.Listing`."""

    def __init__(self, portal: Portal, listing: AsyncListing[T]) -> None:
        self._portal = portal
        self._listing = listing

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        # A coroutine can't raise StopIteration, and an async one would leave as an error.
        item = self._portal.run(lambda: _next(self._listing))
        if item is _END:
            raise StopIteration
        return cast("T", item)

    def close(self) -> None:
        """End it early."""
        self._portal.run(self._listing.aclose)


class ZipStream:
    """The chunks of an archive, for `for`; or all of them for `save`; as `polystow.ZipStream`."""

    def __init__(self, portal: Portal, stream: AsyncZipStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def skipped(self) -> Sequence[Failure]:
        """The members that were left out so far, each with its error."""
        return self._stream.skipped

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        item = self._portal.run(lambda: _next(self._stream))
        if item is _END:
            raise StopIteration
        return cast("bytes", item)

    def close(self) -> None:
        """End it early, and the reads behind it."""
        self._portal.run(self._stream.aclose)

    def save(self, target: str | Path | BinaryIO) -> int:
        """Write the archive into a local file; its length in bytes."""
        return self._portal.run(lambda: self._stream.save(target))


async def _next[T](iterator: AsyncIterator[T]) -> T | object:
    return await anext(iterator, _END)
