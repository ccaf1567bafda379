"""The features of the peers: read, and checked against the tests that ran.

`python features.py FOLDER` is what nox runs after the tests: FOLDER has a file of passed tests, one
node id a line, of each session.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent
FOLDERS = {
    "core": "core/tests",
    "s3": "drivers/s3/tests",
    "fastdfs": "drivers/fastdfs/tests",
    "cli": "contrib/cli/tests",
    "fastapi": "contrib/fastapi/tests",
    "gateway": "contrib/gateway/tests",
    "s3py_helper": "contrib/s3py_helper/tests",
    "cross": "tests",
}


class Feature(NamedTuple):
    """What users of a peer can do."""

    peer: str
    name: str
    calls: Sequence[str]
    rows: Sequence[str]
    tests: Sequence[str]


class Features(NamedTuple):
    """All of features.toml."""

    every: Sequence[Feature]
    pages: Mapping[str, Path]
    inventory: Sequence[str]
    left_out: Mapping[str, Sequence[str]]


def features() -> Features:
    """Read features.toml."""
    found = tomllib.loads((DOCS / "features.toml").read_text())
    ends: dict[str, str] = found["inventory"]
    return Features(
        [
            Feature(peer, one["feature"], one["calls"], rows_of(one["rows"]), one["tests"])
            for peer in ends
            for one in found[peer]
        ],
        {peer: DOCS / page for peer, page in found["pages"].items()},
        [row for end in ends.values() for row in rows_of(f"{end[0]}1-{end}")],
        {one["why"]: rows_of(one["rows"]) for one in found["left-out"]},
    )


def rows_of(text: str) -> list[str]:
    """The numbers in a text such as `P3-P5 P9`."""
    rows: list[str] = []
    for part in text.split():
        match = re.fullmatch(r"([A-Z])(\d+)(?:-\1(\d+))?", part)
        if match is None:
            raise ValueError(f"{part} in features.toml is no row")
        first, last = int(match[2]), int(match[3] or match[2])
        rows += [f"{match[1]}{number}" for number in range(first, last + 1)]
    return rows


def place_of(test: str) -> tuple[str, str]:
    """The file of a test, from the root of the repository, and its function."""
    folder, module, name = test.split()
    return f"{FOLDERS[folder]}/test_{module}.py", f"test_{name}"


def not_run(every: Iterable[Feature], passed: Iterable[str]) -> list[str]:
    """What to say of each test of a feature that is not among the node ids of passed tests."""
    ran = {
        (path, rest.partition("[")[0].rpartition("::")[2])
        for path, _, rest in (node.partition("::") for node in passed)
    }
    return [
        f"{path}::{function} did not run, and is to show {feature.peer}: {feature.name}"
        for feature in every
        for path, function in map(place_of, feature.tests)
        if (path, function) not in ran
    ]


def main(folder: Path) -> None:
    """Leave with an error if the test of a feature was not run, or was skipped."""
    sessions = sorted(folder.glob("*.txt"))
    if not sessions:
        sys.exit("no session has run its tests: nox runs them before this")
    found = features().every
    passed = {line for session in sessions for line in session.read_text().splitlines()}
    missing = not_run(found, passed)
    if missing:
        sys.exit("\n".join(missing))
    tests = {test for feature in found for test in feature.tests}
    print(f"{len(found)} features, {len(tests)} tests of theirs among {len(passed)} that passed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
