"""The memory driver: objects in this process, for tests and as the model of what a driver does."""

import itertools
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import override

from anyio import EndOfStream, to_thread
from attrs import evolve, field, fields, frozen

from polystow._body import Body, BytesBody
from polystow._conditions import check_read
from polystow._driver import Capabilities, ReadStream
from polystow._errors import (
    AlreadyExistsError,
    InvalidPathError,
    NotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    errors_about,
)
from polystow._ids import parse_object_path
from polystow._listing import plan_page
from polystow._memory_store import Container, MemoryAdministration, Stored
from polystow._memory_uploads import PART_LIMITS, Uploads, check_number
from polystow._naming import exact_path
from polystow._ranges import ContentRange
from polystow._spec import DriverContext, DriverSpec
from polystow._value import Value
from polystow._values import (
    NO_HEADERS,
    BatchResult,
    Checksum,
    CompleteOptions,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Failure,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    MultipartPage,
    MultipartUpload,
    NameHint,
    ObjectHeaders,
    ObjectInfo,
    Part,
    PartOptions,
    ReadOptions,
    ResponseHeaders,
    StatOptions,
    Target,
    WriteOptions,
)

_INFO = DriverInfo("memory", "polystow")
_RECEIVE_SIZE_BYTES = 1_048_576
_INLINE_DIGEST_BYTES = 1_048_576


@frozen(eq=False, repr=False)
class MemoryConfig(Value):
    """Configuration of the memory driver.

    Attributes:
        default_container: Where new objects go that name no container.
    """

    default_container: str = field(default="files")


