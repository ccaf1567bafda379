"""What each worker process of the command serves."""

import os
from pathlib import Path

from fastapi import FastAPI

from polystow_gateway.server._app import create_app
from polystow_gateway.server._load import load_config

CONFIG_VARIABLE = "POLYSTOW_GATEWAY_CONFIG"


def app_from_environment() -> FastAPI:
    """The gateway of the file that `POLYSTOW_GATEWAY_CONFIG` names, and of the environment.

    For ASGI servers: `uvicorn --factory polystow_gateway.server:app_from_environment`.

    Raises:
        ConfigError: With all its mistakes.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    return create_app(load_config(None if path is None else Path(path), os.environ))
