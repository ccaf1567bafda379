"""The session in the docs, in a real terminal: what is printed is what the docs show.

`POLYSTOW_RECORD=1` writes it anew.
"""

import os
import re
import shlex
import sys
from pathlib import Path

import pexpect
from cli_shell import Cluster

PAGE = Path(__file__).parents[3] / "docs" / "command-line.md"
BEGIN, END = "<!-- session -->\n```console\n", "```\n<!-- end of session -->"
COMMANDS = (
    "polystow check --offline",
    "polystow ls",
    "polystow cp report.txt s3:bucket/reports/",
    "polystow cp -r photos s3:bucket/2026/",
    "polystow ls -l s3:bucket/2026/photos/",
    "polystow cp --dry-run 's3:bucket/2026/**/*.jpg' backup/",
    "polystow cp 's3:bucket/2026/**/*.jpg' backup/",
    "polystow cp photos/a.jpg fastdfs:",
    "polystow stat s3:bucket/reports/report.txt",
    "polystow cat s3:bucket/reports/none.txt",
    "polystow zip -o all.zip -r s3:bucket/2026/",
    "polystow rm -r s3:bucket/2026/",
)


def test_the_session_in_the_docs(cluster: Cluster) -> None:
    (cluster.folder / "report.txt").write_text("A report.\n")
    (cluster.folder / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (cluster.folder / "photos" / name).write_bytes(b"\xff\xd8\xff" + bytes(1997))
    shown = "".join(f"$ {command}\n{typed(cluster, command)}" for command in COMMANDS)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    recorded, _, after = rest.partition(END)
    if os.environ.get("POLYSTOW_RECORD"):
        PAGE.write_text(before + BEGIN + shown + END + after)
        recorded = shown
    assert recorded == shown


def typed(cluster: Cluster, command: str) -> str:
    """What a command shows on a terminal, with what differs from run to run made equal."""
    child = pexpect.spawn(
        *(sys.executable, ["-m", "polystow_cli", *shlex.split(command)[1:]]),
        cwd=str(cluster.folder),
        env={**cluster.environment, "TERM": "dumb", "COLUMNS": "100", "TZ": "UTC"},
        timeout=60,
        encoding="utf-8",
        dimensions=(40, 200),
    )
    out = str(child.read())
    child.close()
    out = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out).replace("\r\n", "\n")
    out = "".join(line.rpartition("\r")[2] for line in out.splitlines(keepends=True))
    out = re.sub(r"(group1/M00/\w\w/\w\w/)[\w-]+(\.\w+)", r"\1wKgB…\2", out)
    out = re.sub(r"M00/\w\w/\w\w/", "M00/00/00/", out)
    out = re.sub(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+\+00:00)?", "2026-11-27 12:00:00", out)
    out = re.sub(r"etag: \S+", "etag: 9d5c…", out)
    out = re.sub(r"\d+ ms", "2 ms", out)
    lines = [line for line in out.splitlines() if line]
    if "photos" in command or "2026" in command:
        lines.sort()  # they end in any order
    return "".join(f"{line}\n" for line in lines)
