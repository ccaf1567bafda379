"""The driver on the page about writing one, as the module that its package would have."""

import re
import types
from pathlib import Path

PAGE = (Path(__file__).parent / "writing-a-driver.md").read_text()
NAME = "polystow_shelf._spec"


def shelf_module() -> types.ModuleType:
    """The page's first block, up to where it opens a storage."""
    block = re.search(r"^```python\n(.*?)^registry = ", PAGE, re.DOTALL | re.MULTILINE)
    assert block is not None
    module = types.ModuleType(NAME)
    exec(block[1], module.__dict__)
    return module
