"""The package imports its parts when they are asked for; checkers see them all the same."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import polystow


def imported_for_checkers() -> dict[str, str]:
    """Name to module, as the block for type checkers has them."""
    assert polystow.__file__ is not None
    tree = ast.parse(Path(polystow.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: (statement.module or "").removeprefix("polystow.")
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_what_checkers_see_is_what_is_imported() -> None:
    assert imported_for_checkers() == polystow._HOME_OF
    assert sorted(polystow._HOME_OF) == sorted(polystow.__all__)


def test_every_public_name_is_there() -> None:
    for name in polystow.__all__:
        assert getattr(polystow, name) is not None
    assert dir(polystow) == sorted(polystow.__all__)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = polystow.Nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def test_importing_the_package_imports_none_of_its_parts() -> None:
    code = "import sys, polystow; print(*[name for name in sys.modules if 'polystow.' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
