import zlib
from typing import Literal, override

import pytest
from anyio import EndOfStream
from core_doubles import (
    BARE,
    BareDriver,
    BrokenStreamDriver,
    CorruptingDriver,
    Faults,
    MinimalDriver,
    NamedMemory,
    fusion,
    put,
    read_all,
)

from polystow import (
    BackendUnavailableError,
    Body,
    BytesBody,
    Checksum,
    ChecksumMismatchError,
    CompositeDriver,
    MemoryDriver,
    Mount,
    NameHint,
    NotFoundError,
    ObjectInfo,
    PermissionDeniedError,
    ReadOptions,
    ReadStream,
    Storage,
    StorageError,
    Target,
    TransportError,
    WriteOptions,
    open_storage,
    wrap,
)


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


@pytest.mark.parametrize("nested", [False, True])
async def test_a_move_between_two_mounts_of_one_place_deletes_nothing(nested: bool) -> None:
    driver = MemoryDriver()
    inner = CompositeDriver({"in": driver}) if nested else driver
    composite = CompositeDriver({"one": driver, "two": inner}, write_to="one")
    target = "two:in:b/k" if nested else "two:b/k"
    async with open_storage(composite) as storage:
        await storage.write("one:b/k", b"the only one")
        with pytest.raises(StorageError, match="seem to lead to one object"):
            await storage.move("one:b/k", target)
        assert await storage.read_bytes("one:b/k") == b"the only one"


async def test_a_move_to_the_same_key_of_another_place_deletes_the_source() -> None:
    composite = CompositeDriver({"one": MemoryDriver(), "two": MemoryDriver()}, write_to="one")
    async with open_storage(composite) as storage:
        await storage.write("one:b/k", b"content")
        await storage.move("one:b/k", "two:b/k")
        assert not await storage.exists("one:b/k")
        assert await storage.read_bytes("two:b/k") == b"content"


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
