import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from polystow import Outbox
from polystow._outbox import AT_ONCE


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def transports(
    count: int,
) -> AsyncGenerator[tuple[list[asyncio.Transport], list[asyncio.Future[bytes]]]]:
    """Connections to a server, and the five messages that it gets on each."""
    loop = asyncio.get_running_loop()
    received: list[asyncio.Future[bytes]] = []

    class Server(asyncio.Protocol):
        def __init__(self) -> None:
            self.data = b""
            self.whole: asyncio.Future[bytes] = loop.create_future()
            received.append(self.whole)

        def data_received(self, data: bytes) -> None:
            self.data += data
            if self.data.count(b">") == 5:
                self.whole.set_result(self.data)

    server = await loop.create_server(Server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = [
        (await loop.create_connection(asyncio.Protocol, "127.0.0.1", port))[0] for _ in range(count)
    ]
    try:
        yield made, received
    finally:
        for transport in made:
            transport.close()
        server.close()
        await server.wait_closed()


class Recorder(asyncio.WriteTransport):
    """Notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.seen.append(bytes(data))


async def test_a_request_with_few_others_goes_out_at_once() -> None:
    transport = Recorder()
    Outbox(asyncio.get_running_loop()).post(transport, b"now", AT_ONCE - 1)
    assert transport.seen == [b"now"]


async def test_requests_of_one_turn_go_out_after_it() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    made = [Recorder() for _ in range(3)]
    for number, transport in enumerate(made):
        # Once one is held back so are those after it: else they would overtake it.
        outbox.post(transport, b"%d" % number, AT_ONCE if number == 0 else 0)
    assert [transport.seen for transport in made] == [[], [], []]
    await asyncio.sleep(0)
    assert [transport.seen for transport in made] == [[b"0"], [b"1"], [b"2"]]


async def test_what_is_closed_meanwhile_gets_nothing_and_the_others_do() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    closed, other = Recorder(), Recorder()
    outbox.post(closed, b"lost", AT_ONCE)
    outbox.post(other, b"sent", AT_ONCE)
    closed.closing = True
    await asyncio.sleep(0)
    assert (closed.seen, other.seen) == ([], [b"sent"])


async def test_all_requests_arrive_on_their_own_connections() -> None:
    async with transports(20) as (made, received):
        outbox = Outbox(asyncio.get_running_loop())
        for _ in range(5):
            for number, transport in enumerate(made):
                outbox.post(transport, b"<%d>" % number, len(made))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            for stream in received:
                await stream
        texts = sorted(stream.result() for stream in received)
        assert texts == sorted(b"<%d>" % number * 5 for number in range(20))
