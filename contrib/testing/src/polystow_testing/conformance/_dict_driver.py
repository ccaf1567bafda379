"""A driver over a plain dict, without any cleverness: the model of the memory driver."""

import itertools
from collections.abc import Mapping

from anyio.abc import ByteReceiveStream
from attrs import evolve, frozen

from polystow import (
    AlreadyExistsError,
    BatchResult,
    Body,
    BytesBody,
    Capabilities,
    ContentRange,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Failure,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    NameHint,
    NotFoundError,
    ObjectInfo,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadOptions,
    ReadStream,
    StatOptions,
    StorageError,
    Target,
    WriteOptions,
)
from polystow_testing.conformance._subject import receive_all


@frozen
class _Stored:
    info: ObjectInfo
    data: bytes


class _DataStream(ReadStream):
    def __init__(self, stored: _Stored, part: ContentRange, stream: ByteReceiveStream) -> None:
        self.info = stored.info
        self.range = part
        self.chunk_size_bytes = 100
        self._stream = stream

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class DictDriver:
    """`container/key` to object; a listing sorts them all, a page is found by counting."""

    def __init__(self) -> None:
        self._objects: dict[str, _Stored] = {}
        self._numbers = itertools.count()
        self.info = DriverInfo("dict", "polystow-testing")
        self.capabilities = Capabilities(
            list=self, copy=self, delete_many=self, set_metadata=self, append=self,
            limits=Limits(create_only=True, if_match=True),
        )  # fmt: skip

    def _find(self, path: str) -> _Stored:
        if path not in self._objects:
            raise NotFoundError("no such object")
        return self._objects[path]

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open an object."""
        stored = self._find(path)
        size = len(stored.data)
        part = ContentRange(0, size, size)
        if options.range is not None:
            part = options.range.resolve(size)
        data = stored.data[part.offset : part.offset + part.length]
        return _DataStream(stored, part, await BytesBody(data).open())

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write an object."""
        filename = options.filename
        if isinstance(target, NameHint):
            filename = target.filename
            number = f"{next(self._numbers):016x}"
            target = f"{target.container}/{target.folder}/{number}_{target.filename}"
        there = self._objects.get(target)
        if there is not None and not options.overwrite:
            raise AlreadyExistsError("there already")
        if options.if_match is not None and (there is None or there.info.etag != options.if_match):
            raise PreconditionFailedError("another tag")
        data = await receive_all(await body.open())
        info = ObjectInfo(
            path=target, size=len(data), filename=filename, content_type=options.content_type,
            etag=str(next(self._numbers)), metadata=dict(options.metadata),
        )  # fmt: skip
        self._objects[target] = _Stored(info, data)
        return info

    async def stat(self, path: str, _: StatOptions, /) -> ObjectInfo:
        """What was kept."""
        return self._find(path).info

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """Forget an object."""
        if self._objects.pop(path, None) is None and not options.missing_ok:
            raise NotFoundError("no such object")

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        """Forget objects."""
        succeeded: list[str] = []
        failed: list[Failure] = []
        for path in paths:
            try:
                await self.delete(path, options)
                succeeded.append(path)
            except StorageError as error:
                failed.append(Failure(path, error))
        return BatchResult(succeeded, failed)

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        """A page; the cursor counts the entries before it."""
        container, _, prefix = path.partition("/")
        entries: dict[str, ObjectInfo | None] = {}
        for place in sorted(self._objects, key=str.encode):
            key = place.removeprefix(f"{container}/")
            if not place.startswith(f"{container}/{prefix}"):
                continue
            if options.start_after is not None and key.encode() <= options.start_after.encode():
                continue
            below = key[len(prefix) :]
            if options.delimiter and options.delimiter in below:
                head = below.partition(options.delimiter)[0]
                entries[f"{container}/{prefix}{head}{options.delimiter}"] = None
            else:
                entries[place] = self._objects[place].info
        start = int(cursor or 0)
        end = start + options.page_size
        page = list(entries.items())[start:end]
        return ListPage(
            [info for _, info in page if info is not None],
            [name for name, info in page if info is None],
            str(end) if end < len(entries) else None,
        )

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        """Write the same again."""
        stored = self._find(source)
        info = stored.info
        write_options = WriteOptions(
            info.content_type, info.metadata or {}, info.filename, options.overwrite
        )
        return await self.write(target, BytesBody(stored.data), write_options)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Keep other metadata."""
        stored = self._find(path)
        kept = dict(stored.info.metadata or {}) if options.mode == "merge" else {}
        info = evolve(stored.info, metadata={**kept, **metadata})
        self._objects[path] = _Stored(info, stored.data)

    async def append(self, path: str, body: Body, /) -> None:
        """Add content at the end."""
        await self.modify(path, len(self._find(path).data), body)

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        """Write content over the object's from `offset` on."""
        new = await receive_all(await body.open())
        data = self._find(path).data
        if offset > len(data):
            raise RangeNotSatisfiableError("after the end")
        self._change(path, data[:offset] + new + data[offset + len(new) :])

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        """Cut, or fill with zeros."""
        data = self._find(path).data
        self._change(path, data[:size_bytes] + bytes(max(0, size_bytes - len(data))))

    def _change(self, path: str, data: bytes) -> None:
        info = evolve(self._find(path).info, size=len(data), etag=str(next(self._numbers)))
        self._objects[path] = _Stored(info, data)
