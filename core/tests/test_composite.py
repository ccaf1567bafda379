import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, override

import pytest
from anyio import EndOfStream
from anyio.lowlevel import checkpoint
from core_doubles import (
    BareDriver,
    BrokenStreamDriver,
    CorruptingDriver,
    Faults,
    MinimalDriver,
    NamedMemory,
    read_all,
)

from polystow import (
    BackendUnavailableError,
    BatchResult,
    Body,
    BytesBody,
    Checksum,
    ChecksumMismatchError,
    CompositeDriver,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    Limits,
    ListOptions,
    MemoryDriver,
    MetadataOptions,
    Mount,
    NameHint,
    NewObject,
    NoRouteError,
    NotFoundError,
    ObjectInfo,
    PermissionDeniedError,
    PresignOptions,
    ReadOptions,
    ReadStream,
    StatOptions,
    Storage,
    StorageDriver,
    StorageError,
    StreamBody,
    Target,
    TransportError,
    UnsupportedOperationError,
    WriteOptions,
    open_storage,
    wrap,
)

BARE = "group1/M00/00/00/00000001"


class Signing(NamedMemory):
    """Can presign."""

    def __init__(self, name: str = "signing") -> None:
        from attrs import evolve

        super().__init__(name)
        self.capabilities = evolve(self.capabilities, presign=self)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        return f"https://host/{path}?{options.method}"


def fusion(**mounts: StorageDriver | Mount) -> Storage:
    return Storage(CompositeDriver(mounts, write_to=next(iter(mounts))))


async def put(driver: StorageDriver, path: str, data: bytes = b"data", **meta: str) -> ObjectInfo:
    return await driver.write(path, BytesBody(data), WriteOptions(metadata=meta))


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
    with pytest.raises(NoRouteError, match="says 'gone', which is not mounted; mounted: s3"):
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


# Copying and moving


async def test_a_copy_inside_a_mount_stays_inside_its_backend() -> None:
    faults = Faults()
    memory = MemoryDriver()
    await put(memory, "b/k", x="1")
    storage = fusion(s3=wrap(memory, [faults]))
    info = await storage.copy("s3:b/k", "s3:c/k")
    assert (info.uri, info.metadata, faults.names) == ("s3://c/k", {"x": "1"}, ["copy"])


async def test_a_copy_inside_a_mount_that_can_not_copy_goes_through_here() -> None:
    poor = MinimalDriver()
    await put(poor, "b/k")
    storage = fusion(poor=poor)
    await storage.copy("poor:b/k", "poor:c/k")
    assert await storage.read_bytes("poor:c/k") == b"data"


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_a_copy_between_mounts_takes_everything_along(size: int) -> None:
    source, target = MemoryDriver(), MinimalDriver()
    data = bytes(size)
    options = WriteOptions("image/png", {"a": "b"}, "é.png")
    await source.write("b/k", BytesBody(data), options)
    info = await fusion(aa=source, bb=target).copy("aa:b/k", "bb:c/k")
    assert (info.uri, info.size, info.content_type, info.metadata, info.filename) == (
        "bb://c/k",
        size,
        "image/png",
        {"a": "b"},
        "é.png",
    )
    assert await read_all(await target.open_read("c/k", ReadOptions())) == data


async def test_a_copy_to_a_backend_that_names_objects_has_a_new_name() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    storage = Storage(
        CompositeDriver({"s3": source, "fdfs": BareDriver()}, unprefixed="fdfs", write_to="fdfs")
    )
    assert (await storage.copy("s3:b/k", NameHint("photo.jpg"))).file_id == BARE


async def test_a_corrupted_copy_is_found_and_deleted() -> None:
    source, target = MemoryDriver(), CorruptingDriver()
    await put(source, "b/k")
    storage = fusion(aa=source, bb=target)
    with pytest.raises(ChecksumMismatchError, match=r"'bb://c/k'.*was deleted.*CRC-32") as caught:
        await storage.copy("aa:b/k", "bb:c/k")
    assert caught.value.uri == "aa://b/k"
    assert not await storage.exists("bb:c/k")
    assert await storage.exists("aa:b/k")


