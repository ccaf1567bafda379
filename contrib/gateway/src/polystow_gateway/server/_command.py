"""The command: reads the configuration and runs uvicorn."""


def main() -> int:
    """Run the gateway; see `polystow-gateway --help`."""
    raise SystemExit("write: uvicorn 'polystow_gateway.server:create_app' --factory")
