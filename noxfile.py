"""Every check, by name. `nox` alone runs those that have to pass; `nox -l` lists all."""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "wheels", "tests", "together", "lowest", "docs", "demo"]

ROOT = Path(__file__).parent
PYTHONS = ["3.12", "3.13"]
WHEELS = ROOT / "dist"
CONSTRAINTS = WHEELS / "constraints.txt"
PYTEST = ["pytest>=8.4", "hypothesis>=6.120"]
TRIO = "trio>=0.31"

# Folder of each distribution: what pip calls it, and what its tests need beside it.
DISTRIBUTIONS: dict[str, tuple[str, list[str]]] = {
    "core": ("polystow", [*PYTEST, TRIO]),
    "drivers/s3": ("polystow-s3", [*PYTEST, TRIO, "polystow-testing[s3]"]),
    "drivers/fastdfs": ("polystow-fastdfs", [*PYTEST, "polystow-testing"]),
    "contrib/testing": ("polystow-testing", [*PYTEST, TRIO, "polystow-testing[s3]"]),
}
IDS = [folder.replace("/", "-") for folder in DISTRIBUTIONS]
ALL = ["polystow[s3,fastdfs]", "polystow-testing[s3,demo]"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install("ruff>=0.12")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheel of each distribution; the other sessions install these."""
    session.install("build>=1.2", "hatchling>=1.27", "uv>=0.5")
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
    # The uv of the session `wheels`: it can resolve to the lowest versions, and is quick.
    uv = shutil.which("uv", path=str(Path(session.virtualenv.location).parent / "wheels" / "bin"))
    assert uv is not None
    session.run_install(
        *(uv, "pip", "install", "--quiet", "--python", session.virtualenv.location),
        *("--constraint", str(CONSTRAINTS), *requirements),
        external=True,
    )


def run_tests(session: nox.Session, *args: str) -> None:
    """Run tests against what is installed, never against the checkout beside it."""
    session.run("python", "-I", "-m", "pytest", "--rootdir", str(ROOT), *args, *session.posargs)


@nox.session(requires=["wheels"])
def types(session: nox.Session) -> None:
    """Types, strictly, with both checkers, of the code and of its tests."""
    install(session, *ALL, *PYTEST, TRIO, "nox", "mypy>=1.16", "pyright[nodejs]>=1.1.400")
    tests = [f"{folder}/tests" for folder in DISTRIBUTIONS]
    sources = [f"{folder}/src" for folder in DISTRIBUTIONS]
    env = {"MYPYPATH": os.pathsep.join(sources)}
    # One run for each folder of tests, since they share names such as conftest.
    for checked in (["noxfile.py", *sources], *([folder] for folder in (*tests, "tests", "docs"))):
        session.run("mypy", *checked, env=env)
    session.run("pyright", "noxfile.py", *sources, *tests, "tests", "docs")


@nox.session(python=PYTHONS, requires=["wheels"])
@nox.parametrize("folder", list(DISTRIBUTIONS), ids=IDS)
def tests(session: nox.Session, folder: str) -> None:
    """Install one distribution's wheel alone, try it, and run its tests."""
    name, needs = DISTRIBUTIONS[folder]
    install(session, name)
    session.run("python", "-I", "tests/packaging/alone.py", name)
    install(session, *needs)
    run_tests(session, f"{folder}/tests")


@nox.session(python=PYTHONS, requires=["wheels"])
def together(session: nox.Session) -> None:
    """The tests of what crosses distributions."""
    install(session, *ALL, *PYTEST)
    run_tests(session, "tests")


@nox.session(python=PYTHONS[0], requires=["wheels"])
@nox.parametrize("folder", list(DISTRIBUTIONS), ids=IDS)
def lowest(session: nox.Session, folder: str) -> None:
    """The tests with the lowest versions that a distribution asks for."""
    name, needs = DISTRIBUTIONS[folder]
    install(session, "--resolution", "lowest-direct", name, *needs)
    run_tests(session, f"{folder}/tests", "-q")


@nox.session(requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Run every code block of the READMEs and the docs."""
    install(session, *ALL, *PYTEST)
    run_tests(session, "docs", "-q")


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


@nox.session(requires=["wheels"])
def live(session: nox.Session) -> None:
    """The FastDFS driver's main paths against a real cluster, at POLYSTOW_FASTDFS_TRACKERS."""
    if not os.environ.get("POLYSTOW_FASTDFS_TRACKERS"):
        session.error("set POLYSTOW_FASTDFS_TRACKERS to host:port,host:port, a cluster's trackers")
    install(session, "polystow-fastdfs", *PYTEST, "polystow-testing")
    run_tests(session, "drivers/fastdfs/tests/test_live.py")
