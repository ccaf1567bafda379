"""The operations, as AWS documents them: on moto."""

import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from polystow import (
    AlreadyExistsError,
    Body,
    ByteRange,
    BytesBody,
    Capabilities,
    ConfigError,
    ContentRange,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    ListOptions,
    MetadataOptions,
    NameHint,
    NotFoundError,
    PreconditionFailedError,
    PresignMethod,
    PresignOptions,
    RangeNotSatisfiableError,
    ReadOptions,
    StatOptions,
    StorageDriver,
    StreamBody,
    UnsupportedOperationError,
    WriteOptions,
    make_body,
)
from polystow_testing.s3 import DiskS3Server, MotoServer

MIB = 1024**2
ODD_KEYS = [
    "a//b", "/leading", "trailing/", "//", "../up", "a/../b", "./here", "a/.", "..", "plus+sign",
    "per%cent", "%2F", "what?", "frag#ment", "amp&er=sand", "with space", " lead",
    "semi;colon,comma", "ünï/çødé-漢字-🎉", "quote'\"", "tilde~(paren)!*", "back\\slash", "a:b@c",
    "[x]{y}|^`", "x" * 1024,
]  # fmt: skip


@pytest.fixture
def caps(s3: StorageDriver) -> Capabilities:
    return s3.capabilities


async def put(driver: StorageDriver, path: str, data: bytes = b"data", **options: Any) -> None:
    await driver.write(path, BytesBody(data), WriteOptions(**options))


async def test_what_is_written_is_read(s3: StorageDriver, read_all: Callable[..., Any]) -> None:
    info = await s3.write(
        "bucket/k", BytesBody(b"hello"),
        WriteOptions(content_type="text/plain", metadata={"Author": "Jürgen"}, filename="ä.txt"),
    )  # fmt: skip
    assert await read_all(s3, "bucket/k") == b"hello"
    found = await s3.stat("bucket/k", StatOptions())
    assert (found.path, found.size, found.content_type) == ("bucket/k", 5, "text/plain")
    assert (found.filename, found.metadata) == ("ä.txt", {"author": "Jürgen"})
    assert found.etag == info.etag == "5d41402abc4b2a76b9719d911017c592"
    assert found.storage_class == "STANDARD"
    assert found.modified is not None
    assert abs(found.modified - datetime.now(UTC)) < timedelta(minutes=1)
    assert info.checksum is not None
    assert info.checksum == ("crc32", "3610a686")


async def test_reading_tells_what_stat_tells(s3: StorageDriver) -> None:
    await put(s3, "bucket/k", content_type="text/plain", metadata={"a": "b"})
    stream = await s3.open_read("bucket/k", ReadOptions())
    await stream.aclose()
    assert stream.info == await s3.stat("bucket/k", StatOptions())


async def chunks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [0, 1, 70_000, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 12 * MIB])
@pytest.mark.parametrize("kind", ["bytes", "view", "file", "path", "stream", "sized stream"])
async def test_every_kind_and_size_of_body_arrives_whole(
    kind: str, size: int, moto: MotoServer, open_s3: Any, read_all: Any, tmp_path: Path
) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    body: Body
    match kind:
        case "bytes":
            body = await make_body(data)
        case "view":
            body = await make_body(memoryview(bytearray(data)))
        case "file":
            body = await make_body(BytesIO(data))
        case "path":
            path = tmp_path / "file"
            path.write_bytes(data)
            body = await make_body(path)
        case "stream":
            body = StreamBody(chunks(data, 100_001))
        case _:
            body = StreamBody(chunks(data, 100_001), size)
    async with open_s3(moto, part_size_bytes=5 * MIB, multipart_threshold_bytes=5 * MIB) as driver:
        info = await driver.write("bucket/k", body, WriteOptions())
        found = await driver.stat("bucket/k", StatOptions())
        assert (info.size, info.etag) == (size, found.etag)
        assert found.size == size
        assert await read_all(driver, "bucket/k") == data


async def test_a_new_object_gets_a_key_of_its_own(s3: StorageDriver) -> None:
    first = await s3.write(NameHint("a.txt", folder="f"), BytesBody(b"1"), WriteOptions())
    second = await s3.write(NameHint("a.txt", folder="f"), BytesBody(b"2"), WriteOptions())
    assert first.path != second.path
    assert first.path.startswith("bucket/f/")
    assert first.path.endswith("_a.txt")
    assert (await s3.stat(first.path, StatOptions())).filename == "a.txt"


