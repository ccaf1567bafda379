"""Who gets a connection, when, and how many there are."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from polystow_fastdfs import _pool
from polystow_fastdfs._connection import Connection
from polystow_fastdfs._faults import ClientClosed, ConnectFailed, PoolExhausted
from polystow_fastdfs._pool import Pool
from polystow_fastdfs._protocol import active_test
from polystow_testing.fastdfs import Command, FastdfsServer, Fault, Stall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPTIONS: dict[str, Any] = {
    "max_connections": 2,
    "connect_timeout_s": 1,
    "network_timeout_s": 1,
    "idle_timeout_s": 60,
    "wait_timeout_s": 5,
}


def make_pool(server: FastdfsServer, **options: Any) -> Pool:
    host, _, port = server.trackers[0].partition(":")
    return Pool(host, int(port), **(OPTIONS | options))


@pytest.fixture
async def pool(fastdfs_server: FastdfsServer) -> AsyncIterator[Pool]:
    pool = make_pool(fastdfs_server)
    yield pool
    await pool.aclose(0)


async def waiting(pool: Pool, count: int) -> list[asyncio.Task[Connection]]:
    """Tasks that stand in the queue of a pool, in this order."""
    tasks = [asyncio.create_task(pool.acquire()) for _ in range(count)]
    while pool.waiting < count:  # noqa: ASYNC110 - tasks start in the loop's next turn
        await asyncio.sleep(0)
    return tasks


async def test_connection_is_used_again(pool: Pool, fastdfs_server: FastdfsServer) -> None:
    for _ in range(3):
        connection = await pool.acquire()
        await connection.call(active_test())
        pool.release(connection)
    assert fastdfs_server.opened_connections() == 1


async def test_no_more_connections_than_allowed(pool: Pool, fastdfs_server: FastdfsServer) -> None:
    async def work() -> None:
        for _ in range(20):
            connection = await pool.acquire()
            await connection.call(active_test())
            pool.release(connection)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(work)
    assert fastdfs_server.opened_connections() == 2
    assert (pool.used_slots, pool.idle_connections, pool.waiting) == (2, 2, 0)


async def test_first_come_first_served(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    tasks = await waiting(pool, 3)
    pool.release(held[0])
    assert await tasks[0] is held[0]
    assert pool.take_idle() is None
    late = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(held[1])
    assert await tasks[1] is held[1]
    pool.release(held[0])
    assert await tasks[2] is held[0]
    pool.release(held[1])
    assert await late is held[1]
    for connection in held:
        pool.release(connection)


async def test_waiting_has_a_limit(fastdfs_server: FastdfsServer) -> None:
    pool = make_pool(fastdfs_server, max_connections=1, wait_timeout_s=0.05)
    held = await pool.acquire()
    with pytest.raises(PoolExhausted, match="max_connections_per_server"):
        await pool.acquire()
    pool.release(held)
    assert await pool.acquire() is held
    pool.release(held)
    await pool.aclose(0)


async def test_connection_handed_to_a_cancelled_waiter_goes_to_the_next(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    first, second = await waiting(pool, 2)
    pool.release(held[0])  # the first has it now, but did not run yet
    first.cancel()
    assert await second is held[0]
    assert first.cancelled()
    third, fourth = await waiting(pool, 2)
    held[1].abort()
    pool.release(held[1])  # the right to open one goes to the third
    third.cancel()
    assert (await fourth).reusable
    assert pool.used_slots == 2
    pool.release(held[0])
    pool.release(fourth.result())


async def test_cancelled_waiter_leaves_the_queue(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    tasks = await waiting(pool, 2)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert pool.waiting == 1
    pool.release(held[0])
    assert await tasks[1] is held[0]
    for connection in held:
        pool.release(connection)


async def test_broken_connection_makes_room_for_a_new_one(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    (task,) = await waiting(pool, 1)
    held[0].abort()
    pool.release(held[0])
    fresh = await task
    assert fresh is not held[0]
    assert fresh.reusable
    pool.release(fresh)
    pool.release(held[1])


async def test_connection_in_mid_exchange_is_not_kept(pool: Pool) -> None:
    connection = await pool.acquire()
    connection.begin(active_test())
    pool.release(connection)
    assert (pool.idle_connections, pool.used_slots) == (0, 0)


async def test_connection_cancelled_in_mid_exchange_is_not_kept(
    pool: Pool, fastdfs_server: FastdfsServer
) -> None:
    fastdfs_server.faults.add(Fault(Command.ACTIVE_TEST, action=Stall()))
    connection = await pool.acquire()
    with anyio.move_on_after(0.02):
        await connection.call(active_test())
    pool.release(connection)
    assert (pool.idle_connections, pool.used_slots) == (0, 0)


async def test_idle_connection_that_the_server_closes_is_forgotten(
    pool: Pool, fastdfs_server: FastdfsServer
) -> None:
    connection = await pool.acquire()
    await connection.call(active_test())
    pool.release(connection)
    fastdfs_server.close_connections()
    # The event loop does not run, so it can't see the close; asking the kernel does.
    limit = time.monotonic() + 2
    while connection.alive():
        assert time.monotonic() < limit
    assert pool.take_idle() is None
    fresh = await pool.acquire()
    await fresh.call(active_test())
    pool.release(fresh)


async def test_failure_to_connect_leaves_the_room_free(fastdfs_server: FastdfsServer) -> None:
    pool = make_pool(fastdfs_server, max_connections=1)
    fastdfs_server.stop_node(fastdfs_server.trackers[0])
    results = await asyncio.gather(*[pool.acquire() for _ in range(5)], return_exceptions=True)
    assert {type(result) for result in results} == {ConnectFailed}
    assert (pool.used_slots, pool.waiting) == (0, 0)
    await pool.aclose(0)


async def test_connecting_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, fastdfs_server: FastdfsServer
) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    pool = make_pool(fastdfs_server, connect_timeout_s=0.02)
    with pytest.raises(ConnectFailed, match="no connection within 0\\.02 s"):
        await pool.acquire()
    assert pool.used_slots == 0


async def test_idle_connections_expire_and_unserved_ones_sooner(
    fastdfs_server: FastdfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "UNSERVED_IDLE_S", 0.02)
    pool = make_pool(fastdfs_server)
    fresh, served = await pool.acquire(), await pool.acquire()
    await served.call(active_test())
    pool.release(fresh)
    pool.release(served)
    await fastdfs_server.wait_until_async(lambda stats: stats[0].connections_open == 1)
    assert pool.idle_connections == 1
    assert pool.take_idle() is served
    pool.release(served)
    await pool.aclose(0)


async def test_closing_fails_who_waits_and_drains_who_works(fastdfs_server: FastdfsServer) -> None:
    pool = make_pool(fastdfs_server, max_connections=1)
    held = await pool.acquire()
    (task,) = await waiting(pool, 1)
    closing = asyncio.create_task(pool.aclose(5))
    with pytest.raises(ClientClosed):
        await task
    with pytest.raises(ClientClosed):
        await pool.acquire()
    await held.call(active_test())
    assert not closing.done()
    pool.release(held)
    await closing
    await fastdfs_server.wait_until_async(lambda stats: stats[0].connections_open == 0)


async def test_closing_has_a_limit(fastdfs_server: FastdfsServer) -> None:
    fastdfs_server.faults.add(Fault(Command.ACTIVE_TEST, action=Stall()))
    pool = make_pool(fastdfs_server)
    held = await pool.acquire()
    call = asyncio.create_task(held.call(active_test()))
    await asyncio.sleep(0)
    call.add_done_callback(lambda _: pool.release(held))
    with anyio.fail_after(3):
        await pool.aclose(0.05)
    assert call.exception() is not None
