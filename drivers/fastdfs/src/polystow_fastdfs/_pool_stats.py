"""The counters of a pool, for those who watch it."""

from __future__ import annotations

from attrs import frozen

from polystow import Value


@frozen(eq=False, repr=False)
class PoolStats(Value):
    """The counters of the connections to one server.

    Attributes:
        server: `host:port`.
        idle: Connections that wait for work.
        in_use: Connections that carry a request or a body, or are being opened.
        waiting: Callers that wait for a connection.
        opened: Connections opened so far.
        failed: Attempts to open one that failed.
        reused: How often an idle connection was taken.
        waited: How often a caller had to wait for a connection.
        exhausted: How often one waited for too long.
        expired: Idle connections closed because nobody needed them.
        lost: Idle connections that the server closed, found out before they were used.
        discarded: Connections thrown away, with an error, a cancellation or unread bytes behind
            them.
    """

    server: str
    idle: int
    in_use: int
    waiting: int
    opened: int
    failed: int
    reused: int
    waited: int
    exhausted: int
    expired: int
    lost: int
    discarded: int
