"""The client of a gateway: its driver, which `Storage` uses, and what administrators ask."""

from polystow_gateway._admin import GatewayAdmin, open_admin
from polystow_gateway._client_config import GatewayClientConfig
from polystow_gateway._driver import GatewayDriver
from polystow_gateway._wire_admin import GatewaySettings, GatewayStatus, MountSettings, MountStatus
from polystow_gateway._wire_requests import MappingState

__all__ = [
    "GatewayAdmin",
    "GatewayClientConfig",
    "GatewayDriver",
    "GatewaySettings",
    "GatewayStatus",
    "MappingState",
    "MountSettings",
    "MountStatus",
    "open_admin",
]