async def test_a_new_object_needs_a_bucket(moto: MotoServer, open_s3: Any) -> None:
    async with open_s3(moto, default_bucket=None) as driver:
        with pytest.raises(ConfigError, match="default_bucket"):
            await driver.write(NameHint("a"), BytesBody(b""), WriteOptions())


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_arrive_byte_for_byte(s3: StorageDriver, read_all: Any, key: str) -> None:
    path = f"bucket/{key}"
    await put(s3, path, key.encode())
    assert await read_all(s3, path) == key.encode()
    assert s3.capabilities.list is not None
    page = await s3.capabilities.list.list_page("bucket", ListOptions(), None)
    assert [item.path for item in page.items] == [path]
    await s3.delete(path, DeleteOptions(missing_ok=False))


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_can_be_presigned(s3: StorageDriver, caps: Capabilities, key: str) -> None:
    path = f"bucket/{key}"
    await put(s3, path, key.encode())
    assert caps.presign is not None
    url = await caps.presign.presign(path, PresignOptions())
    assert await to_thread.run_sync(fetch, url) == (200, key.encode())


@pytest.mark.parametrize("path", ["", "bucket", "bucket/", "/k", "b ucket/k", "../k", "b\n/k"])
async def test_paths_that_cannot_be_are_refused_before_anything_is_sent(
    disk: DiskS3Server, on_disk: StorageDriver, path: str
) -> None:
    with pytest.raises(InvalidPathError):
        await on_disk.stat(path, StatOptions())
    with pytest.raises(InvalidPathError):
        await on_disk.write(path, BytesBody(b""), WriteOptions())
    assert disk.requests == {}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (ByteRange(0, 0), ContentRange(0, 1, 10)),
        (ByteRange(2, 5), ContentRange(2, 4, 10)),
        (ByteRange(7), ContentRange(7, 3, 10)),
        (ByteRange(5, 100), ContentRange(5, 5, 10)),
        (ByteRange.suffix(3), ContentRange(7, 3, 10)),
        (ByteRange.suffix(30), ContentRange(0, 10, 10)),
    ],
)
async def test_ranges(
    s3: StorageDriver, read_all: Any, asked: ByteRange, expected: ContentRange
) -> None:
    data = b"0123456789"
    await put(s3, "bucket/k", data)
    stream = await s3.open_read("bucket/k", ReadOptions(range=asked))
    await stream.aclose()
    assert stream.range == expected
    assert stream.info.size == 10
    wanted = data[expected.offset : expected.offset + expected.length]
    assert await read_all(s3, "bucket/k", ReadOptions(range=asked)) == wanted


async def test_a_range_behind_the_end_is_an_error(s3: StorageDriver) -> None:
    await put(s3, "bucket/k", b"0123456789")
    with pytest.raises(RangeNotSatisfiableError) as caught:
        await s3.open_read("bucket/k", ReadOptions(range=ByteRange(10)))
    assert caught.value.path == "bucket/k"


async def test_a_missing_object_is_not_found(s3: StorageDriver) -> None:
    for operation in (
        s3.stat("bucket/none", StatOptions()),
        s3.open_read("bucket/none", ReadOptions()),
        s3.delete("bucket/none", DeleteOptions(missing_ok=False)),
    ):
        with pytest.raises(NotFoundError) as caught:
            await operation
        assert caught.value.path == "bucket/none"
        assert caught.value.driver == "s3"
        assert caught.value.__cause__ is not None
    await s3.delete("bucket/none", DeleteOptions())


async def test_a_missing_bucket_is_named(s3: StorageDriver) -> None:
    for operation in (
        s3.open_read("no-bucket/k", ReadOptions()),
        s3.write("no-bucket/k", BytesBody(b""), WriteOptions()),
    ):
        with pytest.raises(NotFoundError, match="no bucket 'no-bucket'"):
            await operation


async def test_a_create_only_write_keeps_what_is_there(s3: StorageDriver, read_all: Any) -> None:
    await put(s3, "bucket/k", b"old", overwrite=False)
    with pytest.raises(AlreadyExistsError):
        await put(s3, "bucket/k", b"new", overwrite=False)
    with pytest.raises(AlreadyExistsError):
        await s3.write(
            "bucket/k", StreamBody(chunks(bytes(9 * MIB), MIB)), WriteOptions(overwrite=False)
        )
    assert await read_all(s3, "bucket/k") == b"old"


