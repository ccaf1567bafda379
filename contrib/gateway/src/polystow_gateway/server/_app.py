"""The application: its state, its routes, and how errors are answered."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from anyio import to_thread
from fastapi import FastAPI

from polystow import config_from_toml, open_storage
from polystow_gateway.server import (
    _admin_api,
    _changes_api,
    _containers_api,
    _health,
    _objects_api,
    _parts_api,
    _refstore_api,
)
from polystow_gateway.server._access import Access
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._guard import Guard
from polystow_gateway.server._mapping import MappingStore
from polystow_gateway.server._problems import add_handlers
from polystow_gateway.server._readiness import Readiness
from polystow_gateway.server._state import Gateway

_ROUTERS = (
    _health.router,
    _objects_api.router,
    _changes_api.router,
    _parts_api.router,
    _containers_api.router,
    _admin_api.router,
)


def create_app(config: GatewayConfig) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        config: See there. What is wrong of it shows when the application starts (`ConfigError`).
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with _opened(config) as gateway:
            yield {"gateway": gateway}

    app = FastAPI(
        title="Polystow gateway",
        version="1",
        lifespan=lifespan,
        openapi_url="/openapi.json" if config.api_docs else None,
        # Their pages load scripts from elsewhere, which would run in the gateway's name.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, config=config)
    add_handlers(app)
    for router in _ROUTERS:
        app.include_router(router)
    if config.refstore_paths:
        app.include_router(_refstore_api.router)
    return app


@asynccontextmanager
async def _opened(config: GatewayConfig) -> AsyncGenerator[Gateway]:
    async with (
        open_storage(config.source, close_timeout_s=config.close_timeout_s) as storage,
        Access.opened(config, storage) as access,
        MappingStore.opened(config, storage) as mapping,
    ):
        routes = storage.driver.capabilities.routes
        assert routes is not None
        mounts = list(routes.mounts())
        write_to = mounts[0] if len(mounts) == 1 else await _write_to(config)
        yield Gateway(config, storage, access, mapping, Readiness(storage), write_to)


async def _write_to(config: GatewayConfig) -> str | None:
    """The mount for new objects: the gateway's word counts, then that of its storage."""
    if config.write_to is not None:
        return config.write_to
    source = config.storage
    if isinstance(source, Path):
        source = (await to_thread.run_sync(config_from_toml, source)).data
    if not isinstance(source, Mapping):
        return None
    scheme = cast("Mapping[str, object]", source).get("write_to")
    return scheme if isinstance(scheme, str) else None
