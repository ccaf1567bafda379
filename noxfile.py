"""Every check, by name. `nox` alone runs those that have to pass; `nox -l` lists all."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = [
    "lint", "types", "wheels", "packaging", "tests", "together", "lowest", "features", "docs",
    "demo", "template", "changelog",
]  # fmt: skip

ROOT = Path(__file__).parent
PYTHONS = ["3.12", "3.13"]
WHEELS = ROOT / "dist"
CONSTRAINTS = WHEELS / "constraints.txt"
PASSED = WHEELS / "passed"
PYTEST = ["pytest>=8.4", "pytest-xdist>=3.7", "hypothesis>=6.120"]
# For suites that bear it: each process starts servers of its own.
PARALLEL = ["--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
TRIO = "trio>=0.31"
UVLOOP = "uvloop>=0.21; sys_platform != 'win32'"
SPHINX = ["sphinx>=8.2", "myst-parser>=4.0.1", "furo>=2024.8.6"]
HTTP = ["polystow-fastapi[fastapi]", "uvicorn>=0.34", "httptools>=0.6", "httpx>=0.28"]
GATEWAY = ["polystow-gateway[server]", "refstore[gateway]>=0.3"]

# Folder of each distribution: what pip calls it, and what its tests need beside it.
DISTRIBUTIONS: dict[str, tuple[str, list[str]]] = {
    "core": ("polystow", [*PYTEST, TRIO, "polystow[http]", "polystow-testing"]),
    "drivers/s3": (
        "polystow-s3",
        [*PYTEST, TRIO, UVLOOP, "polystow-s3[crt]", "polystow-testing[s3,rclone]"],
    ),
    "drivers/fastdfs": ("polystow-fastdfs", [*PYTEST, UVLOOP, "polystow-testing"]),
    "contrib/cli": (
        "polystow-cli",
        [*PYTEST, "pexpect>=4.9", "polystow[s3,fastdfs]", "polystow-testing[s3]"],
    ),
    "contrib/fastapi": ("polystow-fastapi", [*PYTEST, *HTTP]),
    "contrib/gateway": (
        "polystow-gateway",
        [*PYTEST, *GATEWAY, TRIO, "httpx>=0.28", "polystow-fastdfs", "polystow-testing"],
    ),
    "contrib/s3py_helper": (
        "polystow-s3py-helper",
        [
            *PYTEST,
            "polystow-testing[s3]",
            "fastapi>=0.115.12",
            "httpx>=0.28",
            "python-multipart>=0.0.20",
        ],
    ),
    "contrib/testing": ("polystow-testing", [*PYTEST, TRIO, "polystow-testing[s3,rclone]"]),
}
IDS = [folder.replace("/", "-") for folder in DISTRIBUTIONS]
ALL = [
    *("polystow[s3,fastdfs,http]", "polystow-s3[crt]", "polystow-testing[s3,rclone,demo]"),
    "polystow-s3py-helper",
    *HTTP,
    *GATEWAY,
    "polystow-cli",
    "pexpect>=4.9",
]


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


@nox.session(requires=["wheels"])
def packaging(session: nox.Session) -> None:
    """Wheels and sdists: the same whoever builds them, complete; they stay in `dist/release`."""
    session.install("hatchling>=1.27", "twine>=6.1")
    release = WHEELS / "release"
    shutil.rmtree(release, ignore_errors=True)
    script = ("python", "-I", "tests/packaging/release.py")
    session.run(*script, str(WHEELS), str(release), *DISTRIBUTIONS)
    session.run("python", "-I", "-m", "twine", "check", "--strict", *map(str, release.iterdir()))


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


def asked_by(folder: str, *extras: str) -> list[str]:
    """What a distribution and its extras ask for; uv's "lowest-direct" is of what is named."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    optional = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(need for extra in extras for need in optional[extra])]


def run_tests(session: nox.Session, *args: str) -> None:
    """Run tests against what is installed, never against the checkout beside it."""
    PASSED.mkdir(parents=True, exist_ok=True)
    session.env["POLYSTOW_PASSED"] = str(PASSED / f"{re.sub(r'[^\w.-]+', '-', session.name)}.txt")
    session.run("python", "-I", "-m", "pytest", "--rootdir", str(ROOT), *args, *session.posargs)


