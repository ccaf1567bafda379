"""How the driver `gateway` is announced and opened; imports neither aiohttp nor the driver."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from polystow import DriverContext, DriverSpec, StorageDriver
from polystow_gateway._client_config import GatewayClientConfig, url_options


@asynccontextmanager
async def open_driver(
    config: GatewayClientConfig, context: DriverContext
) -> AsyncGenerator[StorageDriver]:
    """Open the driver; it connects to the gateway with the first request.

    Args:
        config: See there.
        context: The request policy and the limits of the storage that opens it.

    Raises:
        LifecycleError: There is no event loop of asyncio.
    """
    from polystow_gateway._driver import GatewayDriver  # with its client's imports

    driver: Any = GatewayDriver(config, context)
    try:
        yield driver
    finally:
        await driver.aclose()


SPEC: DriverSpec[GatewayClientConfig] = DriverSpec(
    name="gateway", config=GatewayClientConfig, open=open_driver, url_options=url_options
)
"""What the entry point `gateway` names."""
