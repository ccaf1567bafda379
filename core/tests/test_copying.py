import hashlib
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
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
    ByteRange,
    BytesBody,
    Capabilities,
    Checksum,
    ChecksumMismatchError,
    CompositeDriver,
    DeleteOptions,
    Limits,
    MemoryDriver,
    Mount,
    NameHint,
    NotFoundError,
    ObjectInfo,
    PermissionDeniedError,
    PreconditionFailedError,
    ReadOptions,
    ReadStream,
    Storage,
    StorageError,
    Target,
    TransportError,
    UnsupportedOperationError,
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
    with pytest.raises(ChecksumMismatchError, match=r"'bb://c/k'.*was deleted.*crc32") as caught:
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
            stream.info, stream.verified = ObjectInfo(**values), False
            return stream

    source = Rotten()
    await put(source, "b/k")
    with pytest.raises(ChecksumMismatchError, match="what was read has the crc32 adf3f363"):
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
    assert caught.value.__notes__ == ["the copy is bb:c/k; the source is still there"]
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


class Replaced(NamedMemory):
    """Somebody else writes an object right after it was read."""

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        await put(self, path, b"news")
        return stream


async def test_a_source_that_is_replaced_while_it_is_moved_stays() -> None:
    source = Replaced()
    await put(source, "b/k")
    storage = fusion(aa=source, bb=MemoryDriver())
    with pytest.raises(PreconditionFailedError, match="move it again") as caught:
        await storage.move("aa:b/k", "bb:c/k")
    assert caught.value.__notes__ == ["the copy is bb:c/k; the source is still there"]
    assert await storage.exists("aa:b/k")


class Vanishing(NamedMemory):
    """Its objects are gone once they were read."""

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        await self.delete(path, DeleteOptions())
        return stream


async def test_a_source_that_is_deleted_while_it_is_moved_leaves_the_copy() -> None:
    source = Vanishing()
    await put(source, "b/k")
    storage = fusion(aa=source, bb=MemoryDriver())
    assert (await storage.move("aa:b/k", "bb:c/k")).uri == "bb://c/k"
    assert await storage.read_bytes("bb:c/k") == b"data"


class Losing(MinimalDriver):
    """Says that it has written what it has not, or something else."""

    def __init__(self, kept: bytes | None) -> None:
        super().__init__()
        self.kept = kept

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        info = await super().write(target, body, options)
        await self.delete(info.path, DeleteOptions())
        if self.kept is not None:
            await super().write(target, BytesBody(self.kept), options)
        return info


@pytest.mark.parametrize(
    ("kept", "message"),
    [(None, "is gone already"), (b"", "has 4 bytes, the copy 0"), (b"dada", "its crc32 is")],
)
async def test_a_move_asks_for_the_copy_before_it_deletes(kept: bytes | None, message: str) -> None:
    source = MemoryDriver()
    await put(source, "b/k")
    storage = fusion(aa=source, bb=Losing(kept))
    with pytest.raises(StorageError, match=message):
        await storage.move("aa:b/k", "bb:c/k")
    assert await storage.read_bytes("aa:b/k") == b"data"


class Hashed(NamedMemory):
    """Tells the SHA-256 of its objects, and says what its backend compares itself."""

    def __init__(self, rotten: bool = False) -> None:
        super().__init__()
        self.rotten = rotten
        self.seen: list[Checksum | None] = []
        self.capabilities = Capabilities(limits=Limits(checksums=frozenset({"sha256"})))

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        data = b"other" if self.rotten else b"data"
        checksum = Checksum("sha256", hashlib.sha256(data).hexdigest())
        values = dict(vars(stream.info))
        values["checksum"] = checksum
        stream.info, stream.verified = ObjectInfo(**values), False
        return stream

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        self.seen.append(options.checksum)
        return await super().write(target, body, options)


