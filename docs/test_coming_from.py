"""What the pages about other libraries say of Polystow is there: methods, and their keywords."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polystow import Storage
from polystow_fastdfs import FastdfsDriver
from polystow_gateway.client import GatewayAdmin
from polystow_s3 import S3Driver

DOCS = Path(__file__).parent
PAGES = [*sorted((DOCS / "coming-from").glob("*.md")), DOCS / "lesson.md"]
OWNERS: dict[str, list[type]] = {
    "storage": [Storage],
    "driver": [S3Driver, FastdfsDriver],
    "admin": [GatewayAdmin],
}
CALL = re.compile(r"\b(storage|driver|admin)\.([a-z]\w*)(\([^`]*?\))?(?=[`.;, ]|$)")


def cells(page: Path) -> list[list[str]]:
    """Of every row of every table, but for heads and rules."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in page.read_text().splitlines()
        if line.startswith("| ")
    ]
    return [row for row in rows if not row[0].startswith("---")]


def keywords(function: Callable[..., Any]) -> set[str]:
    """What a function takes by name, the keys of `**arguments: Unpack[…]` among it."""
    found = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            (taken,) = parameter.annotation.__args__
            found |= set(taken.__annotations__)
    return found


CALLS = sorted(
    {
        (page.name, owner, method, arguments)
        for page in PAGES
        for row in cells(page)
        for owner, method, arguments in CALL.findall(row[-1])
    }
)


def test_the_pages_name_methods() -> None:
    assert len(CALLS) > 150


@pytest.mark.parametrize(("page", "owner", "method", "arguments"), CALLS)
def test_a_method_on_a_page_is_there_and_takes_its_keywords(
    page: str, owner: str, method: str, arguments: str
) -> None:
    found = [getattr(cls, method) for cls in OWNERS[owner] if hasattr(cls, method)]
    assert found, f"{page}: {owner}.{method}"
    named = set(re.findall(r"(?<![\w.])(\w+)=", re.sub(r"=\w+\(.*?\)", "=", arguments)))
    assert any(named <= keywords(function) for function in found if callable(function) or not named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_row_of_a_table_says_what_to_do_instead(page: Path) -> None:
    assert [row for row in cells(page) if not row[-1]] == []
