"""Which storage server does an operation, and which one after it if that one fails.

A tracker names one server. If that one dies, hangs or talks nonsense, the trackers are asked for
all that could do it, and those are tried one after the other, the ones that failed lately last. As
long as there is another one to go to, a server gets `failover_timeout_s` to begin its answer, and
the last one the whole network timeout: so the time that all of it takes is bounded.

An answer with an error status is an answer; it is not asked for again elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from attrs import frozen

from polystow import StorageError, Value
from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs import _servers as servers
from polystow_fastdfs._cluster import Cluster, TrackerRefused
from polystow_fastdfs._faults import (
    ClientClosed,
    ForbiddenAddress,
    PoolExhausted,
    StatusFault,
    WireFault,
    WireTimeout,
)
from polystow_fastdfs._file_id import FileId
from polystow_fastdfs._pool import Connections

type Use[T] = Callable[[Connections, protocol.StorageAddress], Awaitable[T]]
"""Does an operation on a storage server."""

_log: Final = logging.getLogger("polystow_fastdfs")


# Without slots those below are made in half the time, one for each operation.
class Route(Protocol):
    """Where an operation may go."""

    @property
    def stores(self) -> bool:
        """Whether it makes a new file, so that any server will do."""
        ...

    async def first(self, cluster: Cluster, /) -> protocol.StorageAddress:
        """The server that the trackers would have do it."""
        ...

    async def others(self, cluster: Cluster, group: str, /) -> Sequence[protocol.StorageAddress]:
        """All that could, in any order."""
        ...

    async def may_go_on(self, cluster: Cluster, error: Exception, /) -> bool:
        """Whether another server may be tried after this."""
        ...


@frozen(slots=False, eq=False, repr=False)
class Reading(Value):
    """A file is read, or asked about.

    Attributes:
        file: The file.
        latest: Whether it is to be read where it is changed.
    """

    file: FileId
    latest: bool = False

    @property
    def stores(self) -> bool:
        """It does not."""
        return False

    async def first(self, cluster: Cluster, /) -> protocol.StorageAddress:
        """As remembered, or as a tracker says."""
        latest = self.latest or self.file.appender
        known = cluster.recall(self.file, source=latest)
        if known is None:
            known = await cluster.where_to_look(self.file, latest=latest)
            cluster.remember(self.file, known)
        return known

    async def others(self, cluster: Cluster, group: str, /) -> Sequence[protocol.StorageAddress]:
        """All that have the file (row 105), and all others of its group (row 107).

        Trackers learn late which servers have a new file, and from its source: if that hangs, they
        name nobody else, although others have it.
        """
        frame = servers.query_fetch_all(group, self.file.name.encode())
        found = list(servers.parse_fetch_all(await cluster.locate(frame, group)))
        known = {(one.host, one.port) for one in found}
        more: Sequence[protocol.StorageAddress] = ()
        with contextlib.suppress(WireFault, protocol.FrameError):
            answer = await cluster.locate(servers.query_store_all(group), group)
            more = servers.parse_store_all(answer)
        return found + [one for one in more if (one.host, one.port) not in known]

    async def may_go_on(self, cluster: Cluster, _: Exception, /) -> bool:
        """Always."""
        cluster.forget(self.file)
        return True


@frozen(slots=False, eq=False, repr=False)
class Changing(Value):
    """A file is changed or deleted, in a way that can be repeated."""

    file: FileId

    @property
    def stores(self) -> bool:
        """It does not."""
        return False

    async def first(self, cluster: Cluster, /) -> protocol.StorageAddress:
        """The file's source, where trackers send its changes (row 103)."""
        known = cluster.recall(self.file, source=True)
        return known or await cluster.where_to_change(self.file)

    async def others(self, cluster: Cluster, group: str, /) -> Sequence[protocol.StorageAddress]:
        """All that have the file: servers pass changes on to each other."""
        return await Reading(self.file).others(cluster, group)

    async def may_go_on(self, cluster: Cluster, _: Exception, /) -> bool:
        """Always, since it can be repeated."""
        cluster.forget(self.file)
        return True


@frozen(slots=False, eq=False, repr=False)
class Storing(Value):
    """A new file is made.

    Attributes:
        group: Where; None for where the tracker chooses.
        replay: Makes the upload ready to be sent once more after it failed; tells whether it can.
    """

    group: str | None
    replay: Callable[[Exception], Awaitable[bool]]

    @property
    def stores(self) -> bool:
        """It does."""
        return True

    async def first(self, cluster: Cluster, /) -> protocol.StorageAddress:
        """The tracker's choice (rows 101 and 104)."""
        return await cluster.store_at(self.group)

    async def others(self, cluster: Cluster, group: str, /) -> Sequence[protocol.StorageAddress]:
        """All that take files (rows 106 and 107); of any group, if the tracker chooses."""
        found = list(await self._all(cluster, group))
        if self.group is None:
            # Trackers choose the next group each time.
            found += await self._all(cluster, None)
        return found

    async def _all(self, cluster: Cluster, group: str | None) -> Sequence[protocol.StorageAddress]:
        frame = servers.query_store_all(group)
        return servers.parse_store_all(await cluster.locate(frame, group))

    async def may_go_on(self, cluster: Cluster, error: Exception, /) -> bool:
        """If nothing was sent, or it can be sent again."""
        cluster.forget_choice(self.group)
        return await self.replay(error)


