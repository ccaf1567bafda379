"""Streams that break, stall and are left: on the server with faults."""

import asyncio
from typing import Any

import pytest
from anyio import CancelScope, ClosedResourceError, EndOfStream, create_task_group, to_thread

from polystow import (
    ByteRange,
    BytesBody,
    ChecksumMismatchError,
    NotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadOptions,
    StorageDriver,
    TransportError,
    WriteOptions,
)
from polystow_testing.s3 import (
    AnswerRange,
    AnswerStatus,
    CloseConnection,
    DiskS3Server,
    Fault,
    Stall,
)

MIB = 1024**2
DATA = bytes(range(256)) * 4096 * 3


@pytest.fixture
async def driver(on_disk: StorageDriver) -> StorageDriver:
    await on_disk.write("bucket/k", BytesBody(DATA), WriteOptions())
    return on_disk


async def no_connection_left(disk: DiskS3Server) -> None:
    await to_thread.run_sync(disk.wait_until, lambda: disk.open_connections == 0)


@pytest.mark.parametrize("after", [0, 1, 100_000, len(DATA) - 1])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_read_that_breaks_off_is_resumed_where_it_was(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any, after: int, reset: bool
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(after, reset=reset)))
    assert await read_all(driver, "bucket/k") == DATA
    assert disk.requests["GetObject"] == 2


async def test_a_ranged_read_is_resumed_within_its_range(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(1000)))
    options = ReadOptions(range=ByteRange(5, 200_004))
    assert await read_all(driver, "bucket/k", options) == DATA[5:200_005]
    disk.add_fault(Fault("GetObject", action=CloseConnection(1000)))
    options = ReadOptions(range=ByteRange.suffix(5000))
    assert await read_all(driver, "bucket/k", options) == DATA[-5000:]


async def test_a_read_that_stalls_is_resumed(
    disk: DiskS3Server, open_s3: Any, read_all: Any
) -> None:
    async with open_s3(disk, read_timeout_s=0.2) as driver:
        await driver.write("bucket/k", BytesBody(DATA), WriteOptions())
        disk.add_fault(Fault("GetObject", action=Stall(after_bytes=70_000)))
        assert await read_all(driver, "bucket/k") == DATA


async def test_a_read_that_breaks_again_and_again_is_no_short_read(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(10), times=None))
    with pytest.raises(TransportError, match="resumed 5 times in vain") as caught:
        await read_all(driver, "bucket/k")
    assert caught.value.path == "bucket/k"
    assert disk.requests["GetObject"] == 6


async def test_progress_allows_any_number_of_resumes(
    disk: DiskS3Server, open_s3: Any, read_all: Any
) -> None:
    large = DATA * 4
    async with open_s3(disk) as driver:
        await driver.write("bucket/k", BytesBody(large), WriteOptions())
        disk.add_fault(Fault("GetObject", action=CloseConnection(MIB + 1000), times=None))
        assert await read_all(driver, "bucket/k") == large
    assert disk.requests["GetObject"] > 7


async def test_a_read_is_not_resumed_on_another_object(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(100_000)))
    stream = await driver.open_read("bucket/k", ReadOptions())
    await driver.write("bucket/k", BytesBody(DATA[::-1]), WriteOptions())
    with pytest.raises(PreconditionFailedError, match="replaced meanwhile"):
        async for _ in stream:
            pass
    with pytest.raises(TransportError, match="failed before"):
        await stream.receive()
    await stream.aclose()


async def test_a_read_is_not_resumed_on_a_shorter_object(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(100_000)))
    stream = await driver.open_read("bucket/k", ReadOptions())
    await driver.write("bucket/k", BytesBody(b"short"), WriteOptions())
    with pytest.raises(PreconditionFailedError):
        async for _ in stream:
            pass
    await stream.aclose()


async def test_a_read_whose_object_goes_is_an_error(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    from polystow import DeleteOptions

    disk.add_fault(Fault("GetObject", action=CloseConnection(100_000)))
    stream = await driver.open_read("bucket/k", ReadOptions())
    await driver.delete("bucket/k", DeleteOptions())
    with pytest.raises(NotFoundError):
        async for _ in stream:
            pass
    await stream.aclose()


async def test_a_resume_is_repeated_by_the_policy(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(100_000)))
    disk.add_fault(Fault("GetObject", action=AnswerStatus(503), times=2))
    assert await read_all(driver, "bucket/k") == DATA


