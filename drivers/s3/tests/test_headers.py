"""Headers that are kept, headers that one answer carries, and any others; conditional reads."""

import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from anyio import to_thread

from polystow import (
    BytesBody,
    Checksum,
    ChecksumMismatchError,
    InvalidMetadataError,
    NotModifiedError,
    ObjectHeaders,
    PreconditionFailedError,
    ReadOptions,
    ResponseHeaders,
    StatOptions,
    StorageDriver,
    StreamBody,
    WriteOptions,
)
from polystow_s3._digests import digest_now
from polystow_testing.s3 import CloseConnection, DiskS3Server, Fault, RcloneServer

MIB = 1024**2
PART = 5 * MIB
KEPT = ObjectHeaders(
    cache_control="max-age=60, public",
    content_disposition="attachment; filename*=UTF-8''%C3%BC.txt",
    content_encoding="identity",
    content_language="de, en",
    expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
)


@pytest.mark.parametrize("threshold", [0, 8 * MIB], ids=["parts", "whole"])
@pytest.mark.parametrize("lane", ["fast", "sdk"])
async def test_headers_are_kept_with_the_object(
    moto: Any, open_s3: Any, threshold: int, lane: str
) -> None:
    async with open_s3(moto, multipart_threshold_bytes=threshold, lane=lane) as driver:
        options = WriteOptions(headers=KEPT, content_type="text/plain", storage_class="STANDARD_IA")
        written = await driver.write("bucket/k", BytesBody(b"x" * 100), options)
        found = await driver.stat("bucket/k", StatOptions())
        stream = await driver.open_read("bucket/k", ReadOptions())
        await stream.aclose()
    assert written.headers == found.headers == stream.info.headers == KEPT
    assert written.storage_class == found.storage_class == "STANDARD_IA"
    assert found.content_type == "text/plain"


@pytest.mark.parametrize("lane", ["fast", "sdk"])
@pytest.mark.parametrize("server", ["disk", "moto"])
async def test_what_is_compressed_already_is_written_and_read_as_it_is(
    request: pytest.FixtureRequest, open_s3: Any, read_all: Any, server: str, lane: str
) -> None:
    data = gzip.compress(b"text")
    async with open_s3(request.getfixturevalue(server), lane=lane) as driver:
        options = WriteOptions(headers=ObjectHeaders(content_encoding="gzip"))
        await driver.write("bucket/k", BytesBody(data), options)
        assert await read_all(driver, "bucket/k") == data
        found = await driver.stat("bucket/k", StatOptions())
    assert (found.size, found.headers.content_encoding) == (len(data), "gzip")


async def test_an_object_without_headers_has_none_of_them(s3: StorageDriver) -> None:
    await s3.write("bucket/k", BytesBody(b"x"), WriteOptions())
    assert (await s3.stat("bucket/k", StatOptions())).headers == ObjectHeaders()


async def test_headers_and_storage_class_stay_when_metadata_changes(s3: StorageDriver) -> None:
    from polystow import MetadataOptions

    options = WriteOptions(headers=KEPT, storage_class="STANDARD_IA")
    await s3.write("bucket/k", BytesBody(b"x"), options)
    setter = s3.capabilities.set_metadata
    assert setter is not None
    await setter.set_metadata("bucket/k", {"a": "b"}, MetadataOptions())
    found = await s3.stat("bucket/k", StatOptions())
    assert (found.headers, found.storage_class) == (KEPT, "STANDARD_IA")


@pytest.mark.parametrize("threshold", [0, 8 * MIB], ids=["parts", "whole"])
async def test_any_other_header_is_sent_as_it_is(moto: Any, open_s3: Any, threshold: int) -> None:
    headers = {"X-Amz-Tagging": "a=1&b=2", "x-amz-website-redirect-location": "/other"}
    async with open_s3(moto, multipart_threshold_bytes=threshold) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions(extra_headers=headers))
        answer = await driver._client.call(_head("bucket", "k"))
    assert answer["WebsiteRedirectLocation"] == "/other"
    assert answer["TagCount"] == 2


