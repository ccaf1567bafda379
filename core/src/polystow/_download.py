"""Downloads to a local file, in ranges side by side where that pays, or into a file object."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Buffer, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import EndOfStream
from attrs import define, evolve, field, frozen

from polystow._crc32 import crc32_of
from polystow._digests import combine_crc32
from polystow._download_plan import Identity, Journal, Transfer, plan_transfer
from polystow._driver import ReadStream
from polystow._errors import (
    BackendUnavailableError,
    ChecksumMismatchError,
    OperationTimeoutError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    RateLimitedError,
    StorageError,
    TruncatedBodyError,
)
from polystow._local_file import (
    LocalFile,
    ResumableFile,
    local_errors,
    resumable_file,
    save_whole,
    temporary_file,
    write_all,
    write_of,
)
from polystow._progress import Progress
from polystow._ranges import ByteRange
from polystow._tasks import run_all
from polystow._threads import in_thread
from polystow._value import Value
from polystow._values import ObjectInfo, ReadOptions

_RECEIVE_SIZE_BYTES = 1_048_576
_AT_ONCE_BYTES = 65_536
"""What is no longer comes into memory and is saved in one step of a worker thread, not in five."""

type Open = Callable[[ReadOptions], Awaitable[ReadStream]]


@frozen(eq=False, repr=False)
class Download(Value):
    """What to download, and how.

    Attributes:
        open: Opens a read of the object.
        options: Of the read as a whole.
        conditional: Whether the backend honours `if_match`.
        concurrency: How many ranges at once; None for what pays.
        part_size_bytes: The length of each; None for what pays.
        progress: Who is told.
    """

    open: Open
    options: ReadOptions
    conditional: bool
    concurrency: int | None = None
    part_size_bytes: int | None = None
    progress: Progress | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("concurrency", "part_size_bytes"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; 1 is the least")


async def download_into(download: Download, file: object) -> ObjectInfo:
    """Write an object into a binary file object, from where that stands; it is not closed.

    Its `write` may be async; if it is not, it is called in a worker thread.

    Raises:
        TypeError: It can't be written to, or takes text.
    """
    write = write_of(file)
    async with _opened(download.open, download.options) as stream:
        done = 0
        while True:
            try:
                chunk = await stream.receive(_RECEIVE_SIZE_BYTES)
            except EndOfStream:
                return stream.info
            await write_all(write, chunk)
            done += len(chunk)
            if download.progress is not None:
                download.progress(done, stream.range.length)


async def download_to(download: Download, path: Path) -> ObjectInfo:
    """Save an object as a local file; see `Storage.download`."""
    async with _opened(download.open, download.options) as stream:
        if stream.range.length <= _AT_ONCE_BYTES and download.part_size_bytes is None:
            content = await _whole(stream, download.progress)
            await in_thread(partial(save_whole, path, content))
            return stream.info
        size = stream.range.size
        identity = Identity.of(stream.info, size)
        concurrency = download.concurrency
        if size is None or not identity.certain:
            concurrency = 1  # nobody could tell that two ranges are of one content
        transfer = plan_transfer(
            stream.range,
            concurrency=concurrency,
            part_size_bytes=download.part_size_bytes if concurrency != 1 else None,
            resumable=False,
        )
        async with temporary_file(path) as file:
            run = _Run(download, file, stream.info, identity, transfer)
            await run.all_parts(stream)
            await _commit(file)
        return stream.info


async def _whole(stream: ReadStream, progress: Progress | None) -> bytes:
    """All that a stream has, verified.

    Raises:
        TruncatedBodyError: It ends before its end.
        ChecksumMismatchError: As `_Run.all_parts`.
    """
    chunks: list[bytes] = []
    left = stream.range.length
    while left:
        try:
            chunks.append(await stream.receive(left))
        except EndOfStream:
            raise _truncated(stream.info, left) from None
        left -= len(chunks[-1])
        if progress is not None:
            progress(stream.range.length - left, stream.range.length)
    await _expect_end(stream)
    content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    identity = Identity.of(stream.info, stream.range.size)
    if identity.crc32 is not None and len(content) == identity.size:
        _compare(stream.info, identity.crc32, crc32_of(content))
    return content


async def resume_to(download: Download, path: Path, identity: str) -> ObjectInfo:
    """As `download_to`, going on where a former download of the same object to `path` ended."""
    async with resumable_file(path, identity) as file:
        with local_errors(path):
            journal = await in_thread(file.read_journal)
        try:
            if journal is not None:
                try:
                    return await _go_on(download, file, journal)
                except (PreconditionFailedError, RangeNotSatisfiableError):
                    pass  # it is another object now
            return await _begin(download, file)
        except ChecksumMismatchError:
            with local_errors(path):
                await in_thread(partial(file.begin, None))
            raise


async def _begin(download: Download, file: ResumableFile) -> ObjectInfo:
    async with _opened(download.open, download.options) as stream:
        identity = Identity.of(stream.info, stream.range.size)
        certain = identity.certain and identity.size is not None
        transfer = plan_transfer(
            stream.range,
            concurrency=download.concurrency if certain else 1,
            part_size_bytes=download.part_size_bytes if certain else None,
            resumable=certain,
        )
        journal = Journal(identity, transfer, {}) if certain else None
        with local_errors(file.path):
            await in_thread(partial(file.begin, journal))
        run = _Run(download, file, stream.info, identity, transfer, note=certain)
        await run.all_parts(stream)
        await _commit(file)
        return stream.info


async def _go_on(download: Download, file: ResumableFile, journal: Journal) -> ObjectInfo:
    transfer = journal.transfer
    crcs = await _still_there(file, journal)
    missing = [index for index in range(transfer.parts) if index not in crcs]
    # With nothing missing a byte is read, to see that the object is still the same.
    first = missing[0] if missing else 0
    end = transfer.offset + transfer.length - 1
    rest = ByteRange(transfer.part_offset(first), end if missing else transfer.part_offset(first))
    options = evolve(download.options, range=rest)
    if download.conditional and options.if_match is None:
        options = evolve(options, if_match=journal.identity.etag)
    async with _opened(download.open, options) as stream:
        if journal.identity.differs(Identity.of(stream.info, stream.range.size)):
            raise PreconditionFailedError("it has changed since its download began")
        run = _Run(
            download,
            file,
            stream.info,
            journal.identity,
            transfer,
            crcs,
            note=True,
        )
        await run.all_parts(stream)
        await _commit(file)
        return stream.info


async def _still_there(file: ResumableFile, journal: Journal) -> dict[int, int]:
    """The finished parts whose bytes are on the disk as they were noted."""
    there: dict[int, int] = {}
    for index, crc32 in journal.finished.items():
        offset = index * journal.transfer.part_size_bytes
        length = journal.transfer.part_length(index)
        with local_errors(file.path):
            if await in_thread(partial(file.crc32, offset, length)) == crc32:
                there[index] = crc32
    return there


async def _commit(file: LocalFile) -> None:
    with local_errors(file.path):
        await in_thread(file.commit)


@asynccontextmanager
async def _opened(open_read: Open, options: ReadOptions) -> AsyncGenerator[ReadStream]:
    stream = await open_read(options)
    try:
        yield stream
    finally:
        await stream.aclose()


@define(eq=False)
class _Run:
    """One download under way.

    The stream that opened it reads on from the front. Helpers fetch parts from the back, until
    both meet; so nothing is asked for twice, and a download that gets no second connection goes
    on over its first.
    """

    download: Download
    file: LocalFile
    info: ObjectInfo
    identity: Identity
    transfer: Transfer
    crcs: dict[int, int] = field(factory=dict[int, int])
    note: bool = False
    pending: deque[int] = field(init=False)
    done: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        transfer = self.transfer
        self.pending = deque(index for index in range(transfer.parts) if index not in self.crcs)
        self.done = sum(map(transfer.part_length, self.crcs))

    async def all_parts(self, stream: ReadStream) -> None:
        """Fetch what is missing, and verify what is there.

        Raises:
            ChecksumMismatchError: The bytes are not those that the object's CRC-32 tells.
            PreconditionFailedError: The object was changed meanwhile.
        """
        helpers = min(self.transfer.concurrency, len(self.pending)) - 1
        if helpers > 0:
            calls: list[Callable[[], Awaitable[None]]] = [partial(self._front, stream)]
            calls += [self._back] * helpers
            await run_all(calls, limit=len(calls))
        else:
            await self._front(stream)
        while self.pending:  # what helpers gave back
            await self._front(None)
        self._verify()

    async def _front(self, stream: ReadStream | None) -> None:
        if stream is not None and self.pending:
            await self._follow(stream, self.pending.popleft(), self.transfer.parts - 1)
            await stream.aclose()
        while self.pending:
            first = last = self.pending.popleft()
            for index in self.pending:
                if index != last + 1:
                    break
                last = index
            async with self._ranged(first, last) as part:
                await self._follow(part, first, last)

    async def _follow(self, stream: ReadStream, index: int, last: int) -> None:
        """Take parts from a stream up to `last`, as long as nobody else has taken them."""
        await self._fill(index, stream)
        while index < last:
            index += 1
            if not self.pending or self.pending[0] != index:
                return  # a helper has it, or a former download had
            self.pending.popleft()
            await self._fill(index, stream)
        await _expect_end(stream)

    async def _back(self) -> None:
        while self.pending:
            index = self.pending.pop()
            opened = False
            try:
                async with self._ranged(index, index) as stream:
                    opened = True
                    await self._follow(stream, index, index)
            except (OperationTimeoutError, RateLimitedError, BackendUnavailableError):
                if opened:
                    raise
                self.pending.append(index)  # there is no room for a helper
                return

    @asynccontextmanager
    async def _ranged(self, first: int, last: int) -> AsyncGenerator[ReadStream]:
        download = self.download
        wanted = self.transfer.range(first, last)
        options = evolve(download.options, range=wanted)
        if download.conditional:
            options = evolve(options, if_match=self.identity.etag)
        if options.version is None and self.info.version is not None:
            options = evolve(options, version=self.info.version)
        async with _opened(download.open, options) as stream:
            if self.identity.differs(Identity.of(stream.info, stream.range.size)):
                raise PreconditionFailedError(
                    "the object was changed while it was downloaded; nothing was saved",
                    path=self.info.path,
                    operation="download",
                )
            if stream.range.offset != wanted.first:
                raise StorageError(
                    f"the backend gave bytes from {stream.range.offset} on instead of {wanted}",
                    path=self.info.path,
                    operation="download",
                )
            yield stream

    async def _fill(self, index: int, stream: ReadStream) -> None:
        offset = self.transfer.part_offset(index) - self.transfer.offset
        left = self.transfer.part_length(index)
        crc32 = 0
        while left:
            try:
                saved = await stream.save(self._write, offset, left, crc32)
            except EndOfStream:
                raise _truncated(self.info, left) from None
            crc32 = saved.crc32
            offset += saved.size
            left -= saved.size
            self.done += saved.size
            if self.download.progress is not None:
                self.download.progress(self.done, self.transfer.length)
        if self.note and isinstance(self.file, ResumableFile):
            with local_errors(self.file.path):
                await in_thread(partial(self.file.note, index, crc32))
        self.crcs[index] = crc32

    def _write(self, chunk: Buffer, offset: int) -> None:
        with local_errors(self.file.path):
            self.file.write(chunk, offset)

    def _verify(self) -> None:
        expected = self.identity.crc32
        if expected is None or self.transfer.length != self.identity.size:
            return
        total = 0
        for index in range(self.transfer.parts):
            total = combine_crc32(total, self.crcs[index], self.transfer.part_length(index))
        _compare(self.info, expected, total)


def _compare(info: ObjectInfo, expected: str, crc32: int) -> None:
    if f"{crc32:08x}" != expected:
        raise ChecksumMismatchError(
            f"what was read has the CRC-32 {crc32:08x}, the object {expected}; nothing was saved",
            path=info.path,
            operation="download",
        )


def _truncated(info: ObjectInfo, left: int) -> TruncatedBodyError:
    message = f"the object ended {left} bytes before its end"
    return TruncatedBodyError(message, path=info.path, operation="download")


async def _expect_end(stream: ReadStream) -> None:
    """Read the end too: that is where a driver tells what it found out about the whole."""
    try:
        await stream.receive(1)
    except EndOfStream:
        return
    raise StorageError("it goes on after its end", path=stream.info.path, operation="download")
