"""The demo itself: seed, upload, read back, zip."""

import sys
import zipfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import anyio
from anyio import to_thread
from attrs import frozen
from rich.console import Console

from polystow import Secret, Storage, ZipMember, open_storage
from polystow_testing.demo._files import DemoFile, Mismatch, compare, legacy_files, local_files
from polystow_testing.demo._report import Step, progress_bar, show, show_mismatches
from polystow_testing.demo._servers import mounts

_ZIP_FILES = 40
_ZIP_BYTES = 64 * 1024 * 1024


@frozen
class DemoOptions:
    """What the demo shall do; see its command line."""

    folder: Path
    s3_endpoint: str | None
    s3_access_key: str | None
    s3_secret_key: Secret | None
    s3_region: str
    s3_bucket: str
    trackers: tuple[str, ...]
    concurrency: int
    legacy_files: int
    keep: bool


async def run_demo(options: DemoOptions) -> bool:
    """Run it.

    Returns:
        Whether every byte was right.
    """
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=110)
    async with mounts(
        s3_endpoint=options.s3_endpoint,
        s3_access_key=options.s3_access_key,
        s3_secret_key=options.s3_secret_key,
        s3_region=options.s3_region,
        s3_bucket=options.s3_bucket,
        trackers=options.trackers,
    ) as both:
        demo = _Demo(options, console)
        # Yesterday the application had FastDFS alone …
        async with open_storage(
            {"mounts": {"fastdfs": both["fastdfs"]}, "unprefixed": "fastdfs"}
        ) as storage:
            await demo.seed(storage)
        # … today new files go to S3, and the old ones keep their ids.
        async with open_storage(
            {"mounts": both, "unprefixed": "fastdfs", "write_to": "s3"}
        ) as storage:
            try:
                await demo.upload(storage)
                await demo.read_back(storage, "read back", "S3", demo.new)
                await demo.read_back(storage, "read back", "FastDFS", demo.old)
                await demo.zip(storage)
            finally:
                if not options.keep:
                    await demo.clean_up(storage)
    show(console, demo.steps, [*demo.new[:2], *demo.old[:2]])
    show_mismatches(console, demo.mismatches)
    return not demo.mismatches


class _Demo:
    def __init__(self, options: DemoOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self.old: list[DemoFile] = []
        self.new: list[DemoFile] = []
        self.steps: list[Step] = []
        self.mismatches: list[Mismatch] = []

    async def seed(self, storage: Storage) -> None:
        async def seed(file: DemoFile, advance: Callable[[int], None]) -> None:
            assert file.content is not None
            info = await storage.upload(file.name, file.content, metadata={"app": "legacy"})
            file.file_id = info.file_id
            self.old.append(file)
            advance(file.size)

        files = legacy_files(self._options.legacy_files)
        await self._step("seed legacy files", "FastDFS", files, seed)

    async def upload(self, storage: Storage) -> None:
        async def upload(file: DemoFile, advance: Callable[[int], None]) -> None:
            assert file.path is not None
            seen = 0

            def progress(done: int, _: int | None) -> None:
                nonlocal seen
                advance(done - seen)
                seen = done

            name = PurePosixPath("demo", self._options.folder.name, file.name)
            info = await storage.upload(
                name.name, file.path, folder=str(name.parent), progress=progress
            )
            file.file_id = info.file_id
            self.new.append(file)

        files = await to_thread.run_sync(lambda: list(local_files(self._options.folder)))
        await self._step("upload through fusion", "S3", files, upload)

    async def read_back(
        self, storage: Storage, what: str, where: str, files: list[DemoFile]
    ) -> None:
        async def read(file: DemoFile, advance: Callable[[int], None]) -> None:
            async with storage.open_read(file.file_id) as stream:
                mismatch = await compare(stream, file)
            if mismatch is not None:
                self.mismatches.append(mismatch)
            advance(file.size)

        await self._step(what, where, files, read)

    async def zip(self, storage: Storage) -> None:
        chosen: list[DemoFile] = []
        for pair in zip(self.old, [*self.new, *self.old], strict=False):
            for file in pair:
                small = sum(each.size for each in chosen) + file.size <= _ZIP_BYTES
                if len(chosen) < _ZIP_FILES and small and file not in chosen:
                    chosen.append(file)
        names = [f"{number:02}-{Path(file.name).name}" for number, file in enumerate(chosen)]
        entries = [ZipMember(file.file_id, name) for file, name in zip(chosen, names, strict=True)]
        step = Step("one zip of both", "S3 + FastDFS", len(chosen), sum(f.size for f in chosen))
        with TemporaryDirectory(prefix="polystow-demo-zip-") as folder:
            archive = Path(folder, "mixed.zip")
            async with await anyio.open_file(archive, "wb") as out:
                async for chunk in storage.zip(entries):
                    await out.write(chunk)
            self.steps.append(step.done())
            self.mismatches += await to_thread.run_sync(_compare_zip, archive, chosen, names)

    async def clean_up(self, storage: Storage) -> None:
        ids = [file.file_id for file in (*self.new, *self.old)]
        result = await storage.delete_many(ids)
        for file_id, error in result.failed:
            self._console.print(f"not deleted: {file_id}: {error}", highlight=False)

    async def _step(
        self,
        what: str,
        where: str,
        files: list[DemoFile],
        work: Callable[[DemoFile, Callable[[int], None]], Awaitable[None]],
    ) -> None:
        step = Step(what, where, len(files), sum(file.size for file in files))
        with progress_bar(self._console) as bar:
            task = bar.add_task(f"{what} ({where})", total=step.size)
            await _each(
                files,
                self._options.concurrency,
                lambda file: work(file, lambda n: bar.advance(task, n)),
            )
        self.steps.append(step.done())


async def _each(
    files: Iterable[DemoFile], concurrency: int, work: Callable[[DemoFile], Awaitable[None]]
) -> None:
    """Work on all files, so many at once."""
    remaining = iter(files)

    async def worker() -> None:
        for file in remaining:
            await work(file)

    async with anyio.create_task_group() as tasks:
        for _ in range(concurrency):
            tasks.start_soon(worker)


def _compare_zip(archive: Path, files: list[DemoFile], names: list[str]) -> list[Mismatch]:
    mismatches: list[Mismatch] = []
    with zipfile.ZipFile(archive) as opened:
        for file, name in zip(files, names, strict=True):
            expected = file.path.read_bytes() if file.path is not None else file.content
            if opened.read(name) != expected:
                mismatches.append(Mismatch(f"{file.name} in the zip", file.file_id, 0))
    return mismatches
