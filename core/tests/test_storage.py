import io
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from core_doubles import BrokenStreamDriver, Faults, MinimalDriver, NamedMemory
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ByteRange,
    Content,
    MemoryDriver,
    NameHint,
    NotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    Storage,
    TransportError,
    TruncatedBodyError,
    UnsupportedOperationError,
    wrap,
)
from polystow._arguments import guess_content_type

DATA = bytes(range(256)) * 4


@pytest.fixture
async def storage() -> Storage:
    return Storage(MemoryDriver())


# Reading


@pytest.mark.parametrize("size", [1, 100, 1024, 5000])
async def test_a_stream_gives_chunks_of_the_wanted_size(storage: Storage, size: int) -> None:
    await storage.write("memory:b/k", DATA)
    async with storage.open_read("memory:b/k", chunk_size_bytes=size) as stream:
        chunks = [chunk async for chunk in stream]
    assert b"".join(chunks) == DATA
    assert all(len(chunk) <= size for chunk in chunks)


@pytest.mark.parametrize("size", [0, -1])
async def test_chunks_of_nothing_are_refused(storage: Storage, size: int) -> None:
    with pytest.raises(ValueError, match="chunk_size_bytes"):
        storage.open_read("memory:b/k", chunk_size_bytes=size)


async def test_a_stream_has_the_info_and_the_range(storage: Storage) -> None:
    written = await storage.write("memory:b/k", DATA)
    async with storage.open_read("memory:b/k", range=ByteRange(10, 19)) as stream:
        assert stream.info == written
        assert stream.range == (10, 10, 1024)


async def test_bytes_are_read_as_a_whole_or_in_part(storage: Storage) -> None:
    info = await storage.write("memory:b/k", DATA)
    assert await storage.read_bytes("memory:b/k") == DATA
    assert await storage.read_bytes("memory:b/k", range=ByteRange(5, 9)) == DATA[5:10]
    assert await storage.read_bytes("memory:b/k", range=ByteRange.suffix(3)) == DATA[-3:]
    assert await storage.read_bytes("memory:b/k", if_match=info.etag) == DATA
    with pytest.raises(RangeNotSatisfiableError):
        await storage.read_bytes("memory:b/k", range=ByteRange(1024))
    with pytest.raises(PreconditionFailedError):
        await storage.read_bytes("memory:b/k", if_match="other")
    with pytest.raises(UnsupportedOperationError):
        await storage.read_bytes("memory:b/k", version="1")


async def test_an_empty_object_is_read(storage: Storage) -> None:
    await storage.write("memory:b/k", b"")
    assert await storage.read_bytes("memory:b/k") == b""


async def test_an_object_of_many_chunks_is_read(storage: Storage) -> None:
    data = bytes(3_000_000)
    await storage.write("memory:b/k", data)
    assert await storage.read_bytes("memory:b/k") == data


@pytest.mark.parametrize("how", ["read_bytes", "open_read"])
async def test_a_stream_that_breaks_is_closed(how: str) -> None:
    driver = BrokenStreamDriver(lambda: TransportError("cut"), "memory")
    storage = Storage(driver)
    await storage.write("memory:b/k", DATA)
    with pytest.raises(TransportError):  # noqa: PT012
        if how == "read_bytes":
            await storage.read_bytes("memory:b/k")
        async with storage.open_read("memory:b/k") as stream:
            [_ async for _ in stream]
    assert driver.closed == 1


async def test_a_block_that_fails_closes_its_stream() -> None:
    driver = BrokenStreamDriver(lambda: TransportError("cut"), "memory")
    storage = Storage(driver)
    await storage.write("memory:b/k", DATA)
    with pytest.raises(ZeroDivisionError):
        async with storage.open_read("memory:b/k"):
            raise ZeroDivisionError
    assert driver.closed == 1


async def test_exists_tells_absence_alone() -> None:
    storage = Storage(MemoryDriver())
    await storage.write("memory:b/k", b"")
    assert await storage.exists("memory:b/k")
    assert not await storage.exists("memory:b/none")
    down = Storage(wrap(NamedMemory(), [Faults(stat=lambda: BackendUnavailableError("down"))]))
    with pytest.raises(BackendUnavailableError):
        await down.exists("memory:b/k")


# Writing


async def test_what_is_written_is_read_and_described(storage: Storage) -> None:
    info = await storage.write("memory:b/k.png", DATA, metadata={"a": "é"}, filename="photo.jpg")
    assert (info.size, info.metadata, info.filename) == (1024, {"a": "é"}, "photo.jpg")
    assert info == await storage.stat("memory:b/k.png")


