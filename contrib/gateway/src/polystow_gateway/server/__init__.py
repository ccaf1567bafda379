"""The gateway as an ASGI application: `create_app(config)`."""

from polystow_gateway.server._access import Access
from polystow_gateway.server._app import create_app
from polystow_gateway.server._config import GatewayConfig, load_config
from polystow_gateway.server._identity import Identity, Unauthenticated
from polystow_gateway.server._rights import Action

__all__ = [
    "Access",
    "Action",
    "GatewayConfig",
    "Identity",
    "Unauthenticated",
    "create_app",
    "load_config",
]
