"""Every operation, with every trouble at every server of a cluster; and a minute of cancellations.

Two trackers and three storage servers. By default a sample, which takes seconds; with
`--polystow-faults=all` all of it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import frozen

from polystow import ByteRange, RequestPolicyConfig, StorageError
from polystow_testing.fastdfs import (
    Action,
    CloseConnection,
    CloseDuringRequest,
    Command,
    DelayReply,
    FastdfsServer,
    Fault,
    Stall,
)

if TYPE_CHECKING:
    from conftest import Client, MakeClient

DATA = random.Random(1).randbytes(600_000)
LIMIT_S = 10.0
"""Each operation ends in this time, whatever happens; the sum of its limits is less."""


@frozen
class Operation:
    """An operation.

    Attributes:
        name: For the test's name.
        command: The request that is hit at a storage server.
        run: Does it, given a file's id, and asserts that what comes back is right.
        changes: Whether the file is gone or another one afterwards.
    """

    name: str
    command: Command
    run: Callable[[Client, str], Awaitable[object]]
    changes: bool = False


async def _read(client: Client, path: str) -> None:
    assert await client.read(path) == DATA


async def _read_range(client: Client, path: str) -> None:
    assert await client.read(path, ByteRange(100, 400_099)) == DATA[100:400_100]


async def _stat(client: Client, path: str) -> None:
    assert (await client.stat(path)).size == len(DATA)


async def _upload(client: Client, _: str) -> None:
    info = await client.upload(DATA, metadata={"a": "b"})
    assert await client.read(info.path) == DATA


async def _set_metadata(client: Client, path: str) -> None:
    await client.set_metadata(path, {"c": "d"}, "merge")
    metadata = (await client.stat(path)).metadata
    assert metadata is not None
    assert metadata["c"] == "d"


async def _delete(client: Client, path: str) -> None:
    await client.delete(path, missing_ok=False)


OPERATIONS = [
    Operation("read", Command.DOWNLOAD, _read),
    Operation("range", Command.DOWNLOAD, _read_range),
    Operation("stat", Command.FILE_INFO, _stat),
    Operation("upload", Command.UPLOAD, _upload),
    Operation("set_metadata", Command.SET_METADATA, _set_metadata),
    Operation("delete", Command.DELETE, _delete, changes=True),
]


@frozen
class Trouble:
    """What happens to a server.

    Attributes:
        name: For the test's name.
        begin: Lets it happen to a server at an address, for a command.
    """

    name: str
    begin: Callable[[FastdfsServer, str, Command], object]


def _restart(server: FastdfsServer, address: str, _: Command) -> None:
    server.stop_node(address)
    server.start_node(address)


def _fault(name: str, action: Action) -> Trouble:
    def begin(server: FastdfsServer, address: str, command: Command) -> None:
        server.faults.add(Fault(command, action=action, on=address, times=None))

    return Trouble(name, begin)


TROUBLES = [
    Trouble("kill", lambda server, address, _: server.stop_node(address)),
    Trouble("kill unnoticed", lambda server, address, _: server.stop_node(address, noticed=False)),
    Trouble("freeze", lambda server, address, _: server.freeze_node(address)),
    Trouble("restart", _restart),
    Trouble("refuse", lambda server, address, _: server.refuse_connections(address)),
    _fault("truncate in the header", CloseConnection(5)),
    _fault("truncate in the body", CloseConnection(15)),
    _fault("truncate later", CloseConnection(200_000)),
    _fault("truncate the request", CloseDuringRequest(10)),
    _fault("stall", Stall(200_000)),
    _fault("delay", DelayReply(0.4)),
]


async def until_idle(client: Client) -> None:
    """Wait for the loop's next turns, in which the losers of races end; then nothing is in use."""
    with anyio.fail_after(5):
        while any(one.in_use or one.waiting for one in client.driver.pool_stats()):  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def run_case(
    server: FastdfsServer, client: Client, operation: Operation, trouble: Trouble, on: str
) -> None:
    """Run an operation on a cluster of which one server has trouble, and check what is left.

    Args:
        server: The cluster.
        client: The driver on it; its pools are warm.
        operation: What to do.
        trouble: What happens.
        on: To which server.
    """
    paths = [server.put(DATA) for _ in range(3)]
    for path in paths:  # connections to all
        await client.read(path)
    before = {file.file_id for file in server.files()}
    command = operation.command if on in server.storages() else Command.QUERY_FETCH
    trouble.begin(server, on, command)
    for path in paths:
        with anyio.fail_after(LIMIT_S):
            await operation.run(client, path)
    left = {file.file_id for file in server.files()}
    for file_id in left - before:
        assert server.get(file_id) == DATA  # whole, or not there
    assert (before - left == set(paths)) is operation.changes
    await until_idle(client)