@pytest.mark.parametrize("read", ["read", "copy", "move", "zip"])
async def test_any_digest_of_an_object_is_compared_when_it_is_read(read: str) -> None:
    good, bad = Hashed(), Hashed(rotten=True)
    await put(good, "b/k")
    await put(bad, "b/k")
    storage = fusion(good=good, bad=bad, to=MemoryDriver())

    async def use(file_id: str) -> object:
        match read:
            case "read":
                return await storage.read_bytes(file_id)
            case "copy":
                return await storage.copy(file_id, "to:b/k")
            case "move":
                return await storage.move(file_id, "to:b/k")
            case _:
                return [chunk async for chunk in storage.zip([file_id])]

    await use("good:b/k")
    await storage.delete("to:b/k")
    with pytest.raises(ChecksumMismatchError, match="what was read has the sha256") as caught:
        await use("bad:b/k")
    assert caught.value.uri == "bad://b/k"
    assert (await storage.exists("to:b/k"), await storage.exists("bad:b/k")) == (False, True)


async def test_a_part_of_an_object_is_not_compared_with_the_digest_of_all() -> None:
    bad = Hashed(rotten=True)
    await put(bad, "b/k")
    assert await fusion(bad=bad).read_bytes("bad:b/k", range=ByteRange(0, 2)) == b"dat"


async def test_a_backend_that_compares_digests_is_given_the_sources() -> None:
    source, target = Hashed(), Hashed()
    await put(source, "b/k")
    await fusion(aa=source, bb=target).copy("aa:b/k", "bb:b/k")
    assert target.seen == [Checksum("sha256", hashlib.sha256(b"data").hexdigest())]


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_content_that_is_not_what_its_caller_says_is_not_stored(streamed: bool) -> None:
    storage = fusion(s3=MemoryDriver())
    right = Checksum("sha256", hashlib.sha256(b"data").hexdigest())
    content = pieces(b"da", b"ta") if streamed else b"data"
    assert (await storage.write("s3:b/k", content, checksum=right)).size == 4
    content = pieces(b"da", b"to") if streamed else b"dato"
    with pytest.raises(ChecksumMismatchError) as caught:
        await storage.write("s3:b/new", content, checksum=right)
    assert caught.value.uri == "s3://b/new"
    assert not await storage.exists("s3:b/new")


async def test_a_digest_that_the_backend_compares_is_left_to_it() -> None:
    target = Hashed()
    said = Checksum("sha256", "0" * 64)
    await fusion(s3=target).write("s3:b/k", b"data", checksum=said)
    assert target.seen == [said]


async def test_a_digest_that_nobody_can_compare_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="crc32c"):
        await fusion(s3=MemoryDriver()).write("s3:b/k", b"", checksum=Checksum("crc32c", "0" * 8))


async def test_a_copy_inside_a_file_or_memory_mount_can_ask_for_an_entity_tag(
    tmp_path: Path,
) -> None:
    mounts = {"file": {"root": str(tmp_path)}, "memory": {}}
    async with open_storage({"mounts": mounts, "write_to": "memory"}) as storage:
        for scheme in mounts:
            info = await storage.write(f"{scheme}:box/a", b"data")
            await storage.copy(info.uri, f"{scheme}:box/b", if_match=info.etag)
            with pytest.raises(PreconditionFailedError):
                await storage.copy(info.uri, f"{scheme}:box/c", if_match="other")
            assert await storage.exists(f"{scheme}:box/b")
            assert not await storage.exists(f"{scheme}:box/c")


async def test_a_copy_that_a_backend_can_not_make_itself_goes_through_here() -> None:
    memory = MemoryDriver()
    await put(memory, "b/k")
    picky = wrap(memory, [Faults(copy=lambda: UnsupportedOperationError("over 5 GiB"))])
    storage = fusion(s3=picky)
    await storage.copy("s3:b/k", "s3:c/k")
    assert await storage.read_bytes("s3:c/k") == b"data"
