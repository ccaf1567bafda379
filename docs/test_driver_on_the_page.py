"""The driver on the page about writing one passes the conformance kit, as it stands there."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from polystow import DriverContext, DriverSpec, StorageDriver
from polystow_testing.conformance import ALL_WRAPPINGS, DriverConformance

PAGE = (Path(__file__).parent / "writing-a-driver.md").read_text()


def spec_on_the_page() -> DriverSpec[Any]:
    """The first block, up to where it opens a storage."""
    block = re.search(r"^```python\n(.*?)^registry = ", PAGE, re.DOTALL | re.MULTILINE)
    assert block is not None
    names: dict[str, Any] = {"__name__": "shelf"}
    exec(block[1], names)
    spec: DriverSpec[Any] = names["SPEC"]
    return spec


SPEC = spec_on_the_page()


class TestShelf(DriverConformance):
    # Bare, and in a composite, which does what the driver can't.
    wrappings = tuple(one for one in ALL_WRAPPINGS if one.id in {"bare", "composite"})

    @pytest.fixture
    async def driver(self, driver_context: DriverContext) -> AsyncIterator[StorageDriver]:
        async with SPEC.open(SPEC.config(), driver_context) as driver:
            yield driver
