"""Doing what was planned: side by side, with progress, each failure by itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import anyio
from attrs import frozen

from polystow import ObjectInfo, Progress, Storage, StorageError, Target
from polystow_cli._exits import CommandError, Exit, exit_of, sentence
from polystow_cli._output import Output, size_text
from polystow_cli._pipes import read_stdin, write_stdout
from polystow_cli._plan import Transfer
from polystow_cli._progress import ProgressDisplay


@frozen
class TransferOptions:
    """How transfers are done.

    Attributes:
        concurrency: How many at once.
        dry_run: Whether they are only told.
        overwrite: Whether what is there is replaced.
        move: Whether sources are deleted when their copies are complete.
    """

    concurrency: int = 4
    dry_run: bool = False
    overwrite: bool = True
    move: bool = False


class Transfers:
    """Runs transfers.

    Args:
        storage: The storage.
        output: Where results go.
        options: See there.
    """

    def __init__(self, storage: Storage, output: Output, options: TransferOptions) -> None:
        self._storage = storage
        self._output = output
        self._options = options
        self._worst = Exit.OK

    async def run(self, plan: AsyncIterator[Transfer]) -> Exit:
        """Do them all.

        Returns:
            `OK`, or what the first failure ends the command with.
        """
        sender, receiver = anyio.create_memory_object_stream[Transfer](0)

        async def work() -> None:
            async for transfer in receiver:
                await self._do(transfer, display)

        with ProgressDisplay(self._output) as display, sender, receiver:
            async with anyio.create_task_group() as tasks:
                for _ in range(self._options.concurrency):
                    tasks.start_soon(work)
                try:
                    async for transfer in plan:
                        await sender.send(transfer)
                except (StorageError, CommandError) as error:
                    self._failed(error)
                sender.close()
        return self._worst

    async def _do(self, transfer: Transfer, display: ProgressDisplay) -> None:
        verb = "move" if self._options.move else "copy"
        try:
            if transfer.problem is not None:
                raise transfer.problem
            if self._options.dry_run:
                self._output.result(
                    f"would {verb} {transfer.source} -> {transfer.shown}", _values(transfer, None)
                )
                return
            with display.task(transfer.source, transfer.size) as progress:
                info = await self._transfer(transfer, progress)
            if self._options.move:
                await self._delete_source(transfer)
        except (StorageError, CommandError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            self._failed(error, transfer)
            return
        shown = transfer.shown if info is None or transfer.kind == "download" else info.file_id
        if transfer.kind != "send":
            self._output.result(
                f"{transfer.source} -> {shown} ({size_text(None if info is None else info.size)})",
                _values(transfer, info),
            )

    async def _transfer(self, transfer: Transfer, progress: Progress | None) -> ObjectInfo | None:
        storage, overwrite = self._storage, self._options.overwrite
        source, target = transfer.source, transfer.target
        if transfer.kind == "download":
            assert isinstance(target, Path)
            return await self._download(source, target, progress)
        if transfer.kind == "send":
            async with storage.open_read(source) as stream:
                await write_stdout(stream)
                return stream.info
        to = cast("Target", target)
        if transfer.kind == "copy":
            if self._options.move:
                return await storage.move(source, to, overwrite=overwrite)
            return await storage.copy(source, to, overwrite=overwrite)
        content = read_stdin() if transfer.kind == "receive" else Path(source)
        return await storage.write(
            to, content, overwrite=overwrite, progress=progress, filename=_filename(source)
        )

    async def _download(self, source: str, target: Path, progress: Progress | None) -> ObjectInfo:
        if not self._options.overwrite and await anyio.Path(target).exists():
            raise CommandError(f"the local file {str(target)!r} is there already", Exit.EXISTS)
        return await self._storage.download(source, target, progress=progress)

    async def _delete_source(self, transfer: Transfer) -> None:
        if transfer.kind == "upload":
            await anyio.Path(transfer.source).unlink()
        elif transfer.kind == "download":
            await self._storage.delete(transfer.source)

    def _failed(self, error: Exception, transfer: Transfer | None = None) -> None:
        if self._worst is Exit.OK:
            self._worst = exit_of(error)
        if self._output.debug:
            raise error
        text = sentence(error)
        if (
            transfer is not None
            and isinstance(error, OSError)
            and not isinstance(error, StorageError)
        ):
            text = f"{transfer.source!r}: {text}"
        self._output.error(text)
        if transfer is not None and self._output.as_json:
            self._output.result("", {**_values(transfer, None), "error": text})


def _filename(source: str) -> str | None:
    return None if source == "-" else Path(source).name


def _values(transfer: Transfer, info: ObjectInfo | None) -> dict[str, object]:
    target = transfer.shown
    if info is not None and transfer.kind in {"upload", "copy", "receive"}:
        target = info.file_id
    size = transfer.size if info is None else info.size
    return {"source": transfer.source, "target": target, "size": size}