async def test_upload_makes_a_new_object_each_time(storage: Storage) -> None:
    infos = [
        await storage.upload("r.pdf", b"x", folder="f", container="c", metadata={"a": "b"})
        for _ in range(2)
    ]
    assert infos[0].uri != infos[1].uri
    for info in infos:
        assert info.uri.startswith("memory://c/f/")
        assert (info.filename, info.content_type) == ("r.pdf", "application/pdf")
        assert info.metadata == {"a": "b"}


async def test_a_text_target_is_an_exact_id(storage: Storage) -> None:
    assert (await storage.write("memory:b/folder/", b"x")).uri == "memory://b/folder/"


async def test_text_is_written_as_utf_8(storage: Storage) -> None:
    await storage.write("memory:b/k", "é")
    assert await storage.read_bytes("memory:b/k") == "é".encode()


async def test_create_only_refuses_what_is_there(storage: Storage) -> None:
    await storage.write("memory:b/k", b"old", overwrite=False)
    with pytest.raises(AlreadyExistsError):
        await storage.write("memory:b/k", b"new", overwrite=False)
    assert await storage.read_bytes("memory:b/k") == b"old"


async def test_if_match_writes_over_that_object_alone(storage: Storage) -> None:
    first = await storage.write("memory:b/k", b"1")
    await storage.write("memory:b/k", b"2", if_match=first.etag)
    with pytest.raises(PreconditionFailedError):
        await storage.write("memory:b/k", b"3", if_match=first.etag)
    assert await storage.read_bytes("memory:b/k") == b"2"


@pytest.mark.parametrize("size", [3, 5])
async def test_a_wrong_size_leaves_nothing(storage: Storage, size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"12"
        yield b"34"

    with pytest.raises(TruncatedBodyError):
        await storage.write("memory:b/k", chunks(), size=size)
    assert not await storage.exists("memory:b/k")


@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}, {"a": None}, {"a": b"x"}])
async def test_metadata_are_texts(storage: Storage, metadata: dict[Any, Any]) -> None:
    for call in (
        storage.write("memory:b/k", b"", metadata=metadata),
        storage.upload("k", b"", metadata=metadata),
        storage.set_metadata("memory:b/k", metadata),
    ):
        with pytest.raises(TypeError, match="metadata are texts"):
            await call


async def test_metadata_that_change_later_do_not_change_the_object(storage: Storage) -> None:
    metadata = {"a": "1"}
    await storage.write("memory:b/k", b"", metadata=metadata)
    metadata["a"] = "2"
    assert (await storage.stat("memory:b/k")).metadata == {"a": "1"}


async def test_what_can_not_be_written_is_a_type_error(storage: Storage) -> None:
    with pytest.raises(TypeError, match="can't be written"):
        await storage.write("memory:b/k", cast("Content", 5))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image/png"),
        ("dir.png/a.TXT", "text/plain"),
        ("s3:b/report:final?.pdf", "application/pdf"),
        ("what?.csv", "text/csv"),
        ("data:text,x.html", "text/html"),
        ("a#b.json", "application/json"),
        ("x.tar.gz", "application/gzip"),
        ("x.tgz", "application/gzip"),
        ("x.tar.bz2", "application/x-bzip2"),
        ("x.svgz", "application/gzip"),
        ("none", None),
        ("a.", None),
        (".png", None),
        ("", None),
    ],
)
def test_the_content_type_is_guessed_from_the_name(name: str, kind: str | None) -> None:
    assert guess_content_type(name) == kind


@given(st.text())
def test_any_name_has_a_content_type_or_none(name: str) -> None:
    kind = guess_content_type(name)
    assert kind is None or "/" in kind


async def test_a_given_content_type_counts(storage: Storage) -> None:
    assert (await storage.write("memory:b/a.png", b"", content_type="x/y")).content_type == "x/y"


async def test_the_content_type_comes_from_the_file_name_before_the_key(storage: Storage) -> None:
    info = await storage.write("memory:b/a.png", b"", filename="a.txt")
    assert info.content_type == "text/plain"
    hinted = await storage.write(NameHint("a.txt"), b"", filename="b.png")
    assert (hinted.content_type, hinted.filename) == ("text/plain", "a.txt")


# Progress


async def test_progress_of_a_write_counts_up_to_the_size(storage: Storage) -> None:
    seen: list[tuple[int, int | None]] = []

    def show(done: int, size: int | None) -> None:
        seen.append((done, size))

    await storage.write("memory:b/k", DATA, progress=show)
    await storage.upload("k", io.BytesIO(DATA), progress=show)
    assert seen == [(1024, 1024), (1024, 1024)]


