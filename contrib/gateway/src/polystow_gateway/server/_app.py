"""The application: its state, its routes, and how errors are answered."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from polystow import open_storage
from polystow_fastapi import add_exception_handlers
from polystow_gateway.server._access import Access
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._guard import Guard
from polystow_gateway.server._mapping import MappingStore


def create_app(config: GatewayConfig) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        config: See there.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with (
            open_storage(config.source) as storage,
            Access.opened(config, storage) as access,
            MappingStore.opened(config, storage) as mapping,
        ):
            yield {"storage": storage, "access": access, "mapping": mapping}

    app = FastAPI(title="Polystow gateway", lifespan=lifespan)
    app.add_middleware(Guard, config=config)
    add_exception_handlers(app)

    @app.get("/health/live")
    async def live() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - FastAPI keeps it
        """Whether the process answers."""
        return {"status": "ok"}

    return app
