"""What remains right when servers, networks and callers fail."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import pytest

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ChecksumMismatchError,
    InvalidPathError,
    LifecycleError,
    NoSpaceError,
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    RequestPolicyConfig,
    StorageError,
    TransportError,
)
from polystow_fastdfs._bulk import MIN_BULK_BYTES
from polystow_fastdfs._reading import FastdfsReadStream
from polystow_testing.fastdfs import (
    Action,
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    CloseOnConnect,
    Command,
    DelayReply,
    FastdfsServer,
    Fault,
    SplitReply,
    Stall,
    StopReading,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Client, MakeClient

DATA = random.Random(1).randbytes(3_000_000)
SHORT = 0.4
ONCE = RequestPolicyConfig(attempts=1)


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def until_open(server: FastdfsServer, count: int, on: str | None = None) -> None:
    """Wait until the server has `count` open connections."""
    await server.wait_until_async(
        lambda stats: count == sum(s.connections_open for s in stats if on in (None, s.role))
    )


async def until_requested(server: FastdfsServer, command: int, count: int = 1) -> None:
    """Wait until `count` requests of `command` have arrived."""
    await server.wait_until_async(
        lambda stats: sum(s.requests.get(command, 0) for s in stats) >= count
    )


@pytest.fixture
def two_trackers() -> Iterator[FastdfsServer]:
    with FastdfsServer(tracker_count=2) as server:
        yield server


# Reads


@pytest.mark.parametrize("piece_bytes", [1, 3, 9, 11])
async def test_answers_in_small_pieces_are_put_together(
    client: Client, fastdfs_server: FastdfsServer, piece_bytes: int
) -> None:
    fastdfs_server.faults.add(Fault(action=SplitReply(piece_bytes), times=None))
    info = await client.upload(DATA[:500], metadata={"a": "b"})
    assert await client.read(info.path) == DATA[:500]
    stat = await client.stat(info.path)
    assert (stat.size, stat.metadata) == (500, {"a": "b"})
    await client.delete(info.path, missing_ok=False)


@pytest.mark.parametrize("reset", [False, True])
async def test_read_that_loses_its_connection_goes_on_where_it_was(
    client: Client, fastdfs_server: FastdfsServer, *, reset: bool
) -> None:
    path = fastdfs_server.put(DATA)
    fault = CloseConnection(after_bytes=1_000_000, reset=reset)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=fault, times=2))
    assert await client.read(path) == DATA
    assert fastdfs_server.request_count(Command.DOWNLOAD) == 3


async def test_read_that_makes_no_progress_fails(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fault = CloseConnection(after_bytes=10)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=fault, times=None))
    with pytest.raises(TransportError, match="closed the connection") as caught:
        await client.read(path)
    assert caught.value.path == path
    fastdfs_server.faults.clear()
    assert await client.read(path) == DATA


async def test_read_that_stalls_times_out_and_goes_on(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=Stall(after_bytes=1_000_000)))
    async with make_client(network_timeout_s=SHORT) as client:
        assert await client.read(path) == DATA


async def test_slow_reader_runs_into_no_timeout(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    async with make_client(network_timeout_s=0.3) as client, await client.open(path) as stream:
        first = await stream.receive(10)
        await anyio.sleep(0.6)
        assert first + b"".join([chunk async for chunk in stream]) == DATA
    assert fastdfs_server.request_count(Command.DOWNLOAD) == 1


async def test_damaged_content_is_noticed_before_its_end_is_handed_out(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    header = AnswerBytes.header(5).data
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=AnswerBytes(header + b"hellO")))
    with pytest.raises(ChecksumMismatchError, match="damaged"):
        await client.read(path)
    assert await client.read(path) == b"hello"


async def test_copy_of_another_length_is_noticed(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    header = AnswerBytes.header(4).data
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=AnswerBytes(header + b"hell")))
    with pytest.raises(ChecksumMismatchError, match="4 bytes of a file of 5"):
        await client.read(path)
    assert await client.read(path) == b"hello"


# Answers that are none

GARBAGE = [
    AnswerBytes.garbage().data,
    AnswerBytes.header(-1).data,
    AnswerBytes.header(2**62).data,
    AnswerBytes.header(5, command=101).data + b"abcde",
    AnswerBytes.header(5).data + b"abcde",
    AnswerBytes.header(0).data + b"x",
]


@pytest.mark.parametrize("answer", GARBAGE)
@pytest.mark.parametrize("command", [Command.QUERY_UPDATE, Command.FILE_INFO])
async def test_garbage_is_an_error_and_leaves_nothing(
    make_client: MakeClient, fastdfs_server: FastdfsServer, command: int, answer: bytes
) -> None:
    path = fastdfs_server.put(b"hello")
    async with make_client(ONCE, network_timeout_s=SHORT) as client:
        fault = fastdfs_server.faults.add(Fault(command, action=AnswerBytes(answer)))
        with pytest.raises((TransportError, OperationTimeoutError)):
            await client.stat(path)
        assert fastdfs_server.faults.fired(fault) == 1
        assert (await client.stat(path)).size == 5


STATUSES: list[tuple[int, type[StorageError]]] = [
    (1, PermissionDeniedError),
    (2, NotFoundError),
    (13, PermissionDeniedError),
    (16, BackendUnavailableError),
    (17, AlreadyExistsError),
    (22, InvalidPathError),
    (28, NoSpaceError),
    (99, BackendUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_statuses_become_errors(
    make_client: MakeClient, fastdfs_server: FastdfsServer, status: int, kind: type[StorageError]
) -> None:
    path = fastdfs_server.put(b"hello")
    async with make_client(ONCE) as client:
        fastdfs_server.faults.add(Fault(Command.FILE_INFO, action=AnswerStatus(status)))
        with pytest.raises(kind, match=f"status {status} from 127"):
            await client.stat(path)
        assert (await client.stat(path)).size == 5


async def test_connection_is_dropped_where_the_server_may_close_it(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(Command.FILE_INFO, action=AnswerStatus(22)))
    with pytest.raises(InvalidPathError):
        await client.stat(path)
    await client.stat(path)
    assert fastdfs_server.opened_connections(on="storage") == 2


async def test_passing_failures_of_reads_are_repeated(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(Command.FILE_INFO, action=AnswerStatus(16), times=2))
    assert (await client.stat(path)).size == 5


async def test_retries_of_the_configuration_count(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(Command.FILE_INFO, action=AnswerStatus(16), times=None))
    async with make_client(retries=1) as client:
        with pytest.raises(BackendUnavailableError):
            await client.stat(path)
    assert fastdfs_server.request_count(Command.FILE_INFO) == 2


# Trackers


async def test_another_tracker_is_asked_and_the_dead_one_left_alone(
    make_client: MakeClient, two_trackers: FastdfsServer
) -> None:
    path = two_trackers.put(b"hello")
    two_trackers.stop_node(two_trackers.trackers[0])
    async with make_client(ONCE, server=two_trackers) as client:
        for _ in range(3):
            assert await client.read(path) == b"hello"
        first, second = two_trackers.trackers
        two_trackers.start_node(first)
        two_trackers.stop_node(second)
        assert await client.read(path) == b"hello"


async def test_tracker_that_hangs_costs_one_timeout(
    make_client: MakeClient, two_trackers: FastdfsServer
) -> None:
    path = two_trackers.put(b"hello")
    first = two_trackers.trackers[0]
    two_trackers.faults.add(Fault(action=Stall(), on=first, times=None))
    async with make_client(ONCE, server=two_trackers, network_timeout_s=SHORT) as client:
        for _ in range(3):
            assert await client.read(path) == b"hello"
    assert two_trackers.request_count(on=first) == 1


async def test_no_tracker_at_all_is_a_transport_error(
    make_client: MakeClient, two_trackers: FastdfsServer
) -> None:
    path = two_trackers.put(b"hello")
    async with make_client(server=two_trackers) as client:
        for tracker in two_trackers.trackers:
            two_trackers.stop_node(tracker)
        with pytest.raises(TransportError, match="cannot connect") as caught:
            await client.stat(path)
        assert caught.value.retryable
        two_trackers.start_node(two_trackers.trackers[1])
        assert (await client.stat(path)).size == 5


async def test_file_in_a_group_that_is_down_is_not_called_missing(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    async with make_client(ONCE) as client:
        fastdfs_server.stop_node(fastdfs_server.storages()[0])
        for operation in (client.stat, client.read, client.delete):
            with pytest.raises(BackendUnavailableError, match="no storage server"):
                await operation(path)


async def test_stat_works_while_the_source_of_a_file_is_down(make_client: MakeClient) -> None:
    with FastdfsServer({"group1": 2}) as server:
        path = server.put(b"hello")
        appender = server.put(b"hello", appender=True)
        async with make_client(server=server) as client:
            source = server.file(path).source
            for noticed in (True, False):
                server.stop_node(source, noticed=noticed)
                assert (await client.stat(path)).size == 5
                if noticed:
                    assert await client.read(appender) == b"hello"
                server.start_node(source)


async def test_stream_is_for_one_receiver(client: Client, fastdfs_server: FastdfsServer) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=Stall(after_bytes=10)))
    async with await client.open(path) as stream:
        task = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        with pytest.raises(anyio.BusyResourceError):
            await stream.receive()
        task.cancel()
        await asyncio.wait([task])


async def test_cancelled_tracker_query_is_answered_to_nobody_else(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    paths = [fastdfs_server.put(bytes([n])) for n in range(20)]
    async with make_client(max_connections_per_server=2) as client:
        fastdfs_server.faults.add(Fault(Command.QUERY_UPDATE, action=DelayReply(0.05), times=4))
        with anyio.move_on_after(0.02) as scope:
            await client.stat(paths[0])
        assert scope.cancelled_caught
        for n, path in enumerate(paths):
            assert await client.read(path) == bytes([n])


# Uploads


async def test_upload_that_loses_its_connection_leaves_nothing_and_is_not_repeated(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    fault = CloseDuringRequest(after_bytes=1_000_000)
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=fault))
    with pytest.raises(TransportError) as caught:
        await client.upload(DATA * 20)
    assert (caught.value.outcome, caught.value.retryable) == ("failed", False)
    assert fastdfs_server.files() == []
    assert fastdfs_server.request_count(Command.UPLOAD) == 1
    assert (await client.upload(DATA)).size == len(DATA)


@pytest.mark.parametrize("data", [b"x", DATA])
async def test_upload_whose_answer_is_lost_says_so(
    client: Client, fastdfs_server: FastdfsServer, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=CloseConnection()))
    with caplog.at_level(logging.WARNING), pytest.raises(TransportError) as caught:
        await client.upload(data)
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
    assert "may have been stored" in str(caught.value)
    assert fastdfs_server.storages()[0] in caplog.text
    assert fastdfs_server.request_count(Command.UPLOAD) == 1


async def test_upload_is_repeated_while_nothing_was_sent(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    storage = fastdfs_server.storages()[0]
    fastdfs_server.stop_node(storage, noticed=False)

    async def start_again() -> None:
        await until_requested(fastdfs_server, Command.QUERY_STORE, 2)
        fastdfs_server.start_node(storage)

    policy = RequestPolicyConfig(attempts=30, base_delay_s=0.01, max_delay_s=0.2)
    async with make_client(policy) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(start_again)
        info = await client.upload(chunked(DATA), size=len(DATA))
        assert fastdfs_server.get(info.path) == DATA


async def test_upload_over_an_idle_connection_that_the_server_closed(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    await client.upload(b"first")
    for reset in (False, True):
        fastdfs_server.close_connections(reset=reset)
        assert (await client.upload(b"next")).size == 4
    assert fastdfs_server.request_count(Command.UPLOAD) == 3


@pytest.mark.parametrize("status", [22, 28])
async def test_refused_upload_leaves_the_next_operation_right(
    client: Client, fastdfs_server: FastdfsServer, status: int
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=AnswerStatus(status)))
    with pytest.raises((NoSpaceError, InvalidPathError)) as caught:
        await client.upload(DATA)
    assert caught.value.outcome == "failed"
    assert (await client.upload(DATA)).size == len(DATA)


async def test_connection_is_dropped_after_any_refusal_of_a_body(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=AnswerStatus(2)))
    with pytest.raises(NotFoundError):
        await client.upload(b"x")
    await client.upload(b"x")
    assert fastdfs_server.opened_connections(on="storage") == 2


async def test_refusal_before_the_body_was_sent_is_the_server_s_own_word(
    make_client: MakeClient,
) -> None:
    with FastdfsServer(capacity_bytes=1000) as server:
        async with make_client(server=server) as client:
            with pytest.raises((NoSpaceError, TransportError)):
                await client.upload(DATA * 20)
            with pytest.raises(NoSpaceError):
                await client.upload(b"x" * 1001)
            assert (await client.upload(b"small")).size == 5


async def test_server_that_does_not_take_the_body_runs_into_the_timeout(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=StopReading(1000)))
    async with make_client(network_timeout_s=SHORT) as client:
        with pytest.raises(OperationTimeoutError) as caught:
            await client.upload(DATA * 20)
        assert caught.value.outcome == "failed"
        assert (await client.upload(b"next")).size == 4


async def test_slow_body_runs_into_no_timeout(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await anyio.sleep(0.4)
            yield b"x" * 300_000

    policy = RequestPolicyConfig(attempts=1, attempt_timeout_s=0.6, max_concurrency=1)
    async with make_client(policy, network_timeout_s=0.3) as client:
        assert (await client.upload(slow(), size=900_000)).size == 900_000


async def test_id_that_does_not_fit_what_was_sent_is_an_error(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    other = fastdfs_server.put(b"other")
    group, _, name = other.partition("/")
    answer = group.encode().ljust(16, b"\x00") + name.encode()
    header = AnswerBytes.header(len(answer)).data
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=AnswerBytes(header + answer)))
    with pytest.raises(ChecksumMismatchError, match="sent were 5 bytes"):
        await client.upload(b"hello")


async def test_file_whose_metadata_can_not_be_set_is_deleted_again(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=AnswerStatus(28)))
    with pytest.raises(NoSpaceError, match="the metadata could not be set") as caught:
        await client.upload(b"hello", metadata={"a": "b"})
    assert caught.value.outcome == "failed"
    assert fastdfs_server.files() == []


async def test_file_that_can_not_be_deleted_again_is_named(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=AnswerStatus(28)))
    fastdfs_server.faults.add(Fault(Command.DELETE, action=AnswerStatus(5), times=None))
    with pytest.raises(NoSpaceError, match="could not be deleted again") as caught:
        await client.upload(b"hello")
    assert fastdfs_server.files()[0].file_id in str(caught.value)


async def test_setting_metadata_is_repeated(client: Client, fastdfs_server: FastdfsServer) -> None:
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=CloseConnection(), times=2))
    info = await client.upload(b"hello", metadata={"a": "b"})
    assert (await client.stat(info.path)).metadata == {"a": "b"}


@pytest.mark.parametrize(
    "action", [CloseConnection(), CloseDuringRequest(1000), AnswerStatus(28), Stall()]
)
async def test_appender_upload_that_fails_leaves_nothing(
    make_client: MakeClient, fastdfs_server: FastdfsServer, action: Action
) -> None:
    fastdfs_server.faults.add(Fault(Command.APPEND, action=action, skip=1))
    async with make_client(append_size_bytes=500_000, network_timeout_s=SHORT) as client:
        with pytest.raises(StorageError) as caught:
            await client.upload(chunked(DATA))
        assert caught.value.outcome == "failed"
        assert fastdfs_server.files() == []
        assert fastdfs_server.request_count(Command.APPEND) == 2


async def test_body_that_raises_leaves_nothing_and_its_error_arrives(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    async def broken(size: int) -> AsyncIterator[bytes]:
        async for chunk in chunked(DATA[:size]):
            yield chunk
        raise KeyError("mine")

    async with make_client(append_size_bytes=500_000) as client:
        for declared in (None, len(DATA)):
            with pytest.raises(KeyError, match="mine"):
                await client.upload(broken(2_000_000), size=declared)
            assert fastdfs_server.files() == []
        assert (await client.upload(DATA)).size == len(DATA)


# Back-pressure


async def test_unread_download_waits_in_the_network_not_in_memory(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    data = DATA * 10
    path = fastdfs_server.put(data)
    async with await client.open(path) as stream:
        first = await stream.receive(1)
        assert isinstance(stream, FastdfsReadStream)
        connection = stream._download.connection
        assert connection is not None
        buffered = -1
        while connection._answer.buffered > buffered:
            buffered = connection._answer.buffered
            await anyio.sleep(0.02)
        assert buffered <= 2 * MIN_BULK_BYTES
        assert first + b"".join([chunk async for chunk in stream]) == data


@pytest.mark.parametrize("max_bytes", [1000, 65_536, 4_000_000])
@pytest.mark.parametrize("pulls", [True, False])
async def test_long_bodies_arrive_with_and_without_reads_past_the_event_loop(
    client: Client,
    fastdfs_server: FastdfsServer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    pulls: bool,
    max_bytes: int,
) -> None:
    monkeypatch.setattr("polystow_fastdfs._bulk.CAN_PULL", pulls)
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=SplitReply(250_000, delay_s=0.002)))
    for _ in range(2):
        stream = await client.open(path)
        async with stream:
            got = b""
            while len(got) < len(DATA):
                got += await stream.receive(max_bytes)
            assert got == DATA
    assert fastdfs_server.opened_connections(on="storage") == 1


async def test_body_is_taken_no_faster_than_the_server_takes_it(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 100_000
            yield bytes(100_000)

    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=StopReading(1000)))
    async with make_client(network_timeout_s=SHORT) as client:
        with pytest.raises(OperationTimeoutError):
            await client.upload(counted(), size=100_000_000)
    assert taken < 20_000_000  # the buffers of both sockets, and a few chunks


# Deletions


async def test_deletion_whose_answer_is_lost_is_repeated_and_found_done(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(Command.DELETE, action=CloseConnection()))
    await client.delete(path, missing_ok=False)
    assert fastdfs_server.files() == []


async def test_deletion_whose_answers_are_all_lost_has_an_unknown_outcome(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(Command.DELETE, action=CloseConnection(), times=None))
    with pytest.raises(TransportError) as caught:
        await client.delete(path)
    assert caught.value.outcome == "unknown"


# Cancellation


async def test_cancelled_read_leaves_no_connection_behind(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=Stall(after_bytes=100_000)))
    with anyio.move_on_after(0.05) as scope:
        await client.read(path)
    assert scope.cancelled_caught
    await until_open(fastdfs_server, 0, "storage")
    assert await client.read(path) == DATA


async def test_cancelled_receive_can_be_called_again(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    fastdfs_server.faults.add(Fault(Command.DOWNLOAD, action=Stall(after_bytes=100_000)))
    async with await client.open(path) as stream:
        got = b""
        with anyio.move_on_after(0.3):
            while True:
                got += await stream.receive()
        assert 0 < len(got) < len(DATA)
        assert got + b"".join([chunk async for chunk in stream]) == DATA


@pytest.mark.parametrize("size", [None, len(DATA) * 2])
async def test_upload_that_is_cancelled_while_its_body_waits_leaves_nothing(
    make_client: MakeClient, fastdfs_server: FastdfsServer, size: int
) -> None:
    sent = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        async for chunk in chunked(DATA):
            yield chunk
        sent.set()
        await anyio.sleep_forever()

    async with make_client(append_size_bytes=500_000) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.upload(endless(), size=size))
            await sent.wait()
            tasks.cancel_scope.cancel()
        assert fastdfs_server.files() == []
        assert (await client.upload(DATA)).size == len(DATA)


@pytest.mark.parametrize("native", [False, True])
async def test_upload_that_is_cancelled_before_its_answer_is_deleted_again(
    client: Client, fastdfs_server: FastdfsServer, *, native: bool
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=DelayReply(0.1)))
    if native:
        task = asyncio.create_task(client.upload(DATA))
        await until_requested(fastdfs_server, Command.UPLOAD)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.upload, DATA)
            await until_requested(fastdfs_server, Command.UPLOAD)
            tasks.cancel_scope.cancel()
    assert fastdfs_server.files() == []
    assert client.connections() == client.idle_connections()


async def test_upload_that_is_cancelled_when_its_last_byte_is_out_is_deleted_again(
    client: Client, fastdfs_server: FastdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter([0.0])

    class SlowAsyncio:
        """What the connection's module takes for asyncio."""

        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        async def sleep(self, _: float) -> None:
            # If there was a wait after the last part, the cancellation would fall into it.
            await asyncio.sleep(next(turns, 5.0))

    monkeypatch.setattr("polystow_fastdfs._connection.asyncio", SlowAsyncio())
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=DelayReply(0.1)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.upload, DATA[:300_000])
        await until_requested(fastdfs_server, Command.UPLOAD)
        tasks.cancel_scope.cancel()
    assert fastdfs_server.request_count(Command.DELETE) == 1
    assert fastdfs_server.files() == []


