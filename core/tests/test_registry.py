import subprocess
import sys
import textwrap
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import override

import pytest
from core_doubles import spec_of

from polystow import (
    API_VERSION,
    DriverConflictError,
    DriverLoadError,
    DriverNotFoundError,
    DriverSpec,
    MemoryConfig,
    Registry,
    open_storage,
)


class FakeDist(metadata.Distribution):
    def __init__(self, name: str | None) -> None:
        self._name = name

    @override
    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA" and self._name is not None:
            return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: 1\n"
        return None

    @override
    def locate_file(self, path: object) -> Path:
        return Path(str(path))


def entry(name: str, dist: str | None, value: str = "polystow_fake:SPEC") -> metadata.EntryPoint:
    point = metadata.EntryPoint(name, value, "polystow.drivers")
    vars(point)["dist"] = FakeDist(dist)
    return point


class Scan:
    def __init__(self, *entries: metadata.EntryPoint) -> None:
        self.entries = entries
        self.count = 0

    def __call__(self) -> Iterable[metadata.EntryPoint]:
        self.count += 1
        return self.entries


@pytest.fixture(autouse=True)
def fake_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("polystow_fake")
    vars(module).update(
        SPEC=spec_of("acme"),
        OTHER=spec_of("acme"),
        NOT_A_SPEC=5,
        OLD=DriverSpec("acme", MemoryConfig, spec_of("acme").open, api_version=API_VERSION + 1),
    )
    monkeypatch.setitem(sys.modules, "polystow_fake", module)
    return module


def test_a_driver_is_found_by_its_entry_point(fake_module: ModuleType) -> None:
    assert Registry(scan=Scan(entry("acme", "acme-dist"))).spec("acme") is fake_module.SPEC


def test_a_registry_scans_once_and_on_first_use() -> None:
    scan = Scan(entry("acme", "acme-dist"))
    registry = Registry(scan=scan)
    assert scan.count == 0
    registry.spec("acme")
    registry.installed()
    with pytest.raises(DriverNotFoundError):
        registry.spec("none")
    assert scan.count == 1


def test_a_driver_registered_by_hand_needs_no_scan() -> None:
    scan = Scan()
    registry = Registry(scan=scan)
    spec = spec_of("mine")
    registry.register(spec)
    assert (registry.spec("mine"), scan.count) == (spec, 0)


def test_two_distributions_with_one_driver_are_both_named() -> None:
    registry = Registry(scan=Scan(entry("acme", "one"), entry("acme", "two")))
    with pytest.raises(DriverConflictError, match="one and two"):
        registry.spec("acme")


def test_a_conflict_is_settled_by_preferring_one(fake_module: ModuleType) -> None:
    scan = Scan(entry("acme", "one"), entry("acme", "Two_Dist", "polystow_fake:OTHER"))
    registry = Registry(scan=scan, prefer={"acme": "two-dist"})
    assert registry.spec("acme") is fake_module.OTHER


def test_a_preference_that_is_not_installed_is_told() -> None:
    registry = Registry(scan=Scan(entry("acme", "one")), prefer={"acme": "gone"})
    with pytest.raises(DriverNotFoundError, match=r"'gone'.*announced by one"):
        registry.spec("acme")


def test_a_conflict_over_one_driver_leaves_the_others(fake_module: ModuleType) -> None:
    scan = Scan(entry("acme", "one"), entry("acme", "two"), entry("fine", "one"))
    assert Registry(scan=scan).spec("fine") is fake_module.SPEC


def test_what_is_not_allowed_is_not_imported() -> None:
    registry = Registry(scan=Scan(entry("acme", "evil", "no_such_module:SPEC")), allow=["good"])
    with pytest.raises(DriverNotFoundError):
        registry.spec("acme")
    assert registry.installed() == []


def test_an_allow_list_settles_a_conflict(fake_module: ModuleType) -> None:
    scan = Scan(entry("acme", "evil", "no_such_module:SPEC"), entry("acme", "Good.Dist"))
    assert Registry(scan=scan, allow={"good-dist"}).spec("acme") is fake_module.SPEC


def test_a_known_distribution_that_is_not_allowed_is_named() -> None:
    registry = Registry(scan=Scan(entry("s3", "polystow-s3")), allow=["polystow"])
    with pytest.raises(DriverNotFoundError, match="polystow-s3, which `allow` leaves out"):
        registry.spec("s3")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:SPEC", "ModuleNotFoundError"),
        ("polystow_fake:NOTHING", "AttributeError"),
        ("polystow_fake:NOT_A_SPEC", "is a int, not a DriverSpec"),
        ("polystow_fake:OLD", f"version {API_VERSION + 1}"),
    ],
)
def test_a_broken_plugin_fails_its_own_driver_alone(
    value: str, reason: str, fake_module: ModuleType
) -> None:
    registry = Registry(scan=Scan(entry("bad", "bad-dist", value), entry("acme", "good-dist")))
    with pytest.raises(DriverLoadError, match=reason) as caught:
        registry.spec("bad")
    assert "bad-dist" in str(caught.value)
    assert registry.spec("acme") is fake_module.SPEC


