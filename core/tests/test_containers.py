from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from core_doubles import BareDriver, NamedMemory, fusion
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    ByteRange,
    CompositeDriver,
    ConfigError,
    ContainerMap,
    ContainerNames,
    MemoryDriver,
    Mount,
    NameHint,
    NotFoundError,
    ObjectInfo,
    PermissionDeniedError,
    PresignOptions,
    Storage,
    StorageError,
    Uri,
    open_storage,
)

NAMES = {"user": "physical-user", "public": "physical-public"}
LOGICAL, PHYSICAL = "memory://user/a/k", "memory://physical-user/a/k"


def storage_with(show: ContainerNames = "physical", **names: str) -> Storage:
    containers = ContainerMap(names or NAMES, show=show)
    return fusion(memory=Mount(MemoryDriver(), containers=containers))


type Act = Callable[[Storage, str], Awaitable[object]]
ACTS: list[Act] = [
    lambda s, i: s.read_bytes(i),
    lambda s, i: s.stat(i),
    lambda s, i: s.set_metadata(i, {"a": "b"}),
    lambda s, i: s.copy(i, "memory:public/copy"),
    lambda s, i: s.copy("memory:physical-user/a/k", f"{i}2"),
    lambda s, i: s.move(i, "memory:public/moved"),
    lambda s, i: s.delete(i, missing_ok=False),
    lambda s, i: s.write(i, b"new"),
    lambda s, i: anext(s.list(i)),
    lambda s, i: s.read_ranges(i, []),
]


@pytest.mark.parametrize("show", ["physical", "logical"])
@pytest.mark.parametrize("act", ACTS)
async def test_both_names_are_understood_everywhere(act: Act, show: ContainerNames) -> None:
    for form in (LOGICAL, PHYSICAL, LOGICAL.replace("://", ":"), PHYSICAL.replace("://", ":")):
        storage = storage_with(show)
        await storage.write(PHYSICAL, b"data")
        await act(storage, form)


@pytest.mark.parametrize(("show", "uri"), [("physical", PHYSICAL), ("logical", LOGICAL)])
async def test_the_names_that_are_shown_are_chosen(
    show: ContainerNames, uri: str, tmp_path: Path
) -> None:
    storage = storage_with(show)
    infos = [
        await storage.write("memory:user/a/k", b"data"),
        await storage.write("memory:physical-user/a/k", b"data"),
        await storage.stat(LOGICAL),
        await storage.copy(PHYSICAL, LOGICAL),
        await storage.download(LOGICAL, tmp_path / "k"),
    ]
    async with storage.open_read(PHYSICAL) as stream:
        infos.append(stream.info)
    infos += [item async for item in storage.list("memory:user")]
    assert {info.uri for info in infos} == {uri}
    assert {info.file_id for info in infos} == {uri.replace("://", ":")}
    page = await anext(storage.list_pages("memory:physical-user/", delimiter="/"))
    assert page.prefixes == [uri.removesuffix("k")]
    with pytest.raises(NotFoundError) as caught:
        await storage.stat("memory:user/none")
    assert caught.value.uri == f"{Uri.parse(uri).parent.parent}none"


async def test_a_new_object_goes_to_the_container_that_is_meant() -> None:
    storage = storage_with("logical")
    info = await storage.upload("a.txt", b"", container="public")
    assert info.uri.startswith("memory://public/")
    assert storage.with_container(info.uri, "physical").startswith("memory://physical-public/")
    assert (await storage.write(NameHint("a", container="other"), b"")).uri.startswith(
        "memory://other/"
    )


async def test_each_id_can_be_shown_with_either_name() -> None:
    for storage in (storage_with("physical"), storage_with("logical")):
        for form in (LOGICAL, PHYSICAL, "memory:user/a/k"):
            assert storage.with_container(form, "logical") == LOGICAL
            assert storage.with_container(form, "physical") == PHYSICAL
        assert storage.with_container("memory:else/k", "logical") == "memory://else/k"


async def test_names_are_looked_up_both_ways_and_change_at_run_time() -> None:
    storage = storage_with("logical")
    names = storage.containers("memory:")
    assert (names.physical("user"), names.logical("physical-user")) == ("physical-user", "user")
    assert (names.physical("else"), names.logical("else")) == ("else", "else")
    await storage.write("memory:prod-user/k", b"production")
    names.update({"user": "prod-user", "logs": "prod-logs"})
    assert await storage.read_bytes("memory:user/k") == b"production"
    assert names.names == {**NAMES, "user": "prod-user", "logs": "prod-logs"}
    assert names.logical("physical-user") == "physical-user"
    names.show = "physical"
    assert (await storage.stat("memory:user/k")).uri == "memory://prod-user/k"
    names.replace({})
    with pytest.raises(NotFoundError):
        await storage.stat("memory:user/k")


async def test_an_open_storage_without_names_can_be_given_some() -> None:
    async with open_storage("memory:") as storage:
        await storage.write(PHYSICAL, b"data")
        storage.containers("memory:").update(NAMES)
        assert await storage.read_bytes(LOGICAL) == b"data"


