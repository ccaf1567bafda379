"""Fetching from a URL: one GET, its redirects followed, to addresses that are allowed.

Imports the HTTP client of `polystow[http]`, so it is imported where it is used.
"""

import socket
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import ip_address
from ssl import SSLContext
from typing import cast, override
from urllib.parse import urljoin

import anyio
import httpcore
from anyio import EndOfStream, move_on_after, to_thread
from anyio.abc import ByteReceiveStream
from attrs import define, field, frozen

from polystow._body import Body
from polystow._errors import (
    BackendUnavailableError,
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    StorageError,
    TransportError,
)
from polystow._fetch_rules import (
    FetchRules,
    Network,
    WebAddress,
    check_content_type,
    filename_of,
    parse_url,
    refusal,
    told_type,
    too_large,
)
from polystow._value import Value
from polystow._values import ObjectInfo

_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"user-agent": "polystow", "accept": "*/*", "accept-encoding": "identity"}
_NO_HEADERS: Mapping[str, str] = {}


@frozen(eq=False, repr=False)
class WebContent(Value):
    """What a URL gives.

    Attributes:
        filename: A name for it.
        content_type: Its media type, if the answer tells one.
        content_encoding: Its Content-Encoding; the body is as it was sent.
        body: Its content, which can be read once.
    """

    filename: str
    content_type: str | None
    content_encoding: str | None
    body: Body


type Store = Callable[[WebContent], Awaitable[ObjectInfo]]
type Fetch = Callable[[str, FetchRules, Store], Awaitable[ObjectInfo]]


async def fetch(url: str, rules: FetchRules, store: Store) -> ObjectInfo:
    """Get a URL, and store what it gives.

    Args:
        url: An http or https URL.
        rules: What is allowed.
        store: Called once, with the content.

    Raises:
        StorageError: See `Storage.fetch_url`.
    """
    address = parse_url(url)
    deadline = anyio.current_time() + rules.timeout_s
    pool = httpcore.AsyncConnectionPool(
        ssl_context=await to_thread.run_sync(_tls_context),
        max_connections=1,
        network_backend=_PublicNetwork(rules.allowed_networks),
    )
    try:
        response: httpcore.Response | None = None
        with move_on_after(rules.timeout_s):
            address, response = await _follow(pool, url, address, rules)
        if response is None:
            raise _timeout(address, rules)
        try:
            return await store(_content_of(response, address, rules, deadline))
        finally:
            await _close(response.aclose)
    finally:
        await _close(pool.aclose)


@lru_cache(maxsize=1)
def _tls_context() -> SSLContext:
    return httpcore.default_ssl_context()


async def _close(aclose: Callable[[], Awaitable[None]]) -> None:
    with move_on_after(_CLOSE_TIMEOUT_S, shield=True):
        await aclose()


async def _follow(
    pool: httpcore.AsyncConnectionPool, url: str, address: WebAddress, rules: FetchRules
) -> tuple[WebAddress, httpcore.Response]:
    first = address.origin
    for _ in range(rules.max_redirects + 1):
        own = rules.request_headers if address.origin == first else _NO_HEADERS
        named = {name.lower(): value for name, value in own.items()}
        response = await _get(pool, address, {**_HEADERS, **named})
        if response.status not in _REDIRECTS:
            error = _status_error(response, address)
            if error is None:
                return address, response
            await _close(response.aclose)
            raise error
        location = _header(response, "location")
        await _close(response.aclose)
        if location is None:
            raise _about(
                StorageError(f"it answers {response.status} without saying where to"), address
            )
        url = urljoin(url, location)
        address = parse_url(url)
    raise _about(StorageError(f"it redirects more than {rules.max_redirects} times"), address)


async def _get(
    pool: httpcore.AsyncConnectionPool, address: WebAddress, headers: dict[str, str]
) -> httpcore.Response:
    request = httpcore.Request(
        "GET",
        httpcore.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.target
        ),
        # One connection for each request: the next may go elsewhere.
        headers=list({**headers, "host": address.authority, "connection": "close"}.items()),
        extensions={"timeout": {"connect": _CONNECT_TIMEOUT_S}},
    )
    with _translated(address):
        return await pool.handle_async_request(request)


def _status_error(response: httpcore.Response, address: WebAddress) -> StorageError | None:
    status = response.status
    message = f"it answers {status}"
    if status == 200:
        return None
    if status in {404, 410}:
        return _about(NotFoundError(message), address)
    if status in {401, 403, 407}:
        return _about(PermissionDeniedError(message), address)
    if status == 429:
        return _about(RateLimitedError(message, retryable=True), address)
    if status >= 500:
        return _about(BackendUnavailableError(message, retryable=True), address)
    return _about(StorageError(f"{message} instead of the content"), address)


