"""What is left, and what is said, when an answer is lost; found by the fault battery."""

import asyncio
from typing import Any

import pytest
from anyio import to_thread

from polystow import BytesBody, CopyOptions, NameHint, StatOptions, TransportError, WriteOptions
from polystow_testing.s3 import CloseConnection, DelayReply, DiskS3Server, Fault

PATH = "bucket/key"
BODY = BytesBody(b"content")


async def test_a_request_is_not_repeated_behind_the_policy(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk, attempts=1) as driver:
        await driver.write(PATH, BODY, WriteOptions())
        disk.add_fault(Fault("PutObject", action=CloseConnection()))
        with pytest.raises(TransportError) as caught:
            await driver.write(PATH, BODY, WriteOptions())
        assert caught.value.outcome == "unknown"
    assert disk.requests["PutObject"] == 2


@pytest.mark.parametrize("operation", ["PutObject", "CopyObject"])
async def test_a_new_key_whose_answer_was_lost_is_swept(
    disk: DiskS3Server, open_s3: Any, operation: str
) -> None:
    async with open_s3(disk, attempts=1) as driver:
        await driver.write(PATH, BODY, WriteOptions())
        disk.add_fault(Fault(operation, action=CloseConnection()))
        new = NameHint("new.txt")
        if operation == "PutObject":
            lost = driver.write(new, BODY, WriteOptions())
        else:
            lost = driver.copy(PATH, new, CopyOptions())
        with pytest.raises(TransportError) as caught:
            await lost
        assert caught.value.outcome == "unknown"
        await driver.stat(PATH, StatOptions())
    assert disk.keys("bucket") == ("key",)


async def test_a_cancelled_write_to_a_new_key_is_swept(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk) as driver:
        disk.add_fault(Fault("PutObject", action=DelayReply(5.0)))
        task = asyncio.create_task(driver.write(NameHint("new.txt"), BODY, WriteOptions()))
        await to_thread.run_sync(disk.wait_until, lambda: disk.keys("bucket") != ())
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert disk.keys("bucket") == ()
