"""A zip archive made while it is read, from objects of any drivers, in constant memory."""

import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from typing import IO, TYPE_CHECKING, Self, cast

from anyio import to_thread
from attrs import frozen

from polystow._driver import ReadStream
from polystow._values import ObjectInfo

if TYPE_CHECKING:
    from zipfile import ZipFile

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVES = re.compile(r"([A-Za-z]:)+")
_ZIP64_SIZE_BYTES = 2**31 - 2**24  # zipfile's own limit, less what incompressible data may grow by


@frozen
class ZipEntry:
    """An object with its name in the archive.

    Attributes:
        file_id: Which object.
        name: Its name; None for the original file name, or the end of its id.
    """

    file_id: str
    name: str | None = None


class ZipStream:
    """The chunks of an archive, for `async for`."""

    def __init__(
        self,
        open_read: Callable[[str], AbstractAsyncContextManager[ReadStream]],
        entries: Iterable[str | ZipEntry],
        compress_level: int,
    ) -> None:
        if not 0 <= compress_level <= 9:
            raise ValueError(f"compress_level is {compress_level}; 0 (store) to 9 are possible")
        listed = [entry if isinstance(entry, ZipEntry) else ZipEntry(entry) for entry in entries]
        self._chunks = _archive(open_read, listed, compress_level)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """End it early, and the read behind it."""
        await self._chunks.aclose()


async def _archive(
    open_read: Callable[[str], AbstractAsyncContextManager[ReadStream]],
    entries: list[ZipEntry],
    compress_level: int,
) -> AsyncGenerator[bytes]:
    import zipfile  # an extra, as far as imports go

    sink = _Sink()
    method = zipfile.ZIP_DEFLATED if compress_level else zipfile.ZIP_STORED
    # Never closed when an object fails: that would make an archive that looks whole.
    archive = zipfile.ZipFile(cast("IO[bytes]", sink), "w", method, compresslevel=compress_level)
    taken: dict[str, int] = {}
    member: IO[bytes] | None = None
    complete = False
    try:
        for entry in entries:
            async with open_read(entry.file_id) as stream:
                name = unique_name(entry_name(entry, stream.info), taken)
                member = _open_member(archive, name, stream.info, method)
                async for chunk in stream:
                    await to_thread.run_sync(member.write, chunk)
                    if data := sink.take():
                        yield data
            await to_thread.run_sync(member.close)
            member = None
        await to_thread.run_sync(archive.close)
        complete = True
        yield sink.take()
    finally:
        if not complete:
            _abandon(archive, member)


def _open_member(archive: "ZipFile", name: str, info: ObjectInfo, method: int) -> IO[bytes]:
    from zipfile import ZipInfo

    member = ZipInfo(name, _timestamp(info.modified or info.created))
    member.compress_type = method
    member.external_attr = 0o644 << 16
    large = info.size is None or info.size >= _ZIP64_SIZE_BYTES
    return archive.open(member, "w", force_zip64=large)


def _abandon(archive: "ZipFile", member: IO[bytes] | None) -> None:
    # ZipFile and its members close themselves when they are collected, and write for that; the
    # sink is not read any more, so nobody sees it.
    for part in (member, archive):
        if part is not None:
            with suppress(Exception):  # what made the archive fail is what counts
                part.close()


def _timestamp(moment: datetime | None) -> tuple[int, int, int, int, int, int]:
    if moment is None or not 1980 <= moment.year <= 2107:
        return (1980, 1, 1, 0, 0, 0)
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)


class _Sink:
    """What `ZipFile` writes to: it can't seek, and keeps what was not taken yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def entry_name(entry: ZipEntry, info: ObjectInfo) -> str:
    """The name of an object in the archive: it can't leave the folder that it is unpacked in.

    Backslashes count as slashes; empty, `.` and `..` segments, drive letters and control
    characters are dropped.
    """
    name = entry.name or info.filename or info.uri.rpartition("/")[2]
    name = _CONTROL.sub("", name).replace("\\", "/")
    # A lone surrogate has no place in UTF-8.
    name = name.encode("utf-8", "replace").decode()
    segments = [segment[_drives_end(segment) :] for segment in name.split("/")]
    return "/".join(part for part in segments if part.strip(" .")) or "file"


def _drives_end(segment: str) -> int:
    drives = _DRIVES.match(segment)
    return 0 if drives is None else drives.end()


def unique_name(name: str, taken: dict[str, int]) -> str:
    """`name`, with `_1`, `_2` … before its extension if it is taken; takes it.

    Names that differ only in case count as the same, since some file systems hold so.

    Args:
        name: The name.
        taken: Names that are taken, in folded case, each with the last number that was tried.
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.rpartition(".")
    if not stem:
        stem, dot, extension = base, "", ""
    candidate, number = name, taken.get(name.casefold(), 0)
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{folder}{slash}{stem}_{number}{dot}{extension}"
    taken[name.casefold()] = number
    taken.setdefault(candidate.casefold(), 0)
    return candidate
