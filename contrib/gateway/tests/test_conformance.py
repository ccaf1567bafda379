"""The driver `gateway` under the conformance kit: real HTTP to a gateway in front of memory."""

from collections.abc import AsyncGenerator, Generator
from uuid import uuid4

import pytest
from hypothesis import settings
from serving import client_of, open_to_all, serving_in_thread

from polystow import DriverContext, StorageDriver
from polystow_gateway.spec import SPEC
from polystow_testing.conformance import BARE, EVERYTHING, QUICK, DriverConformance


@pytest.fixture(scope="module")
def gateway() -> Generator[str]:
    with serving_in_thread(open_to_all("memory:")) as url:
        yield url


class TestGateway(DriverConformance):
    wrappings = (BARE, EVERYTHING)
    listing_size = 30
    state_machine_profile = settings(QUICK, max_examples=2)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if metafunc.config.getoption("--conformance-full"):
            for name in ("wrappings", "listing_size", "state_machine_profile"):
                setattr(TestGateway, name, getattr(DriverConformance, name))
        super().pytest_generate_tests(metafunc)

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
