"""`prefixed`: what lies below a prefix, and how it looks from there."""

import pytest

from polystow import (
    BytesBody,
    Capabilities,
    DeleteOptions,
    Limits,
    ListOptions,
    MemoryDriver,
    NotFoundError,
    ReadOptions,
    StatOptions,
    WriteOptions,
)
from polystow_testing.conformance import prefixed, receive_all

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_object_below_the_prefix_lies_where_it_says() -> None:
    driver = MemoryDriver()
    below = prefixed(driver, "run/")
    info = await below.write("c/k", BytesBody(b"x"), WriteOptions())
    assert info.path == "c/k"
    assert (await driver.stat("c/run/k", StatOptions())).size == 1
    stream = await below.open_read("c/k", ReadOptions())
    assert stream.info.path == "c/k"
    assert await receive_all(stream) == b"x"


async def test_what_lies_beside_the_prefix_does_not_show() -> None:
    driver = MemoryDriver()
    below = prefixed(driver, "run/")
    for key in ("k", "run", "run/a", "run/b/c", "runner"):
        await driver.write(f"c/{key}", BytesBody(b"x"), WriteOptions())
    lister = below.capabilities.list
    assert lister is not None
    page = await lister.list_page("c", ListOptions(delimiter="/"), None)
    assert [item.path for item in page.items] == ["c/a"]
    assert list(page.prefixes) == ["c/b/"]
    with pytest.raises(NotFoundError) as caught:
        await below.delete("c/k", DeleteOptions(missing_ok=False))
    assert caught.value.path == "c/k"


async def test_the_prefix_counts_against_the_length_of_keys() -> None:
    below = prefixed(MemoryDriver(), "ä/")
    assert below.capabilities.limits.max_key_bytes == 1024 - 3


def test_a_driver_that_names_its_objects_takes_no_prefix() -> None:
    driver = MemoryDriver()
    driver.capabilities = Capabilities(limits=Limits(client_names_keys=False))
    with pytest.raises(ValueError, match="names its objects itself"):
        prefixed(driver, "x/")
