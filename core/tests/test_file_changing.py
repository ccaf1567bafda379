"""Appending, modifying and truncating of the file driver, beyond what the kit knows."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from polystow import (
    BytesBody,
    ChecksumMismatchError,
    NotFoundError,
    RangeNotSatisfiableError,
    ReadOptions,
    StatOptions,
    StreamBody,
    WriteOptions,
)
from polystow._file import FileConfig, FileDriver, _changing
from polystow._file._changing import Change, ChangeJob
from polystow._file._entries import Entry
from polystow._file._store import Condition, FileStore
from polystow._file._temporary import TemporaryFile

_PATH = (b"c", b"k")


@pytest.fixture
def driver(tmp_path: Path) -> FileDriver:
    return FileDriver(FileConfig(tmp_path), os.fsencode(tmp_path.resolve()))


async def content(driver: FileDriver) -> bytes:
    async with await driver.open_read("c/k", ReadOptions()) as stream:
        return b"".join([chunk async for chunk in stream])


def leftovers(root: Path) -> list[Path]:
    return list((root / ".polystow" / "tmp").glob("*"))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_changing, "_PIECE_BYTES", 3)
    monkeypatch.setattr(_changing, "_STEP_BYTES", 6)


def changed(old: bytes, new: bytes | None, offset: int | None, size: int | None) -> bytes:
    with TemporaryDirectory() as directory:
        store = FileStore(os.fsencode(directory))
        store.store(_PATH, old, Entry(), Condition())
        spool: TemporaryFile | None = None
        if new is not None:
            spool = store.begin(_PATH, Condition())
            spool.append(new)
        job = ChangeJob(store, *store.open(_PATH), Change(spool, offset, size))
        try:
            while not job.step():
                pass
        finally:
            job.close()
            if spool is not None:
                spool.discard()
        assert store.stat(_PATH).entry is not None
        return (Path(directory) / "c" / "k").read_bytes()


@pytest.mark.usefixtures("small_pieces")
def test_what_is_modified_is_what_a_slice_says() -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=20), st.binary(max_size=12), st.integers(0, 20))
    def check(old: bytes, new: bytes, offset: int) -> None:
        offset = min(offset, len(old))
        expected = old[:offset] + new + old[offset + len(new) :]
        assert changed(old, new, offset, None) == expected

    check()


@pytest.mark.usefixtures("small_pieces")
def test_what_is_truncated_is_cut_or_filled_with_zeros() -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=20), st.integers(0, 30))
    def check(old: bytes, size: int) -> None:
        assert changed(old, None, None, size) == old[:size].ljust(size, b"\0")

    check()


async def test_a_cancelled_change_leaves_what_was_there(driver: FileDriver, tmp_path: Path) -> None:
    await driver.write("c/k", BytesBody(b"old"), WriteOptions(metadata={"a": "b"}))
    before = await driver.stat("c/k", StatOptions())
    started = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"new"
        started.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(driver.append, "c/k", StreamBody(endless()))
        await started.wait()
        tasks.cancel_scope.cancel()
    assert await driver.stat("c/k", StatOptions()) == before
    assert await content(driver) == b"old"
    assert not leftovers(tmp_path)


async def test_damaged_content_gets_no_right_checksum(driver: FileDriver, tmp_path: Path) -> None:
    await driver.write("c/k", BytesBody(b"written"), WriteOptions())
    file = tmp_path / "c" / "k"
    status = file.stat()
    file.write_bytes(b"damaged")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ChecksumMismatchError):
        await driver.append("c/k", BytesBody(b"x"))
    with pytest.raises(ChecksumMismatchError):
        await driver.truncate("c/k", 0)
    assert file.read_bytes() == b"damaged"
    assert not leftovers(tmp_path)


async def test_a_file_of_another_tool_can_be_appended_to(
    driver: FileDriver, tmp_path: Path
) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "k").write_bytes(b"theirs")
    await driver.append("c/k", BytesBody(b", ours"))
    assert await content(driver) == b"theirs, ours"


async def test_a_change_that_can_not_be_reads_no_body(driver: FileDriver, tmp_path: Path) -> None:
    await driver.write("c/k", BytesBody(b"1234"), WriteOptions())

    read: list[bytes] = []

    async def unread() -> AsyncIterator[bytes]:
        read.append(b"")
        yield b"content"

    with pytest.raises(RangeNotSatisfiableError):
        await driver.modify("c/k", 5, StreamBody(unread()))
    with pytest.raises(NotFoundError):
        await driver.append("c/other", StreamBody(unread()))
    assert not read
    assert not leftovers(tmp_path)