class MemoryDriver:
    """Keeps objects in this process; they are gone when it is closed.

    Args:
        config: See there.
    """

    def __init__(self, config: MemoryConfig | None = None) -> None:
        self._config = config or MemoryConfig()
        self._containers: dict[str, Container] = {}
        administration = MemoryAdministration(self._containers)
        self._versions = itertools.count(1)
        self._uploads = Uploads()
        self.info = _INFO
        self.capabilities = Capabilities(
            list=self,
            copy=self,
            delete_many=self,
            set_metadata=self,
            append=self,
            multipart=self,
            containers=administration,
            tags=administration,
            check=self,
            limits=Limits(
                create_only=True,
                if_match=True,
                conditional_reads=True,
                headers=True,
                response_headers=True,
                parts=PART_LIMITS,
            ),
        )

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open an object; what is written meanwhile does not show in the stream."""
        stored = self._find(path, "open_read")
        info = stored.info
        with errors_about("open_read", path, "memory"):
            check_read(options, info.etag, info.modified)
            size = len(stored.data)
            wanted = options.range
            part = ContentRange(0, size, size) if wanted is None else wanted.resolve(size)
        if options.response is not None:
            info = _answered(info, options.response)
        return _MemoryStream(info, part, options.chunk_size_bytes, stored.data)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write an object; it is there when its body has been read to the end."""
        return await self._store(target, body, options, "write")

    async def _store(
        self, target: Target, body: Body, options: WriteOptions, operation: str
    ) -> ObjectInfo:
        with errors_about(operation, str(target), "memory"):
            path = exact_path(target, self._config.default_container)
        with errors_about(operation, path, "memory"):
            self._check_conditions(path, options.overwrite, options.if_match, operation)
            data = await _read(body)
        filename = target.filename if isinstance(target, NameHint) else options.filename
        return await self._put(path, data, filename, options, operation)

    async def _put(
        self, path: str, data: bytes, filename: str | None, options: WriteOptions, operation: str
    ) -> ObjectInfo:
        checksum = await _crc32(data)
        # Once more: another task may have written while this one read its body.
        self._check_conditions(path, options.overwrite, options.if_match, operation)
        now = datetime.now(UTC)
        info = ObjectInfo(
            path=path,
            size=len(data),
            filename=filename,
            content_type=options.content_type,
            etag=f"{next(self._versions):x}",
            checksum=checksum,
            modified=now,
            created=now,
            metadata=options.metadata,
            headers=options.headers,
        )
        container, key = _split(path, operation)
        self._containers.setdefault(container, Container()).put(key, Stored(info, data))
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
                headers=info.headers or NO_HEADERS,
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
        new = MappingProxyType({**(old or {}), **metadata})
        self._replace(path, evolve(stored, info=evolve(stored.info, metadata=new)))

    async def append(self, path: str, body: Body, /) -> None:
        """Add content at the end; what others add meanwhile is not lost."""
        await self._change(path, body, "append", lambda old, new: old + new)

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        """Write content over the object's from `offset` on."""

        def modified(old: bytes, new: bytes) -> bytes:
            if offset > len(old):
                raise RangeNotSatisfiableError(
                    f"the offset is {offset}, and the object has {len(old)} bytes"
                )
            return old[:offset] + new + old[offset + len(new) :]

        await self._change(path, body, "modify", modified)

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        """Cut the object to a size, or fill it with zeros up to it."""

        def truncated(old: bytes, _: bytes) -> bytes:
            return old[:size_bytes].ljust(size_bytes, b"\0")

        await self._change(path, BytesBody(b""), "truncate", truncated)

    async def create_multipart(self, target: Target, options: WriteOptions, /) -> MultipartUpload:
        """Begin an upload in parts."""
        with errors_about("create_multipart", str(target), "memory"):
            path = exact_path(target, self._config.default_container)
        return self._uploads.begin(path, target, options)

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, _options: PartOptions, /
    ) -> Part:
        """Keep a part, in the place of the one that has its number."""
        check_number(number)
        with errors_about("put_part", path, "memory"):
            self._uploads.find(path, upload_id)
            data = await _read(body)
            checksum = await _crc32(data)
            part = Part(number, len(data), f"{next(self._versions):x}", checksum)
            self._uploads.find(path, upload_id).parts[number] = (part, data)
        return part

    async def list_parts(self, path: str, upload_id: str, /) -> Sequence[Part]:
        """The parts that are there."""
        with errors_about("list_parts", path, "memory"):
            parts = self._uploads.find(path, upload_id).parts
        return [parts[number][0] for number in sorted(parts)]

    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        """Make the object of its parts."""
        with errors_about("complete_multipart", path, "memory"):
            upload = self._uploads.find(path, upload_id)
            data = upload.joined(parts)
            conditions = evolve(
                upload.options, overwrite=options.overwrite, if_match=options.if_match
            )
            info = await self._put(path, data, upload.filename, conditions, "complete_multipart")
            self._uploads.end(path, upload_id)
        return info

    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        """Drop an upload and its parts."""
        self._uploads.end(path, upload_id)

    async def list_multiparts(self, path: str, cursor: str | None, /) -> MultipartPage:
        """A page of the uploads that are under way."""
        return self._uploads.page(path, cursor)

    async def check(self, path: str, /) -> None:
        """Nothing can be wrong."""

    async def _change(
        self, path: str, body: Body, operation: str, change: Callable[[bytes, bytes], bytes]
    ) -> None:
        with errors_about(operation, path, "memory"):
            change(self._find(path, operation).data, b"")
            new = await _read(body)
            while True:
                old = self._find(path, operation)
                data = change(old.data, new)
                checksum = await _crc32(data)
                # A large digest is made in a thread: another task may have written meanwhile.
                if self._find(path, operation) is old:
                    break
        info = evolve(
            old.info,
            size=len(data),
            etag=f"{next(self._versions):x}",
            checksum=checksum,
            modified=datetime.now(UTC),
        )
        self._replace(path, evolve(old, info=info, data=data))

    def _replace(self, path: str, stored: Stored) -> None:
        container, _, key = path.partition("/")
        self._containers[container].put(key, stored)

    def _find(self, path: str, operation: str) -> Stored:
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
    verified = True  # bytes of this process do not change

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


def _answered(info: ObjectInfo, response: ResponseHeaders) -> ObjectInfo:
    kept = info.headers or NO_HEADERS
    told = {
        header.name: getattr(response, header.name) or getattr(kept, header.name)
        for header in fields(ObjectHeaders)
    }
    content_type = response.content_type or info.content_type
    return evolve(info, content_type=content_type, headers=ObjectHeaders(**told))


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
