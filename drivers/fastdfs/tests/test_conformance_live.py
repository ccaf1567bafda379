"""The FastDFS driver under the conformance kit, on a real cluster: `POLYSTOW_FASTDFS_TRACKERS`."""

import os
from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar

import pytest

from polystow import DriverContext, StorageDriver
from polystow_fastdfs import FastdfsConfig
from polystow_fastdfs.spec import FASTDFS
from polystow_testing.conformance import BARE, DriverConformance

TRACKERS = [text for text in os.environ.get("POLYSTOW_FASTDFS_TRACKERS", "").split(",") if text]
GROUP = os.environ.get("POLYSTOW_FASTDFS_GROUP", "group1")


@pytest.mark.live
@pytest.mark.skipif(not TRACKERS, reason="POLYSTOW_FASTDFS_TRACKERS is not set")
class TestLiveFastdfs(DriverConformance):
    wrappings = (BARE,)
    deviations: ClassVar[Mapping[str, str]] = {
        "test_odd_metadata_is_kept_as_it_was_given[control_character_in_value]": (
            r"the protocol separates metadata by \x01 and \x02"
        ),
        "test_odd_metadata_is_kept_as_it_was_given[empty_name]": "FastDFS has no empty names",
    }

    @pytest.fixture
    def container(self) -> str:
        return GROUP

    @pytest.fixture
    def missing_container(self) -> str:
        return "group9"

    @pytest.fixture
    async def driver(self, driver_context: DriverContext) -> AsyncGenerator[StorageDriver]:
        config = FastdfsConfig(trackers=tuple(TRACKERS), append_size_bytes=self.part_size_bytes)
        async with FASTDFS.open(config, driver_context) as driver:
            yield driver
