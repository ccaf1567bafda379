"""What can go wrong on the wire, before the driver words it for its caller.

These never leave the package: `_errors` turns each into a `StorageError` that knows the file.
"""

from __future__ import annotations


class WireFault(Exception):
    """An exchange with one server failed.

    Attributes:
        server: `host:port` of the server.
        sent: Whether any byte of the request may have reached the server. If not, even an upload
            may be repeated.
    """

    def __init__(self, reason: str, server: str, *, sent: bool) -> None:
        super().__init__(f"{server}: {reason}")
        self.reason = reason
        self.server = server
        self.sent = sent


class ConnectFailed(WireFault):
    """No connection came about: refused, unreachable, or not within the connect timeout."""


class PoolExhausted(WireFault):
    """Every connection to the server stayed in use for as long as the pool may wait."""


class ConnectionLost(WireFault):
    """The server closed or reset the connection before the exchange was complete."""


class WireTimeout(WireFault):
    """The server neither sent nor took a byte for the network timeout."""


class MalformedAnswer(WireFault):
    """The server's answer does not follow the protocol."""


class ForbiddenAddress(WireFault):
    """A tracker named a storage server outside the networks that are allowed."""


class ClientClosed(WireFault):
    """The driver is closed or is closing."""


class StatusFault(WireFault):
    """The server answered with a status other than 0.

    Attributes:
        status: The server's status, an errno of Linux.
        after_loss: Whether another server was asked before, and may have done it without saying so.
    """

    def __init__(self, status: int, server: str) -> None:
        super().__init__(f"status {status}", server, sent=True)
        self.status = status
        self.after_loss = False
