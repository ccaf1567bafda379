"""Requests to the gateway, each once through the request policy, and what their failures mean."""

import asyncio
import json
import logging
import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urlencode

import aiohttp
import anyio
from aiohttp import ClientResponse
from anyio import EndOfStream, to_thread
from anyio.abc import ByteReceiveStream
from attrs import define, field, frozen
from yarl import URL

from polystow import (
    Attempt,
    Body,
    BytesBody,
    DriverContext,
    InvalidPathError,
    LifecycleError,
    OperationTimeoutError,
    Outcome,
    Request,
    StorageError,
    TransportError,
)
from polystow_gateway._client_config import GatewayClientConfig
from polystow_gateway._naming import Naming
from polystow_gateway._wire import OPTIONS_HEADER, WireError, dumps, loads
from polystow_gateway._wire_errors import error_from

_logger = logging.getLogger("polystow.gateway")
_MAKING = frozenset({"write", "copy", "create_multipart"})
_HARMLESS = frozenset({"presign"})
_WHOLE_OR_NOT = frozenset({"write", "put_part"})
_CHUNK_SIZE_BYTES = 262_144
_INLINE_BYTES = 65_536
_MAX_PROBLEM_BYTES = 65_536
_STOP_TIMEOUT_S = 10.0
_MAX_HEADER_BYTES = 1_048_576

type Query = Mapping[str, str | int | bool | None]


@frozen
class Call:
    """A request of the gateway's API.

    Attributes:
        operation: The driver's method, for errors.
        path: What it is about, as the driver was given it.
        method: The HTTP method.
        url: The path below the gateway's address.
        query: The parameters; those that are None are left out.
        json: The body, as a value of the wire.
        body: The body, as content.
        options: Goes into a header, for requests whose body is content.
        content_type: The body's.
        if_match: The entity tag of what may be changed.
        own_ids: Whether ids in errors stay as the gateway has them.
        idempotent: Whether it may be sent again when it is not known what the first one did.
    """

    operation: str
    path: str
    method: str
    url: str
    query: Query = field(factory=dict[str, str | int | bool | None])
    json: object = None
    body: Body | None = None
    options: object = None
    content_type: str | None = None
    if_match: str | None = None
    own_ids: bool = False
    idempotent: bool = True


@define
class Progress:
    """How far a body is.

    Attributes:
        sent: Whether it has been taken to its end, so that the gateway may have all of it.
        abandoned: Whether nothing more of it shall be taken.
    """

    sent: bool = False
    abandoned: bool = False


