"""One upload or append on the wire, and what becomes of it when something goes wrong.

An upload can't be repeated: the server makes a new file for each. So this module knows at every
moment whether the server can have made one. Before the last byte was handed over it can't; after
that only the answer tells, and if the answer is lost, the error says so.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import anyio
from anyio import get_cancelled_exc_class
from attrs import define, field, frozen

from polystow import (
    Attempt,
    InvalidPathError,
    StorageError,
    TransportError,
    TruncatedBodyError,
    Value,
    crc32_of,
)
from polystow_fastdfs import _bulk
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._bodies import Chunk, Source
from polystow_fastdfs._cluster import Cluster, exchange
from polystow_fastdfs._connection import Connection
from polystow_fastdfs._errors import to_storage_error
from polystow_fastdfs._faults import StatusFault, WireFault
from polystow_fastdfs._file_id import FileId
from polystow_fastdfs._pool import Connections, Pool

CLEANUP_S: Final = 5.0
"""How long an operation that failed or was cancelled may take to remove what it left behind."""

_JOIN_BYTES: Final = 64 * 1024

_log: Final = logging.getLogger("polystow_fastdfs")


@frozen(slots=False, eq=False, repr=False)  # made for each upload, as are those below
class NewFile(Value):
    """A file that an upload has made.

    Attributes:
        id: Its id.
        pool: Connections to the storage server that took it.
        crc32: Of what was sent.
    """

    id: FileId
    pool: Pool
    crc32: int


@define
class Upload:
    """What to upload, and how far it got.

    Attributes:
        source: The body.
        size: Its length in bytes.
        head: Makes the frame that goes before it, for a store path of the server.
        reopen: Gives the body again from its beginning; None if that can't be.
        begun: Whether a byte was sent, so that the upload may not just be repeated.
    """

    source: Source
    size: int
    head: Callable[[int], bytes]
    reopen: Callable[[], Awaitable[Source]] | None = None
    begun: bool = field(default=False, init=False)

    async def replay(self, error: Exception) -> bool:
        """Get ready to be sent to another server after an error; tells whether that can be.

        If the first server has stored it without saying so, there are two files afterwards. That
        harms nobody's data, so the upload succeeds, and the log tells of the other file.
        """
        if not self.begun:
            return not isinstance(error, StorageError)
        cause = error.__cause__
        if self.reopen is None or isinstance(cause, StatusFault):
            return False
        if not isinstance(cause, WireFault):
            return False
        self.source = await self.reopen()
        self.begun = False
        return True


async def send_upload(
    cluster: Cluster,
    pool: Connections,
    address: protocol.StorageAddress,
    job: Upload,
    attempt: Attempt,
) -> NewFile:
    """Upload a body of known length to one storage server.

    Args:
        cluster: All connections.
        pool: The connections to use.
        address: The storage server, and the store path on it.
        job: What to upload. If this raises before anything was sent, it can be used again.
        attempt: Waits while the body is waited for.

    Raises:
        TruncatedBodyError: If the body has not the length that was announced.
        StorageError: If it failed; `outcome` tells whether a file may have been made.
        WireFault: If it failed before anything was sent.
    """
    head = job.head(address.path_index or 0)
    connection, first = await begin_body(pool, head, job.source, job.size, attempt)
    job.begun = True
    try:
        try:
            crc32 = await send_body(connection, job.source, job.size, first, attempt)
        except WireFault as fault:
            # The server did not get all that it was promised, so it keeps nothing.
            error = to_storage_error(fault, "once")
            error.outcome = "failed"
            raise error from fault
        group, name = await _receive_id(connection, job)
    finally:
        pool.release(connection)
    try:
        file = FileId.parse(f"{group}/{name.decode()}")
    except InvalidPathError as error:
        # Unknown to this driver's grammar, so nothing can be done with it, not even a deletion.
        message = f"{pool.server} stored the upload under another name than FastDFS gives: {error}"
        raise TransportError(message, outcome="unknown") from error
    source = protocol.StorageAddress(address.group, address.host, address.port)
    cluster.remember(file, source, source=True)
    return NewFile(file, cluster.storage(address), crc32)


async def begin_body(
    pool: Connections, head: bytes, source: Source, size: int, attempt: Attempt
) -> tuple[Connection, Chunk]:
    """Begin a request that carries a body, on a connection that the caller has to release.

    Args:
        pool: Of the server.
        head: All that goes before the body.
        source: The body. If this raises, nothing was sent, and it can be used again.
        size: The body's length in bytes.
        attempt: Waits while the body is waited for.

    Returns:
        The connection, and the body's first chunk for `send_body`.

    Raises:
        TruncatedBodyError: If the body is another length, as far as can be seen.
        WireFault: If there is no connection.
    """
    first = source.ready() or await source.next(attempt)
    if len(first) != size:
        _check_length(len(first), size, ended=not first)
    connection = pool.take_trusted()
    try:
        if connection is None:
            connection = await pool.acquire_tested()
        # One write, and so one packet, as long as joining costs less than a system call.
        if len(first) <= _JOIN_BYTES:
            connection.begin(b"".join((head, first)), more=len(first) < size)
        else:
            connection.begin(head, more=True)
    except BaseException:
        source.put_back(first)
        if connection is not None:
            pool.release(connection)
        raise
    return connection, first


async def send_body(
    connection: Connection, source: Source, size: int, first: Chunk, attempt: Attempt
) -> int:
    """Send what `begin_body` left of a body.

    Returns:
        The checksum of all of it.

    Raises:
        TruncatedBodyError: If the body has not the length that was announced.
        WireFault: If the server did not get all of it.
    """
    crc32 = crc32_of(first)
    sent = len(first)
    chunk: Chunk = first if sent > _JOIN_BYTES else b""
    while sent < size:
        if chunk:
            await connection.send(chunk)
        file = source.file
        if file is not None and _bulk.CAN_PULL:
            rest = await connection.send_file(file, size - sent, crc32)
            _check_length(sent + rest.read, size, ended=rest.last is None)
            connection.send_last(rest.last or b"")
            return rest.crc32
        chunk = await source.next(attempt)
        sent += len(chunk)
        _check_length(sent, size, ended=not chunk)
        crc32 = crc32_of(chunk, crc32)
    if chunk:
        connection.send_last(chunk)
    return crc32


def _check_length(sent: int, size: int, *, ended: bool) -> None:
    if ended:
        message = f"the body was declared as {size} bytes and ended after {sent}"
        raise TruncatedBodyError(f"{message}; nothing was stored")
    if sent > size:
        message = f"the body was declared as {size} bytes and goes on after them"
        raise TruncatedBodyError(f"{message}; nothing was stored")


async def _receive_id(connection: Connection, job: Upload) -> tuple[str, bytes]:
    try:
        return protocol.parse_new_id(await connection.answer(keep=True))
    except get_cancelled_exc_class():
        await _undo_unanswered(connection, job)
        connection.abort()
        raise
    except StatusFault as fault:
        # The server may take what it did not read of the body for the next request.
        connection.abort()
        raise to_storage_error(fault, "once") from fault
    except (WireFault, protocol.FrameError) as fault:
        _log_orphan(connection.server, job)
        error = to_storage_error(fault, "once")
        error.message += "; the file may have been stored, under an id that is lost"
        raise error from fault


async def _undo_unanswered(connection: Connection, job: Upload) -> None:
    """The upload was cancelled when all was sent: wait for the id, to delete the file."""
    with anyio.move_on_after(CLEANUP_S, shield=True):
        try:
            group, name = protocol.parse_new_id(await connection.answer())
        except StatusFault:
            return  # refused, so there is nothing to delete
        except (WireFault, protocol.FrameError):
            _log_orphan(connection.server, job)
            return
        try:
            await connection.call(protocol.delete(group, name))
        except WireFault as fault:
            _log.warning("could not delete %s/%s: %s", group, name.decode(), fault)
        return
    _log_orphan(connection.server, job)


def _log_orphan(server: str, job: Upload) -> None:
    _log.warning(
        "an upload of %d bytes to %s was not answered by %s: a file may be left there that nobody"
        " knows the id of",
        job.size,
        server,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


async def send_append(file: NewFile, chunks: Sequence[Chunk]) -> None:
    """Append to a file that this upload has made (row 24). It can't be repeated.

    Raises:
        StorageError: If it failed.
    """
    name = file.id.name.encode()
    try:
        connection = file.pool.take_idle() or await file.pool.acquire()
        try:
            connection.begin(protocol.append(name, sum(map(len, chunks))), more=True)
            for chunk in chunks:
                await connection.send(chunk)
            await connection.answer()
        except StatusFault:
            connection.abort()
            raise
        finally:
            file.pool.release(connection)
    except WireFault as fault:
        error = to_storage_error(fault, "once")
        error.outcome = "failed"  # the whole file is deleted again
        raise error from fault


async def send_metadata(file: NewFile, frame: bytes) -> None:
    """Set the metadata of a file that this upload has made (row 13).

    Raises:
        WireFault: If it failed.
    """
    connection = file.pool.take_idle() or await file.pool.acquire()
    try:
        connection.begin(frame)
        try:
            await connection.answer(keep=True)
        except get_cancelled_exc_class():
            # If the file was deleted before the server has written them, they would stay behind.
            with anyio.move_on_after(CLEANUP_S, shield=True), contextlib.suppress(WireFault):
                await connection.answer()
            raise
    finally:
        file.pool.release(connection)


async def discard(cluster: Cluster, file: NewFile, why: BaseException) -> None:
    """Delete a file that its upload could not complete; shielded and limited in time.

    Args:
        cluster: Where to ask for another server, if the file's own does not answer.
        file: The file.
        why: What went wrong. If it is an error of Polystow and the deletion fails, its message
            says that the file is still there.
    """
    with anyio.move_on_after(CLEANUP_S, shield=True):
        if await _try_delete(cluster, file):
            return
    _log.warning("could not delete %s, left by an upload that failed", file.id.path)
    if isinstance(why, StorageError):
        why.message += f"; {file.id.path} was stored and could not be deleted again: delete it"


async def _try_delete(cluster: Cluster, file: NewFile) -> bool:
    frame = protocol.delete(file.id.group, file.id.name.encode())
    for pool_of in (_own_pool, _current_pool):
        try:
            await exchange(await pool_of(cluster, file), frame)
        except StatusFault as fault:
            if fault.status == protocol.STATUS_NOT_FOUND:
                return True
        except (WireFault, protocol.FrameError):
            continue
        else:
            return True
    return False


async def _own_pool(_: Cluster, file: NewFile) -> Pool:
    return file.pool


async def _current_pool(cluster: Cluster, file: NewFile) -> Pool:
    return cluster.storage(await cluster.where_to_change(file.id))
