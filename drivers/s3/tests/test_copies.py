"""Copies inside the service: what they take over, and copies in parts."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from anyio import to_thread

from polystow import (
    AlreadyExistsError,
    BytesBody,
    ChecksumMismatchError,
    CopyOptions,
    MetadataOptions,
    NameHint,
    NotFoundError,
    ObjectHeaders,
    ObjectInfo,
    PreconditionFailedError,
    StatOptions,
    StorageDriver,
    StorageError,
    Target,
    WriteOptions,
)
from polystow_testing.s3 import AnswerStatus, DiskS3Server, ErrorIn200, Fault, MotoServer, Stall
from polystow_testing.s3._store import Content, Segment

MIB = 1024**2
GIB = 1024**3
PART = 5 * MIB
DATA = bytes(range(251)) * 45_000  # three parts of 5 MiB
HEADERS = ObjectHeaders(cache_control="no-store", expires=datetime(2030, 1, 1, tzinfo=UTC))


async def copy(driver: StorageDriver, source: str, target: Target, **options: Any) -> ObjectInfo:
    assert driver.capabilities.copy is not None
    return await driver.capabilities.copy.copy(source, target, CopyOptions(**options))


@pytest.fixture(params=[True, False], ids=["parts", "whole"])
def threshold(request: pytest.FixtureRequest) -> int:
    """Above it objects are copied in parts."""
    return PART if request.param else 5 * GIB


@pytest.mark.parametrize("name", ["disk", "moto"])
@pytest.mark.parametrize("hint", [True, False])
async def test_a_copy_has_all_that_its_source_has(
    request: pytest.FixtureRequest, open_s3: Any, read_all: Any, threshold: int, name: str,
    hint: bool,
) -> None:  # fmt: skip
    server: DiskS3Server | MotoServer = request.getfixturevalue(name)
    tags = {"x-amz-tagging": "a=1&b=c%20d"} if name == "moto" else {}
    options = WriteOptions(
        content_type="a/b", metadata={"k": "ü", "l": " v "}, filename="old.txt", headers=HEADERS,
        extra_headers=tags,
    )  # fmt: skip
    async with open_s3(server, copy_threshold_bytes=threshold) as driver:
        await driver.write("bucket/a b+ü", BytesBody(DATA), options)
        target = NameHint("new.txt") if hint else "bucket/copy"
        made = await copy(driver, "bucket/a b+ü", target)
        found = await driver.stat(made.path, StatOptions())
        assert await read_all(driver, made.path) == DATA
        assert (found.content_type, found.metadata) == ("a/b", {"k": "ü", "l": " v "})
        assert found.headers.cache_control == "no-store"
        assert found.filename == made.filename == ("new.txt" if hint else "old.txt")
        assert (found.etag, found.size) == (made.etag, made.size)
        if name == "moto":
            assert found.headers == HEADERS
            answer = await driver._client.call(_tags(made.path))
            assert answer["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "c d"}]


def _tags(path: str) -> Any:
    from polystow_s3._client import Call
    from polystow_s3._errors import Subject

    bucket, _, key = path.partition("/")
    return Call("get_object_tagging", {"Bucket": bucket, "Key": key}, Subject("stat", path))


async def test_an_object_over_five_gibibytes_is_copied_in_parts(open_s3: Any) -> None:
    with DiskS3Server(buckets=("bucket",), discard=True) as server:
        content = Content(Segment(None, 5 * GIB + 1), "0" * 32)
        server._running_service.store.put("bucket", "big", (content,), {})
        async with open_s3(server) as driver:
            made = await copy(driver, "bucket/big", "bucket/b")
            assert made.size == 5 * GIB + 1
            assert (await driver.stat("bucket/b", StatOptions())).size == 5 * GIB + 1
            setter = driver.capabilities.set_metadata
            await setter.set_metadata("bucket/big", {"a": "b"}, MetadataOptions())
            found = await driver.stat("bucket/big", StatOptions())
            assert (found.size, found.metadata) == (5 * GIB + 1, {"a": "b"})
        assert server.requests["UploadPartCopy"] == 2 * 11
        assert server.peak["UploadPartCopy"] <= 4


async def test_copied_parts_are_compared_with_the_sources_checksum(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk, copy_threshold_bytes=PART) as driver:
        written = await driver.write("bucket/a", BytesBody(DATA), WriteOptions())
        assert (await copy(driver, "bucket/a", "bucket/b")).checksum == written.checksum
        disk.corrupt("bucket", "a")
        with pytest.raises(ChecksumMismatchError):
            await copy(driver, "bucket/a", "bucket/c")
    assert disk.keys("bucket") == ("a", "b")
    assert disk.uploads == ()


async def test_a_copy_of_another_object_than_was_asked_for_is_refused(
    moto: MotoServer, disk: DiskS3Server, open_s3: Any, threshold: int
) -> None:
    for server in (moto, disk):
        async with open_s3(server, copy_threshold_bytes=threshold) as driver:
            written = await driver.write("bucket/a", BytesBody(DATA), WriteOptions())
            with pytest.raises(PreconditionFailedError):
                await copy(driver, "bucket/a", "bucket/b", if_match="other")
            await copy(driver, "bucket/a", "bucket/b", if_match=written.etag)
            await copy(driver, "bucket/a", "bucket/b", if_match="*")


async def test_a_source_that_changes_while_its_parts_are_copied_is_noticed(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk, copy_threshold_bytes=PART) as driver:
        await driver.write("bucket/a", BytesBody(DATA), WriteOptions())
        fault = Fault("UploadPartCopy", action=AnswerStatus(412, "PreconditionFailed"), skip=1)
        disk.add_fault(fault)
        with pytest.raises(PreconditionFailedError) as caught:
            await copy(driver, "bucket/a", "bucket/b")
    assert caught.value.path == "bucket/a"
    assert disk.uploads == ()
    assert disk.keys("bucket") == ("a",)


async def test_a_create_only_copy_in_parts_keeps_what_is_there(
    disk: DiskS3Server, open_s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_s3(disk, copy_threshold_bytes=PART) as driver:
        await driver.write("bucket/a", BytesBody(DATA), WriteOptions())
        await copy(driver, "bucket/a", "bucket/c", overwrite=False)
        with pytest.raises(AlreadyExistsError) as caught:
            await copy(driver, "bucket/a", "bucket/c", overwrite=False)
        assert caught.value.path == "bucket/c"
        # It came between the question and the completion.
        disk.add_fault(Fault("HeadObject", action=AnswerStatus(404), skip=1))
        with pytest.raises(AlreadyExistsError):
            await copy(driver, "bucket/a", "bucket/c", overwrite=False)
    assert disk.uploads == ()


@pytest.mark.parametrize("failing", ["UploadPartCopy", "CompleteMultipartUpload"])
async def test_a_copy_in_parts_that_fails_leaves_nothing(
    disk: DiskS3Server, open_s3: Any, failing: str
) -> None:
    async with open_s3(disk, copy_threshold_bytes=PART) as driver:
        await driver.write("bucket/a", BytesBody(DATA), WriteOptions())
        disk.add_fault(Fault(failing, action=ErrorIn200(), times=None))
        with pytest.raises(StorageError):
            await copy(driver, "bucket/a", "bucket/b")
    assert disk.uploads == ()
    assert disk.keys("bucket") == ("a",)


async def test_a_cancelled_copy_in_parts_leaves_nothing(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk, copy_threshold_bytes=PART) as driver:
        await driver.write("bucket/a", BytesBody(DATA), WriteOptions())
        disk.add_fault(Fault("UploadPartCopy", action=Stall(), skip=1, times=None))
        started = asyncio.ensure_future(copy(driver, "bucket/a", "bucket/b"))
        await to_thread.run_sync(
            disk.wait_until, lambda: disk.requests.get("UploadPartCopy", 0) == 3
        )
        started.cancel()
        with pytest.raises(asyncio.CancelledError):
            await started
    assert disk.uploads == ()
    assert disk.keys("bucket") == ("a",)


async def test_an_older_version_is_copied(moto: MotoServer, open_s3: Any, read_all: Any) -> None:
    async with open_s3(moto) as driver:
        await driver._client.call(_versioning())
        first = await driver.write("bucket/a", BytesBody(b"first"), WriteOptions())
        await driver.write("bucket/a", BytesBody(b"second"), WriteOptions())
        assert first.version is not None
        await copy(driver, "bucket/a", "bucket/b", version=first.version)
        assert await read_all(driver, "bucket/b") == b"first"
        await copy(driver, "bucket/a", "bucket/a", version=first.version)
        assert await read_all(driver, "bucket/a") == b"first"
        with pytest.raises(NotFoundError):
            await copy(driver, "bucket/a", "bucket/b", version="none")


def _versioning() -> Any:
    from polystow_s3._client import Call
    from polystow_s3._errors import Subject

    params = {"Bucket": "bucket", "VersioningConfiguration": {"Status": "Enabled"}}
    return Call("put_bucket_versioning", params, Subject("check", "bucket"))


async def test_a_copy_goes_to_another_storage_class(
    moto: MotoServer, open_s3: Any, threshold: int
) -> None:
    async with open_s3(moto, copy_threshold_bytes=threshold) as driver:
        await driver.write("bucket/a", BytesBody(DATA), WriteOptions(metadata={"a": "b"}))
        for target in ("bucket/b", "bucket/a"):
            made = await copy(driver, "bucket/a", target, storage_class="STANDARD_IA")
            found = await driver.stat(target, StatOptions())
            assert found.storage_class == made.storage_class == "STANDARD_IA"
            assert found.metadata == {"a": "b"}
