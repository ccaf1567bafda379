"""The streams that bodies open: over memory, files and iterators, and the check of the length."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, BinaryIO, cast, override

from anyio import EndOfStream, to_thread
from anyio.abc import ByteReceiveStream

from polystow._errors import StorageError, TruncatedBodyError

_DEFAULT_MAX_BYTES = 65_536

type _Read = Callable[[int], object]


class BytesStream(ByteReceiveStream):
    """Over memory."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._offset = 0

    @override
    async def receive(self, max_bytes: int = _DEFAULT_MAX_BYTES) -> bytes:
        if self._offset >= len(self._data):
            raise EndOfStream
        chunk = bytes(self._data[self._offset : self._offset + max_bytes])
        self._offset += len(chunk)
        return chunk

    @override
    async def aclose(self) -> None:
        self._offset = len(self._data)


class FileStream(ByteReceiveStream):
    """Over a binary file, read in worker threads.

    Args:
        file: The file, read from where it stands.
        close: Whether to close it with the stream.
    """

    def __init__(self, file: BinaryIO, *, close: bool) -> None:
        self._file = file
        self._close = close

    @property
    @override
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The file, for drivers that read it themselves from some point on."""
        from anyio.streams.file import FileStreamAttribute  # 5 ms of imports that few need

        return {FileStreamAttribute.file: lambda: self._file}

    @override
    async def receive(self, max_bytes: int = _DEFAULT_MAX_BYTES) -> bytes:
        chunk: object = await to_thread.run_sync(cast("_Read", self._file.read), max_bytes)
        if not chunk:
            raise EndOfStream
        if not isinstance(chunk, bytes | bytearray):
            raise TypeError(f"the file gave a {type(chunk).__name__}; open it in binary mode")
        return bytes(chunk)

    @override
    async def aclose(self) -> None:
        if self._close:
            self._file.close()


class IteratorStream(ByteReceiveStream):
    """Over an async iterator, whose chunks may have any size."""

    def __init__(self, iterator: AsyncIterator[object]) -> None:
        self._iterator = iterator
        self._rest = memoryview(b"")

    @override
    async def receive(self, max_bytes: int = _DEFAULT_MAX_BYTES) -> bytes:
        while not self._rest:
            try:
                chunk = await anext(self._iterator)
            except StopAsyncIteration:
                raise EndOfStream from None
            except StorageError as error:
                # The caller's own trouble with another storage, not with what is written here.
                error.settled()
                raise
            if isinstance(chunk, bytes) and 0 < len(chunk) <= max_bytes:
                return chunk
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise TypeError(f"the body gave a {type(chunk).__name__}; it has to give bytes")
            self._rest = memoryview(chunk).cast("B")  # pyright: ignore[reportUnknownArgumentType]
        part = bytes(self._rest[:max_bytes])
        self._rest = self._rest[max_bytes:]
        return part

    @override
    async def aclose(self) -> None:
        self._rest = memoryview(b"")
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            await aclose()


class SizedStream(ByteReceiveStream):
    """Passes another stream on, if it is exactly `size` bytes long.

    The last chunk is held back until the end behind it was seen, so that whoever sends on what
    it receives can't complete an object of the wrong length.
    """

    def __init__(self, stream: ByteReceiveStream, size: int) -> None:
        self._stream = stream
        self._size = size
        self._left = size
        self._ended = False

    @property
    @override
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the other stream; who takes its file checks the length from there on."""
        attributes = self._stream.extra_attributes  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return cast("Mapping[Any, Callable[[], Any]]", attributes)

    @override
    async def receive(self, max_bytes: int = _DEFAULT_MAX_BYTES) -> bytes:
        if self._ended:
            raise EndOfStream
        chunk = b""
        if self._left:
            try:
                chunk = await self._stream.receive(max_bytes)
            except EndOfStream:
                received = self._size - self._left
                raise TruncatedBodyError(
                    f"the body was declared as {self._size} bytes and ended after {received}; "
                    "nothing was stored"
                ) from None
            self._left -= len(chunk)
        if self._left < 0 or (not self._left and not await self._at_end()):
            raise TruncatedBodyError(
                f"the body was declared as {self._size} bytes and goes on after them; "
                "nothing was stored"
            )
        if not chunk:
            raise EndOfStream
        return chunk

    async def _at_end(self) -> bool:
        try:
            await self._stream.receive(1)
        except EndOfStream:
            self._ended = True
        return self._ended

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()


def sized(stream: ByteReceiveStream, size: int | None) -> ByteReceiveStream:
    """`stream`, checked against its declared length if there is one."""
    return stream if size is None else SizedStream(stream, size)