@nox.session(requires=["wheels"])
def types(session: nox.Session) -> None:
    """Types, strictly, with both checkers, of the code and of its tests."""
    checkers = ["nox", "mypy>=1.16", "pyright[nodejs]>=1.1.400", "types-docutils>=0.21"]
    install(session, *ALL, *PYTEST, TRIO, *SPHINX, *checkers)
    tests = [f"{folder}/tests" for folder in DISTRIBUTIONS]
    sources = [*(f"{folder}/src" for folder in DISTRIBUTIONS), "contrib/template/src"]
    env = {"MYPYPATH": os.pathsep.join(sources)}
    # One run for each folder of tests, since they share names such as conftest.
    for checked in (["noxfile.py", *sources], *([folder] for folder in (*tests, "tests", "docs"))):
        session.run("mypy", *checked, env=env)
    session.run("pyright", "noxfile.py", *sources, *tests, "tests", "docs")


@nox.session(python=PYTHONS, requires=["wheels"])
@nox.parametrize("folder", list(DISTRIBUTIONS), ids=IDS)
def tests(session: nox.Session, folder: str) -> None:
    """Install one distribution's wheel alone and try it; on the newest Python run its tests.

    Alone with the lowest dependencies that it asks for, then with the newest. On the oldest
    Python the tests run with the lowest: `lowest`.
    """
    name, needs = DISTRIBUTIONS[folder]
    install(session, "--resolution", "lowest-direct", name, *asked_by(folder))
    session.run("python", "-I", "tests/packaging/alone.py", name)
    install(session, "--upgrade", name)
    session.run("python", "-I", "tests/packaging/alone.py", name)
    if session.python == PYTHONS[-1]:
        install(session, *needs)
        run_tests(session, f"{folder}/tests", *PARALLEL)


def ignoring(*names: str) -> list[str]:
    """Leave out test modules with these words in their names."""
    return [f"--ignore-glob=*/tests/test_*{name}*.py" for name in names]


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
    extras = [
        extra for need in map(Requirement, needs) if need.name == name for extra in need.extras
    ]
    asked = asked_by(folder, *extras)
    install(session, "--resolution", "lowest-direct", name, *asked, *needs)
    left_out = ignoring("conformance", "fault_battery")
    run_tests(session, f"{folder}/tests", "-q", *PARALLEL, *left_out)


@nox.session(requires=["wheels"])
def fuzz(session: nox.Session) -> None:
    """Every property, with thousands of new examples: takes an hour."""
    install(session, *ALL, *PYTEST, TRIO)
    for folder in (*DISTRIBUTIONS, "."):
        run_tests(session, f"{folder}/tests", "-m", "hypothesis", "--hypothesis-profile=fuzz")


@nox.session(python=False)
def features(session: nox.Session) -> None:
    """See that the tests which show the features of the peers ran in the sessions before."""
    session.run(sys.executable, "docs/features.py", str(PASSED))


@nox.session
def changelog(session: nox.Session) -> None:
    """See that fragments of the changelogs can be read; `-- release` writes and removes them."""
    session.install("towncrier>=25.8")
    release = session.posargs == ["release"]
    for folder, (name, _) in DISTRIBUTIONS.items():
        if not list((ROOT / folder / "changelog.d").glob("*.md")):
            continue
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        session.run(
            *("towncrier", "build", "--config", "pyproject.toml", "--dir", folder),
            *("--name", name, "--version", project["version"], "--yes" if release else "--draft"),
            silent=not release,
        )


