"""Heads of requests that are too slow or too long, to the server that the command runs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
import uvicorn
from anyio.abc import SocketStream
from serving import open_to_all

from polystow_gateway.server import create_app
from polystow_gateway.server._command import uvicorn_config
from polystow_gateway.server._protocol import LimitedHttpProtocol

pytestmark = pytest.mark.anyio
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


class Impatient(LimitedHttpProtocol):
    head_timeout_s = 0.2


@asynccontextmanager
async def connected(
    protocol: type[LimitedHttpProtocol] = LimitedHttpProtocol,
) -> AsyncGenerator[SocketStream]:
    async with served_by(protocol) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as it:
        yield it


@asynccontextmanager
async def served_by(
    protocol: type[LimitedHttpProtocol],
) -> AsyncGenerator[tuple[uvicorn.Server, int]]:
    config = open_to_all("memory:")
    served = uvicorn_config(config, create_app(config))
    assert served.http is LimitedHttpProtocol
    served.http, served.port = protocol, 0
    server = uvicorn.Server(served)
    serve = asyncio.create_task(server.serve())
    try:
        with anyio.fail_after(30):
            while not server.started:  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.005)
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await serve


async def read_all(stream: SocketStream) -> bytes:
    answer = b""
    try:
        async for chunk in stream:
            answer += chunk
    except anyio.BrokenResourceError:
        pass  # it was sending still
    return answer


async def answer_to(stream: SocketStream, request: bytes) -> bytes:
    await stream.send(request)
    answer = b""
    while not answer.endswith(b"}"):
        answer += await stream.receive()
    return answer


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\n", GET, GET + b"X: y"])
async def test_a_head_that_does_not_end_is_dropped(begun: bytes) -> None:
    async with connected(Impatient) as stream:
        if begun:
            await stream.send(begun)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")


async def test_the_second_head_has_the_limit_of_the_first() -> None:
    async with connected(Impatient) as stream:
        assert b" 200 " in await answer_to(stream, GET + b"\r\n")
        await stream.send(GET)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_may_take_longer_than_a_head() -> None:
    async with connected(Impatient) as stream:
        await stream.send(
            b"PUT /v1/objects?id=memory:a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc"
        )
        await anyio.sleep(2 * Impatient.head_timeout_s)
        assert b" 200 " in await answer_to(stream, b"def")


@pytest.mark.parametrize("piece", [b"x" * 60_000, b"X: y\r\n" * 10_000])
async def test_a_head_that_grows_for_ever_is_dropped(piece: bytes) -> None:
    async with connected() as stream, anyio.create_task_group() as tasks:

        async def grow() -> None:
            try:
                while True:
                    await stream.send(piece)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

        await stream.send(GET + b"X: ")
        tasks.start_soon(grow)
        with anyio.fail_after(30):
            answer = await read_all(stream)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        tasks.cancel_scope.cancel()


async def test_a_gateway_that_is_told_to_end_lets_transfers_finish() -> None:
    put = b"PUT /v1/objects?id=memory:a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n"
    async with (
        served_by(LimitedHttpProtocol) as (server, port),
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        await stream.send(put + b"Expect: 100-continue\r\n\r\n")
        assert b" 100 " in await stream.receive()
        server.should_exit = True
        with anyio.fail_after(30):
            while server.servers[0].is_serving():  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.005)
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp("127.0.0.1", port)
        assert b" 200 " in await answer_to(stream, b"abcdef")


async def test_a_long_head_and_many_requests_on_one_connection_are_served() -> None:
    async with connected() as stream:
        for _ in range(5):
            long = GET + b"X: " + b"y" * 60_000 + b"\r\n\r\n"
            assert b" 200 " in await answer_to(stream, long)
