"""What the distributions may know of each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    "polystow": ROOT / "core/src",
    "polystow_s3": ROOT / "drivers/s3/src",
    "polystow_fastdfs": ROOT / "drivers/fastdfs/src",
    "polystow_cli": ROOT / "contrib/cli/src",
    "polystow_fastapi": ROOT / "contrib/fastapi/src",
    "polystow_gateway": ROOT / "contrib/gateway/src",
    "polystow_s3py_helper": ROOT / "contrib/s3py_helper/src",
    "polystow_testing": ROOT / "contrib/testing/src",
}
MAY_IMPORT = {
    "polystow": set[str](),
    "polystow_s3": {"polystow"},
    "polystow_fastdfs": {"polystow"},
    "polystow_cli": {"polystow", "polystow_fastdfs"},
    "polystow_fastapi": {"polystow"},
    "polystow_gateway": {"polystow", "polystow_fastapi"},
    "polystow_s3py_helper": {"polystow", "polystow_fastdfs", "polystow_s3"},
    "polystow_testing": {"polystow"},
}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", SOURCES)
def test_a_distribution_imports_no_other_that_it_may_not(package: str) -> None:
    files = list(SOURCES[package].rglob("*.py"))
    assert files
    forbidden = set(SOURCES) - MAY_IMPORT[package] - {package}
    for path in files:
        assert not imported(path) & forbidden, path


def test_the_servers_of_polystow_testing_do_not_know_polystow() -> None:
    folder = SOURCES["polystow_testing"] / "polystow_testing"
    knowing = {
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*.py")
        if "polystow" in imported(path)
    }
    assert not knowing & {"fastdfs", "s3", "plugin.py", "__init__.py"}
    assert {"conformance", "demo"} <= knowing


def test_opening_a_storage_imports_no_sdk_before_it_is_used() -> None:
    code = """
import anyio, sys
from polystow import open_storage

async def main():
    mounts = {"s3": {"endpoint": "http://127.0.0.1:9"}, "fastdfs": {"trackers": ["127.0.0.1:9"]}}
    async with open_storage({"mounts": mounts, "write_to": "s3"}):
        pass

anyio.run(main)
print(sorted({"aiobotocore", "botocore", "aiohttp"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
