import os
import sys
from pathlib import Path

import pytest

# The tests share `serving`; pytest's importlib mode puts no directory on the path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": os.environ.get("POLYSTOW_LOOP") == "uvloop"}
