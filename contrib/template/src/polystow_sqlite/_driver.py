"""The driver and its streams: nothing blocks here, and nothing knows how objects are stored."""

import sqlite3
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from sqlite3 import Connection
from typing import override

from anyio import EndOfStream
from attrs import define

import polystow as ps
from polystow_sqlite import _tables as tables

NAME = "sqlite"
_MEANINGS: dict[int, Callable[[str], ps.StorageError]] = {
    sqlite3.SQLITE_BUSY: partial(ps.BackendUnavailableError, retryable=True),
    sqlite3.SQLITE_FULL: ps.NoSpaceError,
}


@define
class Session:
    """A connection for one operation; what is not committed when it is closed never happened."""

    connect: Callable[[], Connection]
    policy: ps.RequestPolicy
    request: ps.Request
    db: Connection | None = None

    async def call[T](
        self, work: Callable[[Connection], T], undo: Callable[[Connection], object] | None = None
    ) -> T:
        """Do what blocks; again, if the policy says so. `undo` it if the caller is gone by then."""

        def on_db[R](function: Callable[[Connection], R]) -> R:
            self.db = self.db or self.connect()
            return function(self.db)

        async def send(_: ps.Attempt) -> T:
            try:
                return await ps.in_thread(lambda: on_db(work), lambda _: undo and on_db(undo))
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
                raise _MEANINGS.get(code, ps.StorageError)(f"SQLite: {error}") from error

        with ps.errors_about(self.request.operation, self.request.path or "", NAME):
            return await self.policy(self.request, send)

    async def aclose(self) -> None:
        """Close the connection, cancelled or not."""
        if self.db is not None:
            await ps.clean_up_in_thread(self.db.close)


class SqliteDriver:
    """Objects in a SQLite file; `session` begins an operation on it."""

    def __init__(self, session: Callable[[ps.Request], Session], container: str) -> None:
        self._session = session
        self._container = container
        self.info = ps.DriverInfo(NAME, "polystow-sqlite", ps.API_VERSION)
        limits = ps.Limits(create_only=True, if_match=True)
        self.capabilities = ps.Capabilities(list=self, limits=limits)

    async def call[T](self, operation: str, path: str, work: Callable[[Connection], T]) -> T:
        async with aclosing(self._session(ps.Request(operation, path))) as session:
            return await session.call(work)

    async def open_read(self, path: str, options: ps.ReadOptions, /) -> ps.ReadStream:
        stream = _Reader(self._session(ps.Request("open_read", path)), options)
        try:
            await stream.session.call(lambda db: stream.open(db, path))
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def write(
        self, target: ps.Target, body: ps.Body, options: ps.WriteOptions, /
    ) -> ps.ObjectInfo:
        with ps.errors_about("write", str(target), NAME):
            path, size = ps.exact_path(target, self._container), 0
            async with aclosing(self._session(ps.Request("write", path))) as session:
                async with await body.open() as stream:
                    async for chunk in stream:
                        await session.call(partial(tables.stage, size, chunk))
                        size += len(chunk)
                publish = partial(tables.publish, path, target, size, options)
                undo = partial(tables.delete, path, ps.DeleteOptions())
                is_new = isinstance(target, ps.NameHint) and ps.is_new_key(target)
                return await session.call(publish, undo if is_new else None)

    async def stat(self, path: str, _options: ps.StatOptions, /) -> ps.ObjectInfo:
        return await self.call("stat", path, partial(tables.find, path))

    async def delete(self, path: str, options: ps.DeleteOptions, /) -> None:
        await self.call("delete", path, partial(tables.delete, path, options))

    async def list_page(
        self, path: str, options: ps.ListOptions, cursor: str | None, /
    ) -> ps.ListPage:
        return await self.call("list_page", path, partial(tables.list_page, path, options, cursor))


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
        self.info = tables.find(path, db)
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
        data = await self.session.call(partial(tables.read, self.info.etag, place, length))
        self._left -= len(data)
        return data

    @override
    async def aclose(self) -> None:
        self._left = 0
        await self.session.aclose()