class Http:
    """The connections to one gateway; they are made when the first request is sent.

    Args:
        config: The driver's configuration.
        context: The request policy.
        naming: How ids look here.
    """

    def __init__(self, config: GatewayClientConfig, context: DriverContext, naming: Naming) -> None:
        self.naming = naming
        self.policy = context.policy
        self.cleanup_timeout_s = config.cleanup_timeout_s
        self._config = config
        self._base = config.url.rstrip("/")
        self._headers = {"Accept-Encoding": "identity"}
        if config.key is not None:
            self._headers["Authorization"] = f"Bearer {config.key.reveal()}"
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def fetch[T](self, call: Call, answer: type[T], progress: Progress | None = None) -> T:
        """Send a request whose answer is a value of the wire.

        Args:
            call: The request.
            answer: The value's class.
            progress: Follows the body on its way.

        Raises:
            StorageError: The gateway's, or what kept it from answering.
        """

        async def receive(response: ClientResponse) -> T:
            data = await response.read()
            try:
                return loads(answer, data)
            except WireError as error:
                raise StorageError(f"the gateway's answer can't be read: {error}") from error

        return await self.send(call, receive, progress=progress)

    async def run(self, call: Call) -> None:
        """Send a request whose answer says nothing but that it is done."""

        async def receive(response: ClientResponse) -> None:
            await response.read()

        await self.send(call, receive)

    async def send[T](
        self,
        call: Call,
        receive: Callable[[ClientResponse], Awaitable[T]],
        *,
        keep: bool = False,
        progress: Progress | None = None,
    ) -> T:
        """Send a request through the policy.

        Args:
            call: The request.
            receive: Takes the answer, if it is none of an error.
            keep: Whether the answer stays open, for who took it.
            progress: See `fetch`.
        """

        async def attempt(attempt: Attempt) -> T:
            response: ClientResponse | None = None
            done = False
            try:
                async with self._sending(call, attempt, progress or Progress()) as sending:
                    response = await self._request(call, sending)
                    try:
                        await self._check(response, call)
                        result = await receive(response)
                    except (aiohttp.ClientError, TimeoutError) as error:
                        response.close()
                        raise _broken(error, call, sending) from error
                    except BaseException:
                        # Before the body is closed: that would look like its end.
                        response.close()
                        raise
                done = True
                return result
            finally:
                if response is not None and not (done and keep):
                    response.release() if done else response.close()

        try:
            return await self.policy(Request(call.operation, call.path, call.idempotent), attempt)
        except StorageError as error:
            self._tell_orphan(call, error)
            error.in_operation(call.operation, call.path, "gateway")
            raise

    def _tell_orphan(self, call: Call, error: StorageError) -> None:
        if error.outcome == "unknown" and not call.idempotent and call.operation in _MAKING:
            _logger.warning(
                "%s of %r: the answer of %s was lost, so an object may be there that nobody knows",
                call.operation,
                call.path,
                self._base,
            )

    @asynccontextmanager
    async def _sending(
        self, call: Call, attempt: Attempt, progress: Progress
    ) -> AsyncGenerator["_Sending"]:
        body = call.body
        if body is None:
            progress.sent = True
            yield _Sending(None, None, attempt, progress)
            return
        progress.sent = False
        async with await body.open() as stream:
            sending = _Sending(stream, body.size, attempt, progress)
            try:
                yield sending
            except StorageError as error:
                if sending.failure is not None:
                    raise sending.failure from None
                if not body.replayable:
                    error.retryable = False
                raise
            finally:
                await sending.stop()

    async def _request(self, call: Call, sending: "_Sending") -> ClientResponse:
        session = self._session or await self._open()
        headers: dict[str, str] = {}
        if call.options is not None:
            headers[OPTIONS_HEADER] = dumps(call.options)
        if call.if_match is not None:
            headers["If-Match"] = f'"{call.if_match}"'
        if call.content_type is not None:
            headers["Content-Type"] = call.content_type
        data: Any = None
        body = call.body
        if call.json is not None:
            data = dumps(call.json).encode()
            headers["Content-Type"] = "application/json"
        elif isinstance(body, BytesBody) and body.size <= _INLINE_BYTES:
            data = bytes(body.data)
            sending.progress.sent = True
        elif body is not None and body.size == 0:
            data = b"".join([chunk async for chunk in sending.chunks()])  # or it raises
        elif body is not None:
            data = sending.chunks()
            if body.size is not None:
                headers["Content-Length"] = str(body.size)
        # Large bodies wait for leave: a gateway that refuses does not get them.
        waits = data is not None and not isinstance(data, bytes)
        try:
            with anyio.move_on_after(self._config.read_timeout_s if waits else None) as scope:
                sending.waiting = scope if waits else None
                return await session.request(
                    call.method,
                    self._url(call),
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    expect100=waits,
                    skip_auto_headers=("Content-Type",),
                )
        except (aiohttp.ClientError, AttributeError, TimeoutError) as error:
            # AttributeError: aiohttp asks a connection that is gone already for its answer.
            if sending.failure is not None:
                raise sending.failure from None
            raise _broken(error, call, sending) from error
        raise OperationTimeoutError("the gateway does not let the body be sent", retryable=True)

    def _url(self, call: Call) -> URL:
        query = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in call.query.items()
            if value is not None
        }
        try:
            text = urlencode(query, quote_via=quote, safe="")
        except UnicodeEncodeError as error:
            raise InvalidPathError("that is no UTF-8 text: it has a lone surrogate") from error
        return URL(f"{self._base}{call.url}{'?' if text else ''}{text}", encoded=True)

    async def _check(self, response: ClientResponse, call: Call) -> None:
        status = response.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if status != HTTPStatus.NOT_MODIFIED and status < HTTPStatus.BAD_REQUEST:
            raise StorageError(
                f"the gateway answers {status}, a redirect: give its final address as url"
            )
        data = await response.content.read(_MAX_PROBLEM_BYTES) if status != 304 else b""
        try:
            document: object = json.loads(data)
        except ValueError:
            document = None
        known = isinstance(document, dict)
        fields = cast("Mapping[str, object]", document if known else {})
        error = error_from(fields, status)
        retry_after = response.headers.get("Retry-After", "")
        if error.retry_after_s is None and retry_after.isascii() and retry_after.isdigit():
            error.retry_after_s = float(retry_after)
        raise (Naming(None) if call.own_ids else self.naming).error(error)

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._closed:
                raise LifecycleError("the storage is closed")
            if self._session is None:
                config = self._config
                tls = await to_thread.run_sync(_tls, config)
                connector = aiohttp.TCPConnector(limit=config.max_connections, ssl=tls)
                self._session = aiohttp.ClientSession(
                    connector=connector,
                    headers=self._headers,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    middlewares=(_once,),
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None,
                        connect=config.pool_timeout_s + config.connect_timeout_s,
                        sock_connect=config.connect_timeout_s,
                        sock_read=config.read_timeout_s,
                    ),
                    read_bufsize=_CHUNK_SIZE_BYTES,
                    max_line_size=_MAX_HEADER_BYTES,
                    max_field_size=_MAX_HEADER_BYTES,
                )
            return self._session

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


