"""What a sync application can write."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from anyio import to_thread
from attrs import frozen

from polystow._body import Body
from polystow._body import Content as AsyncContent
from polystow._uploading import NewFile as AsyncNewFile
from polystow._value import Value
from polystow._values import KeyPolicy

type Content = bytes | bytearray | memoryview | str | Path | BinaryIO | Iterable[bytes] | Body
"""As `polystow.Content`, with iterables instead of async ones. A `str` is UTF-8 text."""


@frozen(eq=False, repr=False)
class NewFile(Value):
    """A file of `Storage.upload_many`; as `polystow.NewFile`.

    Attributes:
        filename: Its original name.
        content: As in `Storage.write`.
        folder: As in `Storage.upload`, as are the others.
        container: See there.
        key_policy: See there.
        size: See there.
        content_type: See there.
        metadata: See there.
    """

    filename: str
    content: Content
    folder: str | None = None
    container: str | None = None
    key_policy: KeyPolicy | None = None
    size: int | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] | None = None


def to_async(content: Content) -> AsyncContent:
    """The same content for the async storage; an iterable is advanced in worker threads."""
    if isinstance(content, bytes | bytearray | memoryview | str | Path):
        return cast("AsyncContent", content)
    given: object = content
    if hasattr(given, "read") or hasattr(given, "open") or not isinstance(given, Iterable):
        return cast("AsyncContent", given)  # what can't be written is refused there
    return _iterate(iter(cast("Iterable[bytes]", given)))


def to_async_files(files: Iterable[NewFile]) -> AsyncIterator[AsyncNewFile]:
    """The same files for the async storage; the iterable is advanced in worker threads."""
    return _convert(_iterate(iter(files)))


async def _convert(files: AsyncIterator[NewFile]) -> AsyncIterator[AsyncNewFile]:
    async for file in files:
        yield AsyncNewFile(
            *(file.filename, to_async(file.content), file.folder, file.container),
            *(file.key_policy, file.size, file.content_type, file.metadata),
        )


async def _iterate[T](items: Iterator[T]) -> AsyncIterator[T]:
    end = object()
    while True:
        item: object = await to_thread.run_sync(next, items, end)
        if item is end:
            return
        yield cast("T", item)
