"""The table of the fault battery, and its options; knows nothing of storages."""

import os
from collections import defaultdict
from collections.abc import Iterable

import attrs
import pytest

PROPERTY = "polystow_fault"
"""The name under which a test's report, and so a JUnit file, tells what it has tried."""


@attrs.define
class _Cell:
    cases: int = 0
    passed: int = 0
    unknown: int = 0

    def __str__(self) -> str:
        if not self.cases:
            return ""
        text = f"{self.passed}/{self.cases}"
        return f"{text} ?{self.unknown}" if self.unknown else text


def add_options(parser: pytest.Parser) -> None:
    """`--polystow-faults` and `--polystow-fault-table`."""
    group = parser.getgroup("polystow", "Polystow's fault battery")
    group.addoption(
        "--polystow-faults",
        choices=("sample", "all"),
        default=os.environ.get("POLYSTOW_FAULTS", "sample"),
        help="which cases to run; the default is what POLYSTOW_FAULTS says, else a sample",
    )
    group.addoption(
        "--polystow-fault-table",
        action="store_true",
        help="print the table: fault, operation, driver",
    )


def everything(config: pytest.Config) -> bool:
    """Whether all cases are asked for."""
    return bool(config.getoption("--polystow-faults") == "all")


def record(
    request: pytest.FixtureRequest,
    fault: str,
    operation: str,
    driver: str,
    *,
    cases: int,
    unknown: int,
) -> None:
    """Note what a test has tried, for the table and for a JUnit file.

    Args:
        request: Of the test.
        fault: What went wrong.
        operation: In what.
        driver: Of which driver.
        cases: How many cases it was.
        unknown: In how many of them the error said that the outcome is not known.
    """
    # pytest's own `record_property` warns when it also writes a JUnit file of its newer kind,
    # where a suite may have made warnings errors.
    cell = f"{fault}|{operation}|{driver}|{cases}|{unknown}"
    request.node.user_properties.append((PROPERTY, cell))


def summarise(reporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    reports: list[pytest.TestReport] = [
        report
        for outcome in ("passed", "failed")
        for report in reporter.stats.get(outcome, [])
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    tables = _tables(reports)
    for driver, cells in tables.items():
        operations = list(dict.fromkeys(operation for _, operation in cells))
        faults = list(dict.fromkeys(fault for fault, _ in cells))
        total = _Cell(
            sum(cell.cases for cell in cells.values()),
            sum(cell.passed for cell in cells.values()),
            sum(cell.unknown for cell in cells.values()),
        )
        reporter.section(f"faults: {driver}", sep="-")
        rows = [["", *operations]]
        rows += [[fault, *(str(cells[fault, name]) for name in operations)] for fault in faults]
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        for row in rows:
            reporter.line(
                "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            )
        reporter.line(
            f"{driver}: {total.passed} of {total.cases} cases passed; in {total.unknown} of them "
            "the answer was lost and the outcome unknown (marked ?)"
        )


def _tables(reports: Iterable[pytest.TestReport]) -> dict[str, dict[tuple[str, str], _Cell]]:
    tables: dict[str, dict[tuple[str, str], _Cell]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name != PROPERTY:
                continue
            fault, operation, driver, cases, unknown = str(value).split("|")
            cells = tables.setdefault(driver, defaultdict(_Cell))
            cell = cells[fault, operation]
            cell.cases += int(cases)
            cell.passed += int(cases) if report.passed else 0
            cell.unknown += int(unknown)
    return tables
