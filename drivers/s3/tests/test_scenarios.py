"""What users of aiohttp-s3-client and of the lesson's uploader do, and what fails them there.

The README of aiohttp-s3-client and the lesson on S3 are gone through in their order, on each of
three servers; then come the defects of both that were measured.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from polystow import (
    ByteRange,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    Secret,
    Storage,
    StorageError,
    TruncatedBodyError,
)
from polystow_testing.s3 import (
    AnswerRange,
    AnswerStatus,
    CloseConnection,
    DelayReply,
    DiskS3Server,
    EmptyPage,
    Fault,
    MotoServer,
    RcloneServer,
    Stall,
)

MIB = 1024**2
PART = 5 * MIB
DATA = random.Random(1).randbytes(3 * PART + 1)


def list_of(folder: Path) -> list[bytes]:
    """The files in a folder."""
    return [path.read_bytes() for path in folder.iterdir()]


@pytest.fixture(scope="module")
def rclone() -> Iterator[RcloneServer]:
    with RcloneServer(buckets=("bucket",)) as server:
        yield server


@pytest.fixture(params=["moto", "rclone", "disk"])
async def storage(request: pytest.FixtureRequest, open_s3: Any) -> AsyncGenerator[Storage]:
    server: MotoServer | RcloneServer | DiskS3Server = request.getfixturevalue(request.param)
    keys: dict[str, Any] = {}
    if isinstance(server, RcloneServer):
        keys["access_key_id"] = server.credentials.access_key_id
        keys["secret_access_key"] = Secret(server.credentials.secret_access_key)
    async with opened(open_s3, server, **keys) as storage:
        yield storage


@asynccontextmanager
async def opened(open_s3: Any, server: Any, **options: Any) -> AsyncGenerator[Storage]:
    async with open_s3(server, part_size_bytes=PART, **options) as driver:
        yield Storage(driver)


@pytest.fixture
async def on_faulty(disk: DiskS3Server, open_s3: Any) -> AsyncGenerator[Storage]:
    async with opened(open_s3, disk) as storage:
        yield storage


async def test_text_is_put(storage: Storage) -> None:
    await storage.write("s3://bucket/str", "hello, wörld")
    assert await storage.read_bytes("s3://bucket/str") == "hello, wörld".encode()


async def test_bytes_are_put(storage: Storage) -> None:
    info = await storage.write("s3://bucket/bytes", b"hello, world")
    assert (info.size, info.uri) == (12, "s3://bucket/bytes")
    assert await storage.read_bytes("s3://bucket/bytes") == b"hello, world"


@pytest.mark.parametrize("size", [0, 10, len(DATA)])
async def test_an_async_iterable_is_put(storage: Storage, size: int) -> None:
    async def generate() -> AsyncIterator[bytes]:
        for start in range(0, size, 700_001):
            yield DATA[start : min(start + 700_001, size)]

    await storage.write("s3://bucket/iterable", generate())
    assert await storage.read_bytes("s3://bucket/iterable") == DATA[:size]


@pytest.mark.parametrize("size", [10, len(DATA)])
async def test_a_file_is_put(storage: Storage, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA[:size])
    await storage.write("s3://bucket/file", path)
    assert await storage.read_bytes("s3://bucket/file") == DATA[:size]


async def test_an_object_is_asked_for_and_deleted(storage: Storage) -> None:
    await storage.write("s3://bucket/key", b"1", content_type="text/csv", metadata={"a": "b"})
    found = await storage.stat("s3://bucket/key")
    assert (found.size, found.content_type) == (1, "text/csv")
    assert (found.metadata or {})["a"] == "b"
    await storage.delete("s3://bucket/key")
    assert not await storage.exists("s3://bucket/key")
    with pytest.raises(NotFoundError):
        await storage.stat("s3://bucket/key")
    await storage.delete("s3://bucket/key")


async def test_objects_are_listed_by_prefix(storage: Storage) -> None:
    for key in ("list/a", "list/b/c", "list/b/d", "listed"):
        await storage.write(f"s3://bucket/{key}", b"x")
    found = [item.uri async for item in storage.list("s3://bucket/list/")]
    assert found == [f"s3://bucket/list/{key}" for key in ("a", "b/c", "b/d")]
    pages = [page async for page in storage.list_pages("s3://bucket/list/", delimiter="/")]
    assert [item.uri for page in pages for item in page.items] == ["s3://bucket/list/a"]
    assert [prefix for page in pages for prefix in page.prefixes] == ["s3://bucket/list/b/"]
    await storage.delete_many([*found, "s3://bucket/listed"])


async def test_parts_are_put_by_hand_and_awaited_in_any_order(storage: Storage) -> None:
    async with storage.multipart("s3://bucket/video.mov") as upload:
        chunks = [DATA[start : start + PART] for start in range(0, len(DATA), PART)]
        waiting = [upload.put_part(chunk) for chunk in chunks]
        random.Random(2).shuffle(waiting)
        await asyncio.gather(*waiting)
        assert upload.bytes_sent == len(DATA)
    assert await storage.read_bytes("s3://bucket/video.mov") == DATA


async def test_a_file_is_downloaded_in_parallel(storage: Storage, tmp_path: Path) -> None:
    await storage.write("s3://bucket/big", DATA)
    seen: list[tuple[int, int | None]] = []
    await storage.download(
        "s3://bucket/big", tmp_path / "big", concurrency=8, part_size_bytes=MIB,
        progress=lambda done, size: seen.append((done, size)),
    )  # fmt: skip
    assert (tmp_path / "big").read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))


async def test_several_ranges_are_read_side_by_side(storage: Storage) -> None:
    await storage.write("s3://bucket/ranges", DATA)
    asked = [ByteRange(5_000_000, 5_000_009), ByteRange(0, 0), ByteRange.suffix(3), ByteRange(7, 8)]
    found = await storage.read_ranges("s3://bucket/ranges", asked)
    assert found == [DATA[5_000_000:5_000_010], DATA[:1], DATA[-3:], DATA[7:9]]


async def test_an_object_is_copied_and_renamed(storage: Storage) -> None:
    await storage.write("s3://bucket/source", b"content", metadata={"a": "b"})
    await storage.copy("s3://bucket/source", "s3://bucket/copied")
    await storage.move("s3://bucket/copied", "s3://bucket/renamed")
    assert await storage.read_bytes("s3://bucket/renamed") == b"content"
    assert not await storage.exists("s3://bucket/copied")


async def test_the_lessons_chunks_of_any_size_become_parts(on_faulty: Storage) -> None:
    # Its uploader is given chunks as they come from a URL, and sends each as a part.
    async with on_faulty.open_write("s3://bucket/dog.gif") as out:
        for start in range(0, len(DATA), 65_536):
            await out.send(DATA[start : start + 65_536])
    assert await on_faulty.read_bytes("s3://bucket/dog.gif") == DATA


async def test_the_lessons_parts_are_sent_side_by_side(
    disk: DiskS3Server, on_faulty: Storage
) -> None:
    disk.add_fault(Fault("UploadPart", action=DelayReply(0.05), times=None))
    await on_faulty.write("s3://bucket/k", bytes(8 * PART))
    assert disk.peak["UploadPart"] == 4


# Defects of aiohttp-s3-client


async def test_a_file_that_shrinks_while_it_is_put_is_an_error(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8 * PART))
    disk.add_fault(Fault("CreateMultipartUpload", action=DelayReply(0.2)))
    started = asyncio.ensure_future(on_faulty.write("s3://bucket/k", path))
    await to_thread.run_sync(disk.wait_until, lambda: "CreateMultipartUpload" in disk.requests)
    os.truncate(path, PART)
    with pytest.raises(TruncatedBodyError):
        await started
    assert disk.uploads == ()
    assert disk.keys("bucket") == ()


@pytest.mark.parametrize("size", [0, 1, 7])
async def test_an_object_smaller_than_the_number_of_workers_is_downloaded(
    on_faulty: Storage, tmp_path: Path, size: int
) -> None:
    await on_faulty.write("s3://bucket/k", bytes(size))
    await on_faulty.download("s3://bucket/k", tmp_path / "k", concurrency=8, part_size_bytes=1)
    assert (tmp_path / "k").read_bytes() == bytes(size)


async def test_a_cancelled_download_leaves_no_file(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path
) -> None:
    # No part is shorter than where they stall: its answer would be complete.
    await on_faulty.write("s3://bucket/k", DATA[:-1])
    disk.add_fault(Fault("GetObject", action=Stall(100), skip=1, times=None))
    download = on_faulty.download(
        "s3://bucket/k", tmp_path / "k", concurrency=4, part_size_bytes=MIB
    )
    started = asyncio.ensure_future(download)
    await to_thread.run_sync(disk.wait_until, lambda: disk.requests.get("GetObject", 0) >= 4)
    started.cancel()
    with pytest.raises(asyncio.CancelledError):
        await started
    assert list_of(tmp_path) == []
    await to_thread.run_sync(disk.wait_until, lambda: disk.running == {})


async def test_a_download_that_fails_leaves_the_file_that_was_there(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path
) -> None:
    (tmp_path / "k").write_bytes(b"old")
    await on_faulty.write("s3://bucket/k", DATA)
    disk.add_fault(Fault("GetObject", action=AnswerStatus(403, "AccessDenied"), skip=2, times=None))
    with pytest.raises(PermissionDeniedError):
        await on_faulty.download(
            "s3://bucket/k", tmp_path / "k", concurrency=4, part_size_bytes=MIB
        )
    assert list_of(tmp_path) == [b"old"]


@pytest.mark.parametrize("style", ["ignored", "200"])
async def test_a_server_that_does_not_answer_ranges_with_206_is_coped_with(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path, style: Any
) -> None:
    await on_faulty.write("s3://bucket/k", DATA)
    disk.add_fault(Fault("GetObject", action=AnswerRange(style), times=None))
    await on_faulty.download("s3://bucket/k", tmp_path / "k", concurrency=4, part_size_bytes=PART)
    assert (tmp_path / "k").read_bytes() == DATA


async def test_a_range_that_breaks_off_is_gone_on_with(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path
) -> None:
    await on_faulty.write("s3://bucket/k", DATA)
    disk.add_fault(Fault("GetObject", action=CloseConnection(MIB // 2), skip=1, times=4))
    await on_faulty.download("s3://bucket/k", tmp_path / "k", concurrency=4, part_size_bytes=MIB)
    assert (tmp_path / "k").read_bytes() == DATA


async def test_an_object_that_is_replaced_while_it_is_downloaded_is_noticed(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path
) -> None:
    await on_faulty.write("s3://bucket/k", DATA)
    disk.add_fault(Fault("GetObject", action=CloseConnection(MIB)))
    store = disk._running_service.store
    await on_faulty.write("s3://bucket/other", DATA[::-1])

    def replace(done: int, size: int | None) -> None:
        objects = store.buckets["bucket"]
        disk._ask(lambda: objects.update(k=objects["other"]))

    with pytest.raises(PreconditionFailedError):
        await on_faulty.download(
            "s3://bucket/k", tmp_path / "k", concurrency=2, part_size_bytes=MIB, progress=replace
        )
    assert list_of(tmp_path) == []


async def test_a_download_that_failed_goes_on_where_it_was(
    disk: DiskS3Server, on_faulty: Storage, tmp_path: Path
) -> None:
    await on_faulty.write("s3://bucket/k", DATA)
    disk.add_fault(Fault("GetObject", action=CloseConnection(6 * MIB)))
    disk.add_fault(Fault("GetObject", action=AnswerStatus(403, "AccessDenied"), times=None))
    seen: list[int] = []

    async def download() -> None:
        await on_faulty.download(
            "s3://bucket/k", tmp_path / "k", concurrency=1, part_size_bytes=MIB, resume=True,
            progress=lambda done, size: seen.append(done),
        )  # fmt: skip

    with pytest.raises(PermissionDeniedError):
        await download()
    disk.faults.clear()
    seen.clear()
    await download()
    assert (tmp_path / "k").read_bytes() == DATA
    assert seen[0] > 5 * MIB


@pytest.mark.parametrize("key", ["../other/x", "a/../../other/x", "..", "./x"])
async def test_a_key_with_dots_stays_in_its_bucket(
    disk: DiskS3Server, on_faulty: Storage, key: str
) -> None:
    try:
        await on_faulty.write(f"s3://bucket/{key}", b"x")
    except InvalidPathError:
        assert disk.requests == {}
    else:
        assert disk.keys("bucket") == (key,)


async def test_a_listing_goes_on_after_an_empty_page_that_has_a_token(
    disk: DiskS3Server, on_faulty: Storage
) -> None:
    for number in range(5):
        await on_faulty.write(f"s3://bucket/{number}", b"x")
    disk.add_fault(Fault("ListObjectsV2", action=EmptyPage(), skip=1, times=2))
    found = [item.uri async for item in on_faulty.list("s3://bucket/", page_size=2)]
    assert found == [f"s3://bucket/{number}" for number in range(5)]


async def test_objects_without_a_storage_class_are_listed(
    on_faulty: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polystow_testing.s3 import _operations

    real = _operations._listed

    def without(key: str, stored: Any) -> Any:
        return {name: value for name, value in real(key, stored).items() if name != "StorageClass"}

    monkeypatch.setattr(_operations, "_listed", without)
    await on_faulty.write("s3://bucket/k", b"x")
    items = [item async for item in on_faulty.list("s3://bucket/")]
    assert [(item.uri, item.storage_class) for item in items] == [("s3://bucket/k", None)]


@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "HeadObject"])
async def test_plain_requests_are_repeated_and_refusals_are_not(
    disk: DiskS3Server, on_faulty: Storage, operation: str
) -> None:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "GetObject": lambda: on_faulty.read_bytes("s3://bucket/k"),
        "PutObject": lambda: on_faulty.write("s3://bucket/k", b"x"),
        "HeadObject": lambda: on_faulty.stat("s3://bucket/k"),
    }
    await on_faulty.write("s3://bucket/k", b"x")
    before = disk.requests.get(operation, 0)
    disk.add_fault(Fault(operation, action=AnswerStatus(500, "InternalError"), times=2))
    await calls[operation]()
    assert disk.requests[operation] - before == 3
    disk.add_fault(Fault(operation, action=AnswerStatus(403, "AccessDenied"), times=1))
    with pytest.raises(PermissionDeniedError):
        await calls[operation]()
    assert disk.requests[operation] - before == 4


# Bad input, refused before anything is sent


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"s3://bucket/{'k' * 1025}", "1024"),
        (f"s3://bucket/{'ü' * 513}", "1024"),
        ("s3://b u c/k", "can't be a bucket"),
        ("s3://bucket/", "key"),
        ("s3://bucket/\ud800", "UTF-8"),
    ],
)
async def test_keys_and_buckets_that_cannot_be_are_refused(
    disk: DiskS3Server, on_faulty: Storage, uri: str, reason: str
) -> None:
    for call in (on_faulty.write(uri, b"x"), on_faulty.read_bytes(uri), on_faulty.stat(uri)):
        with pytest.raises(InvalidPathError, match=reason):
            await call
    assert disk.requests == {}


async def test_a_range_after_the_end_is_its_own_error(storage: Storage) -> None:
    from polystow import RangeNotSatisfiableError

    await storage.write("s3://bucket/short", b"12345")
    with pytest.raises(RangeNotSatisfiableError):
        await storage.read_bytes("s3://bucket/short", range=ByteRange(5))
    with pytest.raises(StorageError):
        await storage.read_ranges("s3://bucket/short", [ByteRange(0, 1), ByteRange(100)])
