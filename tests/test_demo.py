"""The demo, as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY_BOUND_MIB = 150


def demo(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "polystow_testing.demo", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def peak_memory_mib(output: str) -> float:
    match = re.search(r"peak memory of this process: ([\d.,]+) MiB", output)
    assert match is not None, output
    return float(match[1])


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(200):
        folder = tmp_path / f"folder {number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"näme+{number} %41.txt").write_bytes(b"x" * (number * 37))
    return tmp_path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    with (tmp_path / "large.bin").open("wb") as file:
        for number in range(256):
            file.write(bytes([number]) * 1_048_576)
    return tmp_path


def test_many_small_files_come_back_byte_for_byte(many: Path) -> None:
    output = demo(many)
    assert "every byte is right" in output
    assert peak_memory_mib(output) < MEMORY_BOUND_MIB


def test_a_large_file_takes_constant_memory(large: Path) -> None:
    output = demo(large)
    assert "every byte is right" in output
    assert peak_memory_mib(output) < MEMORY_BOUND_MIB
