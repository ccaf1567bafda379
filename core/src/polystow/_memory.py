"""The memory driver: objects in this process, for tests and as the model of what a driver does."""

import itertools
import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import override

from anyio import EndOfStream, to_thread
from attrs import field, frozen

from polystow._body import Body, BytesBody
from polystow._driver import Capabilities, ReadStream
from polystow._errors import (
    AlreadyExistsError,
    InvalidPathError,
    NotFoundError,
    PreconditionFailedError,
    StorageError,
    errors_about,
)
from polystow._ids import parse_object_path
from polystow._listing import plan_page
from polystow._naming import exact_path
from polystow._ranges import ContentRange
from polystow._spec import DriverContext, DriverSpec
from polystow._values import (
    BatchResult,
    Checksum,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Failure,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    NameHint,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    Target,
    WriteOptions,
)

_INFO = DriverInfo("memory", "polystow")
_RECEIVE_SIZE_BYTES = 1_048_576
_INLINE_DIGEST_BYTES = 1_048_576


@frozen
class MemoryConfig:
    """Configuration of the memory driver.

    Attributes:
        default_container: Where new objects go that name no container.
    """

    default_container: str = field(default="files")


@frozen
class _Object:
    info: ObjectInfo
    data: bytes


class _Container:
    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        # In code point order, which is the order of UTF-8 bytes too.
        self.keys: list[str] = []

    def put(self, key: str, stored: _Object) -> None:
        if key not in self.objects:
            insort(self.keys, key)
        self.objects[key] = stored

    def remove(self, key: str) -> bool:
        if self.objects.pop(key, None) is None:
            return False
        del self.keys[bisect_left(self.keys, key)]
        return True


class MemoryDriver:
    """Keeps objects in this process; they are gone when it is closed.

    Args:
        config: See there.
    """

    def __init__(self, config: MemoryConfig | None = None) -> None:
        self._config = config or MemoryConfig()
        self._containers: dict[str, _Container] = {}
        self._versions = itertools.count(1)
        self.info = _INFO
        self.capabilities = Capabilities(
            list=self,
            copy=self,
            delete_many=self,
            set_metadata=self,
            check=self,
            limits=Limits(create_only=True, if_match=True),
        )

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open an object; what is written meanwhile does not show in the stream."""
        stored = self._find(path, "open_read")
        if options.if_match is not None and options.if_match != stored.info.etag:
            raise PreconditionFailedError(
                f"its entity tag is {stored.info.etag!r}, not {options.if_match!r}",
                path=path,
                operation="open_read",
                driver="memory",
            )
        size = len(stored.data)
        if options.range is None:
            part = ContentRange(0, size, size)
        else:
            with errors_about("open_read", path, "memory"):
                part = options.range.resolve(size)
        return _MemoryStream(stored.info, part, options.chunk_size_bytes, stored.data)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write an object; it is there when its body has been read to the end."""
        return await self._store(target, body, options, "write")

    async def _store(
        self, target: Target, body: Body, options: WriteOptions, operation: str
    ) -> ObjectInfo:
        with errors_about(operation, str(target), "memory"):
            path = exact_path(target, self._config.default_container)
        with errors_about(operation, path, "memory"):
            container, key = _split(path, operation)
            self._check_conditions(path, options.overwrite, options.if_match, operation)
            data = await _read(body)
        checksum = await _crc32(data)
        # Once more: another task may have written while this one read its body.
        self._check_conditions(path, options.overwrite, options.if_match, operation)
        now = datetime.now(UTC)
        info = ObjectInfo(
            path=path,
            size=len(data),
            filename=target.filename if isinstance(target, NameHint) else options.filename,
            content_type=options.content_type,
            etag=f"{next(self._versions):x}",
            checksum=checksum,
            modified=now,
            created=now,
            metadata=options.metadata,
        )
        self._containers.setdefault(container, _Container()).put(key, _Object(info, data))
        return info

    async def stat(self, path: str, _options: StatOptions, /) -> ObjectInfo:
        """What was kept with the object."""
        return self._find(path, "stat").info

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """Forget an object."""
        container, key = _split(path, "delete")
        found = self._containers.get(container)
        if (found is None or not found.remove(key)) and not options.missing_ok:
            raise _not_found(path, "delete")

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        """A page; the cursor is the last key or folded prefix of the page before."""
        container, _, prefix = path.partition("/")
        if not container:
            raise InvalidPathError(
                "no container: write container/prefix",
                path=path,
                operation="list_page",
                driver="memory",
            )
        found = self._containers.get(container)
        if found is None:
            raise _not_found(path, "list_page")
        keys = found.keys
        page = plan_page(partial(_keys_from, keys), prefix, options, cursor)
        return ListPage(
            items=[found.objects[key].info for key in page.keys],
            prefixes=[f"{container}/{folded}" for folded in page.prefixes],
            cursor=page.cursor,
        )

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        """Copy an object; the bytes are shared, since they never change."""
        stored = self._find(source, "copy")
        self._check_conditions(source, True, options.if_match, "copy")
        info = stored.info
        return await self._store(
            target,
            BytesBody(stored.data),
            WriteOptions(
                content_type=info.content_type,
                metadata=info.metadata or {},
                filename=info.filename,
                overwrite=options.overwrite,
            ),
            "copy",
        )

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        """Forget objects."""
        succeeded: list[str] = []
        failed: list[Failure] = []
        for path in paths:
            try:
                await self.delete(path, options)
            except StorageError as error:
                failed.append(Failure(path, error))
            else:
                succeeded.append(path)
        return BatchResult(succeeded, failed)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Change the user's entries; content and entity tag stay."""
        stored = self._find(path, "set_metadata")
        old = stored.info.metadata if options.mode == "merge" else None
        values = dict(vars(stored.info))
        values["metadata"] = MappingProxyType({**(old or {}), **metadata})
        container, key = _split(path, "set_metadata")
        self._containers[container].put(key, _Object(ObjectInfo(**values), stored.data))

    async def check(self, path: str, /) -> None:
        """Nothing can be wrong."""

    def _find(self, path: str, operation: str) -> _Object:
        container, slash, key = path.partition("/")
        if not (container and slash and key):
            _split(path, operation)
        found = self._containers.get(container)
        stored = None if found is None else found.objects.get(key)
        if stored is None:
            _split(path, operation)
            raise _not_found(path, operation)
        return stored

    def _check_conditions(
        self, path: str, overwrite: bool, if_match: str | None, operation: str
    ) -> None:
        if overwrite and if_match is None:
            return
        container, _, key = path.partition("/")
        found = self._containers.get(container)
        stored = None if found is None else found.objects.get(key)
        if not overwrite and stored is not None:
            raise AlreadyExistsError(
                "it is there already, and overwrite is False",
                path=path,
                operation=operation,
                driver="memory",
            )
        if if_match is not None and (stored is None or stored.info.etag != if_match):
            etag = None if stored is None else stored.info.etag
            raise PreconditionFailedError(
                f"its entity tag is {etag!r}, not {if_match!r}",
                path=path,
                operation=operation,
                driver="memory",
            )


