import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The tests share `core_doubles`; pytest's importlib mode puts no directory on the path.
sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile(
    "core",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("core")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
