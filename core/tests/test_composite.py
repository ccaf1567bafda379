from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, override

import pytest
from anyio.lowlevel import checkpoint
from core_doubles import (
    BARE,
    BareDriver,
    BrokenStreamDriver,
    Faults,
    MinimalDriver,
    NamedMemory,
    fusion,
    put,
    read_all,
)

from polystow import (
    BackendUnavailableError,
    BatchResult,
    CompositeDriver,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    KeyPolicy,
    Limits,
    ListOptions,
    MemoryDriver,
    MetadataOptions,
    Mount,
    NameHint,
    NewObject,
    NoRouteError,
    NotFoundError,
    PermissionDeniedError,
    PresignOptions,
    ReadOptions,
    StatOptions,
    Storage,
    StorageDriver,
    StorageError,
    StreamBody,
    TransportError,
    UnsupportedOperationError,
    WriteOptions,
    open_storage,
    wrap,
)


class Signing(NamedMemory):
    """Can presign."""

    def __init__(self, name: str = "signing") -> None:
        from attrs import evolve

        super().__init__(name)
        self.capabilities = evolve(self.capabilities, presign=self)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        return f"https://host/{path}?{options.method}"


# Routing


async def test_all_three_forms_of_an_id_reach_their_driver() -> None:
    s3, fdfs = MemoryDriver(), BareDriver()
    storage = Storage(CompositeDriver({"s3": s3, "fdfs": fdfs}, unprefixed="fdfs", write_to="fdfs"))
    await put(s3, "b/k", b"in s3")
    new = await storage.upload("x.jpg", b"in fdfs")
    assert new.file_id == BARE
    assert new.uri == f"fdfs://{BARE}"
    for file_id, data in [
        ("s3:b/k", b"in s3"),
        ("s3://b/k", b"in s3"),
        (BARE, b"in fdfs"),
        (f"fdfs:{BARE}", b"in fdfs"),
        (f"fdfs://{BARE}", b"in fdfs"),
    ]:
        assert await storage.read_bytes(file_id) == data


async def test_ids_of_a_mount_that_is_not_unprefixed_have_their_scheme() -> None:
    storage = Storage(CompositeDriver({"fdfs": BareDriver()}))
    info = await storage.upload("x", b"1")
    assert info.file_id == f"fdfs:{BARE}"
    with pytest.raises(NoRouteError, match="no driver owns ids without one; mounted: fdfs"):
        await storage.stat(BARE)


async def test_a_bare_id_two_levels_down_is_bare_and_resolves() -> None:
    inner = CompositeDriver({"fdfs": BareDriver()}, unprefixed="fdfs")
    storage = Storage(CompositeDriver({"in": inner}, unprefixed="in"))
    info = await storage.upload("x", b"1")
    assert (info.uri, info.file_id) == (f"in://fdfs://{BARE}", BARE)
    assert await storage.read_bytes(info.file_id) == await storage.read_bytes(info.uri) == b"1"


async def test_an_id_of_no_mount_names_what_is_mounted() -> None:
    storage = fusion(s3=MemoryDriver(), cold=MemoryDriver())
    with pytest.raises(NoRouteError, match="no driver is mounted as 'ftp'; mounted: cold, s3"):
        await storage.stat("ftp:b/k")


async def test_a_bare_id_of_the_wrong_form_is_not_sent_anywhere() -> None:
    storage = Storage(CompositeDriver({"fdfs": BareDriver()}, unprefixed="fdfs"))
    with pytest.raises(NoRouteError, match="none of 'fdfs'"):
        await storage.stat("some/where")


@pytest.mark.parametrize("file_id", ["", "S3:b/k", "C:\\x"])
async def test_what_is_no_id_is_refused(file_id: str) -> None:
    with pytest.raises(InvalidPathError) as caught:
        await fusion(s3=MemoryDriver()).stat(file_id)
    assert (caught.value.operation, caught.value.path) == ("stat", file_id)


