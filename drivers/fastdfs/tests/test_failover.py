"""A cluster of two trackers and three storage servers, of which some are dead, frozen or slow."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import anyio
import pytest

from polystow import (
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    RequestPolicyConfig,
    TransportError,
)
from polystow_testing.fastdfs import (
    AnswerBytes,
    CloseConnection,
    CloseDuringRequest,
    Command,
    DelayReply,
    FastdfsServer,
    Fault,
    Stall,
    StopReading,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

DATA = random.Random(1).randbytes(2_000_000)
ONCE = RequestPolicyConfig(attempts=1)
SHORT = 0.25
"""The time limit of a server that can be left for another one."""

LONG = 30.0
"""Of one that can't: a test that waits for it has failed."""


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture
def cluster() -> Iterator[FastdfsServer]:
    with FastdfsServer({"group1": 3}, tracker_count=2) as server:
        yield server


@pytest.fixture
async def patient(make_client: MakeClient, cluster: FastdfsServer) -> AsyncIterator[Client]:
    """Does not repeat and does not hedge, so that only failover helps."""
    async with make_client(
        ONCE,
        server=cluster,
        failover_timeout_s=SHORT,
        network_timeout_s=LONG,
        hedge_share=0,
        location_ttl_s=0,
    ) as client:
        yield client


def all_idle(client: Client) -> bool:
    return all(not stats.in_use and not stats.waiting for stats in client.driver.pool_stats())


# Dead and frozen storage servers


@pytest.mark.parametrize("frozen", [False, True])
async def test_everything_works_while_a_storage_server_is_down_and_nobody_knows(
    patient: Client, cluster: FastdfsServer, *, frozen: bool
) -> None:
    paths = [(await patient.upload(DATA[:1000], metadata={"a": "b"})).path for _ in range(6)]
    down = cluster.storages()[1]
    if frozen:
        cluster.freeze_node(down)
    else:
        cluster.stop_node(down, noticed=False)
    start = time.monotonic()
    for path in paths:
        assert await patient.read(path) == DATA[:1000]
        assert (await patient.stat(path)).metadata == {"a": "b"}
        await patient.set_metadata(path, {"c": "d"}, "merge")
        await patient.delete(path, missing_ok=False)
    for _ in range(6):
        await patient.upload(DATA[:1000])
    # The server is left alone for longer and longer, so few operations wait for it.
    assert time.monotonic() - start < 8 * SHORT + 2
    assert all_idle(patient)
    assert len(cluster.files()) == 6


