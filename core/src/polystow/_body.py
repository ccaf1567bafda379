"""What is written: bytes, files and streams behind one small protocol.

`make_body` turns what an application has into a `Body`; a driver sees only that. The stream that
a body opens gives its last chunk only after it has seen that the body ends there, so a driver
that sends what it receives can't complete an object of the wrong length.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from io import SEEK_END, TextIOBase
from os import SEEK_SET, fspath
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Protocol, cast, runtime_checkable

from anyio import to_thread
from anyio.abc import ByteReceiveStream
from attrs import define, field, frozen

from polystow._body_streams import BytesStream, FileStream, IteratorStream, SizedStream, sized
from polystow._errors import NotFoundError, StorageError, TruncatedBodyError
from polystow._value import Value

READ_SIZE_BYTES = 1_048_576
"""How much of a file one step in a worker thread reads at most."""

_AT_ONCE_BYTES = 65_536
"""A file up to this is read when its body is made: one step in a worker thread instead of four."""


class Body(Protocol):
    """The content of a write."""

    @property
    def size(self) -> int | None:
        """Its length in bytes; None if it is not known."""
        ...

    @property
    def replayable(self) -> bool:
        """Whether `open` can be called again, so that a failed request can be repeated."""
        ...

    def open(self) -> Awaitable[ByteReceiveStream]:
        """Open the content at its beginning; the caller closes the stream.

        The stream raises `TruncatedBodyError` instead of its last chunk if the content is not
        `size` bytes long.
        """
        ...


@runtime_checkable
class AsyncReadable(Protocol):
    """Anything with an async `read`, such as Starlette's `UploadFile`."""

    def read(self, size: int = -1, /) -> Awaitable[bytes]:
        """Read up to `size` bytes; empty at the end."""
        ...


class AsyncWritable(Protocol):
    """Anything with an async `write`, such as anyio's files."""

    def write(self, data: bytes, /) -> Awaitable[object]:
        """Write all of `data`."""
        ...


type Content = (
    bytes
    | bytearray
    | memoryview
    | str
    | Path
    | BinaryIO
    | AsyncReadable
    | AsyncIterable[bytes]
    | Body
)
"""What an application can write. A `str` is UTF-8 text, never a path."""


@frozen(eq=False, repr=False)
class BytesBody(Value):
    """A body in memory; `data` is there for drivers that can send it in one piece."""

    data: bytes | memoryview

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.data)

    @property
    def replayable(self) -> bool:
        """Always."""
        return True

    async def open(self) -> ByteReceiveStream:
        """A stream over the data; it copies no more than each chunk."""
        return BytesStream(memoryview(self.data))


@frozen(eq=False, repr=False)
class PathBody(Value):
    """A file on the local disk, read in worker threads.

    Attributes:
        path: The file.
        size: Its length in bytes when the body was made; reading checks it.
    """

    path: Path
    size: int

    @property
    def replayable(self) -> bool:
        """Always."""
        return True

    async def open(self) -> ByteReceiveStream:
        """Open the file.

        Raises:
            NotFoundError: It is gone.
        """
        try:
            file = await to_thread.run_sync(lambda: self.path.open("rb"))
        except FileNotFoundError as error:
            raise NotFoundError(
                "the local file is gone", path=fspath(self.path)
            ).settled() from error
        return SizedStream(FileStream(file, close=True), self.size)


@define(eq=False)
class FileObjectBody:
    """An open binary file, read in worker threads from where it stands; it is not closed.

    Attributes:
        file: The file object.
        size: What is left of it, in bytes; None if it can't tell.
        start: Where it stood; None if it can't seek, so that it can be read only once.
    """

    file: BinaryIO
    size: int | None
    start: int | None
    _opened: bool = field(default=False, init=False)

    @property
    def replayable(self) -> bool:
        """If it can seek."""
        return self.start is not None

    async def open(self) -> ByteReceiveStream:
        """Go back to where the file stood, and read from there.

        Raises:
            StorageError: It can't seek, and was opened before.
        """
        if self.start is not None:
            await to_thread.run_sync(self.file.seek, self.start, SEEK_SET)
        elif self._opened:
            raise _read_already()
        self._opened = True
        return sized(FileStream(self.file, close=False), self.size)