@pytest.mark.parametrize(
    "names",
    [
        {"a": "x", "b": "x"},
        {"a": "b", "b": "c"},
        {"a": "b", "b": "b"},
        {"": "x"},
        {"a": ""},
        {"a/b": "x"},
        {"a": "x/y"},
    ],
)
def test_names_that_do_not_lead_there_and_back_are_refused(names: dict[str, str]) -> None:
    containers = ContainerMap(NAMES)
    for change in (ContainerMap, containers.update, containers.replace):
        with pytest.raises(ValueError, match=r"name|stand for|container"):
            change(names)
    assert containers.names == NAMES


CONTAINERS = st.text("abc", min_size=1, max_size=3)


@given(st.dictionaries(CONTAINERS, CONTAINERS, max_size=4), CONTAINERS, st.text("ab/", max_size=5))
def test_every_path_comes_back_as_it_went(names: dict[str, str], container: str, key: str) -> None:
    try:
        containers = ContainerMap(names)
    except ValueError:
        return
    inward = containers.inward(f"{container}/{key}")
    assert containers.inward(inward) == inward
    logical = containers.outward(inward, "logical")
    assert containers.inward(logical) == inward
    assert containers.outward(inward, "physical") == inward
    if container in names:
        assert logical == f"{container}/{key}"


async def test_groups_of_bare_ids_have_names_too() -> None:
    bare = BareDriver()
    containers = ContainerMap({"group7": "group1"}, show="logical")
    composite = CompositeDriver(
        {"fastdfs": Mount(bare, containers=containers)}, unprefixed="fastdfs"
    )
    storage = Storage(composite)
    info = await storage.upload("a", b"data")
    assert info.file_id == "group7/M00/00/00/00000001"
    assert await storage.read_bytes(info.file_id) == b"data"
    assert await storage.read_bytes("group1/M00/00/00/00000001") == b"data"


async def test_names_belong_to_the_mount_that_an_id_ends_at() -> None:
    inner = CompositeDriver({"memory": Mount(MemoryDriver(), containers=ContainerMap(NAMES))})
    storage = fusion(outer=inner, other=NamedMemory("other"))
    info = await storage.write("outer:memory:user/k", b"data")
    assert info.uri == "outer://memory://physical-user/k"
    assert storage.with_container(info.uri, "logical") == "outer://memory://user/k"
    assert storage.containers("outer:memory:").names == NAMES
    with pytest.raises(ValueError, match="give logical containers to its own mounts"):
        fusion(outer=Mount(inner, containers=ContainerMap(NAMES)))


async def test_names_come_from_the_configuration() -> None:
    mount = {"containers": NAMES, "show_containers": "logical"}
    async with open_storage({"mounts": {"memory": mount}}) as storage:
        assert (await storage.write(PHYSICAL, b"")).uri == LOGICAL
    for wrong in ({"containers": {"a": "x", "b": "x"}}, {"show_containers": "both"}):
        with pytest.raises(ConfigError, match=rf"mounts\.memory\.{next(iter(wrong))}"):
            async with open_storage({"mounts": {"memory": wrong}}):
                pass
    nested = {"driver": "composite", "mounts": {"memory": {}}, "containers": NAMES}
    with pytest.raises(ConfigError, match="give them to its mounts"):
        async with open_storage({"mounts": {"outer": nested}}):
            pass


# Limits of a mount


class Signing(NamedMemory):
    def __init__(self) -> None:
        from attrs import evolve

        super().__init__()
        self.capabilities = evolve(self.capabilities, presign=self)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        return path


async def test_a_mount_can_be_closed_to_reading(tmp_path: Path) -> None:
    storage = fusion(memory=Mount(Signing(), allow_read=False))
    info = await storage.write("memory:b/k", b"data")
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: storage.read_bytes(info.uri),
        lambda: storage.download(info.uri, tmp_path / "k"),
        lambda: storage.copy(info.uri, "memory:b/copy"),
        lambda: storage.move(info.uri, "memory:b/copy"),
        lambda: storage.read_ranges(info.uri, [ByteRange(0)]),
        lambda: storage.presign(info.uri),
        lambda: anext(storage.zip([info.uri])),
    ]
    for act in acts:
        with pytest.raises(PermissionDeniedError, match="allows no reading") as caught:
            await act()
        assert caught.value.uri == info.uri
    assert isinstance(await storage.stat(info.uri), ObjectInfo)
    await storage.presign(info.uri, "PUT")
    await storage.delete(info.uri)


async def test_every_switch_of_a_mount_comes_from_the_configuration() -> None:
    acts: dict[str, Callable[[Storage], Awaitable[object]]] = {
        "allow_read": lambda s: s.read_bytes("memory:b/k"),
        "allow_delete": lambda s: s.delete("memory:b/k"),
        "read_only": lambda s: s.write("memory:b/k", b""),
    }
    for switch, act in acts.items():
        mounts = {"memory": {switch: switch == "read_only"}}
        async with open_storage({"mounts": mounts}) as storage:
            with pytest.raises(StorageError, match=r"allows no|read only"):
                await act(storage)