@pytest.mark.parametrize(("name", "dist"), [("s3", "polystow-s3"), ("fastdfs", "polystow-fastdfs")])
def test_a_missing_driver_names_the_distribution_to_install(name: str, dist: str) -> None:
    with pytest.raises(DriverNotFoundError, match=f"pip install {dist}$"):
        Registry(scan=Scan()).spec(name)


def test_a_misspelt_driver_is_suggested() -> None:
    with pytest.raises(DriverNotFoundError, match="did you mean 'acme'"):
        Registry(scan=Scan(entry("acme", "dist"))).spec("acmee")


def test_a_distribution_that_stands_twice_on_the_path_counts_once() -> None:
    scan = Scan(entry("acme", "acme-dist"), entry("acme", "Acme_Dist", "no_such_module:X"))
    registry = Registry(scan=scan)
    registry.spec("acme")
    assert [driver.distribution for driver in registry.installed()] == ["acme-dist"]


def test_a_distribution_without_a_name_breaks_nothing() -> None:
    registry = Registry(scan=Scan(entry("odd", None), entry("acme", "dist")))
    assert [driver.distribution for driver in registry.installed()] == ["dist", "(unknown)"]


def test_installed_drivers_come_by_name() -> None:
    registry = Registry(scan=Scan(entry("b", "x"), entry("a", "y"), entry("b", "a")))
    found = [(driver.name, driver.distribution) for driver in registry.installed()]
    assert found == [("a", "y"), ("b", "a"), ("b", "x")]


def test_the_drivers_of_core_are_installed() -> None:
    registry = Registry(allow=["polystow"])
    assert [driver.name for driver in registry.installed()] == ["file", "memory"]
    assert (registry.spec("memory").name, registry.spec("file").name) == ("memory", "file")


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = [
    "aiobotocore",
    "boto3",
    "botocore",
    "aiofdfs",
    "aiohttp",
    "httpx",
    "fastapi",
    "starlette",
    "pydantic",
    "yaml",
    "requests",
    "trio",
    "uvloop",
    "hypothesis",
    "pytest",
    "sqlite3",
    "multiprocessing",
    "importlib.metadata",
    "zipfile",
    "email",
    "tempfile",
    "polystow_s3",
    "polystow_fastdfs",
    "polystow_testing",
    "polystow._file",
]


def test_importing_polystow_imports_no_sdk_and_nothing_heavy() -> None:
    assert (
        run_python(f"""
        import sys
        import anyio  # older ones import tempfile
        had = set(sys.modules)
        import polystow
        print([name for name in {HEAVY!r} if name in sys.modules and name not in had])
    """).strip()
        == "[]"
    )


def test_importing_polystow_scans_no_entry_points() -> None:
    run_python("""
        from importlib import metadata
        def refuse(**_):
            raise AssertionError("scanned")
        metadata.distributions = metadata.entry_points = refuse
        import polystow
        polystow.Registry()
    """)


def make_distribution(folder: Path, name: str, entry_points: bytes) -> None:
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_bytes(entry_points)


def test_a_plugin_on_the_path_is_found(tmp_path: Path) -> None:
    make_distribution(tmp_path, "acme-store", b"[polystow.drivers]\nacme = acme_store:SPEC\n")
    (tmp_path / "broken-1.dist-info").mkdir()
    (tmp_path / "broken-1.dist-info" / "entry_points.txt").write_text(
        "[polystow.drivers]\nbroken = acme_store:SPEC\n"
    )
    (tmp_path / "acme_store.py").write_text(
        "from polystow._memory import SPEC as OTHER\n"
        "from attrs import evolve\n"
        "SPEC = evolve(OTHER, name='acme')\n"
    )
    out = run_python(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import polystow
        print(polystow.Registry().spec("acme").name)
        print([d.distribution for d in polystow.Registry(allow=["acme_store"]).installed()])
    """)
    assert out.split("\n")[:2] == ["acme", "['acme-store']"]


def test_a_distribution_that_is_installed_twice_counts_once(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        announced = b"[polystow.drivers]\nacme = polystow._memory:SPEC\n"
        make_distribution(tmp_path / folder, "acme_store", announced)
    out = run_python(f"""
        import sys
        sys.path[:0] = {[str(tmp_path / "one"), str(tmp_path / "two")]!r}
        import polystow
        registry = polystow.Registry()
        print(registry.spec("acme").name, [d.name for d in registry.installed()].count("acme"))
    """)
    assert out == "memory 1\n"


def test_what_another_distribution_announces_wrongly_does_no_harm(tmp_path: Path) -> None:
    make_distribution(tmp_path, "binary", b"[console_scripts]\nx = \xff:y\n")
    make_distribution(tmp_path, "wrong", b"x = outside:any.group\n[console_scripts]\nnothing\n")
    out = run_python(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import polystow
        print(polystow.Registry().spec("memory").name)
    """)
    assert out == "memory\n"


async def test_a_third_party_driver_opens_by_its_url(fake_module: ModuleType) -> None:
    registry = Registry(scan=Scan(entry("acme", "acme-dist")))
    async with open_storage("acme:", registry=registry) as storage:
        info = await storage.write("acme:b/k", b"x")
    assert info.uri == "acme://b/k"
