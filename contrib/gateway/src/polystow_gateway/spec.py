"""How the driver `gateway` is announced and opened; imports neither aiohttp nor the driver."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from polystow import DriverContext, DriverSpec, LifecycleError, StorageDriver
from polystow_gateway._client_config import GatewayClientConfig, url_options


@asynccontextmanager
async def open_driver(
    config: GatewayClientConfig, context: DriverContext
) -> AsyncGenerator[StorageDriver]:
    """Open the driver; it connects to the gateway with the first request, or to `discover`.

    Args:
        config: See there.
        context: The request policy and the limits of the storage that opens it.

    Raises:
        LifecycleError: There is no event loop of asyncio.
        StorageError: `discover` is set, and the gateway gives no answer.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise LifecycleError(
            "the gateway driver runs on asyncio alone, as aiohttp does, and this is another event "
            "loop: start with asyncio.run(…) or anyio.run(…, backend='asyncio')",
            driver="gateway",
        ) from None
    from polystow_gateway._driver import connect  # what only asks for the spec does not pay for it

    driver = await connect(config, context)
    try:
        yield driver
    finally:
        await driver.aclose()


SPEC: DriverSpec[GatewayClientConfig] = DriverSpec(
    name="gateway", config=GatewayClientConfig, open=open_driver, url_options=url_options
)
"""What the entry point `gateway` names."""
