"""A listening server, tracker or storage: its socket, its connections and what it has counted."""

import abc
import asyncio
import collections
import socket
import time
from collections.abc import Callable
from typing import Protocol

import attrs

from polystow_testing._listening import stop_listening
from polystow_testing.fastdfs._faults import Faults
from polystow_testing.fastdfs._requests import Conversation
from polystow_testing.fastdfs._wire import Endpoint, Header, Widths

LISTEN_BACKLOG = 1024


@attrs.frozen
class NodeStats:
    """What one server has counted since it was first started.

    Attributes:
        address: "host:port".
        role: "tracker" or "storage".
        group: Name of a storage server's group; None for a tracker.
        running: Whether it listens.
        connections_open: Connections open now.
        connections_opened: Connections ever accepted.
        requests: Requests by command number, counted when their header has arrived.
    """

    address: str
    role: str
    group: str | None
    running: bool
    connections_open: int
    connections_opened: int
    requests: dict[int, int]


class Client(Protocol):
    """A connection, as its node sees it."""

    def abort(self, *, reset: bool = False) -> None:
        """Close at once, with a TCP reset if wished."""
        ...

    def close_if_silent(self, since: float) -> None:
        """Close if the client has owed the rest of a request since before `since`."""
        ...

    def freeze(self) -> None:
        """Read no more."""
        ...

    def thaw(self) -> None:
        """Read on."""
        ...


class Node(abc.ABC):
    """Base of tracker and storage server; used within the server's event loop only.

    Args:
        role: "tracker" or "storage".
        group_name: Of a storage server.
        faults: Shared by all nodes of a server.
        widths: Of the addresses in replies.
        network_timeout_s: After so many seconds a connection closes that is fresh or has sent
            half a request; None for never.

    Attributes:
        pipelines: Whether requests may be sent before the answers to former ones: a live tracker
            serves them, a storage server leaves them unread until more bytes come.
        is_frozen: Whether it serves nobody, though it listens.
        advertised: The address that trackers give to clients, if it is another: a proxy's.
        on_change: Called after each change of what `stats` tells.
        errors: Errors of the server itself that were met while it answered.
    """

    pipelines = False

    def __init__(
        self,
        role: str,
        group_name: str | None,
        *,
        faults: Faults,
        widths: Widths,
        network_timeout_s: float | None,
    ) -> None:
        self.role = role
        self.group_name = group_name
        self.faults = faults
        self.widths = widths
        self.network_timeout_s = network_timeout_s
        self.endpoint = Endpoint("", 0)
        self.advertised: Endpoint | None = None
        self.labels: frozenset[str] = frozenset()
        self.connections: set[Client] = set()
        self.connections_opened = 0
        self.connections_most = 0
        self.requests: collections.Counter[int] = collections.Counter()
        self.started = 0
        self.is_known_stopped = False
        self.is_frozen = False
        self.on_change: Callable[[], None] = lambda: None
        self.errors: list[Exception] = []
        self._listener: asyncio.Server | None = None

    @abc.abstractmethod
    def conversation(self, header: Header) -> Conversation:
        """Answer the request that `header` begins; may end with a `Refusal`."""

    @property
    def public(self) -> Endpoint:
        """The address that clients are told."""
        return self.advertised or self.endpoint

    @property
    def is_running(self) -> bool:
        """Whether the node listens."""
        return self._listener is not None

    def bind(self, host: str, port: int = 0) -> socket.socket:
        """Return a bound socket, and remember its address as the node's."""
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            self.endpoint = Endpoint(*listener.getsockname())
        except BaseException:
            listener.close()
            raise
        names = {self.role, str(self.endpoint)}
        self.labels = frozenset(names | ({self.group_name} if self.group_name else set()))
        return listener

    async def listen(
        self,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        listener: socket.socket | None = None,
    ) -> None:
        """Begin to accept; with no socket given, at the address of last time."""
        if self._listener is not None:
            return
        self._listener = await asyncio.get_running_loop().create_server(
            make_protocol,
            sock=listener or self.bind(self.endpoint.host, self.endpoint.port),
            backlog=LISTEN_BACKLOG,
        )
        self.started = int(time.time())
        self.is_known_stopped = False
        self.is_frozen = False

    async def stop_listening(self) -> None:
        """Refuse new connections; those that are open stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await stop_listening(listener)

    def freeze(self) -> None:
        """Serve nobody, and refuse nobody: as a process looks that was sent SIGSTOP."""
        self.is_frozen = True
        for connection in self.connections:
            connection.freeze()

    def thaw(self) -> None:
        """Serve what has come in meanwhile, and go on."""
        self.is_frozen = False
        for connection in tuple(self.connections):
            connection.thaw()

    def close_connections(self, *, reset: bool = False) -> int:
        """Close all open connections, with a TCP reset if wished; return how many there were."""
        connections = list(self.connections)
        for connection in connections:
            connection.abort(reset=reset)
        return len(connections)

    def close_silent_connections(self, now: float) -> None:
        """Close connections that have kept the server waiting for longer than its timeout."""
        if self.network_timeout_s is not None:
            for connection in list(self.connections):
                connection.close_if_silent(now - self.network_timeout_s)

    def stats(self) -> NodeStats:
        """Return the counts of now."""
        return NodeStats(
            address=str(self.endpoint),
            role=self.role,
            group=self.group_name,
            running=self.is_running,
            connections_open=len(self.connections),
            connections_opened=self.connections_opened,
            requests=dict(self.requests),
        )