async def test_a_write_can_depend_on_the_entity_tag(s3: StorageDriver, read_all: Any) -> None:
    await put(s3, "bucket/k", b"old")
    etag = (await s3.stat("bucket/k", StatOptions())).etag
    await put(s3, "bucket/k", b"new", if_match=etag)
    with pytest.raises(PreconditionFailedError):
        await put(s3, "bucket/k", b"newer", if_match=etag)
    with pytest.raises(PreconditionFailedError):
        await s3.open_read("bucket/k", ReadOptions(if_match=etag))
    assert await read_all(s3, "bucket/k") == b"new"


async def list_all(
    driver: StorageDriver, path: str, options: ListOptions
) -> tuple[list[str], list[str], int]:
    items: list[str] = []
    prefixes: list[str] = []
    pages, cursor = 0, None
    assert driver.capabilities.list is not None
    while True:
        page = await driver.capabilities.list.list_page(path, options, cursor)
        items += [item.path for item in page.items]
        prefixes += page.prefixes
        pages += 1
        cursor = page.cursor
        if cursor is None:
            return items, prefixes, pages


KEYS = ["a", "b/1", "b/2", "b/c/3", "b+d", "d"]


@pytest.mark.parametrize(
    ("path", "options", "items", "prefixes"),
    [
        ("bucket", ListOptions(), KEYS, []),
        ("bucket/", ListOptions(), KEYS, []),
        ("bucket/b", ListOptions(), KEYS[1:5], []),
        ("bucket/b/", ListOptions(delimiter="/"), ["b/1", "b/2"], ["b/c/"]),
        ("bucket", ListOptions(delimiter="/"), ["a", "b+d", "d"], ["b/"]),
        ("bucket", ListOptions(start_after="b/2"), ["b/c/3", "d"], []),
        ("bucket/none", ListOptions(), [], []),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 1000, 5000])
async def test_listing(
    s3: StorageDriver, path: str, options: ListOptions, items: list[str], prefixes: list[str],
    page_size: int,
) -> None:  # fmt: skip
    for key in KEYS:
        await put(s3, f"bucket/{key}", b"12")
    options = ListOptions(options.delimiter, options.start_after, page_size)
    found = await list_all(s3, path, options)
    assert found[0] == [f"bucket/{key}" for key in sorted(items)]
    assert found[1] == [f"bucket/{prefix}" for prefix in prefixes]
    if page_size >= 1000:
        assert found[2] == 1


async def test_a_listing_tells_size_time_and_entity_tag(
    s3: StorageDriver, caps: Capabilities
) -> None:
    await put(s3, "bucket/k", b"12")
    assert caps.list is not None
    (item,) = (await caps.list.list_page("bucket", ListOptions(), None)).items
    assert (item.size, item.etag) == (2, "c20ad4d76fe97759aa27a0c99bff6710")
    assert item.modified is not None
    assert item.modified.tzinfo is not None
    assert item.metadata is None


async def test_listing_a_missing_bucket_is_an_error(caps: Capabilities) -> None:
    assert caps.list is not None
    with pytest.raises(NotFoundError, match="no bucket"):
        await caps.list.list_page("no-bucket", ListOptions(), None)


async def test_a_copy_has_content_type_metadata_and_name(
    s3: StorageDriver, caps: Capabilities, read_all: Any
) -> None:
    await put(
        s3, "bucket/a b+c", b"data", content_type="text/plain", metadata={"x": "ü"}, filename="n"
    )
    assert caps.copy is not None
    info = await caps.copy.copy("bucket/a b+c", "bucket/ü?", CopyOptions())
    found = await s3.stat("bucket/ü?", StatOptions())
    assert (found.content_type, found.metadata, found.filename) == ("text/plain", {"x": "ü"}, "n")
    assert (info.size, info.etag) == (4, found.etag)
    assert await read_all(s3, "bucket/ü?") == b"data"


async def test_a_copy_under_a_hint_gets_the_new_name(s3: StorageDriver, caps: Capabilities) -> None:
    await put(s3, "bucket/a", b"data", content_type="text/plain", metadata={"x": "y"})
    assert caps.copy is not None
    info = await caps.copy.copy("bucket/a", NameHint("new.txt", folder="f"), CopyOptions())
    found = await s3.stat(info.path, StatOptions())
    assert (found.filename, found.metadata, found.content_type) == (
        "new.txt", {"x": "y"}, "text/plain",
    )  # fmt: skip


async def test_a_create_only_copy_keeps_what_is_there(
    s3: StorageDriver, caps: Capabilities, read_all: Any
) -> None:
    await put(s3, "bucket/a", b"a")
    await put(s3, "bucket/b", b"b")
    assert caps.copy is not None
    with pytest.raises(AlreadyExistsError) as caught:
        await caps.copy.copy("bucket/a", "bucket/b", CopyOptions(overwrite=False))
    assert caught.value.path == "bucket/b"
    await caps.copy.copy("bucket/a", "bucket/c", CopyOptions(overwrite=False))
    assert await read_all(s3, "bucket/b") == b"b"