def _head(bucket: str, key: str) -> Any:
    from polystow_s3._client import Call
    from polystow_s3._errors import Subject

    return Call("head_object", {"Bucket": bucket, "Key": key}, Subject("stat", f"{bucket}/{key}"))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Host", "made by the driver"),
        ("content-length", "made by the driver"),
        ("Authorization", "made by the driver"),
        ("Cache-Control", "as 'headers'"),
        ("content-type", "as 'content_type'"),
        ("x-amz-meta-a", "as 'metadata'"),
        ("X-Amz-Storage-Class", "as 'storage_class'"),
        ("x-amz-checksum-crc32", "as 'checksum'"),
        ("If-None-Match", "as 'overwrite'"),
        ("bad name", "can't be a header"),
        ("", "can't be a header"),
    ],
)
async def test_a_header_that_belongs_elsewhere_is_refused_before_anything_is_sent(
    disk: DiskS3Server, on_disk: StorageDriver, name: str, advice: str
) -> None:
    with pytest.raises(InvalidMetadataError, match=advice):
        await on_disk.write("bucket/k", BytesBody(b"x"), WriteOptions(extra_headers={name: "v"}))
    assert disk.requests == {}


@pytest.mark.parametrize(
    "options",
    [
        WriteOptions(headers=ObjectHeaders(cache_control="a\r\nb: c")),
        WriteOptions(headers=ObjectHeaders(content_disposition='attachment; filename="ü"')),
        WriteOptions(headers=ObjectHeaders(content_language="")),
        WriteOptions(headers=ObjectHeaders(expires=datetime(2030, 1, 1))),  # noqa: DTZ001
        WriteOptions(extra_headers={"x-amz-acl": "a\nb"}),
        WriteOptions(storage_class="a b\n"),
    ],
)
async def test_what_cannot_stand_in_a_header_is_refused_before_anything_is_sent(
    disk: DiskS3Server, on_disk: StorageDriver, options: WriteOptions
) -> None:
    with pytest.raises(InvalidMetadataError):
        await on_disk.write("bucket/k", BytesBody(b"x"), options)
    assert disk.requests == {}


