"""Uploads in parts that the caller leads, through `Storage`, and what S3 refuses of them."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from anyio import to_thread

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    BytesBody,
    Checksum,
    ChecksumMismatchError,
    CompleteOptions,
    FileTooLargeError,
    InvalidPartError,
    MultipartSession,
    NameHint,
    Part,
    PartOptions,
    PartOrderError,
    PartTooSmallError,
    Storage,
    StorageError,
    UnsupportedOperationError,
    UploadNotFoundError,
    WriteOptions,
)
from polystow_s3._digests import digest_now
from polystow_testing.s3 import (
    AnswerStatus,
    CloseConnection,
    DelayReply,
    DiskS3Server,
    ErrorIn200,
    Fault,
    MotoServer,
    Stall,
)

MIB = 1024**2
PART = 5 * MIB
URI = "s3://bucket/k"

type OpenStorage = Callable[..., Any]


def filled(number: int, size: int = PART) -> bytes:
    return bytes([number % 256]) * size


async def put_all(
    storage: Storage, *contents: bytes, error: Exception | None = None, **options: Any
) -> MultipartSession:
    async with storage.multipart(URI, **options) as upload:
        for content in contents:
            await upload.put_part(content)
        if error is not None:
            raise error
    return upload


@pytest.fixture
def open_on(open_s3: Any) -> OpenStorage:
    @asynccontextmanager
    async def opened(server: Any, **options: Any) -> AsyncGenerator[Storage]:
        async with open_s3(server, **options) as driver:
            yield Storage(driver)

    return opened


@pytest.fixture(params=["disk", "moto"])
async def storage(request: pytest.FixtureRequest, open_on: OpenStorage) -> AsyncIterator[Storage]:
    """On both servers."""
    async with open_on(request.getfixturevalue(request.param)) as storage:
        yield storage


@pytest.fixture
async def on_disk_storage(disk: DiskS3Server, open_on: OpenStorage) -> AsyncIterator[Storage]:
    async with open_on(disk) as storage:
        yield storage


async def test_parts_are_numbered_by_the_calls_and_awaited_in_any_order(storage: Storage) -> None:
    async with storage.multipart(URI, content_type="video/mp4", metadata={"a": "b"}) as upload:
        waiting = [upload.put_part(filled(number)) for number in (1, 2)]
        waiting.append(upload.put_part(b"end"))
        random.Random(3).shuffle(waiting)
        await asyncio.gather(*waiting)
        assert [part.number for part in upload.parts] == [1, 2, 3]
        assert upload.bytes_sent == 2 * PART + 3
        with pytest.raises(StorageError, match="when the upload was completed"):
            _ = upload.info
    assert upload.info.uri == upload.uri == URI
    assert upload.info.size == 2 * PART + 3
    assert await storage.read_bytes(URI) == filled(1) + filled(2) + b"end"
    found = await storage.stat(URI)
    assert (found.content_type, found.metadata) == ("video/mp4", {"a": "b"})
    assert found.etag == upload.info.etag


async def test_another_process_goes_on_with_an_upload(
    request: pytest.FixtureRequest, open_on: OpenStorage
) -> None:
    hint = NameHint("ü 1.bin", folder="f")
    for name in ("disk", "moto"):
        server: DiskS3Server | MotoServer = request.getfixturevalue(name)
        async with open_on(server) as first, first.multipart(hint) as upload:
            await upload.put_part(filled(1))
            token = upload.token
            upload.keep()
        async with open_on(server) as second:
            async with second.multipart(token=token) as upload:
                assert [(part.number, part.size) for part in upload.parts] == [(1, PART)]
                assert upload.bytes_sent == PART
                await upload.put_part(b"end")
            assert await second.read_bytes(upload.info.uri) == filled(1) + b"end"


async def test_a_resumed_upload_keeps_its_conditions(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    async with on_disk_storage.multipart(URI, overwrite=False) as upload:
        token = upload.token
        upload.keep()
    await on_disk_storage.write(URI, b"first")
    with pytest.raises(AlreadyExistsError):
        async with on_disk_storage.multipart(token=token) as upload:
            await upload.put_part(b"second")
    assert disk.uploads == ()


async def test_an_upload_without_a_part_is_an_empty_object(storage: Storage) -> None:
    async with storage.multipart(URI):
        pass
    assert await storage.read_bytes(URI) == b""


async def test_a_part_is_replaced_by_its_number(storage: Storage) -> None:
    async with storage.multipart(URI) as upload:
        await upload.put_part(b"wrong")
        await upload.put_part(b"right", number=1)
        assert upload.bytes_sent == 5
    assert await storage.read_bytes(URI) == b"right"


async def test_numbers_may_have_gaps(storage: Storage) -> None:
    async with storage.multipart(URI) as upload:
        await upload.put_part(filled(7), number=7)
        assert (await upload.put_part(b"end")).number == 8
    assert await storage.read_bytes(URI) == filled(7) + b"end"


@pytest.mark.parametrize("kind", ["path", "file", "iterable", "text"])
async def test_a_part_is_anything_that_can_be_written(
    storage: Storage, tmp_path: Any, kind: str
) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"content")

    async def iterable() -> AsyncIterator[bytes]:
        yield b"con"
        yield b"tent"

    with path.open("rb") as file:
        content = {"path": path, "file": file, "iterable": iterable(), "text": "content"}[kind]
        async with storage.multipart(URI) as upload:
            await upload.put_part(content)
    assert await storage.read_bytes(URI) == b"content"


async def test_an_error_in_the_block_leaves_nothing(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    with pytest.raises(ZeroDivisionError):
        await put_all(on_disk_storage, filled(1), error=ZeroDivisionError())
    assert disk.uploads == ()
    assert disk.keys("bucket") == ()


async def test_a_failed_upload_stays_for_its_token_if_that_is_wanted(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    tokens: list[str] = []

    async def fail() -> None:
        async with on_disk_storage.multipart(URI, abort_on_error=False) as upload:
            tokens.append(upload.token)
            await upload.put_part(filled(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with on_disk_storage.multipart(token=tokens[0]) as again:
        await again.put_part(b"end")
    assert disk.keys("bucket") == ("k",)


async def test_parts_that_are_still_sent_are_given_up_before_the_upload_is_aborted(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    disk.add_fault(Fault("UploadPart", action=Stall(), skip=1, times=None))
    disk.add_fault(Fault("UploadPart", action=AnswerStatus(403, "AccessDenied")))
    tasks: list[asyncio.Task[Part]] = []

    async def fail() -> None:
        async with on_disk_storage.multipart(URI) as upload:
            tasks.extend(asyncio.create_task(upload.put_part(filled(n))) for n in range(3))
            await to_thread.run_sync(disk.wait_until, lambda: disk.requests.get("UploadPart") == 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in results)
    assert disk.uploads == ()


async def test_a_cancelled_upload_leaves_nothing(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    disk.add_fault(Fault("UploadPart", action=Stall(), skip=1, times=None))

    async def upload_all() -> None:
        async with on_disk_storage.multipart(URI) as upload:
            await asyncio.gather(*[upload.put_part(filled(n)) for n in range(3)])

    task = asyncio.create_task(upload_all())
    await to_thread.run_sync(disk.wait_until, lambda: disk.requests.get("UploadPart") == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert disk.uploads == ()


async def test_an_upload_cancelled_while_it_begins_leaves_nothing(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    disk.add_fault(Fault("CreateMultipartUpload", action=DelayReply(0.2)))

    async def upload_all() -> None:
        async with on_disk_storage.multipart(URI):
            pass

    task = asyncio.create_task(upload_all())
    await to_thread.run_sync(disk.wait_until, lambda: len(disk.uploads) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert disk.uploads == ()


async def test_a_part_that_was_never_awaited_fails_the_upload(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    async def forget() -> None:
        async with on_disk_storage.multipart(URI) as upload:
            await upload.put_part(filled(1))
            forgotten.append(upload.put_part(b"end"))

    forgotten: list[Any] = []
    with pytest.raises(StorageError, match="not uploaded: 2"):
        await forget()
    forgotten[0].close()
    assert disk.uploads == ()
    assert disk.keys("bucket") == ()


async def test_a_part_that_failed_can_be_sent_anew_by_its_number(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    disk.add_fault(Fault("UploadPart", action=AnswerStatus(403, "AccessDenied")))
    async with on_disk_storage.multipart(URI) as upload:
        with pytest.raises(StorageError):
            await upload.put_part(b"content")
        await upload.put_part(b"content", number=1)
    assert await on_disk_storage.read_bytes(URI) == b"content"


async def test_a_completion_that_fails_is_repeated_and_then_aborted(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    disk.add_fault(Fault("CompleteMultipartUpload", action=ErrorIn200(), times=None))
    with pytest.raises(BackendUnavailableError):
        async with on_disk_storage.multipart(URI) as upload:
            await upload.put_part(b"content")
    assert disk.requests["CompleteMultipartUpload"] == 3
    assert disk.uploads == ()


async def test_a_completion_whose_answer_was_lost_is_a_success(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    disk.add_fault(Fault("CompleteMultipartUpload", action=CloseConnection()))
    async with on_disk_storage.multipart(URI) as upload:
        await upload.put_part(b"content")
    assert upload.info.size == 7
    assert disk.keys("bucket") == ("k",)


async def test_after_its_end_an_upload_takes_no_part(on_disk_storage: Storage) -> None:
    async with on_disk_storage.multipart(URI) as upload:
        await upload.put_part(b"content")
        assert (await upload.complete()).size == 7
        with pytest.raises(StorageError, match="is completed"):
            _ = upload.put_part(b"more")
    async with on_disk_storage.multipart("s3://bucket/other") as upload:
        await upload.put_part(b"content")
        await upload.abort()
        with pytest.raises(StorageError, match="is aborted"):
            _ = upload.put_part(b"more")
    assert not await on_disk_storage.exists("s3://bucket/other")


@pytest.mark.parametrize("number", [0, -1, 10_001])
async def test_a_number_that_no_part_can_have_is_refused_at_the_call(
    disk: DiskS3Server, on_disk_storage: Storage, number: int
) -> None:
    with pytest.raises(ValueError, match="1 to 10,000"):
        async with on_disk_storage.multipart(URI) as upload:
            _ = upload.put_part(b"", number=number)
    assert "UploadPart" not in disk.requests


async def test_small_parts_are_refused_before_the_service_is_asked(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    with pytest.raises(PartTooSmallError, match="part 1 has 5 bytes"):
        await put_all(on_disk_storage, b"small", b"end")
    assert "CompleteMultipartUpload" not in disk.requests
    assert disk.uploads == ()


@pytest.mark.parametrize("token", ["", "?", "e30=", "bm9uc2Vuc2U=", "WzFd", "eyJwYXRoIjogMX0="])
async def test_what_is_no_token_is_refused(on_disk_storage: Storage, token: str) -> None:
    with pytest.raises(ValueError, match="no token"):
        on_disk_storage.multipart(token=token)


async def test_a_token_and_a_target_exclude_each_other(on_disk_storage: Storage) -> None:
    async with on_disk_storage.multipart(URI) as upload:
        token = upload.token
        await upload.abort()
    with pytest.raises(ValueError, match="neither a target"):
        on_disk_storage.multipart(URI, token=token)
    with pytest.raises(ValueError, match="neither a target"):
        on_disk_storage.multipart(token=token, overwrite=False)
    with pytest.raises(ValueError, match="give a target"):
        on_disk_storage.multipart()
    with pytest.raises(UploadNotFoundError):
        async with on_disk_storage.multipart(token=token):
            pass


def crc32(data: bytes) -> Checksum:
    return Checksum(
        "crc32", digest_now(data, frozenset({"crc32"}), signed=False).values["crc32"].hex()
    )


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
async def test_the_whole_checksum_that_the_caller_has_is_compared(
    disk: DiskS3Server, open_on: OpenStorage, checksums: str
) -> None:
    whole = filled(1) + b"end"
    async with open_on(disk, checksums=checksums) as storage:
        async with storage.multipart(URI, checksum=crc32(whole)) as upload:
            waiting = [upload.put_part(filled(1)), upload.put_part(b"end")]
            await asyncio.gather(*reversed(waiting))
        assert upload.info.checksum == crc32(whole)
        with pytest.raises(ChecksumMismatchError):
            async with storage.multipart("s3://bucket/x", checksum=crc32(whole)) as upload:
                await upload.put_part(b"other")
        with pytest.raises(UnsupportedOperationError, match="parts come in any order"):
            async with storage.multipart(URI, checksum=Checksum("sha256", "00" * 32)):
                pass
    assert disk.keys("bucket") == ("k",)
    assert disk.uploads == ()


async def test_the_checksum_of_a_part_is_compared_before_it_is_sent(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    async with on_disk_storage.multipart(URI) as upload:
        with pytest.raises(ChecksumMismatchError):
            await upload.put_part(b"content", checksum=Checksum("sha256", "00" * 32))
        assert "UploadPart" not in disk.requests
        await upload.put_part(b"content", 1, checksum=crc32(b"content"))


async def test_stale_uploads_are_swept(storage: Storage) -> None:
    for key in ("stale/a", "stale/a", "stale/ü b+c", "other/a"):
        async with storage.multipart(f"s3://bucket/{key}") as upload:
            await upload.put_part(filled(1))
            upload.keep()
    listed = [upload.path async for upload in storage.list_multiparts("s3://bucket/stale/")]
    assert sorted(listed) == ["s3://bucket/stale/a"] * 2 + ["s3://bucket/stale/ü b+c"]
    # moto says of all uploads that they began in 2010.
    kept = await storage.sweep_multiparts("s3://bucket/stale/", timedelta(days=36_500))
    assert (kept.succeeded, kept.failed) == ([], [])
    swept = await storage.sweep_multiparts("s3://bucket/stale/", timedelta(0))
    assert (sorted(swept.succeeded), swept.failed) == (sorted(listed), [])
    left = [upload.path async for upload in storage.list_multiparts("s3://bucket/")]
    assert left == ["s3://bucket/other/a"]
    with pytest.raises(ValueError, match="has passed"):
        await storage.sweep_multiparts("s3://bucket", timedelta(seconds=-1))


async def test_long_lists_of_parts_and_uploads_are_read_to_their_end(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk) as driver:
        uploads = driver.capabilities.multipart
        first = await uploads.create_multipart("bucket/k", WriteOptions())
        await uploads.put_part("bucket/k", first.upload_id, 1, BytesBody(b"x"), PartOptions())
        kept = disk._running_service.store.uploads[first.upload_id].parts
        kept |= dict.fromkeys(range(1, 1004), kept[1])
        parts = await uploads.list_parts("bucket/k", first.upload_id)
        assert [part.number for part in parts] == list(range(1, 1004))
        assert all(part.checksum == crc32(b"x") for part in parts)


async def test_a_server_that_knows_no_empty_list_of_uploads_has_none(
    disk: DiskS3Server, on_disk_storage: Storage
) -> None:
    action = AnswerStatus(404, "NoSuchUpload")
    disk.add_fault(Fault("ListMultipartUploads", action=action, times=None))
    assert [upload async for upload in on_disk_storage.list_multiparts("s3://bucket/")] == []


async def test_pages_of_uploads_follow_each_other(disk: DiskS3Server, open_s3: Any) -> None:
    store = disk._running_service.store
    async with open_s3(disk) as driver:
        uploads = driver.capabilities.multipart
        upload = await uploads.create_multipart("bucket/k", WriteOptions())
        for number in range(1500):
            store.uploads[f"{number:05}"] = store.uploads[upload.upload_id]
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await uploads.list_multiparts("bucket/", cursor)
            found += [item.upload_id for item in page.items]
            cursor = page.cursor
            if cursor is None:
                break
    assert len(found) == len(set(found)) == 1501


async def test_each_refusal_of_a_completion_is_its_own_error(
    disk: DiskS3Server, open_s3: Any
) -> None:
    complete = CompleteOptions()
    async with open_s3(disk) as driver:
        uploads = driver.capabilities.multipart
        upload = await uploads.create_multipart("bucket/k", WriteOptions())
        part = await uploads.put_part(
            "bucket/k", upload.upload_id, 1, BytesBody(b"x"), PartOptions()
        )
        place = ("bucket/k", upload.upload_id)
        with pytest.raises(InvalidPartError, match="one part at least"):
            await uploads.complete_multipart(*place, (), complete)
        with pytest.raises(InvalidPartError, match="not found"):
            await uploads.complete_multipart(*place, (Part(2, 1, "0" * 32),), complete)
        with pytest.raises(InvalidPartError, match="another one"):
            await uploads.complete_multipart(*place, (Part(1, 1, "0" * 32),), complete)
        with pytest.raises(PartOrderError, match="part 1 stands behind part 1"):
            await uploads.complete_multipart(*place, (part, part), complete)
        second = await uploads.put_part(*place, 2, BytesBody(b"x"), PartOptions())
        false = Part(1, PART, part.etag)
        with pytest.raises(PartTooSmallError, match="EntityTooSmall"):
            await uploads.complete_multipart(*place, (false, second), complete)
        too_many = tuple(Part(n, 6 * 1024**3, "x") for n in range(1, 10_001))
        with pytest.raises(FileTooLargeError):
            await uploads.complete_multipart(*place, too_many, complete)
        await uploads.abort_multipart(*place)
        await uploads.abort_multipart(*place)
        with pytest.raises(UploadNotFoundError):
            await uploads.complete_multipart(*place, (part,), complete)
        with pytest.raises(UploadNotFoundError):
            await uploads.put_part(*place, 1, BytesBody(b"x"), PartOptions())
        with pytest.raises(UploadNotFoundError):
            await uploads.list_parts(*place)


@pytest.mark.parametrize("checksums", ["known", "ignored", "refused"])
async def test_uploads_work_whatever_the_server_does_with_checksums(
    open_on: OpenStorage, checksums: Any
) -> None:
    with DiskS3Server(buckets=("bucket",), checksums=checksums) as server:
        for algorithm in ("crc32", "sha256", "md5"):
            async with open_on(server, checksum_algorithm=algorithm) as storage:
                async with storage.multipart(URI) as upload:
                    await upload.put_part(filled(1))
                    await upload.put_part(b"end")
                assert await storage.read_bytes(URI) == filled(1) + b"end"


async def test_an_upload_begun_without_checksums_is_gone_on_with_without(
    disk: DiskS3Server, open_on: OpenStorage
) -> None:
    # S3 refuses parts with another kind of checksum than the upload was begun with.
    async with open_on(disk, checksums="off") as first, open_on(disk) as second:
        async with first.multipart(URI) as upload:
            await upload.put_part(filled(1))
            upload.keep()
        async with second.multipart(token=upload.token) as again:
            part = await again.put_part(b"end")
            assert part.size == 3
        assert (await second.stat(URI)).checksum is None
