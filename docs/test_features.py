"""The features of the peers are complete, and so are their tests; nox sees that these ran."""

import ast
from functools import cache
from pathlib import Path

import pytest
from features import Feature, features, not_run, place_of, rows_of

ROOT = Path(__file__).parent.parent
ALL = features()
TESTS = {test for feature in ALL.every for test in feature.tests}


@cache
def functions_of(path: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("test", sorted(TESTS))
def test_the_test_of_a_feature_is_there(test: str) -> None:
    path, function = place_of(test)
    assert function in functions_of(path), f"{path} has no such test"


def test_each_feature_has_a_test_and_a_call() -> None:
    assert all(feature.tests and feature.calls for feature in ALL.every)


def test_every_row_of_the_inventory_is_a_features_or_left_out_for_a_reason() -> None:
    covered = {row for feature in ALL.every for row in feature.rows}
    left_out = {row for rows in ALL.left_out.values() for row in rows}
    assert not covered & left_out
    known = set(ALL.inventory)
    assert sorted(known - covered - left_out) == []
    assert sorted((covered | left_out) - known) == []


def test_every_call_stands_on_the_page_about_its_library() -> None:
    pages = {peer: page.read_text() for peer, page in ALL.pages.items()}
    missing = [
        f"{feature.peer}: {call}"
        for feature in ALL.every
        for call in feature.calls
        if call not in pages[feature.peer]
    ]
    assert missing == []


FEATURE = Feature("peer", "copies", ["copy"], ["P1"], ["core copying a_copy"])


def test_a_test_that_did_not_run_is_told() -> None:
    other = ["core/tests/test_copying.py::test_a_copy_of_another", "tests/test_x.py::test_a_copy"]
    assert not_run([FEATURE], other) == [
        "core/tests/test_copying.py::test_a_copy did not run, and is to show peer: copies"
    ]


@pytest.mark.parametrize(
    "node", ["test_a_copy", "test_a_copy[asyncio-1]", "TestX::test_a_copy[a::b]"]
)
def test_a_test_that_ran_is_found(node: str) -> None:
    assert not_run([FEATURE], [f"core/tests/test_copying.py::{node}"]) == []


def test_rows_are_numbers_and_ranges() -> None:
    assert rows_of("P3-P5 A1") == ["P3", "P4", "P5", "A1"]
    with pytest.raises(ValueError, match="no row"):
        rows_of("P3-A5")