@pytest.mark.parametrize("scheme", ["S3", "s", "", "a_b", "1a"])
def test_a_driver_is_not_mounted_under_what_is_no_scheme(scheme: str) -> None:
    with pytest.raises(ValueError, match="can't be a scheme"):
        CompositeDriver({scheme: MemoryDriver()})


@pytest.mark.parametrize("name", ["unprefixed", "write_to"])
def test_what_is_not_mounted_is_refused_when_the_composite_is_made(
    name: Literal["unprefixed", "write_to"],
) -> None:
    choices = {name: "gone"}
    with pytest.raises(ValueError, match=f"{name} is 'gone'"):
        CompositeDriver(
            {"s3": MemoryDriver()},
            unprefixed=choices.get("unprefixed"),
            write_to=choices.get("write_to"),
        )


# Prefixes


def nested(driver: StorageDriver) -> tuple[StorageDriver, str]:
    return CompositeDriver({"out": CompositeDriver({"in": driver})}), "out:in:"


def single(driver: StorageDriver) -> tuple[StorageDriver, str]:
    return CompositeDriver({"in": driver}), "in:"


levels = pytest.mark.parametrize("mount", [single, nested])
type Mounting = Callable[[StorageDriver], tuple[StorageDriver, str]]


@levels
async def test_infos_carry_the_prefix_of_every_level(mount: Mounting) -> None:
    driver, short = mount(MemoryDriver())
    uri = short.replace(":", "://") + "b/k"
    written = await put(driver, f"{short}b/k")
    stream = await driver.open_read(uri, ReadOptions())
    listed = driver.capabilities.list
    copier = driver.capabilities.copy
    assert listed is not None
    assert copier is not None
    page = await listed.list_page(f"{short}b/", ListOptions(), None)
    copied = await copier.copy(uri, uri, CopyOptions())
    found = [written, stream.info, await driver.stat(uri, StatOptions()), page.items[0], copied]
    assert [(info.uri, info.file_id) for info in found] == [(uri, f"{short}b/k")] * 5
    assert await read_all(stream) == b"data"


@levels
async def test_folded_prefixes_are_ids_that_can_be_listed(mount: Mounting) -> None:
    driver, short = mount(MemoryDriver())
    await put(driver, f"{short}b/f/x")
    lister = driver.capabilities.list
    assert lister is not None
    page = await lister.list_page(f"{short}b/", ListOptions("/"), None)
    below = await lister.list_page(page.prefixes[0], ListOptions(), None)
    assert [item.file_id for item in below.items] == [f"{short}b/f/x"]


@levels
@pytest.mark.parametrize("name", ["open_read", "stat", "delete", "write", "list_page", "copy"])
async def test_errors_carry_the_prefix_of_every_level(mount: Mounting, name: str) -> None:
    faults = Faults(**{name: lambda: BackendUnavailableError("down")})
    driver, short = mount(wrap(MemoryDriver(), [faults]))
    storage = Storage(driver)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open_read": lambda: storage.read_bytes(f"{short}b/k"),
        "stat": lambda: storage.stat(f"{short}b/k"),
        "delete": lambda: storage.delete(f"{short}b/k"),
        "write": lambda: storage.write(f"{short}b/k", b""),
        "list_page": lambda: anext(storage.list(f"{short}b/k")),
        "copy": lambda: storage.copy(f"{short}b/k", f"{short}b/l"),
    }
    with pytest.raises(BackendUnavailableError) as caught:
        await calls[name]()
    error = caught.value
    assert error.uri == short.replace(":", "://") + "b/k"
    assert (error.operation, error.driver) == (name, "memory")


@levels
async def test_errors_of_streams_carry_the_prefix_of_every_level(mount: Mounting) -> None:
    broken = BrokenStreamDriver(lambda: TransportError("cut"))
    await put(broken, "b/k")
    driver, short = mount(broken)
    with pytest.raises(TransportError) as caught:
        await Storage(driver).read_bytes(f"{short}b/k")
    assert caught.value.uri == short.replace(":", "://") + "b/k"
    assert (caught.value.operation, broken.closed) == ("open_read", 1)


