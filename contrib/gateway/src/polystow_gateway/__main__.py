"""`python -m polystow_gateway` is `polystow-gateway`."""

import sys

from polystow_gateway.command import main

if __name__ == "__main__":
    sys.exit(main())
