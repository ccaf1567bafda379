"""The driver under Polystow's conformance kit, and what the kit can't know: locks."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from polystow import BackendUnavailableError, DriverContext, StorageDriver, open_storage
from polystow_sqlite import SPEC, SqliteConfig
from polystow_testing.conformance import DriverConformance


class TestSqlite(DriverConformance):
    backends = ("asyncio", "trio")

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, tmp_path: Path
    ) -> AsyncGenerator[StorageDriver]:
        async with SPEC.open(SqliteConfig(tmp_path / "objects.db"), driver_context) as driver:
            yield driver


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_locked_database_is_unavailable_and_no_deletion_comes_late(
    anyio_backend: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.db"
    config = {"database": file, "busy_timeout_s": 0.1, "request": {"attempts": 1}}
    async with open_storage({"mounts": {"sqlite": config}}) as storage:
        with closing(sqlite3.connect(file, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendUnavailableError):
                await storage.write("sqlite:c/a", b"x")
            start = anyio.current_time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await storage.delete("sqlite:c/a")
            assert anyio.current_time() - start >= 0.1, "its thread was left behind"
