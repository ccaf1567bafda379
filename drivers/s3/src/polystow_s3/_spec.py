"""How the driver is announced and opened; imports neither the SDK nor the driver itself."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from polystow import DriverContext, DriverSpec, LifecycleError, StorageDriver
from polystow_s3._config import S3Config
from polystow_s3._url import url_options


@asynccontextmanager
async def open_driver(config: S3Config, context: DriverContext) -> AsyncGenerator[StorageDriver]:
    """Open the driver; its client is opened by the first request.

    Leaving waits for what is under way, up to `context.close_timeout_s`, and closes all
    connections.

    Args:
        config: See there.
        context: The request policy and the limits of the storage that opens it.

    Raises:
        LifecycleError: There is no event loop of asyncio.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise LifecycleError(
            "the S3 driver runs on asyncio alone, as aiobotocore does, and this is another event "
            "loop: start with asyncio.run(…) or anyio.run(…, backend='asyncio')",
            driver="s3",
        ) from None
    from polystow_s3._driver import S3Driver  # what only asks for the spec does not pay for it

    driver = S3Driver(config, context)
    try:
        yield driver
    finally:
        await driver.aclose()


SPEC: DriverSpec[S3Config] = DriverSpec(
    name="s3", config=S3Config, open=open_driver, url_options=url_options
)
"""What the entry point `s3` names."""
