"""A shared HTTP gateway to any drivers, and its client, which is a driver itself.

The server is in `polystow_gateway.server` and needs the extra `server`. Clients need nothing of
it: they mount the driver `gateway` and use `Storage`.
"""

from polystow_gateway._client_config import GatewayClientConfig

__all__ = ["GatewayClientConfig"]