async def test_copying_what_is_not_there_is_not_found(caps: Capabilities) -> None:
    assert caps.copy is not None
    with pytest.raises(NotFoundError) as caught:
        await caps.copy.copy("bucket/none", "bucket/b", CopyOptions())
    assert caught.value.path == "bucket/none"


async def test_metadata_can_be_replaced_and_merged(s3: StorageDriver, caps: Capabilities) -> None:
    await put(
        s3, "bucket/k", b"x", content_type="text/plain", metadata={"a": "1"}, filename="n.txt"
    )
    assert caps.set_metadata is not None
    await caps.set_metadata.set_metadata("bucket/k", {"B": "2"}, MetadataOptions("merge"))
    found = await s3.stat("bucket/k", StatOptions())
    assert found.metadata == {"a": "1", "b": "2"}
    await caps.set_metadata.set_metadata("bucket/k", {"c": "3"}, MetadataOptions())
    found = await s3.stat("bucket/k", StatOptions())
    assert (found.metadata, found.filename, found.content_type) == (
        {"c": "3"}, "n.txt", "text/plain",
    )  # fmt: skip


async def test_metadata_of_what_is_not_there_is_not_found(caps: Capabilities) -> None:
    assert caps.set_metadata is not None
    with pytest.raises(NotFoundError):
        await caps.set_metadata.set_metadata("bucket/none", {}, MetadataOptions())


async def test_deleting_many_reports_each(s3: StorageDriver, caps: Capabilities) -> None:
    paths = ("bucket/a b", "bucket/none", "bucket/", "no-bucket/k", "bucket/<&>", "bucket/\x01")
    for path in (paths[0], paths[4], paths[5]):
        await put(s3, path)
    assert caps.delete_many is not None
    result = await caps.delete_many.delete_many(paths, DeleteOptions())
    assert result.succeeded == (paths[0], paths[1], paths[4], paths[5])
    assert [(item.path, type(item.error)) for item in result.failed] == [
        ("bucket/", InvalidPathError),
        ("no-bucket/k", NotFoundError),
    ]
    assert (await list_all(s3, "bucket", ListOptions()))[0] == []


async def test_deleting_many_can_tell_what_was_missing(
    s3: StorageDriver, caps: Capabilities
) -> None:
    await put(s3, "bucket/a")
    assert caps.delete_many is not None
    result = await caps.delete_many.delete_many(
        ("bucket/a", "bucket/b"), DeleteOptions(missing_ok=False)
    )
    assert result.succeeded == ("bucket/a",)
    assert [item.path for item in result.failed] == ["bucket/b"]
    with pytest.raises(UnsupportedOperationError):
        await caps.delete_many.delete_many(("bucket/a",), DeleteOptions(version="v"))


async def test_thousands_are_deleted_in_a_few_requests(
    disk: DiskS3Server, on_disk: StorageDriver
) -> None:
    many = on_disk.capabilities.delete_many
    assert many is not None
    paths = tuple(f"bucket/{number}" for number in range(2500))
    assert (await many.delete_many(paths, DeleteOptions())).succeeded == paths
    assert disk.requests == {"DeleteObjects": 3}


def fetch(url: str, method: str = "GET", data: bytes | None = None,
          content_type: str | None = None) -> tuple[int, bytes]:  # fmt: skip
    request = urllib.request.Request(url, data, method=method)
    request.add_header("Content-Type", content_type or "")
    if content_type is None:
        request.remove_header("Content-type")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.fixture
def signing(tmp_path: Path) -> Any:
    from polystow_testing.s3 import Credentials

    with DiskS3Server(buckets=("bucket",), credentials=Credentials("key", "secret")) as server:
        yield server


