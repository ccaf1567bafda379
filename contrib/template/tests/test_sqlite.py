"""What the kit can't know: threads, locks, and how Polystow finds the driver."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from polystow import BackendUnavailableError, NoSpaceError, open_storage
from polystow_sqlite._errors import translate


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process that holds the lock from its `BEGIN IMMEDIATE` on."""
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as db:
        yield db


@pytest.mark.anyio
async def test_it_is_found_by_its_scheme_and_leaves_one_file(tmp_path: Path) -> None:
    async with open_storage(f"sqlite://{tmp_path}/x.db") as storage:
        kept = await storage.upload("a.txt", "content")
    config = {"mounts": {"sqlite": {"database": tmp_path / "x.db"}}}
    async with open_storage(config) as storage:
        assert await storage.read_bytes(kept.file_id) == b"content"
    files = [file.name async for file in anyio.Path(tmp_path).iterdir()]
    assert files == ["x.db"], "a connection is still open"


@pytest.mark.anyio
async def test_a_locked_database_is_worth_another_try(
    tmp_path: Path, writer: sqlite3.Connection
) -> None:
    config = {"database": tmp_path / "x.db", "busy_timeout_s": 0.01, "request": {"attempts": 1}}
    async with open_storage({"mounts": {"sqlite": config}}) as storage:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendUnavailableError) as caught:
            await storage.write("sqlite:c/a", b"x")
        assert caught.value.retryable
        writer.rollback()
        await storage.write("sqlite:c/a", b"x")


def test_a_full_database_has_no_space(writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        writer.execute("CREATE TABLE a (b)")
    assert type(translate(caught.value)) is NoSpaceError


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_deletion_that_timed_out_does_not_happen_later(
    anyio_backend: str, tmp_path: Path, writer: sqlite3.Connection
) -> None:
    async with open_storage(f"sqlite://{tmp_path}/x.db?busy_timeout_s=0.2") as storage:
        writer.execute("BEGIN IMMEDIATE")
        start = anyio.current_time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await storage.delete("sqlite:c/a")
        assert anyio.current_time() - start >= 0.2, "its thread was left behind"
