"""Build what a release uploads, and check it: `python release.py WHEELS TARGET FOLDER...`.

Run by nox. Each sdist is built twice, and each wheel from its unpacked sdist, elsewhere and with
other times than the one in WHEELS, which came from the checkout: all have to be equal to the byte.
"""

import os
import re
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from contextlib import chdir
from email.parser import Parser
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LICENSE = (ROOT / "LICENSE").read_bytes()
CLASSIFIERS = {
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Typing :: Typed",
}
HOME = "https://github.com/polystow/polystow"
LINKS = {"Documentation", "Source", "Changelog", "Issues"}
# What would be looked for beside the text, where an index has nothing.
RELATIVE_LINK = re.compile(r"\]\((?!https?://|mailto:|#)[^)]*\)|(?:src|href)=\"(?!https?://|#)")
IN_SDIST = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def build(kind: str, folder: Path, target: Path) -> Path:
    """Build a `"sdist"` or `"wheel"` with the backend, as any front end does."""
    target.mkdir(parents=True, exist_ok=True)
    backend = import_module("hatchling.build")
    with chdir(folder):
        return target / str(getattr(backend, f"build_{kind}")(str(target)))


def from_sdist(sdist: Path, target: Path) -> Path:
    """Build the wheel of an sdist that is unpacked somewhere else, its times changed."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        for path in unpacked.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        return build("wheel", unpacked, target)


def same(first: Path, second: Path) -> None:
    """Refuse two files that differ."""
    assert first.read_bytes() == second.read_bytes(), f"{first.name} is not the same twice"


def check_sdist(sdist: Path) -> None:
    """It has what a packager needs: the texts, the code and its tests."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    check_names(sdist, names, IN_SDIST)
    for folder in ("src/", "tests/"):
        assert any(name.startswith(folder) for name in names), f"{sdist.name} has no {folder}"


def check_wheel(wheel: Path, project: dict[str, Any]) -> None:
    """It has code, types and licence, no tests, and metadata that say so, its links alive."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        package = project["name"].replace("-", "_")
        check_names(wheel, names, {f"{package}/py.typed", f"{info}/licenses/LICENSE"})
        assert archive.read(f"{info}/licenses/LICENSE") == LICENSE, f"{wheel.name}: another licence"
    assert not {name for name in names if "tests/" in name or "test_" in name}, "tests in a wheel"
    assert metadata["License-Expression"] == "Apache-2.0", f"{wheel.name}: no licence expression"
    assert metadata["Requires-Python"] == ">=3.12"
    assert metadata["Description-Content-Type"] == "text/markdown"
    told: list[str] = metadata.get_all("Classifier", [])
    check_names(wheel, set(told), CLASSIFIERS)
    ours = [need for need in metadata.get_all("Requires-Dist", []) if need.startswith("polystow")]
    free = [
        need for need in ours if ">=" not in need and not need.startswith(f"{project['name']}[")
    ]
    assert not free, f"{wheel.name} takes any version of {free}"
    links = dict(link.split(", ", 1) for link in metadata.get_all("Project-URL", []))
    check_names(wheel, links, LINKS)
    elsewhere = {url for url in links.values() if not f"{url}/".startswith(f"{HOME}/")}
    assert not elsewhere, f"{wheel.name}: {elsewhere}"
    relative = RELATIVE_LINK.findall(str(metadata.get_payload()))
    assert not relative, f"{wheel.name}: dead links in its README: {relative}"
    extras = set(project.get("optional-dependencies", ()))
    assert set(metadata.get_all("Provides-Extra", [])) == extras, f"{wheel.name}: its extras"


def check_names(where: Path, found: Iterable[str], wanted: set[str]) -> None:
    """Refuse what lacks something."""
    lacking = wanted - set(found)
    assert not lacking, f"{where.name} lacks {', '.join(sorted(lacking))}"


def main(wheels: Path, target: Path, folders: list[str]) -> None:
    for folder in folders:
        source = ROOT / folder
        project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
        sdist = build("sdist", source, target)
        with tempfile.TemporaryDirectory() as again:
            same(sdist, build("sdist", source, Path(again)))
        wheel = from_sdist(sdist, target)
        same(wheel, wheels / wheel.name)
        check_sdist(sdist)
        check_wheel(wheel, project)
        print(f"{sdist.name} and {wheel.name} are reproducible and complete")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:])