async def test_presigned_urls_allow_one_method_on_one_object(
    signing: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(signing) as driver:
        presign = driver.capabilities.presign
        await put(driver, "bucket/a b+ü", b"data")

        async def status(method: PresignMethod, used: str, **options: Any) -> int:
            url = await presign.presign("bucket/a b+ü", PresignOptions(method, **options))
            data = b"new" if used == "PUT" else None
            content_type = "text/x" if used == "PUT" else None
            return (await to_thread.run_sync(fetch, url, used, data, content_type))[0]

        assert await status("GET", "GET") == 200
        assert await status("GET", "DELETE") == 403
        assert await status("HEAD", "HEAD") == 200
        assert await status("PUT", "PUT", content_type="text/x") == 200
        assert await status("PUT", "PUT", content_type="text/y") == 403
        assert (await driver.stat("bucket/a b+ü", StatOptions())).content_type == "text/x"
        assert await status("DELETE", "DELETE") == 204


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
async def test_presigned_urls_expire_within_a_week(caps: Capabilities, seconds: int) -> None:
    assert caps.presign is not None
    options = PresignOptions(expires=timedelta(seconds=seconds))
    with pytest.raises(ValueError, match="7 days"):
        await caps.presign.presign("bucket/k", options)


async def test_presigning_asks_nobody(disk: DiskS3Server, on_disk: StorageDriver) -> None:
    assert on_disk.capabilities.presign is not None
    url = await on_disk.capabilities.presign.presign("bucket/k", PresignOptions())
    assert "X-Amz-Expires=3600" in url
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert disk.requests == {}


async def test_check(moto: MotoServer, open_s3: Any) -> None:
    async with open_s3(moto) as driver:
        await driver.capabilities.check.check("")
        await driver.capabilities.check.check("bucket")
        with pytest.raises(NotFoundError, match="no bucket 'none'"):
            await driver.capabilities.check.check("none")
    async with open_s3(moto, default_bucket=None) as driver:
        await driver.capabilities.check.check("")


async def test_a_conditional_write_over_nothing_fails_its_precondition(
    on_disk: StorageDriver,
) -> None:
    with pytest.raises(PreconditionFailedError):
        await put(on_disk, "bucket/none", b"x", if_match="abc")


async def test_a_copy_of_what_is_being_replaced_is_refused(
    disk: DiskS3Server, on_disk: StorageDriver
) -> None:
    from polystow_testing.s3 import AnswerStatus, Fault

    await put(on_disk, "bucket/a", b"x")
    disk.add_fault(Fault("CopyObject", action=AnswerStatus(412, "PreconditionFailed")))
    assert on_disk.capabilities.copy is not None
    with pytest.raises(PreconditionFailedError):
        await on_disk.capabilities.copy.copy("bucket/a", "bucket/b", CopyOptions())


async def test_a_page_of_a_proxy_is_no_empty_listing(
    disk: DiskS3Server, on_disk: StorageDriver
) -> None:
    from polystow import TransportError
    from polystow_testing.s3 import AnswerBytes, Fault

    disk.add_fault(Fault(action=AnswerBytes(b"<html><body/></html>")))
    assert on_disk.capabilities.list is not None
    with pytest.raises(TransportError, match="none of S3's"):
        await on_disk.capabilities.list.list_page("bucket", ListOptions(), None)


async def test_prefixes_that_cannot_be_are_refused(caps: Capabilities) -> None:
    assert caps.list is not None
    with pytest.raises(InvalidPathError):
        await caps.list.list_page("bucket/\ud800", ListOptions(), None)
    with pytest.raises(InvalidPathError):
        await caps.list.list_page("bucket", ListOptions(start_after="\ud800"), None)


async def test_keys_that_the_service_could_not_delete_are_reported(
    disk: DiskS3Server, on_disk: StorageDriver
) -> None:
    from polystow import BackendUnavailableError, PermissionDeniedError
    from polystow_testing.s3 import AnswerBytes, Fault

    answer = (
        b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
        b"<Error><Key>b</Key><Code>InternalError</Code></Error></DeleteResult>"
    )
    disk.add_fault(Fault("DeleteObjects", action=AnswerBytes(answer)))
    assert on_disk.capabilities.delete_many is not None
    result = await on_disk.capabilities.delete_many.delete_many(
        ("bucket/a", "bucket/b", "bucket/c"), DeleteOptions()
    )
    assert result.succeeded == ("bucket/c",)
    assert [(item.path, type(item.error)) for item in result.failed] == [
        ("bucket/a", PermissionDeniedError),
        ("bucket/b", BackendUnavailableError),
    ]


async def test_servers_that_tell_of_a_missing_key_are_not_heeded(
    disk: DiskS3Server, on_disk: StorageDriver
) -> None:
    from polystow_testing.s3 import AnswerStatus, Fault

    disk.add_fault(Fault("DeleteObject", action=AnswerStatus(404, "NoSuchKey")))
    await on_disk.delete("bucket/k", DeleteOptions())
    disk.add_fault(Fault("DeleteObject", action=AnswerStatus(404, "NoSuchBucket")))
    with pytest.raises(NotFoundError, match="no bucket"):
        await on_disk.delete("bucket/k", DeleteOptions())