async def test_a_failure_of_a_body_from_another_mount_keeps_its_own_id() -> None:
    broken = BrokenStreamDriver(lambda: TransportError("cut"))
    await put(broken, "b/k")
    storage = fusion(source=broken, target=CompositeDriver({"in": MemoryDriver()}))

    async def chunks() -> AsyncIterator[bytes]:
        async with storage.open_read("source:b/k") as stream:
            async for chunk in stream:
                yield chunk

    with pytest.raises(TransportError) as caught:
        await storage.write("target:in:b/k", chunks())
    assert (caught.value.uri, caught.value.operation) == ("source://b/k", "open_read")


async def test_an_error_of_the_users_body_without_an_id_gets_none() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        raise StorageError("mine")

    with pytest.raises(StorageError) as caught:
        await fusion(s3=MemoryDriver()).write("s3:b/k", chunks())
    assert str(caught.value) == "mine"


# Limits of mounts


def operations(storage: Storage, scheme: str) -> dict[str, Callable[[], Awaitable[object]]]:
    file_id = f"{scheme}:b/k"
    return {
        "write": lambda: storage.write(file_id, b""),
        "upload": lambda: storage.upload("x", b""),
        "set_metadata": lambda: storage.set_metadata(file_id, {}),
        "copy": lambda: storage.copy(file_id, f"{scheme}:b/other"),
        "presign PUT": lambda: storage.presign(file_id, "PUT"),
        "delete": lambda: storage.delete(file_id),
        "presign DELETE": lambda: storage.presign(file_id, "DELETE"),
        "move": lambda: storage.move(file_id, "free:b/k"),
    }


async def limited(mount: Mount) -> tuple[Storage, Faults]:
    faults = Faults()
    await put(mount.driver, "b/k")
    watched = Mount(
        wrap(mount.driver, [faults]), read_only=mount.read_only, allow_delete=mount.allow_delete
    )
    return fusion(s3=watched, free=MemoryDriver()), faults


@pytest.mark.parametrize("name", list(operations(Storage.__new__(Storage), "s3")))
async def test_a_read_only_mount_refuses_every_change_before_any_io(name: str) -> None:
    storage, faults = await limited(Mount(Signing(), read_only=True))
    with pytest.raises(PermissionDeniedError, match=r"mount 's3' (is read only|allows no del)"):
        await operations(storage, "s3")[name]()
    assert faults.calls == []


@pytest.mark.parametrize("name", ["delete", "presign DELETE", "move"])
async def test_a_mount_without_deletion_refuses_it_before_any_io(name: str) -> None:
    storage, faults = await limited(Mount(Signing(), allow_delete=False))
    with pytest.raises(PermissionDeniedError, match="mount 's3' allows no deletion"):
        await operations(storage, "s3")[name]()
    assert faults.calls == []


@pytest.mark.parametrize("name", ["write", "upload", "set_metadata", "copy", "presign PUT"])
async def test_a_mount_without_deletion_can_be_written(name: str) -> None:
    storage, _ = await limited(Mount(Signing(), allow_delete=False))
    await operations(storage, "s3")[name]()


async def test_a_read_only_mount_can_be_read() -> None:
    storage, _ = await limited(Mount(Signing(), read_only=True))
    assert await storage.read_bytes("s3:b/k") == b"data"
    assert [item.uri async for item in storage.list("s3:b")] == ["s3://b/k"]
    assert await storage.presign("s3:b/k") == "https://host/b/k?GET"
    await storage.copy("s3:b/k", "free:b/k")


async def test_a_refusal_shows_the_canonical_id() -> None:
    storage, _ = await limited(Mount(Signing(), read_only=True))
    with pytest.raises(PermissionDeniedError) as caught:
        await storage.delete("s3:b/k")
    assert caught.value.uri == "s3://b/k"


