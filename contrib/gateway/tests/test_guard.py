"""Bodies that are too large or too slow, readers that stall, the admin port, and the audit."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from attrs import evolve
from serving import serving
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from polystow_fastapi import add_exception_handlers
from polystow_gateway.server._access_config import LimitsConfig, ServerConfig
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._guard import Guard

pytestmark = pytest.mark.anyio
LIMITS = LimitsConfig(max_size_bytes=1000, idle_timeout_s=30)
CHUNK = b"x" * 65_536


async def count(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return PlainTextResponse(str(size))


async def refuse(_: Request) -> Response:
    raise HTTPException(401)


async def fail(_: Request) -> Response:
    raise RuntimeError("the secret is hunter2")


class Endless(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        finally:
            scope["app"].state.ended.set()


async def endless(_: Request) -> Response:
    return Endless()


def gateway(limits: LimitsConfig = LIMITS, server: ServerConfig | None = None) -> Starlette:
    paths = {"/count": count, "/refuse": refuse, "/fail": fail, "/endless": endless}
    paths |= {"/v1/admin/x": count, "/v1/containers": count, "/health/live": count}
    app = Starlette(routes=[Route(p, e, methods=["GET", "POST"]) for p, e in paths.items()])
    config = GatewayConfig("memory:", limits=limits, server=server or ServerConfig())
    app.add_middleware(Guard, config=config)
    add_exception_handlers(app)
    app.state.ended = anyio.Event()
    return app


@asynccontextmanager
async def connected(app: Starlette) -> AsyncGenerator[SocketStream]:
    async with serving(app) as client:
        assert client.base_url.port is not None
        async with await anyio.connect_tcp("127.0.0.1", client.base_url.port) as stream:
            with anyio.fail_after(20):
                yield stream


async def read_all(stream: SocketStream) -> bytes:
    answer = b""
    try:
        async for chunk in stream:
            answer += chunk
    except anyio.BrokenResourceError:
        pass
    return answer


async def test_a_body_may_be_as_large_as_allowed() -> None:
    async with serving(gateway()) as client:
        assert (await client.post("/count", content=b"x" * 1000)).text == "1000"
        assert (await client.post("/count", content=b"x" * 1001)).status_code == 413


async def test_a_body_without_a_length_is_counted_while_it_arrives() -> None:
    async with connected(gateway()) as stream:
        await stream.send(b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send(b"3e9\r\n" + b"x" * 1001)  # and never ends
        answer = await read_all(stream)
    assert b" 413 " in answer
    assert b"connection: close" in answer


async def test_a_client_that_stops_sending_is_told_and_dropped() -> None:
    async with connected(gateway(evolve(LIMITS, idle_timeout_s=0.2))) as stream:
        await stream.send(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert b" 408 " in await read_all(stream)


async def test_a_body_that_trickles_is_dropped_though_it_never_stops() -> None:
    limits = evolve(LIMITS, grace_s=0.3, min_rate_bytes_per_s=1000)
    async with connected(gateway(limits)) as stream, anyio.create_task_group() as tasks:

        async def trickle() -> None:
            try:
                while True:
                    await stream.send(b"x")
                    await anyio.sleep(0.05)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

        await stream.send(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n")
        tasks.start_soon(trickle)
        assert b" 408 " in await read_all(stream)
        tasks.cancel_scope.cancel()


async def test_a_refused_upload_is_not_read_to_its_end() -> None:
    async with connected(gateway()) as stream:
        await stream.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        answer = await read_all(stream)  # it ends, although the body never came
    assert b" 401 " in answer
    assert b"connection: close" in answer


async def test_a_refused_upload_that_has_arrived_leaves_the_connection_usable() -> None:
    async with connected(gateway()) as stream:
        await stream.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        answer = b""
        while b" 401 " not in answer:
            answer += await stream.receive()
        assert b"connection: close" not in answer
        await stream.send(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        while b" 200 " not in answer:
            answer += await stream.receive()


async def test_a_client_that_waits_for_leave_is_not_told_to_begin() -> None:
    async with connected(gateway()) as stream:
        await stream.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
        await stream.send(b"Expect: 100-continue\r\n\r\n")
        answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_a_reader_that_stalls_is_dropped() -> None:
    app = gateway(evolve(LIMITS, idle_timeout_s=0.3))
    async with connected(app) as stream:
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.state.ended.wait()


async def test_each_port_serves_its_own_paths() -> None:
    for admin_port, apart in ((1, True), (None, False)):
        app = gateway(server=ServerConfig(admin_port=admin_port))
        async with serving(app) as client:
            assert (await client.get("/count")).status_code == 200
            assert (await client.get("/v1/admin/x")).status_code == (404 if apart else 200)
            assert (await client.get("/v1/containers")).status_code == (404 if apart else 200)
            assert (await client.get("/health/live")).status_code == 200


async def test_on_the_admin_port_nothing_else_is_served() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    app = gateway(server=ServerConfig(admin_port=port))
    async with serving(app, port) as client:
        assert (await client.get("/v1/admin/x")).status_code == 200
        assert (await client.get("/v1/containers")).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/count")).status_code == 404
        assert (await client.get("/v1/administration")).status_code == 404


async def test_each_request_has_one_line_in_the_audit(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("polystow.audit")
    caplog.set_level(logging.INFO, logger.name)
    async with serving(gateway()) as client:
        await client.post("/count?token=hunter2", content=b"x" * 10)
        await client.get("/refuse", headers={"authorization": "Bearer hunter2"})
        await client.get("/fail")
        await client.get("/health/live")
    lines = [r.getMessage() for r in caplog.records if r.name == logger.name]
    assert "hunter2" not in "".join(lines)
    told = [json.loads(line) for line in lines]
    assert [(one["path"], one["outcome"], one["status"]) for one in told] == [
        ("/count", "ok", 200),
        ("/refuse", "denied", 401),
        ("/fail", "failed", 500),
    ]
    assert told[0]["received_bytes"] == 10
    assert told[0]["sent_bytes"] == 2
    assert told[0]["client"] == "127.0.0.1"


async def test_a_failure_tells_the_client_nothing() -> None:
    async with serving(gateway()) as client:
        answer = await client.get("/fail")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


class Lines(logging.Handler):
    """Collects the audit's lines, and tells when one has come."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, object]] = []
        self.came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(record.getMessage()))
        self.came.set()


async def test_a_client_that_leaves_is_told_of_as_aborted(caplog: pytest.LogCaptureFixture) -> None:
    logger, lines = logging.getLogger("polystow.audit"), Lines()
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(lines)
    try:
        async with connected(gateway()) as stream:
            await stream.send(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
            await stream.aclose()
            await lines.came.wait()
    finally:
        logger.removeHandler(lines)
    assert [one["outcome"] for one in lines.lines] == ["aborted"]
