"""Links between files of this repository lead to files, also where no page is built of them."""

import re
import tomllib
from pathlib import Path

import pytest
from reference import HOME

ROOT = Path(__file__).parent.parent
AREAS = ("core", "drivers/*", "contrib/*")
TEXTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(text for area in AREAS for text in ROOT.glob(f"{area}/*.md")),
]
PROJECTS = [path for area in AREAS for path in ROOT.glob(f"{area}/pyproject.toml")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def test_texts_are_found() -> None:
    assert len(TEXTS) > 50
    assert len(PROJECTS) == 9


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_to_a_file(text: Path) -> None:
    for target in LINK.findall(text.read_text()):
        if target.startswith(HOME):
            assert (ROOT / target.removeprefix(HOME)).exists(), target
        elif not re.match(r"[a-z]+:", target):
            assert (text.parent / target).exists(), target


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_the_links_of_a_distribution_lead_to_files(project: Path) -> None:
    for url in tomllib.loads(project.read_text())["project"].get("urls", {}).values():
        path = re.sub(
            r"^https://github\.com/polystow/polystow/?(tree/main/|blob/main/|issues)?", "", url
        )
        assert (ROOT / path).exists(), url