async def test_a_batch_deletion_refuses_limited_mounts_alone() -> None:
    storage, _ = await limited(Mount(Signing(), allow_delete=False))
    result = await storage.delete_many(["s3:b/k", "free:b/k"])
    assert result.succeeded == ["free:b/k"]
    assert [type(failure.error) for failure in result.failed] == [PermissionDeniedError]


async def test_the_limits_of_a_nested_mount_are_known_outside() -> None:
    inner = CompositeDriver({"ro": Mount(MemoryDriver(), read_only=True)})
    route = fusion(out=inner).route("out:ro:b/k")
    assert (route.scheme, route.path, route.writable, route.deletable) == (
        "out",
        "ro://b/k",
        False,
        False,
    )


# The write policy


async def test_a_policy_is_asked_with_name_size_and_content_type() -> None:
    asked: list[NewObject] = []

    def policy(new: NewObject) -> str:
        asked.append(new)
        return "big" if (new.size or 0) > 3 else "small"

    composite = CompositeDriver({"big": MemoryDriver(), "small": MemoryDriver()}, write_to=policy)
    storage = Storage(composite)
    assert (await storage.upload("a.png", b"1234")).uri.startswith("big:")
    assert (await storage.upload("b.txt", b"1")).uri.startswith("small:")
    copied = await storage.copy((await storage.upload("c.txt", b"12345")).uri, NameHint("d.png"))
    assert copied.uri.startswith("big:")
    assert asked == [
        NewObject("a.png", 4, "image/png"),
        NewObject("b.txt", 1, "text/plain"),
        NewObject("c.txt", 5, "text/plain"),
        NewObject("d.png", 5, "text/plain"),
    ]


async def test_a_policy_that_names_no_mount_is_told() -> None:
    composite = CompositeDriver({"s3": MemoryDriver()}, write_to=lambda new: "gone")
    with pytest.raises(NoRouteError, match="to go to 'gone', which is not mounted; mounted: s3"):
        await Storage(composite).upload("x", b"")


async def test_without_a_policy_new_objects_of_several_mounts_have_no_place() -> None:
    composite = CompositeDriver({"s3": MemoryDriver(), "cold": MemoryDriver()})
    with pytest.raises(NoRouteError, match="set write_to"):
        await Storage(composite).upload("x", b"")


# Capabilities


LACKING: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "list_page": lambda storage: anext(storage.list("poor:b/")),
    "set_metadata": lambda storage: storage.set_metadata("poor:b/", {}),
    "presign": lambda storage: storage.presign("poor:b/"),
}


@pytest.mark.parametrize("operation", LACKING)
async def test_what_a_mount_lacks_is_refused_before_any_io_naming_it(operation: str) -> None:
    faults = Faults()
    storage = fusion(poor=wrap(MinimalDriver(), [faults]), rich=Signing())
    with pytest.raises(UnsupportedOperationError, match=r"mount 'poor' \(driver 'min") as caught:
        await LACKING[operation](storage)
    assert (caught.value.operation, caught.value.uri, faults.calls) == (operation, "poor://b/", [])


async def test_what_no_mount_can_do_is_refused() -> None:
    storage = fusion(poor=MinimalDriver())
    with pytest.raises(UnsupportedOperationError, match="no mounted driver"):
        await storage.presign("poor:b/k")


async def test_a_copy_to_a_key_where_the_backend_names_objects_reads_nothing() -> None:
    faults = Faults()
    source = wrap(MemoryDriver(), [faults])
    storage = fusion(s3=source, fdfs=BareDriver())
    with pytest.raises(UnsupportedOperationError, match="mount 'fdfs'"):
        await storage.copy("s3:b/k", f"fdfs:{BARE}")
    assert faults.calls == []


async def test_require_passes_where_the_capability_is() -> None:
    storage = fusion(poor=MinimalDriver(), rich=Signing())
    storage.require("presign", "rich:")
    storage.require("list", "rich:b/k")