@pytest.mark.parametrize("style", ["200", "ignored"])
@pytest.mark.parametrize("asked", [ByteRange(100, 70_099), ByteRange(5), ByteRange.suffix(10)])
async def test_servers_that_deal_with_ranges_otherwise(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any, style: Any, asked: ByteRange
) -> None:
    disk.add_fault(Fault("GetObject", action=AnswerRange(style), times=None))
    part = asked.resolve(len(DATA))
    got = await read_all(driver, "bucket/k", ReadOptions(range=asked))
    assert got == DATA[part.offset : part.offset + part.length]


async def test_a_range_behind_the_end_is_an_error_even_if_the_server_ignores_it(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    disk.add_fault(Fault("GetObject", action=AnswerRange("ignored")))
    with pytest.raises(RangeNotSatisfiableError):
        await driver.open_read("bucket/k", ReadOptions(range=ByteRange(len(DATA))))
    await no_connection_left(disk)


async def test_receive_gives_no_more_than_was_asked_for(driver: StorageDriver) -> None:
    stream = await driver.open_read("bucket/k", ReadOptions(chunk_size_bytes=1000))
    received = bytearray()
    while True:
        try:
            chunk = await stream.receive(777)
        except EndOfStream:
            break
        assert 0 < len(chunk) <= 777
        received += chunk
    assert received == DATA
    with pytest.raises(EndOfStream):
        await stream.receive()
    await stream.aclose()
    with pytest.raises(ClosedResourceError):
        await stream.receive()


async def test_an_object_read_to_its_end_leaves_its_connection_for_the_next(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any
) -> None:
    for _ in range(5):
        await read_all(driver, "bucket/k")
    assert disk.open_connections == 1


async def test_an_empty_object_leaves_its_connection_for_the_next(
    disk: DiskS3Server, on_disk: StorageDriver
) -> None:
    await on_disk.write("bucket/empty", BytesBody(b""), WriteOptions())
    for _ in range(3):
        stream = await on_disk.open_read("bucket/empty", ReadOptions())
        with pytest.raises(EndOfStream):
            await stream.receive()
        await stream.aclose()
    assert disk.open_connections == 1


async def test_closing_an_unread_stream_drops_its_connection(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    stream = await driver.open_read("bucket/k", ReadOptions())
    await stream.receive(10)
    await stream.aclose()
    await stream.aclose()
    await no_connection_left(disk)


async def test_a_cancelled_receive_leaves_no_connection_behind(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    disk.add_fault(Fault("GetObject", action=Stall(after_bytes=1000)))
    cancelled = False

    async def read() -> None:
        nonlocal cancelled
        stream = await driver.open_read("bucket/k", ReadOptions())
        try:
            while True:
                await stream.receive()
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            await stream.aclose()

    async with create_task_group() as tasks:
        tasks.start_soon(read)
        await to_thread.run_sync(disk.wait_until, lambda: "GetObject" in disk.requests)
        tasks.cancel_scope.cancel()
    assert cancelled
    await no_connection_left(disk)


async def test_a_stream_can_be_closed_in_a_cancelled_task(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    stream = await driver.open_read("bucket/k", ReadOptions())
    with CancelScope() as scope:
        scope.cancel()
        await stream.aclose()
    await no_connection_left(disk)


async def test_a_slow_reader_is_no_silent_server(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk, read_timeout_s=0.15) as driver:
        await driver.write("bucket/k", BytesBody(DATA), WriteOptions())
        stream = await driver.open_read("bucket/k", ReadOptions())
        received = bytearray(await stream.receive(1000))
        await asyncio.sleep(0.4)  # the caller's own pause, longer than the time limit
        async for chunk in stream:
            received += chunk
        await stream.aclose()
    assert received == DATA


async def test_memory_stays_small_whatever_the_objects_size(open_s3: Any) -> None:
    import tracemalloc

    with DiskS3Server(buckets=("bucket",), discard=True) as server:
        async with open_s3(server, payload_signing="never") as driver:
            zeros = memoryview(bytes(32 * MIB))
            await driver.write("bucket/k", BytesBody(zeros), WriteOptions())
            del zeros
            tracemalloc.start()
            try:
                stream = await driver.open_read("bucket/k", ReadOptions())
                size = 0
                async for chunk in stream:
                    size += len(chunk)
                await stream.aclose()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert size == 32 * MIB
    assert peak < 6 * MIB


async def test_whole_reads_are_verified_where_the_server_keeps_a_checksum(
    disk: DiskS3Server, open_s3: Any, read_all: Any
) -> None:
    async with open_s3(disk, checksums="when_supported") as driver:
        info = await driver.write("bucket/k", BytesBody(DATA), WriteOptions())
        stream = await driver.open_read("bucket/k", ReadOptions())
        assert stream.info.checksum == info.checksum
        await stream.aclose()
        assert await read_all(driver, "bucket/k") == DATA
        assert await read_all(driver, "bucket/k", ReadOptions(range=ByteRange(1, 5))) == DATA[1:6]
        disk.corrupt("bucket", "k")
        with pytest.raises(ChecksumMismatchError, match="the service keeps"):
            await read_all(driver, "bucket/k")


async def test_checksums_of_multipart_objects_are_of_the_whole(
    disk: DiskS3Server, open_s3: Any, read_all: Any
) -> None:
    data = DATA * 5
    async with open_s3(
        disk, checksums="when_supported", part_size_bytes=5 * MIB, multipart_threshold_bytes=0
    ) as driver:
        info = await driver.write("bucket/k", BytesBody(data), WriteOptions())
        assert info.checksum is not None
        assert await read_all(driver, "bucket/k") == data
    assert disk.requests["UploadPart"] == 3


async def test_if_match_is_honoured_where_the_server_ignores_it(
    disk: DiskS3Server, driver: StorageDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystow_testing.s3._service.check_read", lambda *_: None)
    with pytest.raises(PreconditionFailedError):
        await driver.open_read("bucket/k", ReadOptions(if_match="other"))
    disk.add_fault(Fault("GetObject", action=CloseConnection(100_000)))
    stream = await driver.open_read("bucket/k", ReadOptions())
    await driver.write("bucket/k", BytesBody(DATA[::-1]), WriteOptions())
    with pytest.raises(PreconditionFailedError, match="replaced meanwhile"):
        async for _ in stream:
            pass
    await stream.aclose()


async def test_a_read_without_an_entity_tag_is_not_resumed(
    disk: DiskS3Server, driver: StorageDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polystow_testing.s3 import _operations

    real = _operations.object_headers

    def without_etag(*args: Any) -> dict[str, str]:
        return {name: value for name, value in real(*args).items() if name != "ETag"}

    monkeypatch.setattr("polystow_testing.s3._service.object_headers", without_etag)
    disk.add_fault(Fault("GetObject", action=CloseConnection(100_000)))
    stream = await driver.open_read("bucket/k", ReadOptions())
    assert stream.info.etag is None
    with pytest.raises(TransportError, match="no entity tag"):
        async for _ in stream:
            pass
    await stream.aclose()
    assert disk.requests["GetObject"] == 1


async def test_a_ranged_read_that_is_ignored_is_resumed_too(
    disk: DiskS3Server, driver: StorageDriver, read_all: Any
) -> None:
    disk.add_fault(Fault("GetObject", action=CloseConnection(1_500_000)))
    disk.add_fault(Fault("GetObject", action=AnswerRange("ignored"), times=None))
    options = ReadOptions(range=ByteRange(1_000_000, 2_999_999))
    assert await read_all(driver, "bucket/k", options) == DATA[1_000_000:3_000_000]


async def test_a_stream_that_is_closed_by_another_task_is_not_resumed(
    disk: DiskS3Server, driver: StorageDriver
) -> None:
    disk.add_fault(Fault("GetObject", action=Stall(after_bytes=1000)))
    stream = await driver.open_read("bucket/k", ReadOptions())
    assert len(await stream.receive(1000)) == 1000

    async def read() -> None:
        with pytest.raises(ClosedResourceError):
            await stream.receive()

    async with create_task_group() as tasks:
        tasks.start_soon(read)
        await asyncio.sleep(0)  # it has begun to wait
        await stream.aclose()
    assert disk.requests["GetObject"] == 1
    await no_connection_left(disk)
