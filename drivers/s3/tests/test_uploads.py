"""Uploads that fail, stall and are cancelled: nothing may be left on the server."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group, to_thread

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    BytesBody,
    ChecksumMismatchError,
    FileTooLargeError,
    InvalidMetadataError,
    NameHint,
    NotFoundError,
    PathBody,
    PermissionDeniedError,
    StorageError,
    StreamBody,
    TransportError,
    TruncatedBodyError,
    WriteOptions,
)
from polystow_s3._digests import digest_file
from polystow_s3._lane._sending import CAN_SEND_FILES
from polystow_testing.s3 import (
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    DelayReply,
    DiskS3Server,
    ErrorIn200,
    Fault,
    Stall,
)

MIB = 1024**2
PART = 5 * MIB


async def zeros(size: int, chunk: int = MIB) -> AsyncIterator[bytes]:
    while size > 0:
        yield bytes(min(chunk, size))
        size -= chunk


@pytest.fixture
def open_driver(disk: DiskS3Server, open_s3: Any) -> Any:
    def opened(**options: Any) -> Any:
        return open_s3(disk, part_size_bytes=PART, multipart_threshold_bytes=PART, **options)

    return opened


def nothing_left(disk: DiskS3Server) -> bool:
    return not disk.uploads and not disk.keys("bucket")


async def test_an_unknown_length_below_one_part_is_one_request(
    disk: DiskS3Server, open_driver: Any
) -> None:
    async with open_driver() as driver:
        info = await driver.write("bucket/k", StreamBody(zeros(PART - 1)), WriteOptions())
        assert info.size == PART - 1
        assert disk.requests == {"PutObject": 1}


async def test_an_empty_stream_is_an_empty_object(disk: DiskS3Server, open_driver: Any) -> None:
    async with open_driver() as driver:
        info = await driver.write("bucket/k", StreamBody(zeros(0)), WriteOptions())
    assert (info.size, info.etag) == (0, "d41d8cd98f00b204e9800998ecf8427e")
    assert disk.requests == {"PutObject": 1}


async def test_parts_have_the_size_of_the_config(disk: DiskS3Server, open_driver: Any) -> None:
    async with open_driver() as driver:
        await driver.write("bucket/k", StreamBody(zeros(3 * PART + 1)), WriteOptions())
        assert disk.requests == {
            "CreateMultipartUpload": 1, "UploadPart": 4, "CompleteMultipartUpload": 1,
        }  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_parts_are_in_flight_than_allowed(
    disk: DiskS3Server, open_driver: Any, concurrency: int
) -> None:
    disk.add_fault(Fault("UploadPart", action=DelayReply(0.05), times=None))
    async with open_driver(upload_concurrency=concurrency) as driver:
        await driver.write("bucket/k", BytesBody(bytes(8 * PART)), WriteOptions())
    assert disk.peak["UploadPart"] == concurrency


async def test_memory_is_a_few_parts_whatever_the_bodys_length(open_s3: Any) -> None:
    with DiskS3Server(buckets=("bucket",), discard=True) as server:
        async with open_s3(
            server, part_size_bytes=PART, upload_concurrency=2, payload_signing="never"
        ) as driver:
            await driver.write("bucket/warm", StreamBody(zeros(PART + 1)), WriteOptions())
            tracemalloc.start()
            try:
                await driver.write("bucket/k", StreamBody(zeros(30 * PART)), WriteOptions())
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert peak < 3 * PART + 6 * MIB


async def test_metadata_and_type_survive_a_multipart_upload(
    disk: DiskS3Server, open_driver: Any
) -> None:
    from polystow import StatOptions

    async with open_driver() as driver:
        info = await driver.write(
            NameHint("ü.bin"), BytesBody(bytes(2 * PART)),
            WriteOptions(content_type="x/y", metadata={"a": "ü"}),
        )  # fmt: skip
        found = await driver.stat(info.path, StatOptions())
    assert (found.content_type, found.metadata, found.filename) == ("x/y", {"a": "ü"}, "ü.bin")
    assert found.etag == info.etag


@pytest.mark.parametrize(
    "failure", [AnswerStatus(500), AnswerStatus(503, "SlowDown"), CloseDuringRequest(100_000)]
)
async def test_a_part_that_fails_is_sent_again(
    disk: DiskS3Server, open_driver: Any, failure: Any
) -> None:
    disk.add_fault(Fault("UploadPart", action=failure, times=2))
    async with open_driver() as driver:
        info = await driver.write("bucket/k", StreamBody(zeros(3 * PART)), WriteOptions())
        assert info.size == 3 * PART
        assert disk.keys("bucket") == ("k",)


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("failure", [AnswerStatus(403, "AccessDenied"), AnswerStatus(400, "X")])
async def test_a_refused_upload_leaves_nothing(
    disk: DiskS3Server, open_driver: Any, operation: str, failure: AnswerStatus
) -> None:
    disk.add_fault(Fault(operation, action=failure, times=None, skip=operation == "UploadPart"))
    async with open_driver() as driver:
        with pytest.raises(StorageError) as caught:
            await driver.write("bucket/k", StreamBody(zeros(6 * PART)), WriteOptions())
        assert caught.value.operation == "write"
        assert caught.value.path == "bucket/k"
        assert nothing_left(disk)


async def test_a_body_that_fails_leaves_nothing_and_its_error_comes_through(
    disk: DiskS3Server, open_driver: Any
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield bytes(2 * PART)
        yield bytes(PART)
        raise ZeroDivisionError

    async with open_driver() as driver:
        with pytest.raises(ZeroDivisionError):
            await driver.write("bucket/k", StreamBody(failing()), WriteOptions())
        assert nothing_left(disk)
        assert disk.requests["AbortMultipartUpload"] >= 1


@pytest.mark.parametrize("actual", [0, 10, 2 * PART, 3 * PART - 1, 3 * PART + 1, 5 * PART])
async def test_a_body_of_another_length_than_declared_leaves_nothing(
    disk: DiskS3Server, open_driver: Any, actual: int
) -> None:
    async with open_driver() as driver:
        with pytest.raises(TruncatedBodyError) as caught:
            await driver.write("bucket/k", StreamBody(zeros(actual), 3 * PART), WriteOptions())
        assert caught.value.path == "bucket/k"
        assert nothing_left(disk)


@pytest.mark.parametrize("actual", [0, 99, 101])
async def test_a_small_body_of_another_length_than_declared_sends_nothing(
    disk: DiskS3Server, open_driver: Any, actual: int
) -> None:
    async with open_driver() as driver:
        with pytest.raises(TruncatedBodyError):
            await driver.write("bucket/k", StreamBody(zeros(actual), 100), WriteOptions())
        assert disk.requests == {}


@pytest.fixture(params=["task", "scope"])
def cancel_when(request: pytest.FixtureRequest) -> Any:
    """Starts a write and cancels it at some moment: asyncio's way, then anyio's."""

    async def cancel_task(disk: DiskS3Server, driver: Any, body: Any, when: Any) -> None:
        started = asyncio.ensure_future(driver.write("bucket/k", body, WriteOptions()))
        await to_thread.run_sync(disk.wait_until, when)
        started.cancel()
        with pytest.raises(asyncio.CancelledError):
            await started

    async def cancel_scope(disk: DiskS3Server, driver: Any, body: Any, when: Any) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(driver.write, "bucket/k", body, WriteOptions())
            await to_thread.run_sync(disk.wait_until, when)
            tasks.cancel_scope.cancel()

    return cancel_task if request.param == "task" else cancel_scope


async def test_a_second_cancellation_does_not_stop_the_cleaning_up(
    disk: DiskS3Server, open_driver: Any
) -> None:
    disk.add_fault(Fault("UploadPart", action=Stall(), times=None))
    disk.add_fault(Fault("AbortMultipartUpload", action=DelayReply(0.2)))
    async with open_driver() as driver:
        write = driver.write("bucket/k", BytesBody(bytes(3 * PART)), WriteOptions())
        started = asyncio.ensure_future(write)
        for operation in ("UploadPart", "AbortMultipartUpload"):
            seen = operation

            def asked(name: str = seen) -> bool:
                return name in disk.requests

            await to_thread.run_sync(disk.wait_until, asked)
            started.cancel()
        with pytest.raises(asyncio.CancelledError):
            await started
        assert nothing_left(disk)
        assert disk.requests["ListParts"] == 1


async def test_a_cancelled_upload_leaves_no_part(
    disk: DiskS3Server, open_driver: Any, cancel_when: Any
) -> None:
    disk.add_fault(Fault("UploadPart", action=Stall(), skip=1, times=None))
    async with open_driver(upload_concurrency=2) as driver:
        await cancel_when(
            disk, driver, BytesBody(bytes(8 * PART)), lambda: disk.requests.get("UploadPart") == 3
        )
        assert nothing_left(disk)


# What nobody hashes or signs goes from the file to the socket.
UNSEEN = {"checksums": "off", "payload_signing": "never"}


@pytest.fixture
def large_file(tmp_path: Path) -> PathBody:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(16):
            file.write(number.to_bytes() * MIB)
        file.write(b"end")
    return PathBody(path, 16 * MIB + 3)


@pytest.mark.parametrize("lane", ["fast"])
async def test_a_file_that_nobody_has_to_see_arrives_and_stays_out_of_memory(
    disk: DiskS3Server, open_driver: Any, large_file: PathBody, read_all: Any
) -> None:
    async with open_driver(**UNSEEN) as driver:
        await driver.write("bucket/small", BytesBody(b"x"), WriteOptions())
        tracemalloc.start()
        try:
            info = await driver.write("bucket/k", large_file, WriteOptions())
            assert tracemalloc.get_traced_memory()[1] < PART
        finally:
            tracemalloc.stop()
        assert info.size == large_file.size
        assert await read_all(driver, "bucket/k") == large_file.path.read_bytes()
    assert disk.requests["UploadPart"] == 2  # of twice the size


@pytest.mark.parametrize(
    "action", [AnswerStatus(503), CloseDuringRequest(MIB), CloseConnection()], ids=repr
)
async def test_a_part_of_a_file_is_sent_again(
    disk: DiskS3Server, open_driver: Any, large_file: PathBody, read_all: Any, action: Any
) -> None:
    disk.add_fault(Fault("UploadPart", action=action, times=2))
    async with open_driver(**UNSEEN) as driver:
        await driver.write("bucket/k", large_file, WriteOptions())
        assert await read_all(driver, "bucket/k") == large_file.path.read_bytes()


@pytest.mark.parametrize("longer", [True, False], ids=["longer", "shorter"])
async def test_a_file_of_another_length_than_it_had_leaves_nothing(
    disk: DiskS3Server, open_driver: Any, large_file: PathBody, longer: bool
) -> None:
    async with open_driver(**UNSEEN) as driver:
        body = PathBody(large_file.path, large_file.size + (-1 if longer else 1))
        with pytest.raises(TruncatedBodyError, match="goes on" if longer else "ended after"):
            await driver.write("bucket/k", body, WriteOptions())
    assert nothing_left(disk)


async def test_what_the_lane_leaves_to_the_sdk_is_read_from_the_file(
    disk: DiskS3Server, open_driver: Any, large_file: PathBody, read_all: Any
) -> None:
    async with open_driver(**UNSEEN) as driver:
        driver._client._lane.leave("bucket")
        await driver.write("bucket/k", large_file, WriteOptions())
        assert await read_all(driver, "bucket/k") == large_file.path.read_bytes()


async def test_an_upload_cancelled_while_it_waits_for_its_body_leaves_no_part(
    disk: DiskS3Server, open_driver: Any, cancel_when: Any
) -> None:
    closed = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield bytes(2 * PART)
            await asyncio.Event().wait()
        finally:
            closed = True

    async with open_driver() as driver:
        await cancel_when(
            disk, driver, StreamBody(endless()),
            lambda: bool(disk.uploads) and disk.uploads[0].parts == (1, 2),
        )  # fmt: skip
        assert nothing_left(disk)
        assert closed


async def test_an_upload_cancelled_before_it_knows_its_id_leaves_nothing(
    disk: DiskS3Server, open_driver: Any, cancel_when: Any
) -> None:
    disk.add_fault(Fault("CreateMultipartUpload", action=DelayReply(0.2)))
    async with open_driver() as driver:
        await cancel_when(disk, driver, BytesBody(bytes(3 * PART)), lambda: len(disk.uploads) == 1)
        assert nothing_left(disk)
        assert "UploadPart" not in disk.requests


async def test_an_upload_cancelled_while_it_is_completed_leaves_no_part(
    disk: DiskS3Server, open_driver: Any, cancel_when: Any
) -> None:
    disk.add_fault(Fault("CompleteMultipartUpload", action=Stall()))
    async with open_driver() as driver:
        await cancel_when(
            disk, driver, BytesBody(bytes(3 * PART)),
            lambda: "CompleteMultipartUpload" in disk.requests,
        )  # fmt: skip
    assert disk.uploads == ()


async def test_an_abort_that_hangs_does_not_hold_a_cancellation_for_ever(
    disk: DiskS3Server, open_driver: Any, cancel_when: Any, caplog: pytest.LogCaptureFixture
) -> None:
    disk.add_fault(Fault("UploadPart", action=Stall(), times=None))
    disk.add_fault(Fault("AbortMultipartUpload", action=Stall(), times=None))
    async with open_driver(cleanup_timeout_s=0.1) as driver:
        await cancel_when(
            disk, driver, BytesBody(bytes(3 * PART)), lambda: "UploadPart" in disk.requests
        )
    assert "an unfinished multipart upload may be left" in caplog.text
    assert "'bucket'" in caplog.text


async def test_an_error_within_a_200_is_an_error_and_is_repeated(
    disk: DiskS3Server, open_driver: Any
) -> None:
    disk.add_fault(Fault("CompleteMultipartUpload", action=ErrorIn200()))
    async with open_driver() as driver:
        await driver.write("bucket/k", BytesBody(bytes(3 * PART)), WriteOptions())
    assert disk.requests["CompleteMultipartUpload"] == 2


async def test_an_upload_that_cannot_be_completed_is_aborted(
    disk: DiskS3Server, open_driver: Any
) -> None:
    disk.add_fault(Fault("CompleteMultipartUpload", action=ErrorIn200(), times=None))
    async with open_driver() as driver:
        with pytest.raises(BackendUnavailableError):
            await driver.write("bucket/k", BytesBody(bytes(3 * PART)), WriteOptions())
        assert nothing_left(disk)


@pytest.mark.parametrize("failure", [CloseConnection(), ErrorIn200(carry_out=True)])
@pytest.mark.parametrize("overwrite", [True, False])
async def test_an_upload_that_was_completed_although_its_answer_was_lost_is_a_success(
    disk: DiskS3Server, open_driver: Any, failure: Any, overwrite: bool
) -> None:
    disk.add_fault(Fault("CompleteMultipartUpload", action=failure))
    async with open_driver() as driver:
        info = await driver.write(
            "bucket/k", BytesBody(bytes(3 * PART)), WriteOptions(overwrite=overwrite)
        )
        assert info.size == 3 * PART
        assert info.etag is not None
        assert info.etag.endswith("-3")
    assert disk.keys("bucket") == ("k",)
    assert disk.uploads == ()


async def test_a_create_only_upload_that_loses_leaves_no_part(
    disk: DiskS3Server, open_driver: Any
) -> None:
    async with open_driver() as driver:
        await driver.write("bucket/k", BytesBody(b"first"), WriteOptions())
        with pytest.raises(AlreadyExistsError):
            await driver.write(
                "bucket/k", BytesBody(bytes(3 * PART)), WriteOptions(overwrite=False)
            )
        assert disk.uploads == ()


async def test_an_upload_whose_id_was_lost_is_swept_if_its_key_is_its_own(
    disk: DiskS3Server, open_driver: Any
) -> None:
    disk.add_fault(Fault("CreateMultipartUpload"))
    async with open_driver() as driver:
        info = await driver.write(NameHint("a"), BytesBody(bytes(3 * PART)), WriteOptions())
        assert disk.uploads == ()
        assert disk.keys("bucket") == (info.path.partition("/")[2],)


async def test_an_upload_whose_id_was_lost_is_logged_if_others_may_write_to_its_key(
    disk: DiskS3Server, open_driver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    disk.add_fault(Fault("CreateMultipartUpload", times=None))
    async with open_driver() as driver:
        with pytest.raises(TransportError) as caught:
            await driver.write("bucket/k", BytesBody(bytes(3 * PART)), WriteOptions())
    assert caught.value.outcome == "unknown"
    assert "may be left at http://127.0.0.1" in caplog.text


async def test_an_upload_that_someone_else_aborts_is_an_error(
    disk: DiskS3Server, open_driver: Any
) -> None:
    disk.add_fault(Fault("UploadPart", action=AnswerStatus(404, "NoSuchUpload")))
    async with open_driver() as driver:
        with pytest.raises(StorageError, match="by someone else") as caught:
            await driver.write("bucket/k", BytesBody(bytes(3 * PART)), WriteOptions())
        assert not isinstance(caught.value, NotFoundError)


async def test_no_exception_group_leaves_a_write(disk: DiskS3Server, open_driver: Any) -> None:
    disk.add_fault(Fault("UploadPart", action=AnswerStatus(403, "AccessDenied"), times=None))
    async with open_driver(upload_concurrency=5) as driver:
        with pytest.raises(PermissionDeniedError):
            await driver.write("bucket/k", BytesBody(bytes(5 * PART)), WriteOptions())


async def test_the_timer_does_not_run_while_the_body_is_waited_for(
    disk: DiskS3Server, open_driver: Any
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(PART)
            await asyncio.sleep(0.3)  # the caller's own pause, longer than every time limit

    async with open_driver(
        attempt_timeout_s=0.2, read_timeout_s=0.2, pool_timeout_s=0.1, connect_timeout_s=0.1
    ) as driver:
        info = await driver.write("bucket/k", StreamBody(slow()), WriteOptions())
    assert info.size == 3 * PART


async def test_a_write_holds_no_slot_while_the_body_is_waited_for(
    disk: DiskS3Server, open_driver: Any
) -> None:
    from polystow import StatOptions

    release = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield bytes(PART)
        yield b"x"
        await release.wait()

    async with open_driver(max_concurrency=1) as driver, create_task_group() as tasks:
        tasks.start_soon(driver.write, "bucket/k", StreamBody(waiting()), WriteOptions())
        await to_thread.run_sync(disk.wait_until, lambda: "UploadPart" not in disk.running)
        with pytest.raises(NotFoundError):
            await driver.stat("bucket/other", StatOptions())
        release.set()


@pytest.mark.parametrize("size", [10_000 * 5 * 1024**3 + 1])
async def test_what_no_object_can_be_is_refused_before_anything_is_sent(
    disk: DiskS3Server, open_driver: Any, size: int
) -> None:
    async with open_driver() as driver:
        with pytest.raises(FileTooLargeError):
            await driver.write("bucket/k", StreamBody(zeros(0), size), WriteOptions())
    assert disk.requests == {}


async def test_metadata_that_cannot_be_kept_is_refused_before_anything_is_sent(
    disk: DiskS3Server, open_driver: Any
) -> None:
    async with open_driver() as driver:
        with pytest.raises(InvalidMetadataError, match="at most 2048"):
            await driver.write("bucket/k", BytesBody(b""), WriteOptions(metadata={"a": "x" * 2048}))
    assert disk.requests == {}


async def test_eight_create_only_writers_have_one_winner(
    disk: DiskS3Server, open_driver: Any
) -> None:
    outcomes: list[str] = []

    async def write(driver: Any) -> None:
        try:
            await driver.write("bucket/k", BytesBody(bytes(1000)), WriteOptions(overwrite=False))
            outcomes.append("won")
        except AlreadyExistsError:
            outcomes.append("lost")

    async with open_driver() as driver, create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(write, driver)
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]


async def test_a_large_body_in_memory_is_not_copied(open_s3: Any) -> None:
    with DiskS3Server(buckets=("bucket",), discard=True) as server:
        async with open_s3(server, multipart_threshold_bytes=64 * MIB) as driver:
            await driver.write("bucket/warm", BytesBody(b"x" * 100_000), WriteOptions())
            data = bytes(40 * MIB)
            for threshold_body in (BytesBody(data), BytesBody(memoryview(data))):
                tracemalloc.start()
                try:
                    await driver.write("bucket/k", threshold_body, WriteOptions())
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
                assert peak < 6 * MIB


@pytest.mark.parametrize("change", ["gone", "shorter", "longer"])
async def test_a_local_file_that_changes_under_its_upload_leaves_nothing(
    disk: DiskS3Server, open_s3: Any, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(12 * MIB))
    body = PathBody(path, 12 * MIB)
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes((11 if change == "shorter" else 13) * MIB))
    expected = NotFoundError if change == "gone" else TruncatedBodyError
    async with open_s3(disk, part_size_bytes=5 * MIB, multipart_threshold_bytes=5 * MIB) as driver:
        with pytest.raises(expected):
            await driver.write("bucket/k", body, WriteOptions())
    assert (disk.keys("bucket"), disk.uploads) == ((), ())


async def test_a_local_file_arrives_in_its_parts(
    disk: DiskS3Server, open_s3: Any, read_all: Any, tmp_path: Path, lane: str
) -> None:
    content = bytes(range(256)) * (13 * MIB // 256) + b"end"
    path = tmp_path / "large.bin"
    path.write_bytes(content)
    async with open_s3(disk, part_size_bytes=5 * MIB, multipart_threshold_bytes=5 * MIB) as driver:
        info = await driver.write("bucket/k", PathBody(path, len(content)), WriteOptions())
        assert info.size == len(content)
        assert await read_all(driver, "bucket/k") == content
    # Those that stay in the file are twice as large.
    assert disk.requests["UploadPart"] == (2 if lane == "fast" and CAN_SEND_FILES else 3)


@pytest.mark.skipif(not CAN_SEND_FILES, reason="files are read once, into memory")
@pytest.mark.parametrize("lane", ["fast"])
@pytest.mark.parametrize(
    "options",
    [{"payload_signing": "always"}, {"payload_signing": "never", "checksums": "when_supported"}],
    ids=["signed", "checksums"],
)
async def test_a_file_that_changes_after_it_was_hashed_is_refused(
    disk: DiskS3Server,
    open_s3: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(12 * MIB))

    async def and_change(*args: Any, **kwargs: Any) -> Any:
        digests = await digest_file(*args, **kwargs)
        with path.open("r+b") as file:
            file.write(b"x" * 12 * MIB)
        return digests

    monkeypatch.setattr("polystow_s3._multipart.digest_file", and_change)
    sizes = {"part_size_bytes": 5 * MIB, "multipart_threshold_bytes": 5 * MIB}
    async with open_s3(disk, **sizes, **options) as driver:
        with pytest.raises(ChecksumMismatchError):
            await driver.write("bucket/k", PathBody(path, 12 * MIB), WriteOptions())
    assert (disk.keys("bucket"), disk.uploads) == ((), ())