async def test_require_names_all_mounts_that_lack_a_capability() -> None:
    storage = fusion(poor=MinimalDriver(), rich=Signing(), other=MemoryDriver())
    with pytest.raises(UnsupportedOperationError, match="not possible on 'other', 'poor'"):
        storage.require("presign")


async def test_require_of_one_mount_looks_at_that_one() -> None:
    storage = fusion(poor=MinimalDriver(), rich=Signing())
    with pytest.raises(UnsupportedOperationError, match=r"not possible on 'poor'$"):
        storage.require("list", "poor:")


async def test_require_of_an_id_without_a_mount_is_told() -> None:
    with pytest.raises(NoRouteError):
        fusion(rich=Signing()).require("list", "gone:")


@pytest.mark.parametrize("name", ["telepathy", "limits"])
async def test_require_of_what_is_no_capability_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=f"no capability '{name}'"):
        fusion(rich=Signing()).require(name)


async def test_require_looks_through_a_nested_composite() -> None:
    storage = fusion(out=CompositeDriver({"poor": MinimalDriver(), "rich": Signing()}))
    storage.require("presign", "out:rich:b/k")
    with pytest.raises(UnsupportedOperationError):
        storage.require("presign", "out:poor:b/k")


def test_a_composite_accepts_what_its_mounts_accept() -> None:
    composite = CompositeDriver(
        {
            "aa": MinimalDriver(limits=Limits(create_only=True, if_match=True, max_key_bytes=500)),
            "bb": MinimalDriver(limits=Limits(client_names_keys=False, create_only=True)),
        }
    )
    assert composite.capabilities.limits == Limits(
        client_names_keys=True, create_only=True, if_match=False, max_key_bytes=500
    )
    assert composite.capabilities.list is None


async def test_presign_of_a_mount_is_reached() -> None:
    assert await fusion(s3=Signing()).presign("s3:b/k", "PUT") == "https://host/b/k?PUT"


# Deleting many


async def test_a_batch_goes_over_all_mounts_and_keeps_the_order() -> None:
    rich, poor = NamedMemory("rich"), MinimalDriver()
    for driver in (rich, poor):
        await put(driver, "b/1")
        await put(driver, "b/2")
    storage = fusion(rich=rich, poor=poor)
    ids = ["poor:b/1", "rich:b/1", "gone:b/1", "poor:b/9", "rich://b/9", "poor:b/2", "BAD:x"]
    result = await storage.delete_many(ids, missing_ok=False)
    assert result.succeeded == ["poor:b/1", "rich:b/1", "poor:b/2"]
    assert [
        (failure.path, type(failure.error), failure.error.uri) for failure in result.failed
    ] == [
        ("gone:b/1", NoRouteError, "gone:b/1"),
        ("poor:b/9", NotFoundError, "poor://b/9"),
        ("rich://b/9", NotFoundError, "rich://b/9"),
        ("BAD:x", InvalidPathError, "BAD:x"),
    ]
    assert await storage.exists("rich:b/2")


async def test_duplicates_in_a_batch_are_deleted_once_and_all_reported() -> None:
    rich = NamedMemory("rich")
    await put(rich, "b/1")
    ids = ["rich:b/1", "rich://b/1", "rich:b/9", "rich:b/9"]
    result = await fusion(rich=rich).delete_many(ids, missing_ok=False)
    assert result.succeeded == ids[:2]
    assert [failure.path for failure in result.failed] == ids[2:]
    assert {failure.error.uri for failure in result.failed} == {"rich://b/9"}


class DownForBatches(NamedMemory):
    @override
    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        raise BackendUnavailableError("down")


@levels
async def test_a_batch_that_fails_as_a_whole_fails_for_each(mount: Mounting) -> None:
    driver, short = mount(DownForBatches())
    result = await Storage(driver).delete_many([f"{short}b/1", f"{short}b/2"])
    assert result.succeeded == []
    assert {failure.error.uri for failure in result.failed} == {short.replace(":", "://")}


