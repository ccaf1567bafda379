"""What stands around every request: limits on body and reader, the admin port, the audit."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polystow import FileTooLargeError
from polystow_gateway.server._access_config import LimitsConfig
from polystow_gateway.server._audit import Exchange, begin_exchange
from polystow_gateway.server._config import GatewayConfig

ADMIN_PATHS = ("/v1/admin", "/v1/containers", "/gateway")
_HEALTH = "/health"
_LINGER_BYTES = 262_144
_LINGER_S = 1.0


class Guard:
    """ASGI middleware around the gateway.

    Args:
        app: The gateway.
        config: The configuration.
    """

    def __init__(self, app: ASGIApp, config: GatewayConfig) -> None:
        self._app = app
        self._limits = config.limits
        self._admin_port = config.server.admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, within its limits."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
                return
            await self._app(scope, receive, send)
            return
        exchange = begin_exchange(scope)
        body = _Body(scope, receive, self._limits, exchange)
        answer = _Answer(send, body, self._limits, exchange)
        try:
            if self._is_elsewhere(scope):
                await _send_not_found(answer.send)
            else:
                await self._app(scope, body.receive, answer.send)
        except (_StalledError, ClientDisconnect):
            pass  # the server breaks the connection off, since the answer is not complete
        except Exception:
            exchange.status = exchange.status or HTTPStatus.INTERNAL_SERVER_ERROR
            raise
        finally:
            if not _is_health(scope) or exchange.outcome != "ok":
                exchange.log()

    def _is_elsewhere(self, scope: Scope) -> bool:
        """Whether another port serves the path."""
        if self._admin_port is None:
            return False
        if _is_health(scope):
            return False
        server = scope.get("server")
        on_admin_port = server is not None and server[1] == self._admin_port
        return is_admin_path(_path(scope)) is not on_admin_port


def is_admin_path(path: str) -> bool:
    """Whether a path is one of administration."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in ADMIN_PATHS)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_health(scope: Scope) -> bool:
    path = _path(scope)
    return path == _HEALTH or path.startswith(f"{_HEALTH}/")


class _StalledError(Exception):
    """The client takes nothing of its answer."""


class _Body:
    """The request's body, as large and as slow as it may be.

    The time that counts is that of waiting for the client: while the storage is slow, nobody
    waits for it.

    Attributes:
        complete: Whether all of it was received.
    """

    def __init__(
        self, scope: Scope, receive: Receive, limits: LimitsConfig, exchange: Exchange
    ) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._exchange = exchange
        self._waited_s = 0.0
        # Some of it may be on its way; not where the client waits for the leave to begin.
        self._comes = "expect" not in headers
        self.complete = (
            "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        )

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()  # waits for the client to go away
        start = time.monotonic()
        try:
            with anyio.fail_after(self._patience_s()):
                message = await self._receive()
        except TimeoutError as error:
            self._comes = False
            reason = "the request's body arrives too slowly, or no more"
            raise HTTPException(408, reason) from error
        self._waited_s += time.monotonic() - start
        self._take(message)
        return message

    async def drop(self) -> None:
        """Drop a little of what is left, so that the client gets to read its answer."""
        dropped = 0
        with anyio.move_on_after(_LINGER_S):
            while self._comes and not self.complete and dropped < _LINGER_BYTES:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return
                dropped += len(message.get("body", b""))
                self.complete = not message.get("more_body", False)

    def _patience_s(self) -> float:
        limits = self._limits
        due = limits.grace_s + self._exchange.received_bytes / limits.min_rate_bytes_per_s
        return min(limits.idle_timeout_s, max(0.0, due - self._waited_s))

    def _take(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._exchange.left = True
            return
        self.complete = not message.get("more_body", False)
        exchange = self._exchange
        exchange.received_bytes += len(message.get("body", b""))
        limit = exchange.max_size_bytes or self._limits.max_size_bytes
        if exchange.received_bytes > limit:
            raise FileTooLargeError(f"the request's body is larger than {limit} bytes")


class _Answer:
    """The answer, to a client that takes it."""

    def __init__(self, send: Send, body: _Body, limits: LimitsConfig, exchange: Exchange) -> None:
        self._send = send
        self._body = body
        self._timeout_s = limits.idle_timeout_s
        self._exchange = exchange

    async def send(self, message: Message) -> None:
        exchange = self._exchange
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            if not self._body.complete:
                await self._body.drop()
            if not self._body.complete:
                # Nobody is going to read the rest; the next request can't follow it.
                headers = list(message.get("headers", ()))
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
        with anyio.move_on_after(self._timeout_s) as scope:
            await self._send(message)
        if scope.cancelled_caught:
            raise _StalledError
        if message["type"] == "http.response.body":
            exchange.sent_bytes += len(message.get("body", b""))
            exchange.complete = not message.get("more_body", False)


async def _send_not_found(send: Callable[[Any], Awaitable[None]]) -> None:
    body = b'{"type":"about:blank","title":"Not Found","status":404}'
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
