"""Each feature of a peer names tests that exist, and that nothing skips where they stand."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "core": "core/tests",
    "s3": "drivers/s3/tests",
    "fastdfs": "drivers/fastdfs/tests",
    "fastapi": "contrib/fastapi/tests",
    "gateway": "contrib/gateway/tests",
    "s3py_helper": "contrib/s3py_helper/tests",
    "cross": "tests",
}
FEATURES: dict[str, dict[str, list[str]]] = tomllib.loads(
    (Path(__file__).parent / "features.toml").read_text()
)


TESTS = {test for peer in FEATURES.values() for tests in peer.values() for test in tests}


@pytest.mark.parametrize("test", sorted(TESTS))
def test_the_test_of_a_feature_is_there(test: str) -> None:
    folder, module, name = test.split()
    path = ROOT / FOLDERS[folder] / f"test_{module}.py"
    found = {
        node.name: [ast.unparse(decorator) for decorator in node.decorator_list]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert f"test_{name}" in found, f"{path} has no such test"
    for decorator in found[f"test_{name}"]:
        assert "skip" not in decorator
        assert "xfail" not in decorator


def test_each_feature_has_a_test() -> None:
    assert all(tests for peer in FEATURES.values() for tests in peer.values())
