"""Uploads in parts that are under way: listing them, and dropping those that nobody completes."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self, override

from polystow._driver import SupportsMultipart
from polystow._errors import StorageError
from polystow._lifecycle import Lifecycle
from polystow._pages import Listing
from polystow._tasks import run_all
from polystow._values import BatchResult, Failure, MultipartUpload

_CONCURRENT_ABORTS = 8


class MultipartListing(Listing[MultipartUpload]):
    """The uploads under way below a prefix; a page is fetched when it is needed."""

    def __init__(self, uploader: SupportsMultipart, lifecycle: Lifecycle, prefix: str) -> None:
        self._uploader = uploader
        self._lifecycle = lifecycle
        self._prefix = prefix
        self._items: Iterator[MultipartUpload] = iter(())
        self._cursor: str | None = None
        self._ended = False

    @override
    def __aiter__(self) -> Self:
        return self

    @override
    async def __anext__(self) -> MultipartUpload:
        while True:
            for item in self._items:
                return item
            if self._ended:
                raise StopAsyncIteration
            with self._lifecycle:
                page = await self._uploader.list_multiparts(self._prefix, self._cursor)
            self._items, self._cursor = iter(page.items), page.cursor
            self._ended = page.cursor is None

    @override
    async def aclose(self) -> None:
        self._items, self._ended = iter(()), True


async def sweep(
    uploader: SupportsMultipart, uploads: Listing[MultipartUpload], older_than: timedelta
) -> BatchResult:
    """Abort the uploads that began longer ago than that; each fails by itself.

    An upload of which the backend does not tell when it began stays.
    """
    begun_before = datetime.now(UTC) - older_than
    stale = [
        upload
        async for upload in uploads
        if upload.started is not None and upload.started <= begun_before
    ]
    failures: dict[int, StorageError] = {}

    async def abort(position: int, upload: MultipartUpload) -> None:
        try:
            await uploader.abort_multipart(upload.path, upload.upload_id)
        except StorageError as error:
            failures[position] = error

    if stale:
        calls = [partial(abort, position, upload) for position, upload in enumerate(stale)]
        await run_all(calls, limit=_CONCURRENT_ABORTS)
    return _result(stale, failures)


def _result(uploads: Sequence[MultipartUpload], failures: dict[int, StorageError]) -> BatchResult:
    return BatchResult(
        [upload.path for position, upload in enumerate(uploads) if position not in failures],
        [Failure(uploads[position].path, failures[position]) for position in sorted(failures)],
    )
