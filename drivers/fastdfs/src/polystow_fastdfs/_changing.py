"""Changing files in place: append, modify, truncate, and making an appender file a normal one.

Servers do that with appender files alone. An append whose body does not come to its end leaves
nothing behind, while a modification that is cut off leaves what came of it (both seen on 6.16.1);
so the one is never repeated once it was sent, and the other is, where its body can be read again.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import anyio
from anyio import get_cancelled_exc_class

from polystow import (
    Attempt,
    Body,
    InvalidPathError,
    ObjectInfo,
    Outcome,
    RangeNotSatisfiableError,
    Request,
    RequestPolicy,
    StorageError,
    UnsupportedOperationError,
)
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._asking import ask_metadata, ask_size, reading_limit_s
from polystow_fastdfs._bodies import Source
from polystow_fastdfs._cluster import Cluster, exchange
from polystow_fastdfs._config import FastdfsConfig
from polystow_fastdfs._connection import Connection
from polystow_fastdfs._errors import Effect, to_storage_error
from polystow_fastdfs._faults import StatusFault, WireFault
from polystow_fastdfs._file_id import FileId
from polystow_fastdfs._info import make_info
from polystow_fastdfs._metadata import decode_metadata
from polystow_fastdfs._pool import Pool
from polystow_fastdfs._reading import ask_info
from polystow_fastdfs._spool import open_source, sized
from polystow_fastdfs._transfer import CLEANUP_S, begin_body, send_body

_log: Final = logging.getLogger("polystow_fastdfs")


class Changer:
    """Changes appender files.

    Args:
        cluster: Connections.
        config: How much of a body of unknown length may be kept, and where.
        policy: Applied to each request.
    """

    def __init__(self, cluster: Cluster, config: FastdfsConfig, policy: RequestPolicy) -> None:
        self._cluster = cluster
        self._config = config
        self._policy = policy

    async def append(self, file: FileId, body: Body) -> None:
        """Add content at the end (row 24), wholly or not at all.

        Raises:
            NotFoundError: There is no such file.
            UnsupportedOperationError: It is no appender file.
            FileTooLargeError: A body of unknown length is longer than `spool_max_bytes`.
            StorageError: It failed; it was not appended, unless `outcome` is "unknown".
        """
        _check_appender(file)
        name = file.name.encode()
        async with sized(body, self._config) as whole, open_source(whole) as source:
            size = _size(whole)
            head = protocol.append(name, size)

            async def send(attempt: Attempt) -> None:
                await self._send(file, head, source, size, attempt, "once", cut_off="failed")

            await self._policy(Request("append", file.path, idempotent=False), send)

    async def modify(self, file: FileId, offset: int, body: Body) -> None:
        """Write content over the file's from `offset` on (row 34); it may go on after the end.

        Raises:
            NotFoundError: There is no such file.
            RangeNotSatisfiableError: `offset` is after its end.
            UnsupportedOperationError: It is no appender file.
            FileTooLargeError: A body of unknown length is longer than `spool_max_bytes`.
            StorageError: It failed; part of it may have been written if `outcome` is "unknown".
        """
        _check_appender(file)
        if offset < 0:
            message = f"the offset {offset} is before the file's beginning"
            raise RangeNotSatisfiableError(message)
        name = file.name.encode()
        async with sized(body, self._config) as whole:
            size = _size(whole)
            head = protocol.modify(name, offset, size)

            async def send(attempt: Attempt, source: Source, effect: Effect) -> None:
                try:
                    await self._send(file, head, source, size, attempt, effect, cut_off="unknown")
                except InvalidPathError as error:
                    await self._check_offset(file, offset, error)
                    raise

            async def send_again(attempt: Attempt) -> None:
                async with open_source(whole) as source:
                    await send(attempt, source, "repeatable")

            if whole.replayable:
                await self._policy(Request("modify", file.path), send_again)
                return
            request = Request("modify", file.path, idempotent=False)
            async with open_source(whole) as only:
                await self._policy(request, lambda attempt: send(attempt, only, "once"))

    async def _send(
        self,
        file: FileId,
        head: bytes,
        source: Source,
        size: int,
        attempt: Attempt,
        effect: Effect,
        *,
        cut_off: Outcome,
    ) -> None:
        pool = await self._source_pool(file)
        try:
            connection, first = await begin_body(pool, head, source, size, attempt)
        except WireFault as fault:
            raise to_storage_error(fault, "none") from fault
        whole = False
        try:
            await send_body(connection, source, size, first, attempt)
            whole = True
            await connection.answer()
        except StatusFault as fault:
            # The server may take what it did not read of the body for the next request.
            connection.abort()
            raise to_storage_error(fault, "once") from fault
        except WireFault as fault:
            error = to_storage_error(fault, effect)
            if not whole:
                error.outcome = cut_off
            raise error from fault
        finally:
            pool.release(connection)

    async def _check_offset(self, file: FileId, offset: int, error: InvalidPathError) -> None:
        """The server refused something as invalid: was it the offset?"""
        fault = error.__cause__
        if not isinstance(fault, StatusFault) or fault.status != protocol.STATUS_INVALID:
            return
        try:
            facts = await ask_info(await self._source_pool(file), file, crc32=False)
        except (WireFault, protocol.FrameError, StorageError):
            return  # the refusal itself tells more
        if offset > facts.size:
            message = f"the offset {offset} is after the end: the file has {facts.size} bytes"
            raise RangeNotSatisfiableError(message) from fault

    async def truncate(self, file: FileId, size_bytes: int) -> None:
        """Cut a file, or fill it with zeros, to a size (row 36).

        Raises:
            NotFoundError: There is no such file.
            UnsupportedOperationError: It is no appender file.
            StorageError: It failed.
        """
        _check_appender(file)
        if size_bytes < 0:
            message = f"a file can't have {size_bytes} bytes"
            raise RangeNotSatisfiableError(message)
        frame = protocol.truncate(file.name.encode(), size_bytes)

        async def send(_: Attempt) -> None:
            pool = await self._source_pool(file)
            try:
                await exchange(pool, frame)
            except WireFault as fault:
                raise to_storage_error(fault, "repeatable") from fault

        await self._policy(Request("truncate", file.path), send)

    async def _source_pool(self, file: FileId) -> Pool:
        try:
            return self._cluster.storage(await self._cluster.where_to_change(file))
        except (WireFault, protocol.FrameError) as fault:
            raise to_storage_error(fault, "none") from fault

    # A new name

    async def regenerate(self, file: FileId) -> ObjectInfo:
        """Make an appender file a normal one under a new name (row 38); its metadata move along.

        Raises:
            NotFoundError: There is no such file.
            UnsupportedOperationError: It is no appender file.
            StorageError: It failed; the message says so if the file has its new name already.
        """
        _check_appender(file)

        async def send(_: Attempt) -> tuple[Pool, FileId, bytes]:
            pool = await self._source_pool(file)
            try:
                connection = pool.take_idle() or await pool.acquire()
                try:
                    # Servers leave them behind, under the old name (seen on 6.16.1).
                    metadata = await ask_metadata(connection, file)
                    size = await ask_size(connection, file)
                    connection.begin(protocol.regenerate(file.name.encode()))
                    new = await _receive_name(connection, file, size)
                    return pool, new, metadata.rstrip(b"\x00")
                finally:
                    pool.release(connection)
            except (WireFault, protocol.FrameError) as fault:
                raise to_storage_error(fault, "none") from fault

        request = Request("regenerate", file.path, idempotent=False)
        pool, new, metadata = await self._policy(request, send)
        if metadata:
            await self._move_metadata(pool, file, new, metadata)
        return make_info(new, metadata=decode_metadata(metadata))

    async def _move_metadata(self, pool: Pool, old: FileId, new: FileId, metadata: bytes) -> None:
        frame = protocol.set_metadata(new.group, new.name.encode(), metadata, "overwrite")

        async def send(_: Attempt) -> None:
            try:
                await exchange(pool, frame)
            except WireFault as fault:
                raise to_storage_error(fault, "repeatable") from fault

        try:
            await self._policy(Request("regenerate", old.path), send)
        except get_cancelled_exc_class():
            _log.warning("cancelled: %s is %s now", old, new)
            with anyio.move_on_after(CLEANUP_S, shield=True), contextlib.suppress(WireFault):
                await exchange(pool, frame)
            raise
        except StorageError as error:
            error.message += f"; the file is {new} now, without its metadata"
            error.retryable = False
            raise


def _check_appender(file: FileId) -> None:
    if not file.appender:
        message = "FastDFS changes appender files alone: upload with appendable=True"
        raise UnsupportedOperationError(message)


def _size(body: Body) -> int:
    assert body.size is not None
    return body.size


async def _receive_name(connection: Connection, file: FileId, size: int) -> FileId:
    limit_s = reading_limit_s(connection, size)  # for the checksum in the new name
    try:
        return _new_id(await connection.answer(keep=True, limit_s=limit_s))
    except get_cancelled_exc_class():
        with anyio.move_on_after(CLEANUP_S, shield=True):
            try:
                new = _new_id(await connection.answer())
            except (WireFault, protocol.FrameError) as fault:
                _log.warning("cancelled: %s may have another name now (%s)", file, fault)
            else:
                _log.warning("cancelled: %s is %s now, without its metadata", file, new)
        connection.abort()
        raise
    except (WireFault, protocol.FrameError) as fault:
        error = to_storage_error(fault, "once")
        if error.outcome == "unknown":
            _log.warning("%s may have another name now: %s", file, fault)
            error.message += "; the file may have another name now, which is lost"
        raise error from fault


def _new_id(body: bytes) -> FileId:
    group, name = protocol.parse_new_id(body)
    try:
        return FileId.parse(f"{group}/{name.decode()}")
    except InvalidPathError as error:
        raise protocol.FrameError(error.message) from error
