"""The driver on the page about writing one passes the conformance kit, by the test on the page."""

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from shelf import NAME, PAGE, shelf_module

from polystow_testing.conformance import ALL_WRAPPINGS

if TYPE_CHECKING:
    from polystow_testing.conformance import DriverConformance as OnThePage
else:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, NAME, shelf_module())
        (block,) = re.findall(
            r"^```python\n((?:(?!```).)*class TestShelf.*?)^```", PAGE, re.DOTALL | re.MULTILINE
        )
        names: dict[str, Any] = {"__name__": "test_shelf"}
        exec(block, names)
        OnThePage = names["TestShelf"]


class TestShelf(OnThePage):
    # Bare, and in a composite, which does what the driver can't.
    wrappings = tuple(one for one in ALL_WRAPPINGS if one.id in {"bare", "composite"})
