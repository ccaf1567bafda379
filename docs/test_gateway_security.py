"""Each abuse on the page about the gateway's security has the test that it names."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "contrib" / "gateway" / "tests"
PAGE = (ROOT / "docs" / "gateway-security.md").read_text()
ROWS = [
    line
    for line in PAGE.partition("## Abuses")[2].splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| who tries what"))
]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@cache
def functions_of(module: str) -> set[str]:
    return {
        node.name
        for node in ast.parse((TESTS / module).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("row", ROWS)
def test_each_abuse_names_a_test_that_is_there(row: str) -> None:
    named = NAMED.findall(row)
    assert named
    assert [name for name in named if name[1] not in functions_of(name[0])] == []


def test_each_test_of_an_abuse_stands_on_the_page() -> None:
    named = set(NAMED.findall(PAGE))
    positive = {  # what has to work, beside what must not
        "test_the_right_credentials_open_the_door",
        "test_the_keys_of_the_table_do_work",
        "test_what_the_configuration_allows_is_fetched",
    }
    there = {
        (module.name, test)
        for module in TESTS.glob("test_abuses_*.py")
        for test in functions_of(module.name)
        if test.startswith("test_") and test not in positive
    }
    assert sorted(there - named) == []
