"""The memory driver under the conformance kit."""

import pytest

from polystow import MemoryDriver, StorageDriver
from polystow_testing.conformance import (
    BARE,
    COMPOSITES,
    EVERYTHING,
    DictDriver,
    DriverConformance,
)


class TestMemory(DriverConformance):
    backends = ("asyncio", "trio")
    thorough_wrappings = (BARE, *COMPOSITES, EVERYTHING)

    @pytest.fixture
    def driver(self) -> StorageDriver:
        return MemoryDriver()

    @pytest.fixture
    def model(self) -> StorageDriver:
        return DictDriver()
