"""The driver and its streams: nothing blocks here, and nothing knows how objects are stored."""

from collections.abc import Mapping
from contextlib import aclosing
from sqlite3 import Connection
from typing import override

from anyio import EndOfStream
from attrs import evolve

import polystow as ps
from polystow_sqlite import _tables as tables
from polystow_sqlite._errors import NAME, about
from polystow_sqlite._session import Session

_PART_BYTES = 262_144


class SqliteDriver:
    """Objects in a SQLite file."""

    def __init__(self, session: Session, default_container: str) -> None:
        self._session = session
        self._default_container = default_container
        self.info = ps.DriverInfo(NAME, "polystow-sqlite", ps.API_VERSION)
        self.capabilities = ps.Capabilities(
            list=self, copy=self, delete_many=self, set_metadata=self, check=self,
            limits=ps.Limits(create_only=True, if_match=True),
        )  # fmt: skip

    def _path(self, operation: str, target: ps.Target) -> str:
        with about(operation, str(target)):
            if isinstance(target, ps.NameHint):
                target = f"{target.container or self._default_container}/{ps.new_key(target)}"
            ps.parse_object_path(target)
        return target

    async def open_read(self, path: str, options: ps.ReadOptions, /) -> ps.ReadStream:
        stream = _Reader(self._session.another(), options)
        try:
            await stream.session.call("open_read", stream.open, path)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def write(
        self, target: ps.Target, body: ps.Body, options: ps.WriteOptions, /
    ) -> ps.ObjectInfo:
        path = self._path("write", target)
        part, size = bytearray(), 0
        async with aclosing(self._session.another()) as session:
            with about("write", path):
                tables.encode(options.metadata)  # refuses what can't be kept, before the body
                async with await body.open() as stream:
                    async for chunk in stream:
                        part += chunk
                        if len(part) >= _PART_BYTES:
                            await session.call("write", tables.stage, path, size, bytes(part))
                            size += len(part)
                            part.clear()
            # The last part may be empty, but is there.
            await session.call("write", tables.stage, path, size, bytes(part))
            name = target.filename if isinstance(target, ps.NameHint) else options.filename
            size += len(part)
            new = ps.ObjectInfo(path, size, name, options.content_type, metadata=options.metadata)
            return await session.call("write", tables.publish, path, new, options)

    async def copy(
        self, source: str, target: ps.Target, options: ps.CopyOptions, /
    ) -> ps.ObjectInfo:
        path = self._path("copy", target)
        async with aclosing(self._session.another()) as session:
            new = await session.call("copy", tables.stage_copy, source)
            if isinstance(target, ps.NameHint):
                new = evolve(new, filename=target.filename)
            conditions = ps.WriteOptions(overwrite=options.overwrite)
            return await session.call("copy", tables.publish, path, new, conditions)

    async def stat(self, path: str, options: ps.StatOptions, /) -> ps.ObjectInfo:
        return await self._session.call("stat", tables.find, path, options.version)

    async def delete(self, path: str, options: ps.DeleteOptions, /) -> None:
        await self._session.call("delete", tables.delete, path, options)

    async def delete_many(
        self, paths: tuple[str, ...], options: ps.DeleteOptions, /
    ) -> ps.BatchResult:
        return await self._session.call("delete_many", tables.delete_many, "", paths, options)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: ps.MetadataOptions, /
    ) -> None:
        await self._session.call("set_metadata", tables.set_metadata, path, metadata, options)

    async def list_page(
        self, path: str, options: ps.ListOptions, cursor: str | None, /
    ) -> ps.ListPage:
        return await self._session.call("list_page", tables.list_page, path, options, cursor)

    async def check(self, path: str, /) -> None:
        await self._session.call("check", tables.check, path)


class _Reader(ps.ReadStream):
    """Reads in one transaction, which sees the object as it was when that began."""

    def __init__(self, session: Session, options: ps.ReadOptions) -> None:
        self.session = session
        self.chunk_size_bytes = options.chunk_size_bytes
        self._options = options
        self._left = 0

    def open(self, db: Connection, path: str) -> None:
        db.rollback()  # ends what an attempt before this one began
        db.execute("BEGIN")
        self.info = tables.find(db, path, self._options.version)
        tables.check_match(self.info.etag, self._options.if_match)
        size, wanted = self.info.size or 0, self._options.range
        self.range = wanted.resolve(size) if wanted else ps.ContentRange(0, size, size)
        self._left = self.range.length

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if not self._left:
            raise EndOfStream
        place = self.range.offset + self.range.length - self._left
        length = min(max_bytes, self._left)
        path, etag = self.info.path, self.info.etag
        data = await self.session.call("open_read", tables.read, path, etag, place, length)
        self._left -= len(data)
        return data

    @override
    async def aclose(self) -> None:
        self._left = 0
        await self.session.aclose()