async def test_a_corrupted_copy_that_can_not_be_deleted_says_so() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    target = wrap(CorruptingDriver(), [Faults(delete=lambda: TransportError("cut"))])
    with pytest.raises(ChecksumMismatchError, match="could not be deleted"):
        await fusion(aa=source, bb=target).copy("aa:b/k", "bb:c/k")


class Lying(NamedMemory):
    """Tells another checksum than its content has."""

    def __init__(self, size: int | None) -> None:
        super().__init__()
        self.size = size

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        info = await super().write(target, body, options)
        return ObjectInfo(path=info.path, size=self.size)


async def test_a_copy_of_another_length_is_found() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    with pytest.raises(ChecksumMismatchError, match="4 bytes were read, 3 written"):
        await fusion(aa=source, bb=Lying(3)).copy("aa:b/k", "bb:c/k")


async def test_a_target_that_tells_nothing_is_believed() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    assert (await fusion(aa=source, bb=Lying(None)).copy("aa:b/k", "bb:c/k")).size is None


async def test_a_source_that_gives_other_bytes_than_it_has_is_found() -> None:
    class Rotten(NamedMemory):
        @override
        async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
            stream = await super().open_read(path, options)
            values = dict(vars(stream.info))
            values["checksum"] = Checksum("crc32", f"{zlib.crc32(b'other'):08x}")
            stream.info = ObjectInfo(**values)
            return stream

    source = Rotten()
    await put(source, "b/k")
    with pytest.raises(ChecksumMismatchError, match="of the source"):
        await fusion(aa=source, bb=MemoryDriver()).copy("aa:b/k", "bb:c/k")


async def test_a_source_that_breaks_is_blamed_and_leaves_no_copy() -> None:
    source = BrokenStreamDriver(lambda: TransportError("cut"))
    await put(source, "b/k")
    storage = fusion(aa=source, bb=CompositeDriver({"in": MemoryDriver()}))
    with pytest.raises(TransportError) as caught:
        await storage.copy("aa:b/k", "bb:in:c/k")
    assert (caught.value.uri, caught.value.operation) == ("aa://b/k", "copy")
    assert (await storage.exists("bb:in:c/k"), source.closed) == (False, 1)


async def test_a_broken_source_inside_a_nested_composite_has_the_whole_id() -> None:
    source = BrokenStreamDriver(lambda: TransportError("cut"))
    await put(source, "b/k")
    storage = fusion(out=CompositeDriver({"aa": source, "bb": MemoryDriver()}))
    with pytest.raises(TransportError) as caught:
        await storage.copy("out:aa:b/k", "out:bb:c/k")
    assert caught.value.uri == "out://aa://b/k"


async def test_a_target_that_fails_is_blamed_and_the_source_is_closed() -> None:
    source = BrokenStreamDriver(ZeroDivisionError)
    await put(source, "b/k")
    target = wrap(MemoryDriver(), [Faults(write=lambda: BackendUnavailableError("down"))])
    with pytest.raises(BackendUnavailableError) as caught:
        await fusion(aa=source, bb=target).copy("aa:b/k", "bb:c/k")
    assert (caught.value.uri, source.closed) == ("bb://c/k", 1)


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_a_missing_source_is_blamed(operation: Literal["copy", "move"]) -> None:
    storage = fusion(aa=MemoryDriver(), bb=MemoryDriver())
    with pytest.raises(NotFoundError) as caught:
        await getattr(storage, operation)("aa:b/k", "bb:c/k")
    assert caught.value.uri == "aa://b/k"


class Terse(BrokenStreamDriver):
    """Its streams do not tell the metadata."""

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        values = dict(vars(stream.info))
        values["metadata"] = None
        stream.info = ObjectInfo(**values)
        return stream


async def test_metadata_that_a_read_does_not_tell_are_asked_for() -> None:
    source = Terse(EndOfStream)
    await put(source, "b/k", b"", a="b")
    info = await fusion(aa=source, bb=MemoryDriver()).copy("aa:b/k", "bb:c/k")
    assert info.metadata == {"a": "b"}


