"""Administration through `Storage`, on the memory driver."""

from collections.abc import AsyncIterator

import pytest

from polystow import (
    Acl,
    CompositeDriver,
    ContainerInfo,
    ContainerMap,
    ContainerNotEmptyError,
    Grant,
    InvalidPathError,
    MemoryDriver,
    Mount,
    NotFoundError,
    PermissionDeniedError,
    Storage,
    UnsupportedOperationError,
    open_storage,
    parse_container,
    sync,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with open_storage("memory:") as storage:
        yield storage


async def test_a_container_is_made_counted_and_deleted(storage: Storage) -> None:
    made = await storage.create_container("memory:box")
    assert (made.path, made.name) == ("memory://box", "box")
    for number in range(3):
        await storage.write(f"memory:box/{number}", b"12345")
    seen: list[int] = []
    info = await storage.stat_container("memory://box", usage=True, progress=seen.append)
    assert (info.count, info.size_bytes, seen) == (3, 15, [3])
    with pytest.raises(ContainerNotEmptyError):
        await storage.delete_container("memory:box")
    await storage.delete_container("memory:box", contents=True)
    assert not await storage.container_exists("memory:box")
    with pytest.raises(NotFoundError):
        await storage.delete_container("memory:box", missing_ok=False)


async def test_logical_containers_are_made_by_their_names() -> None:
    mount = Mount(MemoryDriver(), containers=ContainerMap({"docs": "my-docs"}, show="logical"))
    nested = CompositeDriver({"inner": MemoryDriver()})
    async with open_storage(CompositeDriver({"mm": mount, "nn": nested}, write_to="mm")) as storage:
        made = await storage.ensure_containers()
        assert [info.path for info in made] == ["mm://docs"]
        assert await storage.ensure_containers() == []
        assert [info.path async for info in storage.list_containers("mm:")] == ["mm://docs"]
        await storage.create_container("nn:inner:box")
        assert [item.path async for item in storage.list_containers("nn:inner:")] == [
            "nn://inner://box"
        ]


async def test_tags_of_objects_and_containers(storage: Storage) -> None:
    await storage.write("memory:box/key", b"content")
    for place in ("memory:box/key", "memory:box"):
        await storage.set_tags(place, {"a": "b"})
        assert await storage.get_tags(place) == {"a": "b"}
        await storage.set_tags(place, {})
        assert await storage.get_tags(place) == {}
    await storage.set_tags("memory:box/key", {"a": "b"})
    await storage.write("memory:box/key", b"other")
    assert await storage.get_tags("memory:box/key") == {}  # they went with what they were of
    with pytest.raises(UnsupportedOperationError, match="versions"):
        await storage.get_tags("memory:box", version="x")


async def test_what_no_mount_can_is_refused(storage: Storage) -> None:
    with pytest.raises(UnsupportedOperationError, match="no mounted driver can do that"):
        await storage.make_public("memory:box/key")
    with pytest.raises(UnsupportedOperationError, match="no mounted driver can do that"):
        storage.list_versions("memory:box")
    with pytest.raises(TypeError, match="several ids"):
        await storage.ensure_containers("memory:box")


async def test_a_read_only_mount_is_not_administered() -> None:
    driver = CompositeDriver({"mm": Mount(MemoryDriver(), read_only=True)})
    async with open_storage(driver) as storage:
        with pytest.raises(PermissionDeniedError, match="read only"):
            await storage.create_container("mm:box")
        with pytest.raises(PermissionDeniedError, match="no deletion"):
            await storage.delete_container("mm:box")
        with pytest.raises(PermissionDeniedError, match="read only"):
            await storage.set_tags("mm:box", {})


def test_threads_administer_too() -> None:
    with sync.open_storage("memory:") as storage:
        assert [info.name for info in storage.ensure_containers(["memory:a", "memory:b"])] == [
            "a", "b",
        ]  # fmt: skip
        assert [info.name for info in storage.list_containers("memory:")] == ["a", "b"]


def test_a_container_is_told_from_an_object() -> None:
    assert parse_container("box") == parse_container("box/") == "box"
    for path in ("", "/key", "box/key"):
        with pytest.raises(InvalidPathError):
            parse_container(path)


def test_who_grants_what_is_public() -> None:
    everyone = "http://acs.amazonaws.com/groups/global/AllUsers"
    assert Acl("me", (Grant("read", everyone, "group"),)).is_public
    assert not Acl("me", (Grant("read_acl", everyone, "group"),)).is_public
    assert ContainerInfo("s3://box").name == ContainerInfo("box").name == "box"
