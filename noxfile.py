"""Every check, by name. `nox` alone runs those that have to pass; `nox -l` lists all."""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "wheels", "tests", "together", "lowest", "docs", "demo"]

ROOT = Path(__file__).parent
PYTHONS = ["3.12", "3.13"]
WHEELS = ROOT / "dist"
CONSTRAINTS = WHEELS / "constraints.txt"
BUILD = ["build>=1.2", "hatchling>=1.27"]
PYTEST = ["pytest>=8.4", "hypothesis>=6.120"]

# Folder of each distribution, what pip calls it where its own tests run, and what else they need.
DISTRIBUTIONS: dict[str, tuple[str, list[str]]] = {
    "core": ("polystow", [*PYTEST, "trio>=0.27"]),
    "drivers/s3": ("polystow-s3", [*PYTEST, "polystow-testing[s3]"]),
    "drivers/fastdfs": ("polystow-fastdfs", [*PYTEST, "polystow-testing"]),
    "contrib/testing": ("polystow-testing", [*PYTEST, "trio>=0.27", "polystow-testing[s3]"]),
}
IDS = [folder.replace("/", "-") for folder in DISTRIBUTIONS]
ALL = ["polystow[s3,fastdfs]", "polystow-testing[s3,demo]"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install("ruff>=0.12")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(requires=["wheels"])
def types(session: nox.Session) -> None:
    """Types, strictly, with both checkers, of the code and of its tests."""
    install(session, *ALL, *PYTEST, "trio", "nox", "mypy>=1.16", "pyright[nodejs]>=1.1.400")
    folders = [f"{folder}/src" for folder in DISTRIBUTIONS]
    # The checkers shall see the checkout; the wheels are there for their dependencies.
    session.run("python", "-m", "pip", "uninstall", "-qy", *(d[0] for d in DISTRIBUTIONS.values()))
    env = {"MYPYPATH": os.pathsep.join(str(ROOT / folder) for folder in folders)}
    tests = [f"{folder}/tests" for folder in DISTRIBUTIONS]
    for checked in (["noxfile.py", *folders, "tests"], *([folder] for folder in tests)):
        session.run("mypy", *checked, env=env)
    session.run("pyright", "noxfile.py", *folders, *tests, "tests")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheel of each distribution; the other sessions install these."""
    session.install(*BUILD)
    shutil.rmtree(WHEELS, ignore_errors=True)
    for folder in DISTRIBUTIONS:
        session.run(
            *("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(WHEELS)),
            folder,
            silent=True,
        )
    pins = [f"{wheel.name.split('-')[0]} @ {wheel.as_uri()}\n" for wheel in WHEELS.glob("*.whl")]
    CONSTRAINTS.write_text("".join(pins))


def install(session: nox.Session, *requirements: str) -> None:
    """Install ours from the wheels that were just built, and the rest from the registry."""
    session.install("--constraint", str(CONSTRAINTS), *requirements)


def run_tests(session: nox.Session, folder: str, *args: str) -> None:
    """Run tests against what is installed, never against the checkout beside it."""
    session.run("python", "-I", "-m", "pytest", "--rootdir", str(ROOT), folder, *args)


@nox.session(python=PYTHONS, requires=["wheels"])
@nox.parametrize("folder", list(DISTRIBUTIONS), ids=IDS)
def tests(session: nox.Session, folder: str) -> None:
    """Install one distribution's wheel alone, try it, and run its tests."""
    name, needs = DISTRIBUTIONS[folder]
    install(session, name)
    session.run("python", "-I", "tests/packaging/alone.py", name)
    install(session, *needs)
    run_tests(session, f"{folder}/tests", *session.posargs)


@nox.session(python=PYTHONS, requires=["wheels"])
def together(session: nox.Session) -> None:
    """The tests of what crosses distributions."""
    install(session, *ALL, *PYTEST)
    run_tests(session, "tests", *session.posargs)


@nox.session(python="3.12", requires=["wheels"], venv_backend="virtualenv")
@nox.parametrize("folder", list(DISTRIBUTIONS), ids=IDS)
def lowest(session: nox.Session, folder: str) -> None:
    """The tests with the lowest versions that a distribution asks for."""
    name, needs = DISTRIBUTIONS[folder]
    session.install("uv>=0.5")
    session.run(
        *("uv", "pip", "install", "--python", session.virtualenv.location),
        *("--resolution", "lowest-direct", "--constraint", str(CONSTRAINTS)),
        *(str(wheel) for wheel in WHEELS.glob(f"{name.replace('-', '_')}-*.whl")),
        *needs,
    )
    run_tests(session, f"{folder}/tests", "-q")


@nox.session(requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Run every code block of the README and the docs."""
    install(session, *ALL, *PYTEST)
    run_tests(session, "docs", "README.md", "-q")


@nox.session(requires=["wheels"])
def demo(session: nox.Session) -> None:
    """Upload a folder through the fusion API, and read it back: `nox -s demo -- [FOLDER]`."""
    install(session, *ALL)
    session.run("python", "-I", "-m", "polystow_testing.demo", *(session.posargs or [str(ROOT)]))


@nox.session(requires=["wheels"])
def bench(session: nox.Session) -> None:
    """Measure: `nox -s bench -- smoke`."""
    install(session, *ALL)
    session.run("python", "-I", "tests/bench/main.py", *session.posargs)
