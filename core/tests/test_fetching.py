"""Fetching from servers of our own, over real sockets."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast, override

import pytest
from anyio import create_task_group, fail_after, to_thread
from core_doubles import Faults, MinimalDriver, fusion

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    CompositeDriver,
    FetchRules,
    FileTooLargeError,
    InvalidFileTypeError,
    InvalidPathError,
    Limits,
    MemoryDriver,
    NameHint,
    NotFoundError,
    ObjectInfo,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    Storage,
    StorageError,
    TransportError,
    UnsupportedOperationError,
    wrap,
)

LOCAL = ("127.0.0.0/8",)
RULES = FetchRules(allowed_networks=LOCAL)
_CONTENT = b"content" * 1000
_MIB = bytes(2**20)

type Answer = Callable[["_Handler"], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def web(self) -> "Web":
        return cast("Web", self.server)

    def do_GET(self) -> None:
        self.web.requests.append((self.path, dict(self.headers.items())))
        self.web.asked.set()
        self.web.answers[self.path.partition("?")[0]](self)

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Web(ThreadingHTTPServer):
    """Answers each path as a test says."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.asked = threading.Event()
        self.hold = threading.Event()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is what tests are about

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.hold.set()
            server.shutdown()
            thread.join()


@pytest.fixture
async def storage() -> Storage:
    return fusion(s3=MemoryDriver())


def serve(web: Web, path: str = "/photo.jpg", **headers: str) -> str:
    web.answers[path] = lambda handler: handler.answer(200, _CONTENT, **headers)
    return web.url(path)


async def test_a_url_becomes_a_new_object(web: Web, storage: Storage) -> None:
    url = serve(web, "/a/photo%20one.jpg", Content_Type="image/jpeg")
    info = await storage.fetch_url(url, rules=RULES)
    assert (info.filename, info.content_type, info.size) == ("photo one.jpg", "image/jpeg", 7000)
    assert info.uri.startswith("s3://files/")
    assert await storage.read_bytes(info.uri) == _CONTENT
    ((path, headers),) = web.requests
    assert path == "/a/photo%20one.jpg"
    assert headers["host"] == f"127.0.0.1:{web.server_port}"
    assert headers["accept-encoding"] == "identity"


async def test_a_url_goes_where_it_is_sent(web: Web, storage: Storage) -> None:
    url = serve(web, Content_Type="image/jpeg")
    seen: list[tuple[int, int | None]] = []
    info = await storage.fetch_url(
        url,
        "s3:box/exact",
        rules=RULES,
        progress=lambda done, size: seen.append((done, size)),
        metadata={"from": "web"},
        content_type="image/x-own",
    )
    assert (info.uri, info.metadata, info.content_type) == (
        "s3://box/exact",
        {"from": "web"},
        "image/x-own",
    )
    assert seen[-1] == (7000, 7000)
    hint = NameHint("own.jpg", folder="photos", container="box")
    info = await storage.fetch_url(url, hint, rules=RULES)
    assert info.uri.startswith("s3://box/photos/")
    assert info.filename == "own.jpg"


async def test_a_new_object_goes_into_a_folder(web: Web, storage: Storage) -> None:
    url = serve(web)
    info = await storage.fetch_url(
        url, rules=RULES, folder="photos", container="box", key_policy="exact"
    )
    assert info.uri == "s3://box/photos/photo.jpg"
    with pytest.raises(ValueError, match="leave out folder"):
        await storage.fetch_url(url, "s3:box/x", folder="photos")


async def test_a_body_in_chunks_has_any_length(web: Web, storage: Storage) -> None:
    def answer(handler: _Handler) -> None:
        handler.answer(Transfer_Encoding="chunked")
        for _ in range(50):
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    web.answers["/x"] = answer
    info = await storage.fetch_url(web.url("/x"), "s3:b/x", rules=RULES)
    assert info.size == 50 * 0x10000


async def test_an_empty_answer_is_an_empty_object(web: Web, storage: Storage) -> None:
    web.answers["/x"] = lambda handler: handler.answer()
    assert (await storage.fetch_url(web.url("/x"), rules=RULES)).size == 0


# Limits


