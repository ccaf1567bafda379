"""The driver `gateway`: each operation is a request of the gateway's API."""

from polystow import DriverContext, UnsupportedOperationError
from polystow_gateway._client_config import GatewayClientConfig


class GatewayDriver:
    """See `GatewayClientConfig`."""

    def __init__(self, config: GatewayClientConfig, context: DriverContext) -> None:
        raise UnsupportedOperationError(f"{config} {context}")
