"""A battery that catches nothing is worth nothing: each kind of broken driver is caught."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from polystow_testing.faults import (
    Attacker,
    CancellationBattery,
    Canceller,
    Case,
    Close,
    FaultBattery,
    Hang,
    MemoryBound,
    Violation,
    stream_through,
)
from polystow_testing.faults._operations import OPERATIONS


def _load() -> ModuleType:
    # pytest's importlib mode puts no directory on the path.
    path = Path(__file__).with_name("broken_drivers.py")
    spec = importlib.util.spec_from_file_location("broken_drivers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


broken: Any = _load()

LOST = Case("overwrite", "close", 1, True, "server", "down", 0.0, Close())
CUT = Case("read", "close", 1, True, "server", "down", 0.5, Close())
HANG = Case("read", "hang", 1, True, "server", "down", 0.5, Hang())
HANG_FIRST = Case("read", "hang", 1, True, "server", "down", 0.0, Hang())


class TestFaultsOfARightDriver(FaultBattery):
    target = broken.ToyTarget


class TestCancellationOfARightDriver(CancellationBattery):
    target = broken.ToyTarget


@pytest.mark.parametrize(
    ("driver", "case", "check"),
    [
        ("ReusesPoisonedConnections", HANG_FIRST, "next answer"),
        ("LosesConnections", HANG, "sockets"),
        ("LeavesTasks", CUT, "tasks"),
        ("HasNoTimeLimit", HANG_FIRST, "time limit"),
        ("HoldsTheLoop", CUT, "event loop"),
        ("LetsErrorsOfTheSystemOut", LOST, "right error"),
        ("CallsLostWritesFailed", LOST, "leftovers"),
    ],
)
def test_a_broken_driver_is_caught_by_the_check_of_that_name(
    driver: str, case: Case, check: str
) -> None:
    target = broken.ToyTarget(getattr(broken, driver))
    with target, Attacker(target) as attacker, pytest.raises(Violation) as caught:
        attacker.run(case)
    assert caught.value.check == check
    broken.forget_what_was_lost()


@pytest.mark.parametrize("how", ["task", "late", "scope"])
def test_a_driver_that_swallows_cancellation_is_caught(how: Any) -> None:
    target = broken.ToyTarget(broken.SwallowsCancellation)
    with target, Canceller(target) as canceller, pytest.raises(Violation) as caught:
        canceller.cancel_at(OPERATIONS["stat"], 1, how)
    assert caught.value.check == "cancellation"


def test_one_swallowed_cancellation_among_many_is_caught() -> None:
    target = broken.ToyTarget(broken.SwallowsCancellation)
    with target, Canceller(target) as canceller, pytest.raises(Violation) as caught:
        canceller.cancel_at_random(OPERATIONS["stat"], 20, 1)
    assert caught.value.check == "cancellation"


def test_a_driver_that_keeps_whole_objects_in_memory_is_caught() -> None:
    # As the toy does.
    with broken.ToyTarget() as target, pytest.raises(Violation) as caught:
        stream_through(target, 4_194_304, 1_048_576)
    assert caught.value.check == "memory"


def test_memory_above_the_bound_is_told() -> None:
    with MemoryBound(1_000_000) as bound:
        kept = [bytes(100_000) for _ in range(30)]
    assert len(kept) == 30
    with pytest.raises(Violation, match="3,0"):
        bound.check()


def test_the_table_is_printed_and_the_junit_file_tells_each_cell(tmp_path: Path) -> None:
    report = tmp_path / "faults.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-c", str(Path(__file__).parents[3] / "pyproject.toml")),
            *("--polystow-fault-table", f"--junitxml={report}", "-k", "stat-close"),
            str(Path(__file__)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "faults: toy" in done.stdout
    cells = [node.get("value", "") for node in ElementTree.parse(report).iter("property")]
    assert cells == ["close|stat|toy|1|0"]
