"""Reading: what to ask for, the stream that carries it, and how it goes on after a loss."""

from __future__ import annotations

from collections.abc import Awaitable, Buffer, Callable
from functools import cached_property, partial
from typing import Final, override

from anyio import BusyResourceError, ClosedResourceError, EndOfStream
from attrs import frozen

from polystow import (
    ByteRange,
    ChecksumMismatchError,
    ContentRange,
    ObjectInfo,
    RangeNotSatisfiableError,
    ReadOptions,
    ReadStream,
    Saved,
    Value,
    WriteAt,
    crc32_of,
    in_thread,
)
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._bulk import MAX_PIECE_BYTES
from polystow_fastdfs._connection import Connection
from polystow_fastdfs._errors import to_storage_error
from polystow_fastdfs._faults import MalformedAnswer, StatusFault, WireFault, WireTimeout
from polystow_fastdfs._file_id import FileId
from polystow_fastdfs._info import make_info, with_response
from polystow_fastdfs._operations import NAME
from polystow_fastdfs._pool import Connections

MAX_LOSSES_IN_A_ROW: Final = 3
"""How often a read goes on after a connection that brought nothing, before it gives up."""


class Download:
    """The exchange behind a read: a connection in the middle of a body.

    Attributes:
        connection: None once it was given back; nothing is left to read then.
        length: Bytes that the server announced.
    """

    __slots__ = ("connection", "length", "pool")

    def __init__(self, pool: Connections, connection: Connection | None, length: int) -> None:
        self.pool = pool
        self.connection = connection
        self.length = length

    @property
    def server(self) -> str:
        """`host:port` of the server that sends it."""
        return self.pool.server

    def release(self) -> None:
        """Give the connection back; if its body was not read to the end, it is dropped."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self.pool.release(connection)


class Overdue(Exception):
    """The first byte of a read is late, and another server may be asked as well.

    Attributes:
        connection: The one that the answer is to come on; None if there was none at hand.
    """

    def __init__(self, connection: Connection | None) -> None:
        super().__init__()
        self.connection = connection


@frozen(eq=False, repr=False)
class Pace(Value):
    """How a read is begun that may be hedged.

    Attributes:
        patience_s: Raise `Overdue` after so many seconds, or at once if no connection is at hand.
        begun: Go on with the answer that is to come on this connection.
    """

    patience_s: float | None = None
    begun: Connection | None = None


_STEADY: Final = Pace()


async def start_download(
    pool: Connections, file: FileId, offset: int, length: int, pace: Pace = _STEADY
) -> Download:
    """Ask for bytes of a file.

    Args:
        pool: Of the storage server to ask.
        file: The file.
        offset: First byte.
        length: How many; 0 for all from `offset` on.
        pace: How long to wait, or what to go on with.

    Raises:
        Overdue: If patience ended.
        StatusFault: If the server refused; 22 means that there are no bytes at `offset`.
        WireFault: If the exchange failed.
    """
    connection = pace.begun or pool.take_idle()
    if connection is None:
        if pace.patience_s is not None:
            raise Overdue(None)
        connection = await pool.acquire()
    try:
        if pace.begun is None:
            frame = protocol.download(file.group, file.name.encode(), offset, length)
            announced = await connection.open_stream(frame, pace.patience_s)
        else:
            announced = await connection.head()
        if announced is not None and announced > length > 0:
            reason = f"{announced} bytes where {length} were asked for"
            raise MalformedAnswer(reason, connection.server, sent=True)
    except BaseException:
        pool.release(connection)
        raise
    if announced is None:
        raise Overdue(connection)
    connection.limit_s = connection.full_limit_s
    if not announced:
        pool.release(connection)
        return Download(pool, None, 0)
    return Download(pool, connection, announced)


async def ask_info(pool: Connections, file: FileId, *, crc32: bool) -> protocol.FileFacts:
    """Ask a storage server for a file's facts (row 22).

    Raises:
        StatusFault: If the server refused; 2 means that there is no such file.
        WireFault: If the exchange failed.
    """
    frame = protocol.file_info(file.group, file.name.encode(), crc32=crc32)
    connection = pool.take_idle() or await pool.acquire()
    try:
        return protocol.parse_file_info(await connection.call(frame))
    finally:
        pool.release(connection)


async def open_download(
    pool: Connections, file: FileId, wanted: ByteRange | None, pace: Pace = _STEADY
) -> tuple[Download, ContentRange]:
    """Ask for a range of a file, or for all of it.

    Ids of normal files tell the size, so the range is known beforehand. For the others it is
    asked for only where the range can't do without.

    Raises:
        RangeNotSatisfiableError: If the range begins at or after the end.
        ChecksumMismatchError: If the server keeps another number of bytes than the id tells.
        StatusFault: If the server refused.
        WireFault: If the exchange failed.
    """
    size = file.size
    if size is None and wanted is not None and (wanted.first < 0 or wanted.last is not None):
        size = (await ask_info(pool, file, crc32=False)).size
    if size is not None:
        return await _open_known(pool, file, wanted, size, pace)
    offset = 0 if wanted is None else wanted.first
    try:
        download = await start_download(pool, file, offset, 0, pace)
    except StatusFault as fault:
        if fault.status != protocol.STATUS_INVALID:
            raise
        # Servers refuse to send nothing (protocol table, "Statuses"): is the file too short?
        facts = await ask_info(pool, file, crc32=False)
        if facts.size > offset:
            raise
        return _nothing(pool, wanted, facts.size)
    return download, ContentRange(offset, download.length, offset + download.length)


async def _open_known(
    pool: Connections, file: FileId, wanted: ByteRange | None, size: int, pace: Pace
) -> tuple[Download, ContentRange]:
    if not size:
        facts = await ask_info(pool, file, crc32=False)
        if not facts.size:
            return _nothing(pool, wanted, 0)
        raise _wrong_size(facts.size, size)
    try:
        part = ContentRange(0, size, size) if wanted is None else wanted.resolve(size)
    except RangeNotSatisfiableError:
        # The id of a file that is gone tells its size too.
        await ask_info(pool, file, crc32=False)
        raise
    try:
        download = await start_download(pool, file, part.offset, part.length, pace)
    except StatusFault as fault:
        if fault.status != protocol.STATUS_INVALID:
            raise
        facts = await ask_info(pool, file, crc32=False)
        if facts.size != size:
            raise _wrong_size(facts.size, size) from fault
        raise
    if download.length != part.length:
        announced = download.length
        download.release()
        raise _wrong_size(part.offset + announced, size)
    return download, part


def _nothing(
    pool: Connections, wanted: ByteRange | None, size: int
) -> tuple[Download, ContentRange]:
    if wanted is not None:
        wanted.resolve(size)  # raises
    return Download(pool, None, 0), ContentRange(0, 0, size)


def _wrong_size(found: int, size: int) -> ChecksumMismatchError:
    return ChecksumMismatchError(
        f"the storage server has {found} bytes of a file of {size}; its copy is damaged,"
        " or the file was changed in between"
    )


class FastdfsReadStream(ReadStream):
    """The bytes of a file, or of a range of it.

    Args:
        file: The file.
        content_range: The part that the stream carries.
        options: How it is read.
        download: The exchange that brings the bytes.
        resume: Asks for the bytes from an offset on, as many as given, once more; of another server
            than the one that failed, if one did and there is another.
        patience_s: How long a server may send nothing while another one could, in seconds; None if
            there is no other.
    """

    def __init__(
        self,
        file: FileId,
        content_range: ContentRange,
        options: ReadOptions,
        download: Download,
        resume: Callable[[int, int, str | None], Awaitable[Download]],
        patience_s: float | None = None,
    ) -> None:
        self.range = content_range
        self.chunk_size_bytes = options.chunk_size_bytes
        self._file = file
        self._response = options.response
        self._download = download
        self._resume = resume
        self._patience_s = patience_s
        self._left = content_range.length
        whole = content_range.length == content_range.size
        self._expected_crc = file.crc32 if whole else None
        self.verified = self._expected_crc is not None
        self._crc = 0
        self._losses = 0
        self._closed = False
        self._receiving = False

    # It can be set like the attribute that it is, which neither checker believes.
    @cached_property
    def info(self) -> ObjectInfo:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """What is known of the file; made when somebody asks."""
        return with_response(make_info(self._file, size=self.range.size), self._response)

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Take the next bytes.

        Args:
            max_bytes: Most bytes to return.

        Raises:
            EndOfStream: After the last byte.
            ChecksumMismatchError: In place of the last bytes, if the whole file's checksum is not
                the one in its id.
            TransportError: If the connection was lost, and again when going on from there.
            OperationTimeoutError: If the server stopped sending, likewise.
        """
        data = self._ready(max_bytes) or await self._next(partial(self._receive, max_bytes))
        if self._expected_crc is not None:
            self._crc = crc32_of(data, self._crc)
        self._passed(len(data))
        return data

    @override
    async def read_all(self) -> bytes:
        """All bytes that are left; errors as for `receive`."""
        wanted = self._left
        if not 0 < wanted <= MAX_PIECE_BYTES:
            return await super().read_all()
        first = await self.receive(wanted)
        return first if len(first) == wanted else first + await super().read_all()

    def _ready(self, max_bytes: int) -> bytes:
        """What can be had without waiting."""
        connection = self._download.connection
        return b"" if connection is None or self._receiving else connection.take(max_bytes)

    async def _receive(self, max_bytes: int, connection: Connection) -> bytes:
        return await connection.receive(max_bytes, self._patience_s)

    @override
    async def save(self, write: WriteAt, offset: int, max_bytes: int, crc32: int = 0) -> Saved:
        """Receive the next bytes into a file; as the base class says, errors as for `receive`."""
        own = self._crc
        # Of a whole file that comes as one part, the caller's checksum is this stream's too.
        same = self._expected_crc is None or own == crc32

        def write_piece(data: Buffer, at: int) -> None:
            nonlocal own
            write(data, at)
            if not same:
                own = crc32_of(data, own)

        async def take(connection: Connection) -> Saved | None:
            if connection.saves:
                return await connection.save(
                    write_piece, offset, max_bytes, crc32, self._patience_s
                )
            data = await connection.receive(min(max_bytes, MAX_PIECE_BYTES), self._patience_s)
            if not data:
                return None

            def write_data() -> int:
                write_piece(data, offset)
                return crc32_of(data, crc32)

            return Saved(len(data), await in_thread(write_data))

        saved = await self._next(take)
        self._crc = saved.crc32 if same else own
        self._passed(saved.size)
        return saved

    def _passed(self, count: int) -> None:
        self._losses = 0
        self._left -= count
        if not self._left:
            self._download.release()
            if self._expected_crc not in (None, self._crc):
                raise ChecksumMismatchError(
                    f"the content has the crc32 {self._crc:08x}, its id says"
                    f" {self._expected_crc:08x}; the storage server's copy is damaged",
                    path=self._file.path,
                    operation="open_read",
                    driver=NAME,
                )

    async def _next[T: bytes | Saved](self, take: Callable[[Connection], Awaitable[T | None]]) -> T:
        """Have something taken from the connection, or from another one if that fails."""
        if self._closed:
            raise ClosedResourceError
        if not self._left:
            raise EndOfStream
        if self._receiving:
            action = "receiving from"
            raise BusyResourceError(action)
        self._receiving = True
        try:
            data = await self._take(take)
        finally:
            self._receiving = False
        return data

    async def _take[T: bytes | Saved](self, take: Callable[[Connection], Awaitable[T | None]]) -> T:
        failed: str | None = None
        while True:
            connection = self._download.connection
            if connection is not None:
                try:
                    data = await take(connection)
                    if data:
                        return data
                    reason = f"no byte for {self._patience_s:g} s"
                    raise WireTimeout(reason, connection.server, sent=True)
                except WireFault as fault:
                    failed = self._download.server
                    self._download.release()
                    if self._closed:
                        raise ClosedResourceError from None
                    self._losses += 1
                    if self._losses > MAX_LOSSES_IN_A_ROW:
                        error = to_storage_error(fault, "none")
                        raise error.in_operation("open_read", self._file.path, NAME) from fault
                except BaseException:
                    # Cancelled: the connection is dropped, the next call goes on from here.
                    self._download.release()
                    raise
            offset = self.range.offset + self.range.length - self._left
            self._download = await self._resume(offset, self._left, failed)

    @override
    async def aclose(self) -> None:
        """Give the connection back, or drop it if bytes are still to come."""
        self._closed = True
        self._download.release()