@define(eq=False)
class StreamBody:
    """An async iterable of bytes, which can be read only once.

    Attributes:
        source: The iterable.
        size: Its length in bytes, if the caller declared it.
    """

    source: AsyncIterable[bytes]
    size: int | None = None
    _opened: bool = field(default=False, init=False)

    @property
    def replayable(self) -> bool:
        """Never."""
        return False

    async def open(self) -> ByteReceiveStream:
        """Start the iteration; once.

        Raises:
            StorageError: It was opened before.
        """
        if self._opened:
            raise _read_already()
        self._opened = True
        return sized(IteratorStream(aiter(self.source)), self.size)


@frozen(eq=False, repr=False)
class _DeclaredBody(Value):
    """A body that does not know its length, with the one that the caller declared."""

    body: Body
    size: int

    @property
    def replayable(self) -> bool:
        return self.body.replayable

    async def open(self) -> ByteReceiveStream:
        return SizedStream(await self.body.open(), self.size)


async def make_body(content: Content, size: int | None = None) -> Body:
    """Turn what an application has into a body.

    Args:
        content: Bytes-like; text, which is encoded as UTF-8; a path; a binary file object or
            one with an async `read`, read from where it stands; or an async iterable of bytes.
        size: The declared length in bytes, checked while the body is read; by default what
            the content itself tells.

    Raises:
        TypeError: It is none of these.
        ValueError: `size` is negative.
        NotFoundError: The path is no regular file.
        TruncatedBodyError: The content in memory, or the file, has not the declared length.
    """
    if size is not None and size < 0:
        raise ValueError(f"size is {size}; it is a number of bytes, or None if it is not known")
    body = await _body_of(content, size)
    if size is None or body.size == size:
        return body
    if body.size is None:
        return _DeclaredBody(body, size)
    raise TruncatedBodyError(f"the body was declared as {size} bytes and has {body.size}")


async def _body_of(content: Content, size: int | None) -> Body:
    if isinstance(content, bytes):
        return BytesBody(content)
    if isinstance(content, str):
        return BytesBody(content.encode())
    if isinstance(content, bytearray | memoryview):
        return BytesBody(memoryview(content).cast("B"))
    if isinstance(content, Path):
        return await to_thread.run_sync(_path_body, content)
    if isinstance(content, BytesBody | PathBody | FileObjectBody | StreamBody):
        return content
    if _is_body(content):
        return cast("Body", content)
    read = getattr(content, "read", None)
    if read is not None and _is_coroutine_function(read):
        return StreamBody(_read_all(cast("AsyncReadable", content)), size)
    if read is not None:
        return await to_thread.run_sync(_file_object_body, content, size)
    if isinstance(content, AsyncIterable):
        return StreamBody(content, size)
    raise TypeError(
        f"a {type(content).__name__} can't be written; give bytes, str (UTF-8 text), a Path, a "
        "binary file, an object with an async read, or an async iterable of bytes"
    )


def _is_coroutine_function(function: object) -> bool:
    from inspect import iscoroutinefunction  # 10 ms of imports that bytes need not pay for

    return iscoroutinefunction(function)


def _read_already() -> StorageError:
    return StorageError("the body is a stream, was read already, and can't be read again")


def _is_body(content: object) -> bool:
    return all(hasattr(content, name) for name in ("size", "replayable", "open"))


def _path_body(path: Path) -> Body:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise NotFoundError("there is no such local file", path=fspath(path)) from None
    if not S_ISREG(status.st_mode):
        raise NotFoundError("it is no regular file and can't be written", path=fspath(path))
    size = status.st_size
    if size <= _AT_ONCE_BYTES:
        # What can't be read, or is being changed, is for the write to tell.
        with suppress(OSError), path.open("rb", buffering=0) as file:
            data = file.read(size + 1)
            if len(data) == size:
                return BytesBody(data)
    return PathBody(path, size)


def _file_object_body(content: object, size: int | None) -> FileObjectBody:
    if isinstance(content, TextIOBase):
        raise TypeError("a text file can't be written: open it in binary mode")
    file = cast("BinaryIO", content)
    seekable: Callable[[], bool] | None = getattr(file, "seekable", None)
    if seekable is None or not seekable():
        return FileObjectBody(file, size, None)
    start = file.tell()
    end = file.seek(0, SEEK_END)
    file.seek(start)
    return FileObjectBody(file, max(0, end - start), start)


async def _read_all(source: AsyncReadable) -> AsyncIterator[bytes]:
    while chunk := await source.read(READ_SIZE_BYTES):
        yield chunk
