"""Requests to the gateway, each once through the request policy, and what their failures mean."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urlencode

import aiohttp
import anyio
from aiohttp import ClientResponse
from anyio import to_thread
from yarl import URL

from polystow import (
    Attempt,
    BytesBody,
    DriverContext,
    InvalidPathError,
    LifecycleError,
    OperationTimeoutError,
    Request,
    StorageError,
)
from polystow_gateway._breakage import broken, once
from polystow_gateway._calls import Call
from polystow_gateway._client_config import GatewayClientConfig
from polystow_gateway._naming import Naming
from polystow_gateway._sending import CHUNK_SIZE_BYTES, Progress, Sending
from polystow_gateway._wire import OPTIONS_HEADER, WireError, dumps, loads
from polystow_gateway._wire_errors import error_from

_logger = logging.getLogger("polystow.gateway")
_MAKING = frozenset({"write", "copy", "create_multipart"})
_INLINE_BYTES = 65_536
_MAX_PROBLEM_BYTES = 65_536
_MAX_HEADER_BYTES = 1_048_576


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
                        raise broken(error, call, sending) from error
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
    ) -> AsyncGenerator[Sending]:
        body = call.body
        if body is None:
            progress.sent = True
            yield Sending(None, None, attempt, progress)
            return
        progress.sent = False
        async with await body.open() as stream:
            sending = Sending(stream, body.size, attempt, progress)
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

    async def _request(self, call: Call, sending: Sending) -> ClientResponse:
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
            raise broken(error, call, sending) from error
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
                    middlewares=(once,),
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None,
                        connect=config.pool_timeout_s + config.connect_timeout_s,
                        sock_connect=config.connect_timeout_s,
                        sock_read=config.read_timeout_s,
                    ),
                    read_bufsize=CHUNK_SIZE_BYTES,
                    max_line_size=_MAX_HEADER_BYTES,
                    max_field_size=_MAX_HEADER_BYTES,
                )
            return self._session

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


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
