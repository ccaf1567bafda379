"""Every Python block of the README and the docs runs, against real servers; TOML blocks parse."""

import ast
import asyncio
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import MotoServer

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("*/*/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(
        match[1],
        match[2],
        id=f"{page.relative_to(ROOT)}:{page.read_text()[: match.start()].count(chr(10)) + 1}",
    )
    for page in PAGES
    for match in BLOCK.finditer(page.read_text())
]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    with FastdfsServer() as fastdfs, MotoServer(buckets=("my-bucket",)) as s3:
        yield {
            "S3_ENDPOINT": s3.endpoint,
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example-secret",
            "FASTDFS_TRACKERS": ",".join(fastdfs.trackers),
            "LEGACY_FILE_ID": fastdfs.put(b"written years ago", ext="txt"),
        }


@pytest.mark.parametrize(("language", "code"), BLOCKS)
def test_example_runs(
    language: str,
    code: str,
    servers: dict[str, str],
    fastdfs_server: FastdfsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What the application has that an example stands in.
    names: dict[str, object] = {
        "server": fastdfs_server,
        "connect": print,
        "measure": print,
        "path": tmp_path,
        "content": b"content",
    }
    for name, value in servers.items():
        monkeypatch.setenv(name, value)
    if language == "toml":
        assert tomllib.loads(code)
    else:
        # Blocks may await at their top level, as in `python -m asyncio`.
        compiled = compile(code, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(compiled, {"__name__": "__main__", **names})
        if inspect.iscoroutine(result):
            asyncio.run(result)