async def test_upload_that_is_cancelled_while_its_metadata_is_set_is_deleted_again(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.SET_METADATA, action=DelayReply(0.1)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.upload, b"hello")
        await until_requested(fastdfs_server, Command.SET_METADATA)
        tasks.cancel_scope.cancel()
    assert fastdfs_server.files() == []
    # A real server that is asked to delete before it has answered leaves the metadata behind.
    assert fastdfs_server.opened_connections(on="storage") == 1


@pytest.mark.parametrize("seed", range(3))
async def test_no_cancellation_is_lost_and_everything_works_after(
    make_client: MakeClient, fastdfs_server: FastdfsServer, seed: int
) -> None:
    rng = random.Random(seed)
    contents = {fastdfs_server.put(bytes([n]) * 1000): bytes([n]) * 1000 for n in range(20)}
    handed_out: set[str] = set()
    finished = 0

    async def work(client: Client) -> None:
        nonlocal finished
        path, data = rng.choice(list(contents.items()))
        if rng.random() < 0.3:
            info = await client.upload(data)
            handed_out.add(info.path)
            await client.delete(info.path, missing_ok=False)
            handed_out.remove(info.path)
        else:
            assert await client.read(path) == data
        finished += 1

    async with make_client(max_connections_per_server=4) as client:
        tasks: list[asyncio.Task[None]] = []
        for _ in range(300):
            tasks.append(asyncio.create_task(work(client)))
            await asyncio.sleep(rng.random() * 0.001)
            victim = rng.choice(tasks)
            if not victim.done() and victim.get_name() != "cancelled":
                victim.cancel()
                victim.set_name("cancelled")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for task, result in zip(tasks, results, strict=True):
            if task.get_name() == "cancelled":
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert result is None
        assert finished > 20
        left = {file.file_id for file in fastdfs_server.files()} - contents.keys()
        assert left <= handed_out
        for path, data in contents.items():
            assert await client.read(path) == data
        assert client.connections() == client.idle_connections() <= 8


