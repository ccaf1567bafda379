"""The driver under Polystow's conformance kit."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from polystow import DriverContext, StorageDriver
from polystow_sqlite import SqliteConfig
from polystow_sqlite._spec import SPEC
from polystow_testing.conformance import DriverConformance


class TestSqlite(DriverConformance):
    backends = ("asyncio", "trio")

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, tmp_path: Path
    ) -> AsyncGenerator[StorageDriver]:
        async with SPEC.open(SqliteConfig(tmp_path / "objects.db"), driver_context) as driver:
            yield driver
