"""The audit log: one line of JSON for each request, to the logger `polystow.audit`.

It tells who did what to which ids, with what outcome; credentials, signatures and query strings
are never in it.
"""

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, field
from starlette.types import Scope

from polystow_gateway.server._rights import Action

LOGGER_NAME = "polystow.audit"
_logger = logging.getLogger(LOGGER_NAME)
_STATE = "gateway_exchange"
_MAX_TARGETS = 100


@define
class Exchange:
    """A request and its answer.

    Attributes:
        method: Its HTTP method.
        path: Its path, without the query.
        client: The client's address.
        identity: Who asked; None if nobody is known.
        signed: Whether they came with a signed URL.
        max_size_bytes: The most bytes of its body; None for what all may have.
        actions: What it does.
        targets: With which ids; the first of them, if there are many.
        targets_count: How many there are.
        facts: What else is told.
        status: Of the answer; None if there was none.
        received_bytes: Of the request's body.
        sent_bytes: Of the answer's body.
        complete: Whether the answer was sent to its end.
        left: Whether the client went away before its body was there.
    """

    method: str
    path: str
    client: str
    identity: str | None = None
    signed: bool = False
    max_size_bytes: int | None = None
    actions: list[str] = field(factory=list[str])
    targets: list[str] = field(factory=list[str])
    targets_count: int = 0
    facts: dict[str, str] = field(factory=dict[str, str])
    status: int | None = None
    received_bytes: int = 0
    sent_bytes: int = 0
    complete: bool = False
    left: bool = False
    _started: float = field(factory=time.monotonic, init=False)

    def about(self, action: Action, targets: Sequence[str]) -> None:
        """Note what it is about."""
        if action.value not in self.actions:
            self.actions.append(action.value)
        self.targets_count += len(targets)
        self.targets.extend(targets[: _MAX_TARGETS - len(self.targets)])

    def log(self) -> None:
        """Write its line."""
        if not _logger.isEnabledFor(logging.INFO):
            return
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": self.client,
            "identity": self.identity,
            "signed_url": self.signed,
            "method": self.method,
            "path": self.path,
            "actions": self.actions,
            "targets": self.targets,
            "targets_count": self.targets_count,
            "outcome": self.outcome,
            "status": self.status,
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
            "duration_ms": round((time.monotonic() - self._started) * 1000, 1),
            **self.facts,
        }
        _logger.info("%s", json.dumps(line))

    @property
    def outcome(self) -> str:
        """`ok`, `denied`, `refused` (the client's mistake), `failed`, or `aborted` half-way."""
        if self.left or self.status is None or (not self.complete and self.status < 400):
            return "aborted"
        if self.status in {401, 403}:
            return "denied"
        return "ok" if self.status < 400 else "refused" if self.status < 500 else "failed"


def begin_exchange(scope: Scope) -> Exchange:
    """The exchange of a request that just came."""
    client = scope.get("client")
    exchange = Exchange(scope["method"], scope["path"], client[0] if client else "")
    scope.setdefault("state", {})[_STATE] = exchange
    return exchange


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request, begun by `Guard`."""
    exchange = scope.get("state", {}).get(_STATE)
    return exchange if isinstance(exchange, Exchange) else begin_exchange(scope)