@nox.session(requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings as errors, and run every code block in it."""
    install(session, *ALL, *PYTEST, TRIO, *SPHINX)
    run_tests(session, "docs", "-q")
    if not session.posargs:
        built = ROOT / "docs" / "_build"
        session.run("python", "-I", "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(built))


@nox.session(requires=["wheels"])
def demo(session: nox.Session) -> None:
    """Upload a folder through the fusion API, and read it back: `nox -s demo -- [FOLDER]`."""
    install(session, *ALL)
    session.run("python", "-I", "-m", "polystow_testing.demo", *(session.posargs or [str(ROOT)]))


S3_PEERS = [
    "aiohttp-s3-client>=1.2",
    "miniopy-async>=1.23",
    "obstore>=0.8",
    "opendal>=0.46",
    "boto3",
]


@nox.session(requires=["wheels"])
def bench(session: nox.Session) -> None:
    """Measure: `nox -s bench -- smoke`, or without names everything."""
    install(session, *ALL, "fastdfs-client>=1.3", *S3_PEERS)
    session.run("python", "-I", "tests/bench/main.py", *session.posargs)


@nox.session(requires=["wheels"])
def conformance(session: nox.Session) -> None:
    """Every conformance test of every driver, in every wrapping."""
    install(session, *ALL, *PYTEST, TRIO)
    for path in (
        "core/tests/test_conformance_memory.py",
        "core/tests/test_conformance_file.py",
        "drivers/s3/tests/test_conformance.py",
        "drivers/fastdfs/tests/test_conformance.py",
        "contrib/gateway/tests/test_conformance.py",
    ):
        run_tests(session, path, "--conformance-full", "-q", *PARALLEL)
    session.env["POLYSTOW_S3_LANE"] = "sdk"
    run_tests(
        session, "drivers/s3/tests/test_conformance.py", "--conformance-full", "-q", *PARALLEL
    )


@nox.session(requires=["wheels"])
def uvloop(session: nox.Session) -> None:
    """The suites of all that runs on asyncio alone, on uvloop."""
    install(session, *ALL, *PYTEST, TRIO, UVLOOP)
    session.env["POLYSTOW_LOOP"] = "uvloop"
    for folder in ("drivers/s3", "drivers/fastdfs", "contrib/gateway", "contrib/fastapi"):
        run_tests(session, f"{folder}/tests", "-q", *PARALLEL)


@nox.session(requires=["wheels"])
def faults(session: nox.Session) -> None:
    """Every fault at every point, and every cancellation, of every driver: takes half an hour."""
    install(session, *ALL, *PYTEST, TRIO)
    for folder in ("core", "drivers/fastdfs", "drivers/s3", "contrib/gateway"):
        report = f"--junitxml=faults-{folder.replace('/', '-')}.xml"
        run_tests(
            session,
            f"{folder}/tests/test_fault_battery.py",
            *("--polystow-faults=all", "--polystow-fault-table", report, "-q", "-r", "N"),
            *PARALLEL,
        )
    for path in (
        "drivers/fastdfs/tests/test_fault_battery_cluster.py",
        "drivers/s3/tests/test_fault_battery_servers.py",
    ):
        run_tests(session, path, "--polystow-faults=all", "-q", *PARALLEL)
    session.env["POLYSTOW_S3_LANE"] = "sdk"
    run_tests(
        session,
        "drivers/s3/tests/test_fault_battery.py",
        *("--polystow-faults=all", "-q", *PARALLEL),
    )


@nox.session(python=PYTHONS[-1], requires=["wheels"])
def template(session: nox.Session) -> None:
    """The third-party path: build the template's wheel, find it by scheme, run the kit on it.

    Unwrapped on asyncio; `nox -s template -- --conformance-full` runs everything.
    """
    built = Path(session.create_tmp()).resolve()
    folder = ROOT / "contrib" / "template"
    python = Path(session.virtualenv.location).parent / "wheels" / "bin" / "python"
    session.run(
        *(str(python), "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built)),
        str(folder),
        silent=True,
        external=True,
    )
    (wheel,) = built.glob("polystow_sqlite-*.whl")
    install(session, f"polystow-sqlite @ {wheel.as_uri()}")
    session.run("python", "-I", "tests/packaging/third_party.py")
    install(session, *PYTEST, TRIO, "polystow-testing")
    # Its own pytest settings, as in a repository of its own.
    chosen = session.posargs or ["-k", "asyncio-bare or locked"]
    session.run("python", "-I", "-m", "pytest", str(folder / "tests"), "-q", *chosen)


# What runs on the server of POLYSTOW_S3_ENDPOINT.
S3_SERVERS = [
    "drivers/s3/tests/test_conformance_servers.py",
    "drivers/s3/tests/test_fault_battery_servers.py",
    "-k",
    "Endpoint",
]
LOCALSTACK = [
    "localstack-core[runtime]==4.14.0", "cbor2<5.8", "service_identity==24.2.0",
    "pyopenssl==24.3.0", "cryptography==44.0.3",
]  # fmt: skip


@nox.session(python="3.13", requires=["wheels"])
def localstack(session: nox.Session) -> None:
    """The S3 conformance suite on LocalStack, which this installs, starts and stops."""
    install(session, "polystow-s3[crt]", *PYTEST, "polystow-testing[s3,rclone]")
    home = Path(session.create_tmp()).resolve()
    uv = shutil.which("uv", path=str(Path(session.virtualenv.location).parent / "wheels" / "bin"))
    assert uv is not None
    # A venv of its own, as it pins what others need newer.
    python = home / "venv" / "bin" / "python"
    if not python.exists():
        session.run(uv, "venv", "--quiet", "--python", "3.13", str(home / "venv"), external=True)
    install_it = (uv, "pip", "install", "--quiet", "--python", str(python))
    session.run(*install_it, *LOCALSTACK, external=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    with (home / "localstack.log").open("wb") as log:
        server = subprocess.Popen(
            [python, ROOT / "tests" / "live" / "start_localstack.py", str(port)],
            env={**os.environ, "FILESYSTEM_ROOT": str(home), "HOME": str(home)},
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(f"{endpoint}/_localstack/health", server)
            session.env.update(
                POLYSTOW_S3_ENDPOINT=endpoint,
                POLYSTOW_S3_SERVER="localstack",
                AWS_ACCESS_KEY_ID="test",
                AWS_SECRET_ACCESS_KEY="test",
            )
            run_tests(session, *S3_SERVERS)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@nox.session(name="gateway-nginx", requires=["wheels"])
def gateway_nginx(session: nox.Session) -> None:
    """The gateway behind Debian's nginx, configured as the docs say: `apt-get install nginx`."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        session.error("there is no nginx: apt-get install nginx")
    install(session, *DISTRIBUTIONS["contrib/gateway"][1], "polystow-gateway")
    session.env["POLYSTOW_NGINX"] = nginx
    run_tests(session, "contrib/gateway/tests/test_nginx.py", "-q")


@nox.session(name="fuzz-api", requires=["wheels"])
def fuzz_api(session: nox.Session) -> None:
    """Requests made from the gateway's OpenAPI description, by schemathesis."""
    install(
        session,
        *DISTRIBUTIONS["contrib/gateway"][1],
        "polystow-gateway",
        "schemathesis>=4",
        "pytest>=9",
    )
    session.env["POLYSTOW_FUZZ"] = "1"
    run_tests(session, "contrib/gateway/tests/test_fuzz_api.py", "-q")


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Wait until a server of ours answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("LocalStack did not start; see localstack.log in the session's tmp")


@nox.session(requires=["wheels"])
def endpoint(session: nox.Session) -> None:
    """The conformance suites on POLYSTOW_S3_ENDPOINT and POLYSTOW_FASTDFS_TRACKERS, if set."""
    runs = {
        "POLYSTOW_S3_ENDPOINT": (
            ["polystow-s3[crt]", "polystow-testing[s3,rclone]"],
            S3_SERVERS,
        ),
        "POLYSTOW_FASTDFS_TRACKERS": (
            ["polystow-fastdfs", "polystow-testing"],
            [
                "drivers/fastdfs/tests/test_live.py",
                "drivers/fastdfs/tests/test_conformance_live.py",
                "contrib/testing/tests/test_fastdfs_live.py",
            ],
        ),
    }
    wanted = [run for name, run in runs.items() if os.environ.get(name)]
    if not wanted:
        session.error(f"set one of {', '.join(runs)}, or both")
    for needs, arguments in wanted:
        install(session, *needs, *PYTEST)
        run_tests(session, *arguments)
