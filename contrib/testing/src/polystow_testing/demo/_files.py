"""The files that the demo moves, and comparing them byte for byte."""

import random
from collections.abc import Iterator
from pathlib import Path

from anyio import EndOfStream, to_thread
from attrs import define, frozen

from polystow import ReadStream

_COMPARE_SIZE_BYTES = 262_144
_EXTENSIONS = ("txt", "jpg", "pdf", "bin")


@define
class DemoFile:
    """A file of the demo.

    Attributes:
        name: Its name below the folder, with slashes.
        size: In bytes.
        path: Where it is on the local disk; None for a legacy file.
        content: What is in it; None for a local file.
        file_id: Where it went.
    """

    name: str
    size: int
    path: Path | None = None
    content: bytes | None = None
    file_id: str = ""


def local_files(folder: Path) -> Iterator[DemoFile]:
    """The regular files below a folder, without hidden ones and caches."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__" or path.is_symlink():
            continue
        if path.is_dir():
            for file in local_files(path):
                file.name = f"{path.name}/{file.name}"
                yield file
        elif path.is_file():
            yield DemoFile(path.name, path.stat().st_size, path=path)


def legacy_files(count: int) -> list[DemoFile]:
    """Files of an older application, the same in every run."""
    random_bytes = random.Random(20)  # noqa: S311 - content, not a secret
    files: list[DemoFile] = []
    for number in range(count):
        size = random_bytes.choice([0, 1, 700, 4_096, 65_537, 1_048_577])
        extension = _EXTENSIONS[number % len(_EXTENSIONS)]
        content = random_bytes.randbytes(size)
        files.append(DemoFile(f"legacy-{number:02}.{extension}", size, content=content))
    return files


@frozen
class Mismatch:
    """Where a file that was read differs from what was written."""

    name: str
    file_id: str
    offset: int


async def compare(stream: ReadStream, file: DemoFile) -> Mismatch | None:
    """Compare a stream with its file, in constant memory."""
    offset = 0
    source = None if file.path is None else await to_thread.run_sync(file.path.open, "rb")
    try:
        while True:
            try:
                chunk = await stream.receive(_COMPARE_SIZE_BYTES)
            except EndOfStream:
                break
            if source is not None:
                expected = await to_thread.run_sync(source.read, len(chunk))
            else:
                assert file.content is not None
                expected = file.content[offset : offset + len(chunk)]
            if chunk != expected:
                return Mismatch(file.name, file.file_id, offset)
            offset += len(chunk)
    finally:
        if source is not None:
            source.close()
    return None if offset == file.size else Mismatch(file.name, file.file_id, offset)
