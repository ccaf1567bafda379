"""What the tests of every distribution share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure, and the same commit gives the same examples; `nox -s fuzz` seeks.
settings.register_profile(
    "polystow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "fuzz", deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck)
)
settings.load_profile("polystow")

# Where nox wants to know which tests of features passed: a node id a line. With several processes
# the first, which hears of all, writes.
_PASSED = None if "PYTEST_XDIST_WORKER" in os.environ else os.environ.get("POLYSTOW_PASSED")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what passed, for the session `features`; what was skipped or deselected did not."""
    if _PASSED and report.when == "call" and report.passed:
        with Path(_PASSED).open("a") as passed:
            passed.write(f"{report.nodeid}\n")
