"""A zip archive made while it is read, from objects of any drivers, in constant memory."""

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, Self

from anyio import to_thread

from polystow._local_file import local_errors, temporary_file, write_all, write_of
from polystow._tasks import run_all
from polystow._threads import in_thread
from polystow._values import Failure, ObjectInfo
from polystow._zip_fetch import Fetcher, Objects, ZipMember
from polystow._zip_names import check_member_name
from polystow._zip_writer import Begin, End, Step, ZipWriter

MANIFEST_NAME = "skipped.json"
"""The member that lists what `on_error="skip"` left out."""

_INLINE_BYTES = 16_384
"""Up to this, compressing costs less than a hop to a thread and back under load."""


class ZipStream:
    """The chunks of an archive, for `async for`; or all of them for `save`."""

    def __init__(
        self,
        objects: Objects,
        members: Iterable[str | ZipMember],
        *,
        compress_level: int,
        prefetch: int,
        on_error: Literal["fail", "skip"],
    ) -> None:
        if not 0 <= compress_level <= 9:
            raise ValueError(f"compress_level is {compress_level}; 0 (store) to 9 are possible")
        if prefetch < 0:
            raise ValueError(f"prefetch is {prefetch}; 0 is the least")
        if on_error not in ("fail", "skip"):
            raise ValueError(f"on_error is {on_error!r}; it is 'fail' or 'skip'")
        listed = list(members)
        for member in [member for member in listed if not isinstance(member, str)]:
            if member.name is not None:
                check_member_name(member.name, member.id)
        self._fetcher = Fetcher(objects, listed, prefetch, skip_errors=on_error == "skip")
        # A generator, since both event loops end one that its reader has dropped.
        self._chunks = _archive(self._fetcher, compress_level)

    @property
    def skipped(self) -> Sequence[Failure]:
        """The members that were left out so far, each with its error."""
        return [Failure(member.id, error) for member, error in self._fetcher.failed]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """End it early, and the reads behind it."""
        await self._chunks.aclose()

    async def save(self, target: str | Path | BinaryIO) -> int:
        """Write the archive into a local file.

        Args:
            target: A path, where the file is when it is complete; directories above it are made.
                Or a binary file, written from where it stands, in worker threads unless its
                `write` is async, and left open.

        Returns:
            The archive's length in bytes.

        Raises:
            NoSpaceError: The disk is full.
            StorageError: A member can't be read, or the file can't be written. A path has no
                file then, or the old one; a file object has an archive without its end.
        """
        try:
            if isinstance(target, str | Path):
                return await self._save_to(Path(target))
            write = write_of(target)
            size = 0
            async for chunk in self:
                await write_all(write, chunk)
                size += len(chunk)
            return size
        finally:
            await self.aclose()

    async def _save_to(self, path: Path) -> int:
        size = 0
        async with temporary_file(path) as file:
            async for chunk in self:
                with local_errors(path):
                    await in_thread(partial(file.write, chunk, size))
                size += len(chunk)
            with local_errors(path):
                await in_thread(file.commit)
        return size


async def _archive(fetcher: Fetcher, compress_level: int) -> AsyncGenerator[bytes]:
    writer = ZipWriter(compress_level)
    complete = False
    try:
        await fetcher.fetch()
        steps = fetcher.take()
        for piece in writer.run(steps[:1], last=False):  # the first bytes wait for nothing else
            yield piece
        steps = steps[1:]
        while not complete:
            complete_now = fetcher.done
            if complete_now and fetcher.failed:
                steps = [*steps, *_manifest(fetcher)]
            pieces: list[bytes] = []
            compress = partial(_compress, writer, steps, complete_now, pieces)
            await run_all([compress, fetcher.fetch], limit=2)
            complete = complete_now
            for piece in pieces:
                yield piece
            steps = fetcher.take()
    finally:
        if not complete:
            writer.abandon()
        await fetcher.aclose()


async def _compress(
    writer: ZipWriter, steps: Sequence[Step], last: bool, pieces: list[bytes]
) -> None:
    if not steps and not last:
        return
    if sum(len(step) for step in steps if isinstance(step, bytes)) <= _INLINE_BYTES:
        pieces += writer.run(steps, last=last)
    else:
        pieces += await to_thread.run_sync(partial(writer.run_in_thread, steps, last=last))


def _manifest(fetcher: Fetcher) -> Sequence[Step]:
    listed = [
        {"id": member.id, "name": member.name, "error": type(error).__name__, "message": str(error)}
        for member, error in fetcher.failed
    ]
    text = json.dumps({"skipped": listed}, ensure_ascii=False, indent=2)
    info = ObjectInfo(MANIFEST_NAME, size=None, modified=datetime.now(UTC))
    return [Begin(fetcher.take_name(MANIFEST_NAME), info), text.encode("utf-8", "replace"), End()]