async def test_no_more_than_eight_single_deletions_are_under_way() -> None:
    running: set[str] = set()
    counts: list[int] = []

    class Slow(MinimalDriver):
        @override
        async def delete(self, path: str, options: DeleteOptions, /) -> None:
            running.add(path)
            counts.append(len(running))
            await checkpoint()
            running.remove(path)

    ids = [f"poor:b/{number}" for number in range(40)]
    result = await fusion(poor=Slow()).delete_many(ids)
    assert (result.succeeded, max(counts), len(counts)) == (ids, 8, 40)


async def test_an_empty_batch_does_nothing() -> None:
    assert await fusion(s3=MemoryDriver()).delete_many([]) == BatchResult([], [])


async def test_one_text_is_no_batch() -> None:
    with pytest.raises(TypeError, match="several ids"):
        await fusion(s3=MemoryDriver()).delete_many("s3:b/k")


async def test_what_is_no_storage_error_leaves_a_batch_as_itself() -> None:
    driver = wrap(MinimalDriver(), [Faults(delete=ZeroDivisionError)])
    with pytest.raises(ZeroDivisionError):
        await fusion(poor=driver).delete_many(["poor:b/1", "poor:b/2"])


# Health


async def test_check_tells_of_every_mount() -> None:
    down = wrap(NamedMemory(), [Faults(check=lambda: BackendUnavailableError("down"))])
    storage = fusion(
        up=MemoryDriver(), down=down, dumb=MinimalDriver(), out=CompositeDriver({"in": down})
    )
    found = {health.scheme: health for health in await storage.check()}
    assert list(found) == ["up", "down", "dumb", "out"]
    assert (found["up"].error, found["up"].checked) == (None, True)
    assert (found["dumb"].error, found["dumb"].checked) == (None, False)
    assert str(found["down"].error) == "check 'down://': down"
    assert str(found["out"].error) == "check 'out://in://': down"


async def test_one_mount_can_be_checked_by_its_container() -> None:
    faults = Faults()
    composite = CompositeDriver({"s3": wrap(MemoryDriver(), [faults]), "poor": MinimalDriver()})
    await composite.check("s3:bucket")
    assert faults.calls == [("check", "bucket")]
    with pytest.raises(UnsupportedOperationError, match="poor"):
        await composite.check("poor:")


async def test_metadata_of_any_mount_can_be_changed() -> None:
    memory = MemoryDriver()
    await put(memory, "b/k", a="1")
    storage = fusion(s3=memory)
    await storage.set_metadata("s3:b/k", {"b": "2"}, merge=True)
    assert (await storage.stat("s3:b/k")).metadata == {"a": "1", "b": "2"}
    await storage.set_metadata("s3:b/k", {"c": "3"})
    assert (await storage.stat("s3:b/k")).metadata == {"c": "3"}
    with pytest.raises(NotFoundError) as caught:
        await memory.set_metadata("b/none", {}, MetadataOptions())
    assert caught.value.operation == "set_metadata"


async def test_a_body_of_a_stream_is_written_through_two_levels() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"1"

    driver, short = nested(MemoryDriver())
    info = await driver.write(f"{short}b/k", StreamBody(chunks()), WriteOptions())
    assert info.size == 1


async def test_a_storage_over_a_driver_is_a_composite_of_it() -> None:
    async with open_storage(BareDriver()) as storage:
        assert (await storage.upload("x", b"1")).file_id == BARE


@pytest.mark.parametrize("policy", ["exact", lambda hint: f"{hint.folder}/{hint.filename}"])
async def test_a_composite_makes_keys_as_its_policy_says(policy: KeyPolicy) -> None:
    storage = Storage(CompositeDriver({"memory": MemoryDriver()}, key_policy=policy))
    info = await storage.write(NameHint("a.txt", folder="f"), b"")
    assert info.uri == "memory://files/f/a.txt"
    own = await storage.write(NameHint("a.txt", folder="f", key_policy="dated"), b"")
    assert own.uri.startswith("memory://files/f/20")