@pytest.mark.parametrize("declared", [True, False])
async def test_a_content_over_the_limit_is_not_stored(
    web: Web, storage: Storage, declared: bool
) -> None:
    def answer(handler: _Handler) -> None:
        if declared:
            handler.answer(200, _CONTENT)
            return
        handler.answer(Transfer_Encoding="chunked")
        while not web.hold.is_set():
            handler.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")

    web.answers["/x"] = answer
    rules = FetchRules(allowed_networks=LOCAL, max_bytes=6999)
    with pytest.raises(FileTooLargeError, match="at most 6999 are allowed") as caught:
        await storage.fetch_url(web.url("/x"), "s3:b/x", rules=rules)
    assert caught.value.path == web.url("/x")
    assert not await storage.exists("s3:b/x")


async def test_a_content_at_the_limit_is_stored(web: Web, storage: Storage) -> None:
    rules = FetchRules(allowed_networks=LOCAL, max_bytes=7000)
    assert (await storage.fetch_url(serve(web), rules=rules)).size == 7000


def _never(handler: _Handler) -> None:
    handler.web.hold.wait(20)


def _in_the_middle(handler: _Handler) -> None:
    handler.answer(Content_Length="100")
    handler.wfile.write(b"half")
    handler.web.hold.wait(20)


@pytest.mark.parametrize("answer", [_never, _in_the_middle])
async def test_a_server_that_takes_too_long_is_left(
    web: Web, storage: Storage, answer: Answer
) -> None:
    web.answers["/x"] = answer
    rules = FetchRules(allowed_networks=LOCAL, timeout_s=0.2)
    with pytest.raises(OperationTimeoutError, match=r"more than 0.2 s: raise timeout_s"):
        await storage.fetch_url(web.url("/x"), "s3:b/x", rules=rules)
    assert not await storage.exists("s3:b/x")


@pytest.mark.parametrize("answer", [_never, _in_the_middle])
async def test_a_fetch_can_be_cancelled(web: Web, storage: Storage, answer: Answer) -> None:
    web.answers["/x"] = answer
    with fail_after(10):
        async with create_task_group() as tasks:
            tasks.start_soon(lambda: storage.fetch_url(web.url("/x"), "s3:b/x", rules=RULES))
            await to_thread.run_sync(web.asked.wait)
            tasks.cancel_scope.cancel()
    assert not await storage.exists("s3:b/x")
    assert await storage.drain(0) == 0


async def test_a_type_that_is_not_allowed_is_not_fetched(web: Web, storage: Storage) -> None:
    rules = FetchRules(allowed_networks=LOCAL, content_types=["image/*"])
    await storage.fetch_url(serve(web, Content_Type="image/png"), "s3:b/x", rules=rules)
    for headers in ({"Content_Type": "text/html"}, {}):
        with pytest.raises(InvalidFileTypeError):
            await storage.fetch_url(serve(web, **headers), "s3:b/y", rules=rules)
    assert not await storage.exists("s3:b/y")


async def test_rules_of_the_storage_count_too(web: Web) -> None:
    refuse = Faults(write=lambda: InvalidFileTypeError("no"))
    with pytest.raises(InvalidFileTypeError):
        await fusion(s3=wrap(MemoryDriver(), [refuse])).fetch_url(serve(web), rules=RULES)


# Addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_this_machine_is_refused(web: Web, storage: Storage, host: str) -> None:
    serve(web)
    with pytest.raises(PermissionDeniedError, match=r"is not on the public network: .*loopback"):
        await storage.fetch_url(web.url("/photo.jpg", host))
    assert web.requests == []