@pytest.mark.parametrize("lane", ["fast", "sdk"])
async def test_an_answer_carries_other_headers_on_request(
    moto: Any, open_s3: Any, lane: str
) -> None:
    response = ResponseHeaders(
        content_type="text/csv", content_disposition="inline", cache_control="no-store",
        content_language="fr", expires=datetime(2031, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    async with open_s3(moto, lane=lane) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions(headers=KEPT))
        stream = await driver.open_read("bucket/k", ReadOptions(response=response))
        await stream.aclose()
    headers = stream.info.headers
    assert stream.info.content_type == "text/csv"
    assert headers is not None
    assert (headers.content_disposition, headers.cache_control) == ("inline", "no-store")
    assert (headers.content_language, headers.expires) == ("fr", response.expires)


@pytest.mark.parametrize("threshold", [0, 64 * MIB], ids=["parts", "whole"])
@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256"])
async def test_the_checksum_that_the_caller_has_is_compared(
    disk: DiskS3Server, open_s3: Any, algorithm: str, threshold: int
) -> None:
    data = bytes(PART + 1)
    right = Checksum(
        algorithm,
        digest_now(data, frozenset({algorithm}), signed=False).values[algorithm].hex().upper(),
    )
    wrong = Checksum(algorithm, f"0{right.value[1:]}" if right.value[0] != "0" else "1")
    async with open_s3(disk, part_size_bytes=PART, multipart_threshold_bytes=threshold) as driver:

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        for body in (BytesBody(data), StreamBody(chunks(), len(data))):
            await driver.write("bucket/k", body, WriteOptions(checksum=right))
        with pytest.raises(ChecksumMismatchError, match="nothing was stored"):
            await driver.write("bucket/x", BytesBody(data), WriteOptions(checksum=wrong))
    assert disk.keys("bucket") == ("k",)
    assert disk.uploads == ()


LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
HELD = [
    ReadOptions(if_match="ETAG"),
    ReadOptions(if_match="*"),
    ReadOptions(if_none_match="other"),
    ReadOptions(if_modified_since=LONG_AGO),
    ReadOptions(if_unmodified_since=TOMORROW),
    ReadOptions(if_match="ETAG", if_unmodified_since=LONG_AGO),
    ReadOptions(if_none_match="other", if_modified_since=TOMORROW),
]
NOT_MODIFIED = [
    ReadOptions(if_none_match="ETAG"),
    ReadOptions(if_none_match="*"),
    ReadOptions(if_modified_since=TOMORROW),
    ReadOptions(if_none_match="ETAG", if_modified_since=LONG_AGO),
]
FAILED = [
    ReadOptions(if_match="other"),
    ReadOptions(if_unmodified_since=LONG_AGO),
    ReadOptions(if_match="other", if_unmodified_since=TOMORROW),
]


async def outcome(driver: StorageDriver, options: ReadOptions) -> str:
    from attrs import evolve

    etag = (await driver.stat("bucket/k", StatOptions())).etag
    if options.if_match == "ETAG":
        options = evolve(options, if_match=etag)
    if options.if_none_match == "ETAG":
        options = evolve(options, if_none_match=etag)
    try:
        stream = await driver.open_read("bucket/k", options)
    except NotModifiedError:
        return "not modified"
    except PreconditionFailedError:
        return "failed"
    await stream.aclose()
    return "held"


@pytest.mark.parametrize("lane", ["fast", "sdk"])
@pytest.mark.parametrize("server", ["disk", "moto", "rclone"])
async def test_conditional_reads_hold_on_every_server(
    request: pytest.FixtureRequest, open_s3: Any, server: str, lane: str
) -> None:
    found = request.getfixturevalue(server)
    keys = {}
    if isinstance(found, RcloneServer):
        from polystow import Secret

        keys = {
            "access_key_id": found.credentials.access_key_id,
            "secret_access_key": Secret(found.credentials.secret_access_key),
        }
    async with open_s3(found, lane=lane, **keys) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        for wanted, cases in (("held", HELD), ("not modified", NOT_MODIFIED), ("failed", FAILED)):
            for options in cases:
                assert (await outcome(driver, options), options) == (wanted, options)


@pytest.fixture(scope="module")
def rclone() -> Any:
    with RcloneServer(buckets=("bucket",)) as server:
        yield server


async def test_a_304_that_carries_a_checksum_is_no_trouble(s3: StorageDriver) -> None:
    info = await s3.write("bucket/k", BytesBody(b"x"), WriteOptions())
    with pytest.raises(NotModifiedError):
        await s3.open_read("bucket/k", ReadOptions(if_none_match=info.etag))


async def test_conditions_that_held_do_not_count_when_a_read_is_resumed(
    disk: DiskS3Server, on_disk: StorageDriver, read_all: Any
) -> None:
    data = bytes(2 * MIB)
    await on_disk.write("bucket/k", BytesBody(data), WriteOptions())
    disk.add_fault(Fault("GetObject", action=CloseConnection(MIB)))
    options = ReadOptions(if_none_match="other", if_modified_since=LONG_AGO)
    assert await read_all(on_disk, "bucket/k", options) == data
    assert disk.requests["GetObject"] == 2


NAIVE = datetime(2020, 1, 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    "options", [ReadOptions(if_modified_since=NAIVE), ReadOptions(if_unmodified_since=NAIVE)]
)
async def test_a_time_without_a_zone_is_refused(
    disk: DiskS3Server, on_disk: StorageDriver, options: ReadOptions
) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        await on_disk.open_read("bucket/k", options)
    assert disk.requests == {}


async def test_the_body_of_an_answer_that_is_not_wanted_is_let_go(
    disk: DiskS3Server, on_disk: StorageDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystow_testing.s3._service.check_read", lambda *_: None)
    info = await on_disk.write("bucket/k", BytesBody(bytes(MIB)), WriteOptions())
    with pytest.raises(NotModifiedError):
        await on_disk.open_read("bucket/k", ReadOptions(if_none_match=info.etag))
    await to_thread.run_sync(disk.wait_until, lambda: disk.running == {})
