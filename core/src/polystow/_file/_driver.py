"""The file driver: the async shell around what happens in worker threads."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from anyio import EndOfStream, move_on_after
from anyio.abc import ByteReceiveStream

from polystow._body import Body, BytesBody
from polystow._driver import API_VERSION, Capabilities
from polystow._errors import (
    InvalidPathError,
    NotFoundError,
    PreconditionFailedError,
    StorageError,
    errors_about,
)
from polystow._file._changing import Change, ChangeJob
from polystow._file._config import FileConfig
from polystow._file._copying import CopyJob
from polystow._file._describe import describe, describe_listed
from polystow._file._entries import Entry, identity_of
from polystow._file._grammar import MAX_KEY_BYTES, Components, check_container, parse_path
from polystow._file._listing import Page, decode_cursor, encode_cursor, take_page
from polystow._file._os_errors import translate
from polystow._file._reader import DRIVER, FileReadStream, open_stream
from polystow._file._store import Condition, FileStore, check_match
from polystow._file._temporary import TemporaryFile
from polystow._file._walker import Walker
from polystow._naming import exact_path, is_new_key
from polystow._threads import clean_up_in_thread, in_thread
from polystow._values import (
    BatchResult,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Failure,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    Target,
    WriteOptions,
)

_CHUNK_BYTES = 1_048_576
_ONE_CALL_BYTES = 1_048_576
_DELETIONS_IN_ONE_CALL = 64
_BODY_CLOSE_TIMEOUT_S = 5.0
_CHANGE_ATTEMPTS = 1000


class _Goal(NamedTuple):
    path: str
    components: Components
    filename: str | None
    is_new: bool = False


class FileDriver:
    """Objects as plain files: `container/key` is the file `root/container/key`.

    Files that other tools put there are objects too, without metadata. All file access happens in
    worker threads. On a file system that ignores case or changes the form of Unicode text, keys
    that differ only in that mean one object.

    Args:
        config: See there.
        root: The root's real path.
    """

    def __init__(self, config: FileConfig, root: bytes) -> None:
        self._default_container = config.default_container
        self._store = FileStore(root, fsync=config.fsync)
        self._info = DriverInfo(DRIVER, "polystow", API_VERSION)
        self._capabilities = Capabilities(
            list=self,
            copy=self,
            delete_many=self,
            set_metadata=self,
            append=self,
            check=self,
            limits=Limits(
                create_only=True,
                if_match=True,
                conditional_reads=True,
                max_key_bytes=MAX_KEY_BYTES,
            ),
        )

    @property
    def info(self) -> DriverInfo:
        """What it is."""
        return self._info

    @property
    def capabilities(self) -> Capabilities:
        """What else it can do."""
        return self._capabilities

    async def open_read(self, path: str, options: ReadOptions, /) -> FileReadStream:
        """Open an object; see `StorageDriver.open_read`."""
        components = _parse(path, "open_read")
        work = partial(open_stream, self._store, path, components, options)
        return await _run("open_read", path, work, FileReadStream.close_now)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write an object; see `StorageDriver.write`.

        Of two writers at once without conditions the later one wins, with data and metadata. A
        condition holds against every process that writes through this driver; other tools don't
        know of its locks (`overwrite=False` excludes them too, where the file system has hard
        links). A cancellation leaves what was there, unless it comes while the last step, which
        can't be interrupted, is under way; an object with a new key is then removed again.

        Raises:
            InvalidPathError: Also if the key is the beginning of other keys up to a slash, or
                another key is such a beginning of it.
        """
        goal = self._goal(target, "write")
        entry = Entry(options.content_type, options.filename or goal.filename, options.metadata)
        condition = Condition(options.overwrite, options.if_match)
        if isinstance(body, BytesBody) and body.size <= _ONE_CALL_BYTES:
            return await _run(
                "write",
                goal.path,
                lambda: describe(
                    goal.path, self._store.store(goal.components, body.data, entry, condition)
                ),
                self._removal(goal),
            )
        return await self._write_stream(goal, body, entry, condition)

    async def stat(self, path: str, _options: StatOptions, /) -> ObjectInfo:
        """What is known of an object; see `StorageDriver.stat`."""
        components = _parse(path, "stat")
        return await _run("stat", path, lambda: describe(path, self._store.stat(components)))

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """Delete an object, and directories that get empty; see `StorageDriver.delete`."""
        components = _parse(path, "delete")
        await _run("delete", path, lambda: self._delete(components, options))

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        """Delete many objects; see `SupportsDeleteMany`."""
        succeeded: list[str] = []
        failed: list[Failure] = []
        for start in range(0, len(paths), _DELETIONS_IN_ONE_CALL):
            part = paths[start : start + _DELETIONS_IN_ONE_CALL]
            # Bound to this part: a lambda would see the next one, were it called late.
            errors = await in_thread(partial(self._delete_part, part, options))
            for path, error in zip(part, errors, strict=True):
                if error is None:
                    succeeded.append(path)
                else:
                    failed.append(Failure(path, error))
        return BatchResult(succeeded, failed)

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        """A page of keys; see `SupportsList`.

        It does not tell content types and checksums: `stat` does. A directory with very many
        files is read once for each page.
        """
        return await _run("list_page", path, lambda: self._list_page(path, options, cursor))

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        """Copy inside the root, verifying the checksum; see `SupportsCopy`."""
        origin = _parse(source, "copy")
        goal = self._goal(target, "copy")
        condition = Condition(options.overwrite)

        def start() -> CopyJob:
            fd, stored = self._store.open(origin)
            try:
                check_match(options.if_match, stored.identity)
            except StorageError:
                os.close(fd)
                raise
            return CopyJob(self._store, fd, stored, goal.components, condition, goal.filename)

        def step() -> ObjectInfo | None:
            stored = job.step()
            if stored is None:
                return None
            # Here and not at the end, where a cancellation would come too late to be undone.
            job.close()
            return describe(goal.path, stored)

        info: ObjectInfo | None = None
        job = await _run("copy", source, start, CopyJob.close)
        try:
            while True:
                info = await _run("copy", goal.path, step, self._removal(goal))
                if info is not None:
                    return info
        finally:
            if info is None:
                await clean_up_in_thread(job.close)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Change the user's metadata in one step, the data untouched; see `SupportsMetadata`."""
        components = _parse(path, "set_metadata")
        await _run(
            "set_metadata",
            path,
            lambda: self._store.set_metadata(components, metadata, options.mode),
        )

    async def append(self, path: str, body: Body, /) -> None:
        """Add content at the end; see `SupportsAppend`.

        Like all changes of content it is done wholly or not at all, and readers see the old
        content or the new one: the object is written anew, which takes as long as copying it.
        """
        await self._change("append", path, body, None)

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        """Write content over an object's; see `append`."""
        await self._change("modify", path, body, offset)

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        """Cut an object, or fill it with zeros; see `append`."""
        await self._apply("truncate", path, Change(size=size_bytes))

    async def check(self, path: str, /) -> None:
        """Make sure that the root, or a container, is there and can be written to."""

        def work() -> None:
            if path:
                check_container(path, path)
            self._store.check((path.encode(),) if path else ())

        await _run("check", path, work)

    def _goal(self, target: Target, operation: str) -> _Goal:
        with errors_about(operation, str(target), DRIVER):
            path = exact_path(target, self._default_container)
            components = parse_path(path)
        if isinstance(target, str):
            return _Goal(path, components, None)
        return _Goal(path, components, target.filename, is_new=is_new_key(target))

    def _removal(self, goal: _Goal) -> Callable[[ObjectInfo | None], object] | None:
        """What undoes a write that was done after all when its caller was cancelled already.

        Nobody would know the new key. An exact path is the caller's own.
        """

        def remove(info: ObjectInfo | None) -> None:
            if info is not None:
                with suppress(OSError, StorageError):
                    self._store.delete(goal.components)

        return remove if goal.is_new else None

    async def _write_stream(
        self, goal: _Goal, body: Body, entry: Entry, condition: Condition
    ) -> ObjectInfo:
        temporary = await _run(
            "write",
            goal.path,
            lambda: self._store.begin(goal.components, condition),
            TemporaryFile.discard,
        )
        try:
            await _receive("write", goal.path, body, temporary)
            return await _run(
                "write",
                goal.path,
                lambda: self._finish(goal, temporary, entry, condition),
                self._removal(goal),
            )
        finally:
            if temporary.is_open:
                await clean_up_in_thread(temporary.discard)

    def _finish(
        self, goal: _Goal, temporary: TemporaryFile, entry: Entry, condition: Condition
    ) -> ObjectInfo:
        try:
            stored = self._store.commit(goal.components, temporary, entry, condition)
        finally:
            temporary.discard()
        return describe(goal.path, stored)

    async def _change(self, operation: str, path: str, body: Body, offset: int | None) -> None:
        components = _parse(path, operation)

        def begin() -> TemporaryFile:
            Change(None, offset).kept(self._store.stat(components).identity.size)
            return self._store.begin(components, Condition())

        new = await _run(operation, path, begin, TemporaryFile.discard)
        try:
            await _receive(operation, path, body, new)
            await self._apply(operation, path, Change(new, offset))
        finally:
            await clean_up_in_thread(new.discard)

    async def _apply(self, operation: str, path: str, change: Change) -> None:
        components = _parse(path, operation)

        def start() -> ChangeJob:
            return ChangeJob(self._store, *self._store.open(components), change)

        for attempt in range(_CHANGE_ATTEMPTS):
            job = await _run(operation, path, start, ChangeJob.close)
            try:
                while not await _run(operation, path, job.step):
                    pass
                return
            except PreconditionFailedError:
                # Somebody else's change came first: this one is made to its result.
                if attempt + 1 == _CHANGE_ATTEMPTS:
                    raise
            finally:
                await clean_up_in_thread(job.close)

    def _delete(self, components: Components, options: DeleteOptions) -> None:
        try:
            self._store.delete(components)
        except FileNotFoundError:
            if not options.missing_ok:
                raise

    def _delete_part(
        self, paths: tuple[str, ...], options: DeleteOptions
    ) -> list[StorageError | None]:
        return [self._delete_one(path, options) for path in paths]

    def _delete_one(self, path: str, options: DeleteOptions) -> StorageError | None:
        try:
            self._delete(parse_path(path), options)
        except StorageError as error:
            return error.in_operation("delete_many", path, DRIVER)
        except OSError as error:
            translated = translate(error, operation="delete_many", path=path, driver=DRIVER)
            translated.__cause__ = error
            return translated
        return None

    def _list_page(self, path: str, options: ListOptions, cursor: str | None) -> ListPage:
        container, _, text = path.partition("/")
        check_container(container, path)
        prefix = _encode(text, "prefix")
        after = b"" if options.start_after is None else _encode(options.start_after, "start_after")
        if cursor is not None:
            after = max(after, decode_cursor(cursor))
        delimiter = None if options.delimiter is None else _encode(options.delimiter, "delimiter")
        walker = Walker(self._store.tree, (container.encode(),), prefix, after)
        try:
            page = take_page(
                iter(walker),
                walker.skip,
                prefix=prefix,
                delimiter=delimiter,
                page_size=max(1, options.page_size),
            )
        except NotFoundError:
            raise
        except FileNotFoundError as error:
            raise NotFoundError("there is no such container") from error
        return _listed(container, page)


