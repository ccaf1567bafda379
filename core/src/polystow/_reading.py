"""A read as a context manager: what `Storage.open_read` gives."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import override

from polystow._driver import ReadStream, StorageDriver
from polystow._lifecycle import Lifecycle
from polystow._progress import Progress, ProgressReadStream
from polystow._values import ReadOptions


class ReadContext(AbstractAsyncContextManager[ReadStream]):
    """Opens a stream on entering, and closes it on leaving; it counts as under way meanwhile."""

    __slots__ = ("_file_id", "_lifecycle", "_options", "_progress", "_root", "_stream")

    def __init__(
        self,
        root: StorageDriver,
        lifecycle: Lifecycle,
        file_id: str,
        options: ReadOptions,
        progress: Progress | None = None,
    ) -> None:
        self._root = root
        self._lifecycle = lifecycle
        self._file_id = file_id
        self._options = options
        self._progress = progress
        self._stream: ReadStream | None = None

    @override
    async def __aenter__(self) -> ReadStream:
        self._lifecycle.begin()
        try:
            stream = await self._root.open_read(self._file_id, self._options)
        except BaseException:
            self._lifecycle.end()
            raise
        if self._progress is not None:
            stream = ProgressReadStream(stream, self._progress)
        self._stream = stream
        return stream

    @override
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                await stream.aclose()
            finally:
                self._lifecycle.end()