# Closing


async def test_closing_waits_for_what_is_under_way(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(Command.FILE_INFO, action=DelayReply(0.1)))
    results: list[int | None] = []

    async with anyio.create_task_group() as tasks, make_client() as client:

        async def stat() -> None:
            results.append((await client.stat(path)).size)

        tasks.start_soon(stat)
        await until_requested(fastdfs_server, Command.FILE_INFO)
    # Its last request, for the metadata, came after the close had begun: on the same connection.
    assert results == [5]


async def test_upload_that_is_under_way_at_closing_gets_its_metadata(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.UPLOAD, action=DelayReply(0.1)))
    async with anyio.create_task_group() as tasks, make_client() as client:
        tasks.start_soon(lambda: client.upload(b"hello", metadata={"a": "b"}))
        await until_requested(fastdfs_server, Command.UPLOAD)
    (file,) = fastdfs_server.files()
    assert file.metadata is not None
    assert file.metadata["a"] == "b"


async def test_closing_cuts_off_what_takes_too_long(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(DATA)
    async with make_client() as client:
        stream = await client.open(path)
    with pytest.raises(LifecycleError, match="closed"):
        await client.stat(path)
    with pytest.raises(StorageError):
        b"".join([chunk async for chunk in stream])
    await stream.aclose()
    await until_open(fastdfs_server, 0)


async def test_idle_connections_are_closed_after_their_time(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    async with make_client(idle_timeout_s=0.3) as client:
        await client.read(path)
        assert client.idle_connections() == 2
        await until_open(fastdfs_server, 0)
        assert client.connections() == 0
        assert await client.read(path) == b"hello"


async def test_server_that_closes_each_new_connection(
    client: Client, fastdfs_server: FastdfsServer
) -> None:
    path = fastdfs_server.put(b"hello")
    fastdfs_server.faults.add(Fault(action=CloseOnConnect(), times=2))
    assert await client.read(path) == b"hello"