class _MemoryStream(ReadStream):
    def __init__(
        self, info: ObjectInfo, part: ContentRange, chunk_size_bytes: int, data: bytes
    ) -> None:
        self.info = info
        self.range = part
        self.chunk_size_bytes = chunk_size_bytes
        self._data = data
        self._offset = part.offset
        self._end = part.offset + part.length

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        start = self._offset
        if start >= self._end:
            raise EndOfStream
        self._offset = end = min(start + max_bytes, self._end)
        return self._data[start:end]

    @override
    async def aclose(self) -> None:
        self._offset = self._end


def _split(path: str, operation: str) -> tuple[str, str]:
    with errors_about(operation, path, "memory"):
        return parse_object_path(path)


def _not_found(path: str, operation: str) -> NotFoundError:
    return NotFoundError("there is no such object", path=path, operation=operation, driver="memory")


def _keys_from(keys: list[str], after: str, *, inclusive: bool) -> "itertools.islice[str]":
    start = bisect_left(keys, after) if inclusive else bisect_right(keys, after)
    return itertools.islice(keys, start, None)


async def _read(body: Body) -> bytes:
    if isinstance(body, BytesBody):
        return body.data if isinstance(body.data, bytes) else bytes(body.data)
    chunks: list[bytes] = []
    async with await body.open() as stream:
        while True:
            try:
                chunks.append(await stream.receive(_RECEIVE_SIZE_BYTES))
            except EndOfStream:
                break
    return b"".join(chunks)


async def _crc32(data: bytes) -> Checksum:
    if len(data) <= _INLINE_DIGEST_BYTES:
        value = zlib.crc32(data)
    else:
        value = await to_thread.run_sync(zlib.crc32, data)
    return Checksum("crc32", f"{value:08x}")


@asynccontextmanager
async def _open(config: MemoryConfig, _: DriverContext) -> AsyncGenerator[MemoryDriver]:
    yield MemoryDriver(config)


SPEC = DriverSpec(name="memory", config=MemoryConfig, open=_open)