async def soak(
    server: FastdfsServer, client: Client, *, tasks: int, seconds: float, seed: int
) -> tuple[int, int]:
    """Many tasks that work, are cancelled at random, and meet faults; nothing may be wrong.

    Returns:
        How many operations succeeded, and how many were cancelled.
    """
    rng = random.Random(seed)
    contents = {server.put(bytes([n]) * (1000 + n)): bytes([n]) * (1000 + n) for n in range(50)}
    succeeded = cancelled = 0

    async def one() -> None:
        path, data = rng.choice(list(contents.items()))
        choice = rng.random()
        if choice < 0.5:
            assert await client.read(path) == data
        elif choice < 0.7:
            assert (await client.stat(path)).size == len(data)
        elif choice < 0.9:
            info = await client.upload(data)
            assert await client.read(info.path) == data
            await client.delete(info.path)
        else:
            last = len(data) - 1
            assert await client.read(path, ByteRange(10, last)) == data[10:]

    async def work(end: float) -> None:
        nonlocal succeeded, cancelled
        while anyio.current_time() < end:
            limit = rng.random() * 0.05 if rng.random() < 0.3 else 30.0
            with anyio.move_on_after(limit) as scope:
                try:
                    await one()
                    succeeded += 1
                except StorageError:
                    # Only what the faults below may do to it: whole clusters don't fail.
                    assert not quiet, "an operation failed without a fault"
            if scope.cancel_called and not scope.cancelled_caught:
                # It had ended by itself when the time came; a lost cancellation would go on.
                assert anyio.current_time() < scope.deadline + 5
            cancelled += scope.cancelled_caught

    quiet = False

    async def trouble(end: float) -> None:
        while anyio.current_time() < end - 1:
            address = rng.choice(server.storages() + server.trackers)
            kind = rng.randrange(4)
            if kind == 0:
                server.close_connections(address, reset=rng.random() < 0.5)
            elif kind == 1:
                server.freeze_node(address)
                await anyio.sleep(rng.random() * 0.5)
                server.thaw_node(address)
            elif kind == 2:
                server.stop_node(address, noticed=rng.random() < 0.5)
                await anyio.sleep(rng.random() * 0.2)
                server.start_node(address)
            else:
                server.faults.add(Fault(action=CloseConnection(rng.randrange(30)), on=address))
            await anyio.sleep(rng.random() * 0.1)

    end = anyio.current_time() + seconds
    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(work, end)
        group.start_soon(trouble, end)
    server.faults.clear()
    quiet = True
    for path, data in contents.items():
        assert await client.read(path) == data
    await until_idle(client)
    return succeeded, cancelled


SAMPLE = 12
TASKS = 200
POLICY = RequestPolicyConfig(attempts=5, base_delay_s=0.05)
LIMITS: dict[str, Any] = {
    "failover_timeout_s": 0.3,
    "network_timeout_s": 1.0,
    "connect_timeout_s": 1.0,
}

CASES = [
    (operation, trouble, role, number)
    for operation in OPERATIONS
    for trouble in TROUBLES
    for role, count in (("storage", 3), ("tracker", 2))
    for number in range(count)
]


def _id(case: tuple[Operation, Trouble, str, int]) -> str:
    operation, trouble, role, number = case
    return f"{operation.name}-{trouble.name}-{role}{number}".replace(" ", "_")


def _everything(config: pytest.Config) -> bool:
    return bool(config.getoption("--polystow-faults", default=None) == "all")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        everything = _everything(metafunc.config)
        cases = CASES if everything else random.Random(7).sample(CASES, SAMPLE)
        metafunc.parametrize("case", cases, ids=_id)


async def test_operation_gets_past_a_server_in_trouble(
    make_client: MakeClient, case: tuple[Operation, Trouble, str, int]
) -> None:
    operation, trouble, role, number = case
    with FastdfsServer({"group1": 3}, tracker_count=2) as server:
        on = (server.trackers if role == "tracker" else server.storages())[number]
        async with make_client(POLICY, server=server, **LIMITS) as client:
            await run_case(server, client, operation, trouble, on)


async def test_nothing_is_wrong_or_lost_under_cancellations_and_faults(
    make_client: MakeClient, request: pytest.FixtureRequest
) -> None:
    seconds = 60.0 if _everything(request.config) else 3.0
    with FastdfsServer({"group1": 3}, tracker_count=2) as server:
        async with make_client(POLICY, server=server, **LIMITS) as client:
            succeeded, cancelled = await soak(server, client, tasks=TASKS, seconds=seconds, seed=1)
            assert succeeded > TASKS
            assert cancelled > TASKS / 4
        # A server that stops with a connection half accepted would warn of it.
        await server.wait_until_async(lambda stats: not any(one.connections_open for one in stats))
