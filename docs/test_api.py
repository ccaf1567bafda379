"""Each module that exports names has its page in the API reference."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
API = ROOT / "docs" / "api"
# Exported elsewhere, or read by the core alone.
NO_PAGE = {
    "polystow_fastdfs.spec",
    "polystow_s3py_helper",
    "polystow_s3py_helper.storage.s3raw.s3multipart",
    "polystow_testing",
}


def exporting() -> set[str]:
    found: set[str] = set()
    for area in ("core/src", "drivers/*/src", "contrib/*/src"):
        for source in ROOT.glob(area):
            for path in source.rglob("*.py"):
                parts = path.relative_to(source).with_suffix("").parts
                module = ".".join(parts).removesuffix(".__init__")
                private = any(part.startswith("_") for part in module.split("."))
                if not private and module.partition(".")[0] != "polystow_sqlite":
                    names = {
                        target.id
                        for node in ast.parse(path.read_text()).body
                        if isinstance(node, ast.Assign)
                        for target in node.targets
                        if isinstance(target, ast.Name)
                    }
                    found |= {module} if "__all__" in names else set()
    return found


def test_each_exporting_module_has_a_page() -> None:
    pages = {page.stem: page.read_text() for page in API.glob("polystow*.md")}
    shown = set(re.findall(r"^\.\. api:: (\S+)$", "\n".join(pages.values()), re.MULTILINE))
    assert exporting() - NO_PAGE == shown
    assert set(re.findall(r"^polystow\w*$", (API / "index.md").read_text(), re.MULTILINE)) == set(
        pages
    )
