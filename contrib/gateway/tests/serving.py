"""A real uvicorn on this event loop, and a real client for it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncGenerator[httpx.AsyncClient]:
    """Run the application on a port of loopback, a free one by default; a client for it."""
    config = uvicorn.Config(
        app, "127.0.0.1", port, ws="none", log_level="error", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve())
    try:
        with anyio.fail_after(10):
            while not server.started and not serve.done():  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await serve
