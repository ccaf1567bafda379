"""What the entry point announces; importing it imports no SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl

import anyio

from polystow import DriverContext, DriverSpec, StorageDriver
from polystow_fastdfs._config import FastdfsConfig

__all__ = ["FASTDFS"]

_BASE_URL: Final = "base_urls."


@asynccontextmanager
async def _open(config: FastdfsConfig, context: DriverContext) -> AsyncGenerator[StorageDriver]:
    # The driver brings aiofdfs with it, which is imported only now.
    from polystow_fastdfs._driver import FastdfsDriver

    driver = FastdfsDriver(config, context)
    try:
        yield driver
    finally:
        with anyio.CancelScope(shield=True):
            await driver.aclose(context.close_timeout_s)


def _url_options(url: SplitResult) -> Mapping[str, Any]:
    """`fastdfs://tracker1:22122,tracker2:22122/group1?network_timeout_s=5&base_urls.group1=…`."""
    if "@" in url.netloc:
        msg = "a FastDFS URL has no user and no password"
        raise ValueError(msg)
    options: dict[str, Any] = {"trackers": url.netloc}
    base_urls: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)):
        if name.startswith(_BASE_URL):
            base_urls[name.removeprefix(_BASE_URL)] = value
        else:
            options[name] = value
    if base_urls:
        options["base_urls"] = base_urls
    group = url.path.strip("/")
    if group:
        options["group"] = group
    return options


FASTDFS: Final = DriverSpec(
    name="fastdfs", config=FastdfsConfig, open=_open, url_options=_url_options
)
"""The driver, as `polystow.drivers` lists it."""
