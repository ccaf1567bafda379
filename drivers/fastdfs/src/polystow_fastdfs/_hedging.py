"""Opening a read on one storage server, and on a second one if the first lets it wait.

The usual read takes one exchange in its caller's own task. Only one that is late gets tasks: the
first server's answer is still awaited while a second one is asked, and whoever comes last is
dropped, with its connection.
"""

from __future__ import annotations

import asyncio
import random

from polystow import ByteRange, ContentRange, StorageError
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._cluster import Cluster
from polystow_fastdfs._failover import Reading, is_guess, on_any
from polystow_fastdfs._faults import StatusFault, WireFault
from polystow_fastdfs._pool import Pool
from polystow_fastdfs._reading import Download, Overdue, Pace, open_download

type Opened = tuple[Download, ContentRange]


async def open_hedged(cluster: Cluster, route: Reading, wanted: ByteRange | None) -> Opened:
    """Ask for a range of a file, or for all of it, of whichever server answers first.

    Errors are those of `open_download` and `on_any`.
    """
    file = route.file
    wait_s = cluster.hedging.wait_s()
    # A replica may lag behind with the changes of an appender file; without a size in the id, more
    # than one exchange comes before the first byte.
    if wait_s is None or not file.size:
        return await open_steadily(cluster, route, wanted)
    address = await route.first(cluster)
    pool = cluster.storage(address)
    if cluster.suspects.known and cluster.suspects.avoid(pool.server):
        return await open_steadily(cluster, route, wanted)
    start = cluster.now()
    hurried = pool.hurried(cluster.failover_timeout_s)
    try:
        opened = await open_download(hurried, file, wanted, Pace(wait_s))
    except Overdue as overdue:
        opened = await _race(cluster, route, wanted, pool, overdue, wait_s)
    except StatusFault:
        raise
    except (WireFault, protocol.FrameError):
        cluster.suspects.failed(pool.server)
        cluster.forget(file)
        return await open_steadily(cluster, route, wanted)
    else:
        cluster.suspects.worked(pool.server)
    cluster.hedging.note(cluster.now() - start)
    return opened


async def open_steadily(cluster: Cluster, route: Reading, wanted: ByteRange | None) -> Opened:
    """Ask one server, and another one if it fails; arguments and errors as for `open_hedged`."""
    start, file = cluster.now(), route.file
    opened = await on_any(cluster, route, lambda pool, _: open_download(pool, file, wanted))
    cluster.hedging.note(cluster.now() - start)
    return opened


async def _race(
    cluster: Cluster,
    route: Reading,
    wanted: ByteRange | None,
    pool: Pool,
    overdue: Overdue,
    wait_s: float,
) -> Opened:
    """Wait on for the first server, and for a second one; then for any."""
    limit_s, file = cluster.failover_timeout_s, route.file
    pace = Pace(begun=overdue.connection)
    # Eager, since a task that is cancelled before it begins would never release the connection.
    first = asyncio.Task(
        open_download(pool.hurried(limit_s), file, wanted, pace),
        loop=asyncio.get_running_loop(),
        eager_start=True,
    )
    second: asyncio.Task[Opened] | None = None
    other: protocol.StorageAddress | None = None
    winner: asyncio.Task[Opened] | None = None
    try:
        if overdue.connection is None:
            await asyncio.wait([first], timeout=wait_s)
        if not first.done() and cluster.hedging.spend():
            other = await _other(cluster, route, pool.server)
        if other is not None and not first.done():
            hurried = cluster.storage(other).hurried(limit_s)
            second = asyncio.create_task(open_download(hurried, file, wanted))
        winner = await _first_answer(first, second)
    finally:
        for task in (first, second):
            if task is not None and task is not winner:
                _drop(task)
    if winner is None:
        cluster.suspects.failed(pool.server)
        cluster.forget(file)
        return await open_steadily(cluster, route, wanted)
    if winner is second and other is not None:
        cluster.hedging.won += 1
        cluster.suspects.failed(pool.server)
        cluster.remember(file, other)
    return winner.result()


async def _other(cluster: Cluster, route: Reading, server: str) -> protocol.StorageAddress | None:
    """The most hopeful of the other servers that have the file."""
    try:
        found = await route.others(cluster, route.file.group)
    except (WireFault, protocol.FrameError):
        return None
    others = [one for one in found if cluster.storage(one).server != server]
    random.shuffle(others)
    others.sort(
        key=lambda one: (is_guess(one), cluster.suspects.rested(cluster.storage(one).server))
    )
    return others[0] if others else None


async def _first_answer(
    first: asyncio.Task[Opened], second: asyncio.Task[Opened] | None
) -> asyncio.Task[Opened] | None:
    """The task that was first to succeed, or that has the answer all the same; None if none has."""
    pending = {first} if second is None else {first, second}
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in (first, second):
            if task is not None and task.done() and not task.cancelled() and not task.exception():
                return task
        if first.done() and not first.cancelled() and _is_answer(first.exception()):
            # A refusal by the second one may only mean that its replica lags behind.
            return first
    return None


def _is_answer(error: BaseException | None) -> bool:
    return isinstance(error, StatusFault | StorageError)


def _drop(task: asyncio.Task[Opened]) -> None:
    """Have a task end, and its connection thrown away, whatever became of it."""
    if not task.done():
        task.cancel()
        task.add_done_callback(_drop)
    elif not task.cancelled() and task.exception() is None:
        task.result()[0].release()