@pytest.mark.parametrize(
    "host", ["[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "[fe80::1]", "0.0.0.0"]
)
async def test_no_private_address_is_connected_to(storage: Storage, host: str) -> None:
    with pytest.raises(PermissionDeniedError, match="allow it with allowed_networks"):
        await storage.fetch_url(f"http://{host}:1/")


async def test_a_redirect_is_checked_like_the_url_itself(web: Web, storage: Storage) -> None:
    target = web.url("/secret", "127.0.0.2")
    web.answers["/go"] = lambda handler: handler.answer(302, Location=target)
    rules = FetchRules(allowed_networks=["127.0.0.1"])
    with pytest.raises(PermissionDeniedError, match=r"127\.0\.0\.2 is a loopback address"):
        await storage.fetch_url(web.url("/go"), rules=rules)
    assert [path for path, _ in web.requests] == ["/go"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://a:b@h/"])
async def test_a_redirect_to_something_else_is_refused(
    web: Web, storage: Storage, location: str
) -> None:
    web.answers["/go"] = lambda handler: handler.answer(301, Location=location)
    with pytest.raises(InvalidPathError):
        await storage.fetch_url(web.url("/go"), rules=RULES)


async def test_a_name_is_looked_up_once(
    web: Web, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is checked is what is connected to, whatever the name means a moment later."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == "rebinding.example":
            asked.append(name)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    serve(web)
    rules = FetchRules(allowed_networks=["127.0.0.1"])
    url = web.url("/photo.jpg", "rebinding.example")
    assert (await storage.fetch_url(url, rules=rules)).size == 7000
    assert len(asked) == 1
    with pytest.raises(PermissionDeniedError):
        await storage.fetch_url(url, rules=rules)


async def test_of_several_addresses_one_that_is_allowed_is_taken(
    web: Web, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def several(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "several.example":
            return real(host, *args, **options)
        addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.1")
        return [answer for one in addresses for answer in real(one, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    serve(web)
    url = web.url("/photo.jpg", "several.example")
    # Nothing listens at the second.
    rules = FetchRules(allowed_networks=["127.0.0.1", "127.0.0.3"])
    assert (await storage.fetch_url(url, rules=rules)).size == 7000


# Redirects and answers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(web: Web, storage: Storage, status: int) -> None:
    serve(web, "/dir/there.txt")
    web.answers["/dir/go"] = lambda handler: handler.answer(
        status, b"moved", Location="there.txt?a=b#c"
    )
    info = await storage.fetch_url(web.url("/dir/go"), rules=RULES)
    assert info.filename == "there.txt"
    assert [path for path, _ in web.requests] == ["/dir/go", "/dir/there.txt?a=b"]


async def test_redirects_come_to_an_end(web: Web, storage: Storage) -> None:
    web.answers["/go"] = lambda handler: handler.answer(302, Location="/go")
    rules = FetchRules(allowed_networks=LOCAL, max_redirects=2)
    with pytest.raises(StorageError, match="more than 2 times"):
        await storage.fetch_url(web.url("/go"), rules=rules)
    assert len(web.requests) == 3


async def test_a_redirect_to_nowhere_is_an_error(web: Web, storage: Storage) -> None:
    web.answers["/go"] = lambda handler: handler.answer(302)
    with pytest.raises(StorageError, match="without saying where to"):
        await storage.fetch_url(web.url("/go"), rules=RULES)


async def test_request_headers_replace_ours_but_not_the_host(web: Web, storage: Storage) -> None:
    own = {"User-Agent": "me", "Host": "elsewhere.example", "accept": "text/plain"}
    rules = FetchRules(allowed_networks=LOCAL, request_headers=own)
    await storage.fetch_url(serve(web), rules=rules)
    ((_, headers),) = web.requests
    names = [name.lower() for name in headers]
    assert len(set(names)) == len(names)
    assert (headers["user-agent"], headers["accept"]) == ("me", "text/plain")
    assert headers["host"] == f"127.0.0.1:{web.server_port}"


async def test_a_large_content_is_fetched_in_constant_memory(web: Web) -> None:
    import tracemalloc

    size = 32 * 2**20

    def answer(handler: _Handler) -> None:
        handler.answer(Content_Length=str(size))
        for _ in range(32):
            handler.wfile.write(_MIB)

    class Discarding(MinimalDriver):
        @override
        async def write(self, target: Any, body: Any, options: Any, /) -> Any:
            total = 0
            async with await body.open() as stream:
                async for chunk in stream:
                    total += len(chunk)
            return ObjectInfo(str(target), size=total)

    web.answers["/x"] = answer
    storage = fusion(s3=Discarding())
    await storage.fetch_url(serve(web), "s3:b/warm", rules=RULES)
    tracemalloc.start()
    try:
        info = await storage.fetch_url(web.url("/x"), "s3:b/x", rules=RULES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert info.size == size
    assert peak < 4 * 2**20


async def test_request_headers_go_to_their_own_origin_alone(web: Web, storage: Storage) -> None:
    serve(web, "/there")
    elsewhere = web.url("/there", "127.0.0.2")
    web.answers["/go"] = lambda handler: handler.answer(302, Location="/again")
    web.answers["/again"] = lambda handler: handler.answer(302, Location=elsewhere)
    rules = FetchRules(allowed_networks=LOCAL, request_headers={"Authorization": "secret"})
    with pytest.raises(TransportError):  # nothing listens there
        await storage.fetch_url(web.url("/go"), rules=rules)
    assert [headers.get("authorization") for _, headers in web.requests] == ["secret", "secret"]
    with Web("127.0.0.2") as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        try:
            serve(other, "/there")
            elsewhere = other.url("/there", "127.0.0.2")
            await storage.fetch_url(web.url("/go"), rules=rules)
        finally:
            other.shutdown()
            thread.join()
    assert "authorization" not in other.requests[0][1]


@pytest.mark.parametrize(
    ("status", "error", "retryable"),
    [
        (404, NotFoundError, False),
        (410, NotFoundError, False),
        (401, PermissionDeniedError, False),
        (403, PermissionDeniedError, False),
        (429, RateLimitedError, True),
        (500, BackendUnavailableError, True),
        (503, BackendUnavailableError, True),
        (204, StorageError, False),
        (206, StorageError, False),
        (418, StorageError, False),
    ],
)
async def test_other_answers_are_errors(
    web: Web, storage: Storage, status: int, error: type[StorageError], retryable: bool
) -> None:
    web.answers["/x"] = lambda handler: handler.answer(status)
    with pytest.raises(error, match=f"it answers {status}") as caught:
        await storage.fetch_url(web.url("/x?signature=secret"), "s3:b/x", rules=RULES)
    assert (caught.value.path, caught.value.operation) == (web.url("/x"), "fetch_url")
    assert caught.value.retryable == retryable
    assert "secret" not in str(caught.value)
    assert not await storage.exists("s3:b/x")


def _breaks_off(handler: _Handler) -> None:
    handler.answer(Content_Length="100")
    handler.wfile.write(b"half")
    handler.close_connection = True


def _breaks_off_between_chunks(handler: _Handler) -> None:
    handler.answer(Transfer_Encoding="chunked")
    handler.wfile.write(b"4\r\nhalf\r\n")
    handler.close_connection = True


def _no_http(handler: _Handler) -> None:
    handler.wfile.write(b"220 ftp ready\r\n")
    handler.close_connection = True


@pytest.mark.parametrize("answer", [_breaks_off, _breaks_off_between_chunks, _no_http])
async def test_an_answer_that_breaks_off_is_not_stored(
    web: Web, storage: Storage, answer: Answer
) -> None:
    web.answers["/x"] = answer
    with pytest.raises(TransportError, match="the connection failed") as caught:
        await storage.fetch_url(web.url("/x"), "s3:b/x", rules=RULES)
    assert caught.value.path == web.url("/x")
    assert not await storage.exists("s3:b/x")


async def test_a_host_without_an_address_or_a_server_is_an_error(storage: Storage) -> None:
    with pytest.raises(TransportError, match="has no address"):
        await storage.fetch_url("http://none.invalid/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransportError, match="the connection failed"):
        await storage.fetch_url(f"http://127.0.0.1:{port}/", rules=RULES)


async def test_an_encoding_is_kept_where_the_mount_keeps_headers(web: Web) -> None:
    url = serve(web, Content_Encoding="gzip")
    keeping = MinimalDriver(limits=Limits(headers=True))
    await fusion(s3=keeping).fetch_url(url, "s3:b/x", rules=RULES)
    with pytest.raises(UnsupportedOperationError, match="'headers'"):
        await fusion(s3=MinimalDriver()).fetch_url(url, "s3:b/x", rules=RULES)


async def test_a_new_object_replaces_none(web: Web) -> None:
    url = serve(web)
    storage = Storage(CompositeDriver({"s3": MemoryDriver()}, key_policy="exact"))
    info = await storage.fetch_url(url, rules=RULES)
    assert info.uri == "s3://files/photo.jpg"
    with pytest.raises(AlreadyExistsError):
        await storage.fetch_url(url, rules=RULES)
    await storage.fetch_url(url, info.uri, rules=RULES)