class _Sending:
    """The body of one attempt, on its way; the client's own task takes its chunks.

    Attributes:
        failure: What the body raised.
        waiting: Limits the wait for leave to send it.
        progress: Tells when the body has been taken to its end.
    """

    def __init__(
        self,
        stream: ByteReceiveStream | None,
        size: int | None,
        attempt: Attempt,
        progress: Progress,
    ) -> None:
        self.progress = progress
        self._size = size
        self.waiting: anyio.CancelScope | None = None
        self._stream = stream
        self._attempt = attempt
        self._timed = attempt.scope is not None or attempt.holds_slot
        self._stopped = False
        self._idle = anyio.Event()
        self._idle.set()
        self.failure: Exception | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body's chunks."""
        if self.waiting is not None:
            self.waiting.deadline = math.inf
        taken = 0
        while True:
            self._idle = anyio.Event()
            try:
                chunk = await self._next()
            except EndOfStream:
                break
            except Exception as error:
                self.failure = self.failure or error
                raise
            finally:
                self._idle.set()
            if self.progress.abandoned:
                raise ConnectionAbortedError
            if chunk:
                taken += len(chunk)
                if taken == self._size:
                    self.progress.sent = True  # with this chunk the gateway has all of it
                yield chunk
        if self._stopped or self.progress.abandoned:
            # A stream that was closed looks as if it had ended.
            raise ConnectionAbortedError
        self.progress.sent = True

    async def _next(self) -> bytes:
        assert self._stream is not None
        if not self._timed:
            return await self._stream.receive(_CHUNK_SIZE_BYTES)
        async with self._attempt.paused():  # timers stop while the body's owner is waited for
            return await self._stream.receive(_CHUNK_SIZE_BYTES)

    async def stop(self) -> None:
        """Take nothing more for the body's end, and wait until nobody reads it any more."""
        self._stopped = True
        with anyio.move_on_after(_STOP_TIMEOUT_S, shield=True):
            await self._idle.wait()


class BrokenConnectionError(aiohttp.ClientConnectionError):
    """A connection that broke; not of the classes that aiohttp itself tries again."""


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request once: repetitions are the policy's alone."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenConnectionError(_said(error)) from error


def broken_read(error: BaseException) -> StorageError:
    """What it means that an answer breaks off."""
    if isinstance(error, TimeoutError):
        return OperationTimeoutError("the gateway sends nothing any more", retryable=True)
    return TransportError(f"the connection to the gateway broke: {_said(error)}", retryable=True)


def _broken(error: BaseException, call: Call, sending: _Sending) -> StorageError:
    """What it means that a request got no answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return TransportError(f"no trusted connection to the gateway: {_said(error)}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return OperationTimeoutError("no connection to the gateway in time", retryable=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError(f"no connection to the gateway: {_said(error)}", retryable=True)
    # Of a body that was not sent to its end nothing is stored.
    unharmed = not sending.progress.sent and call.operation in _WHOLE_OR_NOT
    changes = call.method != "GET" and call.operation not in _HARMLESS
    outcome: Outcome = "unknown" if changes and not unharmed else "failed"
    retryable = call.idempotent or unharmed
    if isinstance(error, TimeoutError):
        return OperationTimeoutError(
            "no answer of the gateway in time", retryable=retryable, outcome=outcome
        )
    return TransportError(
        f"the connection to the gateway broke: {_said(error)}",
        retryable=retryable,
        outcome=outcome,
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _tls(config: GatewayClientConfig) -> ssl.SSLContext | bool:
    if not config.url.startswith("https:"):
        return True
    context = ssl.create_default_context(
        cafile=None if config.ca_file is None else str(config.ca_file)
    )
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
