"""The archive's bytes, made by Python's `zipfile` in worker threads."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from anyio import from_thread

from polystow._values import ObjectInfo
from polystow._zip_types import is_compressed

if TYPE_CHECKING:
    from zipfile import ZipInfo

_ZIP64_SIZE_BYTES = 2**31 - 2**24  # zipfile's own limit, less what incompressible data may grow by
_PIECE_BYTES = 262_144


class Begin(NamedTuple):
    """A member begins."""

    name: str
    info: ObjectInfo


class End(NamedTuple):
    """The member is complete."""


class Drop(NamedTuple):
    """The member has failed: readers shall not see what was written of it."""


type Step = Begin | bytes | End | Drop


class ZipWriter:
    """Writes members one after the other; what is much is written in worker threads.

    Args:
        compress_level: 0 (store) to 9.
    """

    def __init__(self, compress_level: int) -> None:
        import zipfile  # 10 ms of imports, for those who zip

        self._level = compress_level
        self._sink = _Sink()
        self._archive = zipfile.ZipFile(cast("IO[bytes]", self._sink), "w")
        self._member: IO[bytes] | None = None
        self._entry: ZipInfo | None = None
        self._lock = Lock()
        self._abandoned = False

    def run_in_thread(self, steps: Sequence[Step], *, last: bool) -> list[bytes]:
        """`run` in a worker thread of anyio's: it stops soon if its caller is cancelled."""
        return self.run(steps, last=last, check=from_thread.check_cancelled)

    def run(
        self, steps: Sequence[Step], *, last: bool, check: Callable[[], None] = lambda: None
    ) -> list[bytes]:
        """Do the steps; blocks.

        Args:
            steps: What comes next.
            last: Whether the archive ends behind them.
            check: Called before each; what it raises stops them.

        Returns:
            What the archive grew by, in pieces.
        """
        with self._lock:
            for step in steps:
                check()
                if self._abandoned:
                    break
                self._do(step)
            else:
                if last:
                    self._archive.close()
            pieces = self._sink.take()
        if self._abandoned:
            self.abandon()
        return pieces

    def _do(self, step: Step) -> None:
        match step:
            case bytes():
                assert self._member is not None
                self._member.write(step)
            case Begin(name, info):
                self._begin(name, info)
            case End():
                self._end()
            case Drop():
                self._drop()

    def _begin(self, name: str, info: ObjectInfo) -> None:
        from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo

        entry = ZipInfo(name, _timestamp(info.modified or info.created))
        stored = self._level == 0 or is_compressed(name, info.content_type)
        entry.compress_type = ZIP_STORED if stored else ZIP_DEFLATED
        setattr(entry, "_compresslevel", self._level)  # noqa: B010 - no type stub knows it
        entry.external_attr = 0o644 << 16
        large = info.size is None or info.size >= _ZIP64_SIZE_BYTES
        self._entry = entry
        self._member = self._archive.open(entry, "w", force_zip64=large)

    def _end(self) -> "ZipInfo":
        member, entry = self._member, self._entry
        assert member is not None
        assert entry is not None
        member.close()
        self._member = self._entry = None
        return entry

    def _drop(self) -> None:
        # It ends well-formed, for those who read an archive from its beginning; those who read
        # its directory, as nearly all do, never hear of it.
        self._archive.filelist.remove(self._end())

    def abandon(self) -> None:
        """Leave the archive without its end, so that nobody takes it for whole.

        A thread that is still at work, because its caller was cancelled by force, stops soon.
        """
        self._abandoned = True
        if not self._lock.acquire(blocking=False):
            return
        try:
            # ZipFile and its members close themselves when they are collected, and write for
            # that; nobody shall see it.
            self._sink.discard()
            for part in (self._member, self._archive):
                if part is not None:
                    with suppress(Exception):  # what made the archive fail is what counts
                        part.close()
        finally:
            self._lock.release()


class _Sink:
    """What `ZipFile` writes to: it can't seek, and keeps what was not taken yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._discarded = False

    def write(self, data: bytes) -> int:
        if not self._discarded:
            self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def discard(self) -> None:
        self._discarded = True
        self._parts = []

    def take(self) -> list[bytes]:
        parts, self._parts = self._parts, []
        pieces: list[bytes] = []
        group: list[bytes] = []
        size = 0
        for part in parts:
            if group and size + len(part) > _PIECE_BYTES:
                pieces.append(b"".join(group))
                group, size = [], 0
            group.append(part)
            size += len(part)
        if size:
            pieces.append(b"".join(group))
        return pieces


def _timestamp(moment: datetime | None) -> tuple[int, int, int, int, int, int]:
    if moment is None or not 1980 <= moment.year <= 2107:
        return (1980, 1, 1, 0, 0, 0)
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