async def _run[T](
    operation: str,
    path: str,
    work: Callable[[], T],
    undo: Callable[[T], object] | None = None,
) -> T:
    with errors_about(operation, path, DRIVER):
        try:
            return await in_thread(work, undo)
        except StorageError:
            raise  # some are an OSError too
        except OSError as error:
            raise translate(error, operation=operation, path=path, driver=DRIVER) from error


def _parse(path: str, operation: str) -> Components:
    with errors_about(operation, path, DRIVER):
        return parse_path(path)


def _encode(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidPathError(f"the {what} is no UTF-8 text: it has a lone surrogate") from None


def _listed(container: str, page: Page) -> ListPage:
    return ListPage(
        items=[
            describe_listed(f"{container}/{found.key.decode()}", identity_of(found.status))
            for found in page.items
        ],
        prefixes=[f"{container}/{prefix.decode()}" for prefix in page.prefixes],
        cursor=None if page.cursor is None else encode_cursor(page.cursor),
    )


async def _receive(operation: str, path: str, body: Body, temporary: TemporaryFile) -> None:
    """Read a body into a temporary file, and close it, whatever happens."""
    stream: ByteReceiveStream | None = None
    with errors_about(operation, path, DRIVER):
        try:
            stream = await body.open()
            while True:
                try:
                    chunk = await stream.receive(_CHUNK_BYTES)
                except EndOfStream:
                    break
                await _run(operation, path, partial(temporary.append, chunk))
            closing, stream = stream, None
            await closing.aclose()
        finally:
            if stream is not None:
                await _close_body(stream)


async def _close_body(stream: ByteReceiveStream) -> None:
    with move_on_after(_BODY_CLOSE_TIMEOUT_S, shield=True):
        try:
            await stream.aclose()
        except Exception:  # noqa: BLE001
            # What made the write fail is on its way to the caller; this would hide it.
            return
