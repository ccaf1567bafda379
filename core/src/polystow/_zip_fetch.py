"""The members of an archive, fetched ahead of the one that is compressed.

Fetching goes in rounds, each within one call, so that nothing runs while the archive's reader is
elsewhere: no task, no timer, no cancel scope is left open between two chunks of the archive.
"""

from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

from anyio import EndOfStream, move_on_after
from attrs import define, evolve, field, frozen

from polystow._driver import ReadStream
from polystow._errors import LifecycleError, StorageError
from polystow._tasks import run_all
from polystow._value import Value
from polystow._values import ObjectInfo
from polystow._zip_names import Names, member_name
from polystow._zip_writer import Begin, Drop, End, Step


class Objects(Protocol):
    """Where members come from: a `Storage`."""

    def open_read(self, file_id: str, /) -> AbstractAsyncContextManager[ReadStream]:
        """Open an object."""
        ...

    def stat(self, file_id: str, /) -> Awaitable[ObjectInfo]:
        """What is known of it."""
        ...


_ROUND_BYTES = 2_097_152
_AHEAD_BYTES = 1_048_576
_RECEIVE_BYTES = 262_144
_CLOSE_TIMEOUT_S = 5.0


@frozen(eq=False, repr=False)
class ZipMember(Value):
    """An object with its name in the archive.

    Attributes:
        id: Which object.
        name: Its name; None for the original file name, or the end of its id.
    """

    id: str
    name: str | None = None


@define(eq=False)
class _Source:
    """One member under way."""

    member: ZipMember
    info: ObjectInfo | None = None
    chunks: list[bytes] = field(factory=list[bytes])
    size_bytes: int = 0
    ended: bool = False
    failure: StorageError | None = None
    begun: bool = False
    _left_bytes: int = 0
    _context: AbstractAsyncContextManager[ReadStream] | None = None
    _stream: ReadStream | None = None

    async def fill(self, objects: Objects, enough_bytes: int, *, skip_errors: bool) -> None:
        """Fetch until there is enough, or the end."""
        try:
            if self._stream is None:
                context = objects.open_read(self.member.id)
                self._stream = await context.__aenter__()
                self._context = context
                self._left_bytes = self._stream.range.length
            if self._left_bytes <= _RECEIVE_BYTES:
                # Its connection is free then to be asked for the name.
                enough_bytes = max(enough_bytes, self.size_bytes + self._left_bytes)
            # Nobody waits for the end of what has no more bytes.
            while self.size_bytes < enough_bytes or not self._left_bytes:
                try:
                    chunk = await self._stream.receive(_RECEIVE_BYTES)
                except EndOfStream:
                    self.ended = True
                    break
                self.chunks.append(chunk)
                self.size_bytes += len(chunk)
                self._left_bytes -= len(chunk)
            if self.ended:
                await self.aclose()
            if self.info is None:
                self.info = await self._named(objects, self._stream.info)
        except StorageError as error:
            # A storage that is closed has not lost its objects.
            if not skip_errors or isinstance(error, LifecycleError):
                raise
            self.failure = error
            self.ended = True
            if self.info is None:
                self.chunks = []  # nobody has heard of it
            await self.aclose()

    async def _named(self, objects: Objects, info: ObjectInfo) -> ObjectInfo:
        """`info` with the original name, which some backends bring with a stat only."""
        if self.member.name is not None or info.filename is not None or info.metadata is not None:
            return info
        return evolve(info, filename=(await objects.stat(self.member.id)).filename)

    def take(self) -> list[bytes]:
        """What was fetched since the last time."""
        chunks, self.chunks, self.size_bytes = self.chunks, [], 0
        return chunks

    async def aclose(self) -> None:
        """Close the read, if it is open."""
        context, self._context = self._context, None
        if context is not None:
            await context.__aexit__(None, None, None)


class Fetcher:
    """Fetches members, in order, a few at a time.

    Args:
        objects: Where they come from.
        members: Which.
        prefetch: How many members are under way beside the one whose turn it is.
        skip_errors: Whether a member that fails is left out instead of ending everything.
    """

    def __init__(
        self,
        objects: Objects,
        members: Iterable[str | ZipMember],
        prefetch: int,
        *,
        skip_errors: bool,
    ) -> None:
        self.failed: list[tuple[ZipMember, StorageError]] = []
        self._objects = objects
        self._members = deque(members)
        self._window: deque[_Source] = deque()
        self._most = prefetch + 1
        self._width = 1
        self._enough = 0  # the first bytes as soon as the first member is open
        self._skip_errors = skip_errors
        self._names = Names()

    def take_name(self, name: str) -> str:
        """A name in the archive that is not taken; takes it."""
        return self._names.take(name)

    @property
    def done(self) -> bool:
        """Whether all was fetched and taken."""
        return not self._members and not self._window

    async def fetch(self) -> None:
        """Fetch what comes next: at most some megabytes.

        Raises:
            StorageError: A member failed, and none is to be skipped.
        """
        later = [source for source in self._window if not source.ended][1:]
        if not later:
            # Members that are not whole after a round are large; they keep a connection each.
            while self._members and len(self._window) < self._width:
                member = self._members.popleft()
                if not isinstance(member, ZipMember):
                    member = ZipMember(member)
                self._window.append(_Source(member))
        await run_all(
            [
                partial(
                    source.fill,
                    self._objects,
                    self._enough if number == 0 else _AHEAD_BYTES,
                    skip_errors=self._skip_errors,
                )
                for number, source in enumerate(self._window)
                if not source.ended
            ],
            limit=self._most,
        )
        small = all(source.ended for source in list(self._window)[1:])
        self._width = min(2 * self._width if small else 2, self._most)
        self._enough = _ROUND_BYTES

    def take(self) -> Sequence[Step]:
        """What was fetched, as far as it is in order."""
        steps: list[Step] = []
        while self._window:
            source = self._window[0]
            if source.info is not None and not source.begun:
                name = member_name(source.member.name, source.info)
                steps.append(Begin(self.take_name(name), source.info))
                source.begun = True
            steps.extend(source.take())
            if not source.ended:
                break
            if source.failure is not None:
                self.failed.append((source.member, source.failure))
            if source.begun:
                steps.append(End() if source.failure is None else Drop())
            self._window.popleft()
        return steps

    async def aclose(self) -> None:
        """Close all reads, within a time limit, whatever else happens."""
        with move_on_after(_CLOSE_TIMEOUT_S, shield=True):
            for source in self._window:
                await source.aclose()
