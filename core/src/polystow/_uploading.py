"""Batches of new files, written side by side."""

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import NamedTuple

import anyio
from attrs import frozen

from polystow._arguments import UploadArguments
from polystow._body import Content
from polystow._tasks import sole_error
from polystow._value import Value
from polystow._values import KeyPolicy, NameHint, ObjectInfo


@frozen(eq=False, repr=False)
class NewFile(Value):
    """A file of `Storage.upload_many`; what is None is taken from the batch.

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

    def hint(self, folder: str | None, container: str | None, keys: KeyPolicy | None) -> NameHint:
        """Where it goes, with what the batch says of those that say nothing themselves."""
        return NameHint(
            self.filename,
            folder if self.folder is None else self.folder,
            container if self.container is None else self.container,
            keys if self.key_policy is None else self.key_policy,
        )

    def arguments(self, of_batch: UploadArguments) -> UploadArguments:
        """Its arguments, with those of the batch."""
        arguments = of_batch.copy()
        if self.content_type is not None:
            arguments["content_type"] = self.content_type
        if self.metadata is not None:
            arguments["metadata"] = self.metadata
        return arguments


class UploadFailure(NamedTuple):
    """A file of a batch that was not stored.

    Attributes:
        position: Which, counted from 0.
        filename: Its name.
        error: Why: a `StorageError`, or what its content raised.
    """

    position: int
    filename: str
    error: Exception


@frozen(eq=False, repr=False)
class UploadBatch(Value):
    """What `Storage.upload_many` did.

    Attributes:
        results: An object or a failure for each file, in the order of the files.
    """

    results: Sequence[ObjectInfo | UploadFailure]

    @property
    def succeeded(self) -> Sequence[ObjectInfo]:
        """The objects, in the order of the files."""
        return [result for result in self.results if isinstance(result, ObjectInfo)]

    @property
    def failed(self) -> Sequence[UploadFailure]:
        """The failures, in the order of the files."""
        return [result for result in self.results if isinstance(result, UploadFailure)]


async def upload_each(
    files: Iterable[NewFile] | AsyncIterable[NewFile],
    upload: Callable[[NewFile], Awaitable[ObjectInfo]],
    concurrency: int,
) -> UploadBatch:
    """Upload files side by side, each taken from `files` when its turn comes.

    Raises:
        ValueError: `concurrency` is below 1.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; 1 is the least")
    queue = _Queue(files)
    results: dict[int, ObjectInfo | UploadFailure] = {}

    async def work() -> None:
        async for position, file in queue:
            try:
                results[position] = await upload(file)
            except Exception as error:  # noqa: BLE001 - one of a batch, which reports it
                results[position] = UploadFailure(position, file.filename, error)

    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(concurrency):
                tasks.start_soon(work)
    except BaseExceptionGroup as group:
        failure = sole_error(group)
    if failure is not None:
        raise failure
    return UploadBatch([results[position] for position in range(len(results))])


class _Queue:
    """Numbers what comes from one iterator, for several tasks."""

    def __init__(self, files: Iterable[NewFile] | AsyncIterable[NewFile]) -> None:
        self._plain: Iterator[NewFile] | None = None
        self._other: AsyncIterator[NewFile] | None = None
        if isinstance(files, AsyncIterable):
            self._other = aiter(files)
        else:
            self._plain = iter(files)
        self._lock = anyio.Lock()
        self._position = 0

    def __aiter__(self) -> "_Queue":
        return self

    async def __anext__(self) -> tuple[int, NewFile]:
        if self._plain is not None:
            for file in self._plain:
                return self._numbered(file)
            raise StopAsyncIteration
        assert self._other is not None
        async with self._lock:
            return self._numbered(await anext(self._other))

    def _numbered(self, file: NewFile) -> tuple[int, NewFile]:
        position = self._position
        self._position += 1
        return position, file
