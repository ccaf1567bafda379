"""Changes to files, with every trouble at every server of a cluster: errors tell what became of it.

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

from polystow import BytesBody, Outcome, RequestPolicyConfig, StorageError
from polystow_fastdfs import FileId
from polystow_testing.fastdfs import (
    Action,
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

BEFORE = random.Random(5).randbytes(300_000)
MORE = random.Random(6).randbytes(400_000)
LIMIT_S = 10.0
SAMPLE = 20
POLICY = RequestPolicyConfig(attempts=3, base_delay_s=0.05)
LIMITS: dict[str, Any] = {
    "failover_timeout_s": 0.3,
    "network_timeout_s": 0.6,
    "connect_timeout_s": 0.6,
}


@frozen
class Change:
    """A change of an appender file.

    Attributes:
        command: The request that makes it.
        run: Makes it, given the file's id.
        after: The content that it leaves.
        keeps_parts: Whether a part of it may stay if it is cut off.
    """

    command: Command
    run: Callable[[Client, str], Awaitable[object]]
    after: bytes
    keeps_parts: bool = False


CHANGES = {
    "append": Change(
        Command.APPEND,
        lambda client, path: client.driver.append(path, BytesBody(MORE)),
        BEFORE + MORE,
    ),
    "modify": Change(
        Command.MODIFY,
        lambda client, path: client.driver.modify(path, 100, BytesBody(MORE)),
        BEFORE[:100] + MORE,
        keeps_parts=True,
    ),
    "truncate": Change(
        Command.TRUNCATE,
        lambda client, path: client.driver.truncate(path, 1000),
        BEFORE[:1000],
    ),
    "slave": Change(
        Command.UPLOAD_SLAVE,
        lambda client, path: client.driver.upload_slave(path, "_slave", MORE, filename="a"),
        BEFORE,
    ),
    "regenerate": Change(
        Command.REGENERATE_APPENDER_NAME,
        lambda client, path: client.driver.regenerate(path),
        BEFORE,
    ),
}

ACTIONS: dict[str, Action | None] = {
    "kill": None,
    "close before the answer": CloseConnection(),
    "close in the answer": CloseConnection(15),
    "reset": CloseConnection(reset=True),
    "close early": CloseDuringRequest(10),
    "close in the body": CloseDuringRequest(200_000),
    "stop reading": StopReading(100_000),
    "stall": Stall(),
    "delay": DelayReply(0.2),
}

CASES = [
    (change, action, role)
    for change in CHANGES
    for action in ACTIONS
    for role in ("source", "other", "tracker")
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--polystow-faults", default=None) == "all"
        cases = CASES if everything else random.Random(8).sample(CASES, SAMPLE)
        ids = ["-".join(case).replace(" ", "_") for case in cases]
        metafunc.parametrize("case", cases, ids=ids)


def begin(server: FastdfsServer, change: Change, action: str, role: str) -> None:
    source, other, _ = server.storages()
    on = {"source": source, "other": other, "tracker": server.trackers[0]}[role]
    what = ACTIONS[action]
    if what is None:
        server.stop_node(on)
    else:
        command = Command.QUERY_UPDATE if role == "tracker" else change.command
        server.faults.add(Fault(command, action=what, on=on))


async def outcome_of(client: Client, change: Change, path: str) -> Outcome | None:
    """None if it succeeded."""
    with anyio.fail_after(LIMIT_S):
        try:
            await change.run(client, path)
        except StorageError as error:
            return error.outcome
    return None


async def test_outcome_of_a_change_is_what_it_says(
    make_client: MakeClient, case: tuple[str, str, str]
) -> None:
    name, action, role = case
    change = CHANGES[name]
    with FastdfsServer({"group1": 3}, tracker_count=2) as server:
        path = server.put(BEFORE, appender=True, ext="log")
        async with make_client(POLICY, server=server, **LIMITS) as client:
            await client.stat(path)
            begin(server, change, action, role)
            outcome = await outcome_of(client, change, path)
            if role != "source":
                assert outcome is None
            assert client.connections() == client.idle_connections()
        contents = {file.file_id: server.get(file.file_id) for file in server.files()}
    if name == "slave":
        slave = contents.pop(FileId.parse(path).slave_id("_slave", "log").path, None)
        assert slave in {None: (MORE,), "failed": (None,), "unknown": (None, MORE)}[outcome]
    if name == "regenerate":
        assert (path in contents) in {None: (False,), "failed": (True,)}.get(outcome, (True, False))
    (content,) = contents.values()
    if outcome is None:
        assert content == change.after
    elif outcome == "failed":
        assert content == BEFORE
    elif not change.keeps_parts:
        assert content in (BEFORE, change.after)
