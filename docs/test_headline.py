"""The figures of the README's headline are those of the page about performance."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text().replace(",", "")
_, _, REST = (ROOT / "README.md").read_text().partition("## How fast\n")
HEADLINE, _, _ = REST.partition("\n## ")
ROWS = [line for line in HEADLINE.splitlines() if line.startswith("| ")]


def test_there_are_figures() -> None:
    assert len(ROWS) > 8


@pytest.mark.parametrize("row", ROWS)
def test_each_figure_of_the_headline_is_on_the_page(row: str) -> None:
    _, _, figures = row.removeprefix("| ").partition(" | ")
    for figure in re.findall(r"(?<![\w.])\d[\d,.]*\d|(?<![\w.])\d(?![\w.])", figures):
        plain = figure.replace(",", "")
        assert re.search(rf"(?<![\d.]){re.escape(plain)}(?![\d.])", PERFORMANCE), figure
