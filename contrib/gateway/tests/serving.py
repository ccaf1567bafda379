"""A real gateway on loopback: on the test's event loop, or in a thread of its own."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio
import httpx
import uvicorn
from starlette.types import ASGIApp

from polystow import Secret, StorageSource
from polystow_gateway import GatewayClientConfig
from polystow_gateway.server import GatewayConfig, create_app
from polystow_gateway.server._access_config import (
    GrantConfig,
    LimitsConfig,
    RoleConfig,
    SigningConfig,
)
from polystow_gateway.server._command import uvicorn_config

ALL = RoleConfig(
    (GrantConfig(("*",), ("read", "write", "delete", "list", "presign", "fetch", "admin")),)
)
MANY = LimitsConfig(requests_per_s=1e6, burst=10**6, max_transfers_per_key=1000, max_transfers=1000)
SIGNING = SigningConfig({"one": Secret("s" * 32)}, "one")


def open_to_all(storage: StorageSource, **options: object) -> GatewayConfig:
    """A configuration that allows everything to everybody, for tests of something else."""
    given = {"anonymous": ALL, "limits": MANY, "signing": SIGNING, **options}
    return GatewayConfig(storage, **given)  # type: ignore[arg-type]


def _server(app: ASGIApp, port: int = 0) -> uvicorn.Server:
    config = uvicorn.Config(
        app, "127.0.0.1", port, ws="none", log_level="error", timeout_graceful_shutdown=5
    )
    return uvicorn.Server(config)


async def _started(server: uvicorn.Server) -> None:
    with anyio.fail_after(20):
        while not server.started:  # noqa: ASYNC110 - the server tells nobody
            await anyio.sleep(0.005)


def _url(server: uvicorn.Server) -> str:
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncGenerator[httpx.AsyncClient]:
    """Run an application on a port of loopback, a free one by default; a plain client for it."""
    server = _server(app, port)
    serve = asyncio.create_task(server.serve())
    try:
        await _started(server)
        async with httpx.AsyncClient(base_url=_url(server), timeout=20, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await serve


@contextmanager
def serving_in_thread(config: GatewayConfig) -> Generator[str]:
    """Run a gateway as the command does, with an event loop of its own; its address."""
    served = uvicorn_config(config, create_app(config))
    served.port = 0
    server = uvicorn.Server(served)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)  # the server tells nobody
        scheme = "http:" if config.server.tls_certificate is None else "https:"
        yield _url(server).replace("http:", scheme)
    finally:
        server.should_exit = True
        thread.join(20)


def client_of(url: str, **options: object) -> GatewayClientConfig:
    """A client's configuration."""
    return GatewayClientConfig(url, **options)  # type: ignore[arg-type]
