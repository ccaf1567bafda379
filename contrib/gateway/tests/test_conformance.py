"""The driver `gateway` under the conformance kit: real HTTP to a gateway in front of memory."""

import sys
from collections.abc import AsyncGenerator, Generator
from uuid import uuid4

import pytest
from hypothesis import settings
from serving import client_of, open_to_all, serving_in_thread

from polystow import DriverContext, StorageDriver
from polystow_gateway.spec import SPEC
from polystow_testing.conformance import (
    ALL_WRAPPINGS,
    BARE,
    EVERYTHING,
    QUICK,
    DriverConformance,
)

FULL = "--conformance-full" in sys.argv


@pytest.fixture(scope="module")
def gateway() -> Generator[str]:
    with serving_in_thread(open_to_all("memory:")) as url:
        yield url


class TestGateway(DriverConformance):
    wrappings = ALL_WRAPPINGS if FULL else (BARE, EVERYTHING)
    listing_size = 2500 if FULL else 30
    state_machine_profile = QUICK if FULL else settings(QUICK, max_examples=2)

    @pytest.fixture
    def container(self) -> str:
        return f"conformance-{uuid4().hex[:8]}"

    @pytest.fixture
    async def driver(
        self, driver_context: DriverContext, gateway: str, container: str
    ) -> AsyncGenerator[StorageDriver]:
        config = client_of(gateway, mount="memory", discover=True, default_container=container)
        async with SPEC.open(config, driver_context) as driver:
            yield driver
