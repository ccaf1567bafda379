"""The gateway as an ASGI application: `create_app(config)`."""

from polystow_gateway.server._access import Access
from polystow_gateway.server._app import create_app
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._identity import Identity, Unauthenticated
from polystow_gateway.server._load import check_config, load_config
from polystow_gateway.server._rights import Action
from polystow_gateway.server._worker import app_from_environment

__all__ = [
    "Access",
    "Action",
    "GatewayConfig",
    "Identity",
    "Unauthenticated",
    "app_from_environment",
    "check_config",
    "create_app",
    "load_config",
]
