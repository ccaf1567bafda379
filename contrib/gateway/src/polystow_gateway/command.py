"""The command `polystow-gateway`."""

import sys


def main() -> int | None:
    """Run the gateway, as its configuration says."""
    try:
        from polystow_gateway.server import _command
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error}: python -m pip install 'polystow-gateway[server]'\n")
        return 1
    _command.main()
    return None
