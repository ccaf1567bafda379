"""The README's example is a whole test module, and passes."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_example_of_the_readme_is_a_suite_that_passes(tmp_path: Path) -> None:
    section = README.read_text().partition("## Is my driver right?")[2]
    blocks = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    module = tmp_path / "test_my_driver.py"
    module.write_text(blocks[0])
    # Without the settings of this workspace: a third party has none of them.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-k", "bare or everything", str(module)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 500


BARE = """
from polystow_testing.conformance import DriverConformance


class TestMine(DriverConformance):
    backends = ("asyncio", "curio")
"""


def test_an_event_loop_that_is_not_installed_is_told_once(tmp_path: Path) -> None:
    module = tmp_path / "test_mine.py"
    module.write_text(BARE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    said = "TestMine.backends names curio, which is not installed: pip install curio"
    assert said in done.stdout + done.stderr