async def test_progress_of_a_stream_has_no_size(storage: Storage) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"12"
        yield b"3"

    seen: list[tuple[int, int | None]] = []
    await storage.write(
        "memory:b/k", chunks(), progress=lambda done, size: seen.append((done, size))
    )
    assert seen == [(3, None)]  # its first bytes were looked at, for its type


async def test_progress_that_raises_ends_the_write(storage: Storage) -> None:
    def show(done: int, size: int | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.write("memory:b/k", DATA, progress=show)
    assert not await storage.exists("memory:b/k")


# Deleting


async def test_deleting_what_is_not_there_succeeds(storage: Storage) -> None:
    await storage.delete("memory:b/none")
    with pytest.raises(NotFoundError):
        await storage.delete("memory:b/none", missing_ok=False)


async def test_an_object_is_deleted(storage: Storage) -> None:
    await storage.write("memory:b/k", b"")
    await storage.delete("memory:b/k")
    assert not await storage.exists("memory:b/k")


async def test_a_version_that_is_not_kept_is_not_deleted(storage: Storage) -> None:
    await storage.write("memory:b/k", b"")
    with pytest.raises(UnsupportedOperationError):
        await storage.delete("memory:b/k", version="1")
    assert await storage.exists("memory:b/k")


# Listing


@pytest.fixture
async def filled(storage: Storage) -> Storage:
    for key in ["a", "d/1", "d/2", "e", "f/x"]:
        await storage.write(f"memory:b/{key}", b"")
    return storage


@pytest.mark.parametrize("page_size", [1, 2, 1000])
async def test_a_listing_gives_all_objects_over_all_pages(filled: Storage, page_size: int) -> None:
    found = [item.uri async for item in filled.list("memory:b/", page_size=page_size)]
    assert found == [f"memory://b/{key}" for key in ["a", "d/1", "d/2", "e", "f/x"]]


async def test_a_listing_begins_behind_a_key(filled: Storage) -> None:
    found = [item.uri async for item in filled.list("memory:b", start_after="d/2")]
    assert found == ["memory://b/e", "memory://b/f/x"]


async def test_a_listing_goes_on_at_a_cursor_in_another_storage(filled: Storage) -> None:
    page = await anext(filled.list_pages("memory:b/", delimiter="/", page_size=2))
    assert ([item.uri for item in page.items], page.prefixes) == (
        ["memory://b/a"],
        ["memory://b/d/"],
    )
    again = Storage(filled.driver)
    rest = [
        page
        async for page in again.list_pages(
            "memory:b/", delimiter="/", page_size=2, cursor=page.cursor
        )
    ]
    assert [[item.uri for item in page.items] for page in rest] == [["memory://b/e"]]
    assert [page.prefixes for page in rest] == [["memory://b/f/"]]


async def test_a_listing_asks_for_a_page_when_it_is_needed() -> None:
    faults = Faults()
    storage = Storage(wrap(MemoryDriver(), [faults]))
    for key in "abc":
        await storage.write(f"memory:b/{key}", b"")
    faults.calls.clear()
    listing = storage.list("memory:b", page_size=1)
    assert faults.calls == []
    await anext(listing)
    assert faults.names == ["list_page"]


async def test_a_closed_listing_has_ended(filled: Storage) -> None:
    for listing in (filled.list("memory:b"), filled.list_pages("memory:b", page_size=1)):
        await anext(listing)
        await listing.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(listing)


async def test_a_listing_can_be_dropped_half_way(filled: Storage) -> None:
    import gc

    async for _ in filled.list("memory:b", page_size=1):
        break
    gc.collect()


async def test_a_page_that_failed_can_be_asked_for_again() -> None:
    faults = Faults()
    storage = Storage(wrap(MemoryDriver(), [faults]))
    for key in "ab":
        await storage.write(f"memory:b/{key}", b"")
    listing = storage.list("memory:b", page_size=1)
    first = await anext(listing)
    faults.errors["list_page"] = lambda: BackendUnavailableError("down")
    with pytest.raises(BackendUnavailableError):
        await anext(listing)
    del faults.errors["list_page"]
    assert [item.uri async for item in listing] == ["memory://b/b"]
    assert first.uri == "memory://b/a"


@pytest.mark.parametrize("name", ["list", "list_pages"])
async def test_pages_of_nothing_are_refused(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="page_size is 0"):
        getattr(storage, name)("memory:b", page_size=0)


async def test_a_storage_that_can_not_list_says_so() -> None:
    with pytest.raises(UnsupportedOperationError, match="no mounted driver"):
        Storage(MinimalDriver()).list("minimal:b")