def _header(response: httpcore.Response, name: str) -> str | None:
    wanted = name.encode()
    for key, value in response.headers:
        if key.lower() == wanted:
            return value.decode("utf-8", "replace").strip()
    return None


def _content_of(
    response: httpcore.Response, address: WebAddress, rules: FetchRules, deadline: float
) -> WebContent:
    content_type = _header(response, "content-type")
    check_content_type(content_type, rules.content_types, address.shown)
    length = _header(response, "content-length")
    size = int(length) if length is not None and length.isdecimal() else None
    if size is not None and rules.max_bytes is not None and size > rules.max_bytes:
        raise too_large(size, rules.max_bytes, address.shown)
    encoding = _header(response, "content-encoding")
    disposition = _header(response, "content-disposition")
    return WebContent(
        filename_of(address, disposition, content_type),
        told_type(content_type),
        None if encoding in {None, "", "identity"} else encoding,
        _AnswerBody(response, address, rules, deadline, size),
    )


@define(eq=False)
class _AnswerBody:
    response: httpcore.Response
    address: WebAddress
    rules: FetchRules
    deadline: float
    size: int | None
    replayable: bool = False
    _opened: bool = field(default=False, init=False)

    async def open(self) -> ByteReceiveStream:
        if self._opened:
            raise _about(
                StorageError("what a URL gives can be read once; fetch it again"), self.address
            )
        self._opened = True
        return _AnswerStream(self)


class _AnswerStream(ByteReceiveStream):
    """The content, within the size and time that are allowed."""

    def __init__(self, body: _AnswerBody) -> None:
        self._body = body
        chunks = cast("AsyncIterable[bytes]", body.response.stream)
        self._chunks: AsyncIterator[bytes] = aiter(chunks)
        self._rest = memoryview(b"")
        self._received = 0

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        while not self._rest:
            self._rest = memoryview(await self._next())
        chunk = bytes(self._rest[:max_bytes])
        self._rest = self._rest[max_bytes:]
        return chunk

    async def _next(self) -> bytes:
        body = self._body
        chunk: bytes | None = None
        with move_on_after(max(0.0, body.deadline - anyio.current_time())) as scope:
            try:
                with _translated(body.address):
                    chunk = await anext(self._chunks)
            except StopAsyncIteration:
                raise EndOfStream from None
        if chunk is None:
            assert scope.cancelled_caught
            raise _timeout(body.address, body.rules)
        self._received += len(chunk)
        limit = body.rules.max_bytes
        if limit is not None and self._received > limit:
            raise too_large(self._received, limit, body.address.shown)
        return chunk

    @override
    async def aclose(self) -> None:
        await _close(self._body.response.aclose)


class _PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that are allowed, and to no name.

    A name is looked up once, and what it gave is what is connected to: asking a second time could
    give another address than the one that was checked ("DNS rebinding").
    """

    def __init__(self, allowed: Iterable[object]) -> None:
        self._allowed = tuple(cast("Iterable[Network]", allowed))
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _look_up(host, port)
        refused = [refusal(ip_address(address), self._allowed) for address in addresses]
        usable = [one for one, why in zip(addresses, refused, strict=True) if why is None]
        if not usable:
            raise PermissionDeniedError(
                f"{host!r} is not on the public network: {', '.join(filter(None, refused))}; "
                "allow it with allowed_networks"
            )
        failure: Exception | None = None
        for address in usable:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    @override
    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransportError(f"the host {host!r} has no address", retryable=True) from error
    # In the order of the resolver, each once.
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@contextmanager
def _translated(address: WebAddress) -> Generator[None]:
    """The client's errors as ours."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise _about(OperationTimeoutError("it did not answer in time"), address) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        reason = str(error) or type(error).__name__
        raise _about(TransportError(f"the connection failed: {reason}"), address) from error
    except StorageError as error:
        _about(error, address)
        raise


def _about[E: StorageError](error: E, address: WebAddress) -> E:
    """The error, about a URL: no composite takes its path for one of its own."""
    if error.path is None:
        error.path, error.operation = address.shown, "fetch_url"
        error.settled()
    return error


def _timeout(address: WebAddress, rules: FetchRules) -> OperationTimeoutError:
    return _about(
        OperationTimeoutError(f"it took more than {rules.timeout_s:g} s: raise timeout_s"), address
    )
