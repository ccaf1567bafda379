"""The mapping of containers: conditional writes, and one worker's changes reach the others."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from polystow import (
    CompositeDriver,
    ConfigError,
    ContainerMap,
    InvalidPathError,
    MemoryDriver,
    Mount,
    NotFoundError,
    PreconditionFailedError,
    Storage,
    UnsupportedOperationError,
    open_storage,
)
from polystow_gateway.server._access_config import MappingConfig
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._mapping import NO_DOCUMENT, MappingStore

pytestmark = pytest.mark.anyio
KEPT = "memory:config/mapping.json"


@asynccontextmanager
async def stored(
    storage: Storage, mapping: MappingConfig | None = None
) -> AsyncGenerator[MappingStore]:
    config = GatewayConfig("memory:", mapping=mapping or MappingConfig(KEPT, refresh_s=0.01))
    async with MappingStore.opened(config, storage) as store:
        yield store


async def until(storage: Storage, mount: str, names: dict[str, str]) -> None:
    with anyio.fail_after(10):
        while storage.containers(mount).names != names:  # noqa: ASYNC110 - it tells nobody
            await anyio.sleep(0.005)


async def test_a_change_reaches_the_other_workers_and_lasts() -> None:
    driver = MemoryDriver()
    one, other = Storage(driver), Storage(driver)
    async with stored(one) as mapping, stored(other):
        assert (await mapping.current()).etag == NO_DOCUMENT
        changed = await mapping.update(names={"memory": {"mine": "physical"}})
        assert one.containers("memory:").names == {"mine": "physical"}
        await until(other, "memory:", {"mine": "physical"})
        assert await mapping.current() == changed
        await mapping.update(enabled=False)
        await until(other, "memory:", {})
    later = Storage(driver)
    async with stored(later) as mapping:
        found = await mapping.current()
        assert (found.enabled, found.names) == (False, {"memory": {"mine": "physical"}})
        assert later.containers("memory:").names == {}


async def test_of_two_who_change_the_same_state_the_second_is_told() -> None:
    driver = MemoryDriver()
    async with stored(Storage(driver)) as one, stored(Storage(driver)) as other:
        first, second = await one.current(), await other.current()
        await one.update(names={"memory": {"a": "x"}}, if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            await other.update(names={"memory": {"b": "y"}}, if_match=second.etag)
        again = await other.current()
        assert again.names == {"memory": {"a": "x"}}
        await other.update(names={"memory": {"b": "y"}}, if_match=again.etag)
        assert (await one.current()).names == {"memory": {"b": "y"}}


async def test_no_update_is_lost_among_many_at_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    kept = MappingConfig("file:config/mapping.json", {"mounts": {"file": {"root": str(root)}}})
    mounts = {f"m{index}": MemoryDriver() for index in range(6)}

    async def change(store: MappingStore, mount: str) -> None:
        await store.update(names={mount: {"mine": f"of-{mount}"}})

    async with (
        stored(Storage(CompositeDriver(mounts, write_to="m0")), kept) as one,
        stored(Storage(CompositeDriver(mounts, write_to="m0")), kept) as other,
    ):
        async with anyio.create_task_group() as tasks:
            for index, mount in enumerate(mounts):
                tasks.start_soon(change, (one, other)[index % 2], mount)
        assert (await one.current()).names == {m: {"mine": f"of-{m}"} for m in mounts}


async def test_the_configured_names_count_until_somebody_writes() -> None:
    driver = MemoryDriver()
    mount = Mount(driver, containers=ContainerMap({"mine": "physical"}))
    storage = Storage(CompositeDriver({"memory": mount}))
    async with stored(storage) as mapping:
        found = await mapping.current()
        assert (found.names, found.etag) == ({"memory": {"mine": "physical"}}, NO_DOCUMENT)
        await mapping.update(names={"memory": {"other": "physical"}}, if_match=NO_DOCUMENT)
        assert storage.containers("memory:").names == {"other": "physical"}
        await Storage(driver).delete(KEPT)
        await until(storage, "memory:", {"mine": "physical"})
        with pytest.raises(PreconditionFailedError):
            await mapping.update(enabled=False, if_match="0")


async def test_a_mount_in_a_composite_has_names_too() -> None:
    inner = CompositeDriver({"deep": MemoryDriver(), "other": MemoryDriver()}, write_to="deep")
    storage = Storage(CompositeDriver({"memory": MemoryDriver(), "in": inner}, write_to="memory"))
    async with stored(storage) as mapping:
        await mapping.update(names={"in:deep": {"mine": "physical"}})
        assert storage.with_container("in:deep:mine/a", "physical") == "in://deep://physical/a"


@pytest.mark.parametrize(
    "names",
    [
        {"nowhere": {"a": "b"}},
        {"memory": {"a": "x", "b": "x"}},
        {"memory": {"a": "b/c"}},
        {"memory": {"": "x"}},
        {"memory": {"config": "elsewhere"}},
    ],
)
async def test_names_that_can_not_be_used_change_nothing(names: dict[str, dict[str, str]]) -> None:
    storage = Storage(MemoryDriver())
    async with stored(storage) as mapping:
        await mapping.update(names={"memory": {"mine": "physical"}})
        with pytest.raises(InvalidPathError):
            await mapping.update(names=names)
        assert (await mapping.current()).names == {"memory": {"mine": "physical"}}
        assert storage.containers("memory:").names == {"mine": "physical"}


@pytest.mark.parametrize(
    "document", ["no JSON", "[]", '{"mounts": {"memory": {"a": 1}}}', '{"mount": {}}', "[" * 99_999]
)
async def test_a_document_that_can_not_be_used_is_not(document: str) -> None:
    driver = MemoryDriver()
    storage, keeper = Storage(driver), Storage(driver)
    async with stored(storage) as mapping:
        await mapping.update(names={"memory": {"mine": "physical"}})
        await keeper.write(KEPT, document)
        with pytest.raises(ConfigError, match="mapping"):
            await mapping.current()
        assert storage.containers("memory:").names == {"mine": "physical"}
        await keeper.write(KEPT, '{"mounts": {"memory": {"new": "physical"}}}')
        await until(storage, "memory:", {"new": "physical"})
    await keeper.write(KEPT, document)
    with pytest.raises(ConfigError, match="mapping"):
        async with stored(Storage(driver)):
            pass


async def test_without_a_place_for_it_the_mapping_stays_as_configured() -> None:
    storage = Storage(MemoryDriver())
    async with MappingStore.opened(GatewayConfig("memory:"), storage) as mapping:
        assert (await mapping.current()).etag == NO_DOCUMENT
        with pytest.raises(UnsupportedOperationError, match="mapping"):
            await mapping.update(enabled=True)


@pytest.mark.parametrize("file_id", ["nowhere:a/b", "memory:a", "memory:", "memory:mine/a", "a/b"])
async def test_a_place_that_can_not_be_used_is_told_at_the_start(file_id: str) -> None:
    mount = Mount(MemoryDriver(), containers=ContainerMap({"mine": "physical"}))
    with pytest.raises(ConfigError, match=r"mapping\.file_id"):
        async with stored(Storage(CompositeDriver({"memory": mount})), MappingConfig(file_id)):
            pass


async def test_a_backend_without_conditional_writes_can_not_keep_it() -> None:
    config = {"mounts": {"fastdfs": {"trackers": ["127.0.0.1:22122"]}}}
    async with open_storage(config) as storage:
        with pytest.raises(ConfigError, match="conditional writes"):
            async with stored(storage, MappingConfig("fastdfs:group1/M00/00/00/x")):
                pass


async def test_a_container_that_is_not_there_is_told(tmp_path: Path) -> None:
    source = {"mounts": {"file": {"root": str(tmp_path / "nowhere")}}}
    storage = Storage(MemoryDriver())
    with pytest.raises((NotFoundError, ConfigError)):
        async with stored(storage, MappingConfig("file:c/k", source)) as mapping:
            await mapping.update(enabled=False)


async def test_the_document_is_readable_json() -> None:
    driver = MemoryDriver()
    storage = Storage(driver)
    async with stored(storage) as mapping:
        await mapping.update(names={"memory": {"mine": "physical"}})
    kept = await Storage(driver).read_bytes(KEPT)
    assert json.loads(kept) == {"enabled": True, "mounts": {"memory": {"mine": "physical"}}}
