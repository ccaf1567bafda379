"""The table of what the in-process FastDFS imitates stays true."""

import re
from pathlib import Path

from polystow_testing.fastdfs import Command

TABLE = Path(__file__).parents[1] / "FASTDFS.md"


def test_the_table_names_tests_that_there_are() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE.read_text()))
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_fastdfs_*.py"))
    there = set(re.findall(r"def (test_\w+)", source))
    assert len(named) > 30
    assert not named - there


def test_the_table_has_every_command_that_is_served() -> None:
    commands = TABLE.read_text().partition("## Commands")[2].partition("\n## ")[0]
    listed = {
        int(number)
        for row in re.findall(r"^\| ([\d, ]+) [^|]*\| yes", commands, re.MULTILINE)
        for number in re.findall(r"\d+", row)
    }
    missing = set(Command) - listed - {82}  # which stands beside another in its row
    assert not missing