@frozen(slots=False, eq=False, repr=False)
class Beside(Value):
    """A slave file is made of a file.

    Attributes:
        file: The file.
        replay: As for `Storing`.
    """

    file: FileId
    replay: Callable[[Exception], Awaitable[bool]]

    @property
    def stores(self) -> bool:
        """It needs a server that has the master."""
        return False

    async def first(self, cluster: Cluster, /) -> protocol.StorageAddress:
        """The file's source (row 103)."""
        return await Changing(self.file).first(cluster)

    async def others(self, cluster: Cluster, group: str, /) -> Sequence[protocol.StorageAddress]:
        """All that have the file."""
        return await Reading(self.file).others(cluster, group)

    async def may_go_on(self, _: Cluster, error: Exception, /) -> bool:
        """If nothing was sent, or it can be sent again."""
        return await self.replay(error)


def is_guess(address: protocol.StorageAddress) -> bool:
    """Whether a server may not have the file that it is asked for: so "not found" says nothing.

    Only the lists of those that take files come with a store path.
    """
    return address.path_index is not None


async def on_any[T](cluster: Cluster, route: Route, use: Use[T]) -> T:
    """Do an operation on the first storage server that can be brought to answer.

    Args:
        cluster: Trackers and connections.
        route: Where it may go.
        use: Does it. A `StorageError` that it raises goes on only if the route says so.

    Raises:
        NoSuchGroup: If the cluster has no such group.
        StatusFault: If a server refused.
        WireFault: If no server could be brought to answer.
        StorageError: As `use` raised it.
    """
    address = first = await route.first(cluster)
    # The servers left to try, once they were asked for.
    others: list[protocol.StorageAddress] | None = None
    suspects = cluster.suspects
    if suspects.known and suspects.avoid(cluster.storage(address).server):
        others = await _look_around(cluster, route, first, spared=None)
        address = others.pop(0)
    # Whether a server that failed may have done it all the same.
    lost = False
    failure: Exception | None = None
    # A server that was left for others: if they can't do it, it gets the time it is entitled to.
    left: protocol.StorageAddress | None = None
    while True:
        pool = cluster.storage(address)
        if others is None:
            hurry = (cluster.known_size(first.group) or await cluster.size_of(first.group)) > 1
        else:
            hurry = bool(others)
        try:
            result = await use(pool.hurried(cluster.failover_timeout_s) if hurry else pool, address)
        except (ClientClosed, ForbiddenAddress):
            raise
        except StatusFault as fault:
            fault.after_loss = lost
            guessed = not route.stores and is_guess(address)
            following, left = _next(others, left) if guessed else (None, None)
            if following is None or fault.status != protocol.STATUS_NOT_FOUND:
                raise (failure or fault) if guessed else fault from None
            address = following
        except (WireFault, protocol.FrameError, StorageError) as error:
            lost = _note(cluster, pool.server, error) or lost
            failure = error
            if not hurry:
                left = None  # one server had the whole time
            elif left is None and isinstance(error, WireTimeout | PoolExhausted):
                left = address
            following = None
            if await route.may_go_on(cluster, error):
                if others is None:
                    others = await _look_around(cluster, route, first, spared=address)
                following, left = _next(others, left)
            if following is None:
                if lost and isinstance(error, StorageError):
                    error.outcome = "unknown"
                elif lost and isinstance(error, WireFault):
                    error.sent = True
                raise
            _log.info("%s; going on at %s:%d", error, following.host, following.port)
            address = following
        else:
            if suspects.known:
                suspects.worked(pool.server)
            return result


def _next(
    others: list[protocol.StorageAddress] | None, left: protocol.StorageAddress | None
) -> tuple[protocol.StorageAddress | None, protocol.StorageAddress | None]:
    """The next server to try, and the one that is to be tried once more at the end."""
    return (others.pop(0), left) if others else (left, None)


def _note(cluster: Cluster, server: str, error: Exception) -> bool:
    """Remember who failed; returns whether it may have done the operation all the same."""
    fault = error.__cause__ if isinstance(error, StorageError) else error
    if not isinstance(fault, StatusFault | PoolExhausted) and isinstance(
        fault, WireFault | protocol.FrameError
    ):
        cluster.suspects.failed(server)
    if isinstance(error, StorageError):
        return error.outcome == "unknown"
    return not isinstance(error, WireFault) or error.sent


async def _look_around(
    cluster: Cluster,
    route: Route,
    first: protocol.StorageAddress,
    spared: protocol.StorageAddress | None,
) -> list[protocol.StorageAddress]:
    """All servers that could do it, the most hopeful first.

    Args:
        cluster: Trackers and connections.
        route: Where it may go.
        first: The trackers' choice, which stands in if they name nobody.
        spared: The one that was tried already.
    """
    try:
        found = await route.others(cluster, first.group)
    except (TrackerRefused, WireFault, protocol.FrameError):
        found = ()
    unique = {(one.host, one.port): one for one in found}
    if spared is not None:
        unique.pop((spared.host, spared.port), None)
    elif not unique:
        unique[first.host, first.port] = first

    guesses = not route.stores
    now = cluster.now()

    def penalty(one: protocol.StorageAddress) -> tuple[bool, bool, float]:
        rested = cluster.suspects.rested(cluster.storage(one).server)
        return rested > now, guesses and is_guess(one), rested

    # In any order, so that what one server can't do falls on all others alike.
    choice = list(unique.values())
    random.shuffle(choice)
    return sorted(choice, key=penalty)