async def test_a_source_whose_metadata_can_not_be_asked_for_is_blamed_and_closed() -> None:
    source = Terse(EndOfStream)
    await put(source, "b/k", b"")
    failing = wrap(source, [Faults(stat=lambda: BackendUnavailableError("down"))])
    with pytest.raises(BackendUnavailableError) as caught:
        await fusion(aa=failing, bb=MemoryDriver()).copy("aa:b/k", "bb:c/k")
    assert (caught.value.uri, caught.value.operation, source.closed) == ("aa://b/k", "copy", 1)


async def test_a_copy_can_be_repeated_from_its_source() -> None:
    class Twice(NamedMemory):
        @override
        async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
            assert body.replayable
            assert body.size == 4
            stream = await body.open()
            await stream.receive(2)
            await stream.aclose()
            return await super().write(target, body, options)

    source = MemoryDriver()
    await put(source, "b/k")
    info = await fusion(aa=source, bb=Twice()).copy("aa:b/k", "bb:c/k")
    assert info.size == 4


async def test_a_move_leaves_the_target_alone() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    storage = fusion(aa=source, bb=MemoryDriver())
    info = await storage.move("aa:b/k", "bb:c/k")
    assert (info.uri, await storage.exists("aa:b/k")) == ("bb://c/k", False)
    assert await storage.read_bytes("bb:c/k") == b"data"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("s3:b/k", "s3://b/k"),
        ("s3:b/k", "s3:b/k"),
        ("out:in:b/k", "out:in://b/k"),
        ("out://in://b/k", "out:in:b/k"),
    ],
)
async def test_a_move_to_the_same_place_changes_nothing(source: str, target: str) -> None:
    faults = Faults()
    memory = MemoryDriver()
    await put(memory, "b/k")
    watched = wrap(memory, [faults])
    storage = fusion(s3=watched, out=CompositeDriver({"in": watched}))
    info = await storage.move(source, target)
    assert faults.names == ["stat"]
    assert await storage.read_bytes(info.uri) == b"data"


async def test_a_move_of_a_bare_id_onto_itself_changes_nothing() -> None:
    storage = Storage(CompositeDriver({"fdfs": BareDriver()}, unprefixed="fdfs"))
    info = await storage.upload("x", b"1")
    await storage.move(BARE, info.uri)
    assert await storage.read_bytes(BARE) == b"1"


async def test_a_move_whose_deletion_fails_keeps_both_and_says_so() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    locked = wrap(source, [Faults(delete=lambda: PermissionDeniedError("no"))])
    storage = fusion(aa=locked, bb=MemoryDriver())
    with pytest.raises(PermissionDeniedError) as caught:
        await storage.move("aa:b/k", "bb:c/k")
    assert caught.value.__notes__ == ["the copy is complete: bb:c/k; the source is still there"]
    assert await storage.read_bytes("aa:b/k") == await storage.read_bytes("bb:c/k") == b"data"


async def test_a_move_out_of_a_nested_mount_without_deletion_copies_nothing() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    inner = CompositeDriver({"in": Mount(source, allow_delete=False)})
    storage = fusion(out=inner, bb=MemoryDriver())
    with pytest.raises(PermissionDeniedError):
        await storage.move("out:in:b/k", "bb:c/k")
    assert not await storage.exists("bb:c/k")


async def test_a_corrupted_move_keeps_the_source() -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    storage = fusion(aa=source, bb=CorruptingDriver())
    with pytest.raises(ChecksumMismatchError):
        await storage.move("aa:b/k", "bb:c/k")
    assert await storage.read_bytes("aa:b/k") == b"data"


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_overwrite_counts_for_copies(operation: Literal["copy", "move"]) -> None:
    source, target = MemoryDriver(), MemoryDriver()
    await put(source, "b/k")
    await put(target, "c/k", b"old")
    storage = fusion(aa=source, bb=target)
    with pytest.raises(FileExistsError):
        await getattr(storage, operation)("aa:b/k", "bb:c/k", overwrite=False)
    assert await storage.read_bytes("bb:c/k") == b"old"
    assert await storage.exists("aa:b/k")


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