async def test_last_server_gets_the_whole_network_timeout(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    path = cluster.put(DATA)
    for address in cluster.storages()[1:]:
        cluster.stop_node(address)
    cluster.faults.add(Fault(Command.DOWNLOAD, action=DelayReply(2 * SHORT)))
    async with make_client(ONCE, server=cluster, failover_timeout_s=SHORT) as client:
        assert await client.read(path) == DATA


async def test_when_all_hang_the_time_is_bounded(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    path = cluster.put(DATA)
    for address in cluster.storages():
        cluster.freeze_node(address)
    async with make_client(
        ONCE, server=cluster, failover_timeout_s=SHORT, network_timeout_s=2 * SHORT
    ) as client:
        start = time.monotonic()
        with pytest.raises(OperationTimeoutError):
            await client.read(path)
        assert time.monotonic() - start < 2 * SHORT + 2 * SHORT + 1
        assert all_idle(client)


async def test_server_that_comes_back_is_used_again(
    patient: Client, cluster: FastdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystow_fastdfs._health.FIRST_REST_S", 0.05)
    path = cluster.put(b"hello")
    down = cluster.storages()[0]
    cluster.stop_node(down, noticed=False)
    for _ in range(6):
        await patient.read(path)
    cluster.start_node(down)
    before = cluster.request_count(Command.DOWNLOAD, on=down)
    with anyio.fail_after(5):
        while cluster.request_count(Command.DOWNLOAD, on=down) == before:
            await patient.read(path)


# Downloads


@pytest.mark.parametrize("action", [CloseConnection(1_000_000), Stall(1_000_000)])
async def test_download_goes_on_at_its_offset_on_another_server(
    patient: Client, cluster: FastdfsServer, action: Stall | CloseConnection
) -> None:
    path = cluster.put(DATA)
    cluster.faults.add(Fault(Command.DOWNLOAD, action=action))
    assert await patient.read(path) == DATA
    counts = [cluster.request_count(Command.DOWNLOAD, on=one) for one in cluster.storages()]
    assert sorted(counts) == [0, 1, 1]
    assert all_idle(patient)


async def test_download_goes_on_when_its_server_dies_in_the_middle(
    patient: Client, cluster: FastdfsServer
) -> None:
    path = cluster.put(DATA * 8)
    async with await patient.open(path) as stream:
        got = await stream.receive(1000)
        (source,) = [one for one in cluster.storages() if cluster.request_count(14, on=one)]
        cluster.stop_node(source, noticed=False)
        assert got + b"".join([chunk async for chunk in stream]) == DATA * 8


# Uploads


@pytest.mark.parametrize(
    "action",
    [
        CloseDuringRequest(1000),
        StopReading(1000),
        CloseConnection(),
        AnswerBytes.garbage(),
        Stall(),
    ],
)
async def test_upload_whose_body_can_be_read_again_goes_to_another_server(
    make_client: MakeClient, cluster: FastdfsServer, action: StopReading
) -> None:
    cluster.faults.add(Fault(Command.UPLOAD, action=action))
    async with make_client(
        ONCE, server=cluster, failover_timeout_s=SHORT, network_timeout_s=2 * SHORT
    ) as client:
        info = await client.upload(DATA)
        assert cluster.get(info.path) == DATA
        assert await client.read(info.path) == DATA
    assert cluster.request_count(Command.UPLOAD) == 2


async def test_upload_whose_body_can_not_be_read_again_is_not_repeated(
    patient: Client, cluster: FastdfsServer
) -> None:
    cluster.faults.add(Fault(Command.UPLOAD, action=CloseDuringRequest(1000)))
    with pytest.raises(TransportError) as caught:
        # More than the buffers of both sockets hold.
        await patient.upload(chunked(DATA * 20), size=len(DATA) * 20)
    assert caught.value.outcome == "failed"
    assert cluster.request_count(Command.UPLOAD) == 1
    assert cluster.files() == []


async def test_upload_is_not_repeated_where_that_is_switched_off(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    cluster.faults.add(Fault(Command.UPLOAD, action=CloseConnection()))
    async with make_client(ONCE, server=cluster, replay_uploads=False) as client:
        with pytest.raises(TransportError) as caught:
            await client.upload(DATA)
    assert caught.value.outcome == "unknown"
    assert cluster.request_count(Command.UPLOAD) == 1


async def test_a_tracker_is_asked_anew_when_the_server_it_named_fails(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    async with make_client(ONCE, server=cluster) as client:
        await client.upload(DATA)
        cluster.faults.add(Fault(Command.UPLOAD, action=CloseConnection()))
        await client.upload(DATA)
        before = cluster.request_count(Command.QUERY_STORE)
        await client.upload(DATA)
    assert cluster.request_count(Command.QUERY_STORE) == before + 1
    assert cluster.request_count(Command.UPLOAD) == 4


async def test_upload_does_not_begin_on_a_server_that_hangs(
    patient: Client, cluster: FastdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystow_fastdfs._pool.TRUST_S", 0.0)
    hanging = cluster.storages()[0]
    cluster.freeze_node(hanging)
    # Not repeatable, so only the test before it helps.
    for _ in range(3):
        await patient.upload(chunked(DATA), size=len(DATA))
    cluster.thaw_node(hanging)
    assert cluster.request_count(Command.UPLOAD, on=hanging) == 0
    assert len(cluster.files()) == 3


# Hedged reads


@pytest.fixture
async def hedging(make_client: MakeClient, cluster: FastdfsServer) -> AsyncIterator[Client]:
    async with make_client(
        ONCE, server=cluster, hedge_share=0.5, failover_timeout_s=LONG, location_ttl_s=0
    ) as client:
        path = cluster.put(b"warm")
        for _ in range(20):
            await client.read(path)
        yield client


async def test_read_from_a_slow_server_is_answered_by_another(
    hedging: Client, cluster: FastdfsServer
) -> None:
    path = cluster.put(DATA)
    cluster.faults.add(Fault(Command.DOWNLOAD, action=DelayReply(LONG)))
    with anyio.fail_after(5):
        assert await hedging.read(path) == DATA
    assert all_idle(hedging)
    assert hedging.driver.hedges == (1, 1)


async def test_late_answer_wins_if_it_comes_before_the_second(
    hedging: Client, cluster: FastdfsServer
) -> None:
    path = cluster.put(DATA)
    cluster.faults.add(Fault(Command.DOWNLOAD, action=DelayReply(0.3)))
    cluster.faults.add(Fault(Command.DOWNLOAD, action=DelayReply(LONG)))
    with anyio.fail_after(5):
        assert await hedging.read(path) == DATA
    assert all_idle(hedging)
    assert hedging.driver.hedges == (1, 0)


async def test_cancelled_race_leaves_nothing(hedging: Client, cluster: FastdfsServer) -> None:
    path = cluster.put(DATA)
    cluster.faults.add(Fault(Command.DOWNLOAD, action=DelayReply(LONG), times=None))
    for step in range(20):
        with anyio.move_on_after(0.002 * step):
            await hedging.read(path)
    with anyio.fail_after(5):
        while not all_idle(hedging):  # noqa: ASYNC110 - tasks end in the loop's next turns
            await anyio.sleep(0.01)


async def test_refusal_by_a_replica_that_lags_behind_does_not_count(
    make_client: MakeClient,
) -> None:
    with FastdfsServer({"group1": 2}, replication_delay_s=LONG) as server:
        async with make_client(ONCE, server=server, hedge_least_s=0.001) as client:
            info = await client.upload(DATA)
            server.faults.add(Fault(Command.DOWNLOAD, action=DelayReply(0.2)))
            assert await client.read(info.path) == DATA


@pytest.mark.parametrize("hedge_share", [0, 0.5])
async def test_servers_that_no_tracker_names_are_tried_too(
    make_client: MakeClient, hedge_share: float
) -> None:
    with FastdfsServer({"group1": 3}, replication_delay_s=LONG) as server:
        async with make_client(
            ONCE,
            server=server,
            hedge_share=hedge_share,
            failover_timeout_s=SHORT,
            network_timeout_s=LONG,
        ) as client:
            info = await client.upload(DATA)
            source = server.file(info.path).source
            missing = info.path[:-7] + "9999999"
            server.freeze_node(source)
            # Trackers name the source alone, as they do of real new files; one other has it.
            with anyio.move_on_after(4 * SHORT) as scope:
                await client.read(info.path)
            assert scope.cancelled_caught  # those that have it not said so, the source is awaited
            server.thaw_node(source)
            assert await client.read(info.path) == DATA
            with pytest.raises(NotFoundError):
                await client.read(missing)


# Trackers


async def test_frozen_tracker_costs_little(make_client: MakeClient, cluster: FastdfsServer) -> None:
    path = cluster.put(b"hello")
    cluster.freeze_node(cluster.trackers[0])
    async with make_client(
        ONCE, server=cluster, failover_timeout_s=SHORT, network_timeout_s=LONG, location_ttl_s=0
    ) as client:
        start = time.monotonic()
        for _ in range(5):
            assert await client.read(path) == b"hello"
        assert time.monotonic() - start < 2 * SHORT + 1


async def test_storage_server_outside_the_allowed_networks_is_refused(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    path = cluster.put(b"hello")
    async with make_client(server=cluster, allowed_networks=("10.0.0.0/8", "fd00::/8")) as client:
        for operation in (client.read, client.stat, client.delete):
            with pytest.raises(PermissionDeniedError, match="allowed_networks"):
                await operation(path)
        with pytest.raises(PermissionDeniedError, match="allowed_networks"):
            await client.upload(b"hello")
    assert cluster.opened_connections(on="storage") == 0
    async with make_client(server=cluster, allowed_networks=("127.0.0.0/8",)) as client:
        assert await client.read(path) == b"hello"


# Places of files


async def test_place_of_a_new_file_is_remembered_for_a_while(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    async with make_client(server=cluster) as client:
        info = await client.upload(b"hello")
        before = cluster.request_count(on="tracker")
        assert await client.read(info.path) == b"hello"
        await client.delete(info.path)
        # One more, which asks how many servers the group has.
        assert cluster.request_count(on="tracker") <= before + 1


async def test_counters_tell_what_became_of_connections(
    make_client: MakeClient, cluster: FastdfsServer
) -> None:
    path = cluster.put(DATA)
    async with make_client(server=cluster, location_ttl_s=0) as client:
        await client.read(path)
        stream = await client.open(path)
        await stream.aclose()
        stats = client.driver.pool_stats()
        trackers = [one for one in stats if one.server in cluster.trackers]
        storages = [one for one in stats if one.server in cluster.storages()]
        assert sum(one.reused for one in trackers) > 0
        assert sum(one.discarded for one in storages) == 1
        assert sum(one.idle for one in storages) == sum(one.opened for one in storages) - 1
        assert all_idle(client)
