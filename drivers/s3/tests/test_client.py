"""The client's life: opened once, by whoever comes first, and drained at the end."""

import asyncio
import socket
import subprocess
import sys
from itertools import islice
from typing import Any

import anyio
import pytest
from anyio import create_task_group, to_thread

from polystow import (
    BytesBody,
    LifecycleError,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    ReadOptions,
    Secret,
    StatOptions,
    StorageError,
    TransportError,
    WriteOptions,
)
from polystow_testing.s3 import AnswerStatus, Credentials, DiskS3Server, Fault, Stall

MIB = 1024**2


def test_neither_the_spec_nor_an_open_driver_imports_the_sdk() -> None:
    code = """
import asyncio, sys
from polystow import DriverContext, RequestPolicy
from polystow_s3 import SPEC, S3Config
async def main():
    async with SPEC.open(S3Config(), DriverContext(RequestPolicy())):
        pass
asyncio.run(main())
print([name for name in ("aiobotocore", "botocore", "aiohttp") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_opening_sends_nothing(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk):
        pass
    assert disk.requests == {}


async def test_many_first_users_share_one_client(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk) as driver, create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(driver.write, f"bucket/{number}", BytesBody(b"x"), WriteOptions())
    assert disk.requests["PutObject"] == 20


async def test_a_cancelled_first_user_does_not_harm_the_others(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk) as driver:
        first = asyncio.ensure_future(driver.write("bucket/1", BytesBody(b"x"), WriteOptions()))
        second = asyncio.ensure_future(driver.write("bucket/2", BytesBody(b"x"), WriteOptions()))
        await asyncio.sleep(0)  # both have begun: one opens the client, the other waits for it
        first.cancel()
        assert (await second).size == 1
        with pytest.raises(asyncio.CancelledError):
            await first
    assert disk.keys("bucket") == ("2",)
    await to_thread.run_sync(disk.wait_until, lambda: disk.open_connections == 0)


async def test_closing_waits_for_what_is_under_way(disk: DiskS3Server, open_s3: Any) -> None:
    disk.add_fault(Fault("PutObject", action=Stall()))
    async with create_task_group() as tasks:
        async with open_s3(disk, read_timeout_s=0.3, attempts=2) as driver:
            tasks.start_soon(driver.write, "bucket/k", BytesBody(b"x"), WriteOptions())
            await to_thread.run_sync(disk.wait_until, lambda: "PutObject" in disk.requests)
        assert disk.requests["PutObject"] == 2
    assert disk.keys("bucket") == ("k",)


async def test_closing_does_not_wait_for_ever(
    disk: DiskS3Server, open_s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    disk.add_fault(Fault("PutObject", action=Stall()))
    failures: list[Exception] = []

    async def write(driver: Any) -> None:
        try:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        except StorageError as error:
            failures.append(error)

    async with create_task_group() as tasks:
        async with open_s3(disk, close_timeout_s=0.05) as driver:
            tasks.start_soon(write, driver)
            await to_thread.run_sync(disk.wait_until, lambda: "PutObject" in disk.requests)
        await to_thread.run_sync(disk.wait_until, lambda: disk.open_connections == 0)
    assert len(failures) == 1
    assert "1 operations and 0 streams were under way" in caplog.text


async def test_closing_waits_for_open_streams(disk: DiskS3Server, open_s3: Any) -> None:
    received = bytearray()
    async with create_task_group() as tasks, open_s3(disk) as driver:
        await driver.write("bucket/k", BytesBody(bytes(3 * MIB)), WriteOptions())
        stream = await driver.open_read("bucket/k", ReadOptions())

        async def read() -> None:
            async for chunk in stream:
                received.extend(chunk)
            await stream.aclose()

        tasks.start_soon(read)
    assert len(received) == 3 * MIB


async def test_a_closed_driver_says_so(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk) as driver:
        pass
    with pytest.raises(LifecycleError):
        await driver.stat("bucket/k", StatOptions())


async def test_closing_closes_all_connections(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        assert disk.open_connections == 1
    await to_thread.run_sync(disk.wait_until, lambda: disk.open_connections == 0)


async def test_signatures_are_accepted_and_wrong_ones_explained(open_s3: Any) -> None:
    with DiskS3Server(buckets=("bucket",), credentials=Credentials("key", "secret")) as server:
        async with open_s3(server) as driver:
            for size in (0, 10, 100_000, 9 * MIB):
                await driver.write("bucket/ü b+c", BytesBody(bytes(size)), WriteOptions())
        async with open_s3(server, secret_access_key=Secret("geheim")) as driver:
            with pytest.raises(PermissionDeniedError, match="does not belong") as caught:
                await driver.write("bucket/k", BytesBody(bytes(100_000)), WriteOptions())
            assert "geheim" not in str(caught.value)
        async with open_s3(server, access_key_id="other") as driver:
            with pytest.raises(PermissionDeniedError, match="does not know access_key_id"):
                await driver.open_read("bucket/k", ReadOptions())
        assert server.requests["PutObject"] == 4  # 0, 10, 100,000 and the refused one


async def test_unsigned_payloads_are_accepted(open_s3: Any) -> None:
    with DiskS3Server(buckets=("bucket",), credentials=Credentials("key", "secret")) as server:
        async with open_s3(server, payload_signing="never") as driver:
            await driver.write("bucket/k", BytesBody(bytes(9 * MIB)), WriteOptions())


@pytest.mark.parametrize("failure", [AnswerStatus(500), AnswerStatus(503, "SlowDown")])
async def test_failures_of_the_service_are_repeated(
    disk: DiskS3Server, open_s3: Any, failure: AnswerStatus
) -> None:
    async with open_s3(disk) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        disk.add_fault(Fault(action=failure, times=2))
        assert (await driver.stat("bucket/k", StatOptions())).size == 1
        assert disk.requests["HeadObject"] == 3


async def test_botocore_repeats_nothing_itself(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk, attempts=1) as driver:
        disk.add_fault(Fault(action=AnswerStatus(503, "SlowDown", headers={"Retry-After": "9"})))
        with pytest.raises(RateLimitedError) as caught:
            await driver.open_read("bucket/k", ReadOptions())
    assert disk.requests == {"GetObject": 1}
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 9.0)


async def test_refusals_are_not_repeated(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk) as driver:
        disk.add_fault(Fault(action=AnswerStatus(403, "AccessDenied")))
        with pytest.raises(PermissionDeniedError):
            await driver.stat("bucket/k", StatOptions())
    assert disk.requests == {"HeadObject": 1}


async def test_a_create_only_write_is_not_repeated_after_its_answer_was_lost(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk) as driver:
        disk.add_fault(Fault("PutObject"))
        with pytest.raises(TransportError) as caught:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions(overwrite=False))
    assert caught.value.outcome == "unknown"
    assert disk.requests == {"PutObject": 1}


async def test_a_plain_write_is_repeated_after_its_answer_was_lost(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async with open_s3(disk) as driver:
        disk.add_fault(Fault("PutObject"))
        await driver.write("bucket/k", BytesBody(bytes(100_000)), WriteOptions())
    assert disk.requests == {"PutObject": 2}


async def test_nobody_there_is_a_transport_error(disk: DiskS3Server, open_s3: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with open_s3(disk, endpoint=endpoint) as driver:
            with pytest.raises(TransportError, match="no connection to the service") as caught:
                await driver.write("bucket/k", BytesBody(b"x"), WriteOptions(overwrite=False))
    assert (caught.value.outcome, caught.value.retryable) == ("failed", True)


async def test_a_silent_server_is_a_timeout(disk: DiskS3Server, open_s3: Any) -> None:
    disk.add_fault(Fault(action=Stall(), times=None))
    async with open_s3(disk, read_timeout_s=0.1, attempts=2) as driver:
        with pytest.raises(OperationTimeoutError):
            await driver.stat("bucket/k", StatOptions())
    assert disk.requests == {"HeadObject": 2}


async def test_a_server_that_takes_no_more_bytes_is_a_timeout(
    disk: DiskS3Server, open_s3: Any
) -> None:
    from polystow_testing.s3 import StopReading

    disk.add_fault(Fault(action=StopReading(after_bytes=1), times=None))
    async with open_s3(disk, read_timeout_s=0.2, attempts=1) as driver:
        with pytest.raises(OperationTimeoutError):
            await driver.write("bucket/k", BytesBody(bytes(8 * MIB)), WriteOptions())


async def test_waiting_for_a_connection_has_a_limit(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(
        disk, max_pool_connections=1, pool_timeout_s=0.1, connect_timeout_s=0.4,
        read_timeout_s=0.4, attempts=1,
    ) as driver:  # fmt: skip
        await driver.write("bucket/k", BytesBody(bytes(4 * MIB)), WriteOptions())
        stream = await driver.open_read("bucket/k", ReadOptions())
        with pytest.raises(OperationTimeoutError, match="max_pool_connections"):
            await driver.stat("bucket/k", StatOptions())
        await stream.aclose()
        await driver.stat("bucket/k", StatOptions())


async def test_streams_hold_no_slot_of_the_policy(disk: DiskS3Server, open_s3: Any) -> None:
    async with open_s3(disk, max_concurrency=2) as driver:
        await driver.write("bucket/k", BytesBody(bytes(2 * MIB)), WriteOptions())
        streams = [await driver.open_read("bucket/k", ReadOptions()) for _ in range(5)]
        for stream in streams:
            assert len(await stream.receive(1000)) > 0
            await stream.aclose()


async def test_the_default_chain_finds_credentials(
    monkeypatch: pytest.MonkeyPatch, open_s3: Any
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its-secret")
    with DiskS3Server(
        buckets=("bucket",), credentials=Credentials("from-env", "its-secret")
    ) as server:
        async with open_s3(server, access_key_id=None, secret_access_key=None) as driver:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())


async def test_a_cancelled_request_leaves_no_connection_behind(
    disk: DiskS3Server, open_s3: Any
) -> None:
    disk.add_fault(Fault(action=Stall()))
    async with open_s3(disk) as driver:
        async with create_task_group() as tasks:
            tasks.start_soon(driver.stat, "bucket/k", StatOptions())
            await to_thread.run_sync(disk.wait_until, lambda: "HeadObject" in disk.requests)
            tasks.cancel_scope.cancel()
        await to_thread.run_sync(disk.wait_until, lambda: disk.open_connections == 0)


async def test_hashing_large_bodies_does_not_hold_the_loop(
    disk: DiskS3Server, open_s3: Any
) -> None:
    loop = asyncio.get_running_loop()
    async with open_s3(disk, multipart_threshold_bytes=64 * MIB) as driver:
        await driver.write("bucket/warm", BytesBody(b"x"), WriteOptions())
        from polystow_s3 import _digests

        threads: list[bool] = []
        real = _digests.digest_now

        def spy(data: Any, algorithms: Any, *, signed: bool) -> Any:
            try:
                running = asyncio.get_running_loop() is loop
            except RuntimeError:
                running = False
            threads.append(running)
            return real(data, algorithms, signed=signed)

        _digests.digest_now = spy
        try:
            await driver.write("bucket/k", BytesBody(bytes(9 * MIB)), WriteOptions())
        finally:
            _digests.digest_now = real
    assert threads == [False]


async def test_answers_that_are_no_s3_are_errors_of_polystow(
    disk: DiskS3Server, open_s3: Any
) -> None:
    from polystow import ListOptions
    from polystow_testing.s3 import AnswerBytes

    async with open_s3(disk, attempts=2) as driver:
        disk.add_fault(Fault("ListObjectsV2", action=AnswerBytes(b"<html>"), times=None))
        with pytest.raises(StorageError):
            await driver.capabilities.list.list_page("bucket", ListOptions(), None)
    assert disk.requests == {"ListObjectsV2": 2}


async def test_an_empty_page_has_its_cursor(disk: DiskS3Server, open_s3: Any) -> None:
    from polystow import ListOptions
    from polystow_testing.s3 import EmptyPage

    disk.add_fault(Fault(action=EmptyPage(), times=1))
    async with open_s3(disk) as driver:
        page = await driver.capabilities.list.list_page("bucket", ListOptions(), None)
        assert (page.items, page.cursor is not None) == ((), True)


def test_drivers_work_one_after_the_other_in_several_loops(
    disk: DiskS3Server, open_s3: Any
) -> None:
    async def main() -> None:
        async with open_s3(disk) as driver:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())

    anyio.run(main)
    anyio.run(main)
    assert disk.requests == {"PutObject": 2}


async def test_missing_credentials_come_with_advice(
    disk: DiskS3Server, open_s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    async with open_s3(disk, access_key_id=None, secret_access_key=None) as driver:
        with pytest.raises(PermissionDeniedError, match="set access_key_id"):
            await driver.stat("bucket/k", StatOptions())


async def test_tls_that_fails_is_explained_and_not_repeated(
    disk: DiskS3Server, open_s3: Any
) -> None:
    endpoint = disk.endpoint.replace("http", "https")
    async with open_s3(disk, endpoint=endpoint) as driver:
        with pytest.raises(TransportError):
            await driver.stat("bucket/k", StatOptions())


async def test_a_wrong_botocore_configuration_is_a_config_error(
    disk: DiskS3Server, open_s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from polystow import ConfigError

    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    async with open_s3(disk, region=None) as driver:
        for _ in range(2):  # a failed opening leaves the next one as it was
            with pytest.raises(ConfigError, match="nobody"):
                await driver.stat("bucket/k", StatOptions())
    assert disk.requests == {}


def test_a_payload_is_a_file_for_botocore() -> None:
    from polystow_s3._payload import Payload

    payload = Payload(memoryview(b"0123456789"), None, repeatable=True)
    assert (payload.read(4), payload.tell(), payload.read()) == (b"0123", 4, b"456789")
    assert (payload.seek(0), payload.read(1), payload.seek(-1, 2), payload.read()) == (
        0, b"0", 9, b"9",
    )  # fmt: skip
    assert len(payload) == 10


async def test_a_body_is_abandoned_whose_connection_is_gone() -> None:
    from polystow_s3._payload import Payload

    reading, gone = asyncio.Event(), asyncio.Event()

    class Sending(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            gone.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reading.wait()
        while await reader.read(1_048_576):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(Sending, host, port)
        payload = Payload(memoryview(bytes(8_388_608)), None, repeatable=True)
        for chunk in islice(payload.chunks(transport), 31):
            transport.write(chunk)
        transport.close()  # which waits for the rest to be sent
        reading.set()
        await gone.wait()
        payload.abandon()


def test_another_kind_of_event_loop_is_refused(disk: DiskS3Server, open_s3: Any) -> None:
    async def main() -> None:
        with pytest.raises(LifecycleError, match="asyncio"):
            async with open_s3(disk):
                pass

    anyio.run(main, backend="trio")
