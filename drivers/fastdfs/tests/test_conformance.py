"""The FastDFS driver under the conformance kit, on an in-process cluster."""

from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar

import pytest

from polystow import DriverContext, StorageDriver
from polystow_fastdfs import FastdfsConfig
from polystow_fastdfs.spec import FASTDFS
from polystow_testing.conformance import (
    ALL_WRAPPINGS,
    BARE,
    COMPOSITES,
    POLICIES,
    DriverConformance,
)
from polystow_testing.fastdfs import FastdfsServer


class TestFastdfs(DriverConformance):
    wrappings = tuple(wrapping for wrapping in ALL_WRAPPINGS if not wrapping.names_keys)
    thorough_wrappings = (BARE, *COMPOSITES, *POLICIES)

    deviations: ClassVar[Mapping[str, str]] = {
        "test_odd_metadata_is_kept_as_it_was_given[control_character_in_value]": (
            r"the protocol separates metadata by \x01 and \x02"
        ),
        "test_odd_metadata_is_kept_as_it_was_given[empty_name]": "FastDFS has no empty names",
    }

    @pytest.fixture
    def container(self) -> str:
        return "group1"

    @pytest.fixture
    def missing_container(self) -> str:
        return "group9"

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, fastdfs_session_server: FastdfsServer
    ) -> AsyncGenerator[StorageDriver]:
        config = FastdfsConfig(
            trackers=tuple(fastdfs_session_server.trackers),
            append_size_bytes=self.part_size_bytes,
        )
        async with FASTDFS.open(config, driver_context) as driver:
            yield driver
