"""The fast lane's HTTP transport, against a server that says what the test wants, byte by byte."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystow import TruncatedBodyError
from polystow_s3._lane._answer import Answer
from polystow_s3._lane._connection import EXPECTING_BYTES, SMALL_BYTES, Body, Origin
from polystow_s3._lane._faults import LaneError
from polystow_s3._lane._pool import Limits, Pool
from polystow_s3._lane._sending import CAN_SEND_FILES, FileRange, size_of
from polystow_testing.s3 import loopback_tls

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIB = 1_048_576

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Served:
    """A server, and a pool of connections to it."""

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.pool = pool
        self.origin = origin
        self.connections = 0
        self.open = 0

    async def all_closed(self) -> None:
        await is_so(lambda: not self.open)

    async def send(self, method: str = "GET", body: Body = b"") -> Answer:
        size = size_of(body)
        head = f"{method} /k HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n"
        if size >= EXPECTING_BYTES:
            head += "expect: 100-continue\r\n"
        return await self.pool.send(self.origin, method, f"{head}\r\n".encode(), body)


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, tls: tuple[ssl.SSLContext, Path] | None = None, **limits: Any
) -> AsyncGenerator[Served]:
    settings: dict[str, Any] = {
        "connections": 4,
        "connect_s": 2.0,
        "read_s": 2.0,
        "wait_s": 2.0,
    } | limits
    served: Served | None = None
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert served is not None
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        served.connections += 1
        served.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            served.open -= 1
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(
        accept, "127.0.0.1", 0, ssl=tls[0] if tls else None, limit=2**20
    )
    port = server.sockets[0].getsockname()[1]
    context = ssl.create_default_context(cafile=tls[1]) if tls else None
    pool = Pool(Limits(**settings), context)
    served = Served(pool, Origin("127.0.0.1", port, tls is not None))
    try:
        yield served
    finally:
        await pool.aclose()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """A head, and how long its body is."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head, int(lengths[0].partition(b":")[2]) if lengths else 0


def saying(*answers: bytes, close: bool = False) -> Handler:
    """Gives each request the next answer, the last one again and again."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (*answers, *[answers[-1]] * 1000):
            _, length = await request_of(reader)
            await reader.readexactly(length)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return handler


async def is_so(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nobody tells when a socket is closed
            await asyncio.sleep(0.001)


async def failing(awaitable: Awaitable[object]) -> str:
    with pytest.raises(LaneError) as caught:
        await awaitable
    return caught.value.fault.kind


def test_the_transport_can_be_imported_without_aiobotocore() -> None:
    code = "import sys, polystow_s3._lane._lane; print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Answers


async def test_connections_are_kept_and_used_again() -> None:
    async with serving(saying(OK)) as served:
        for _ in range(5):
            assert (await served.send()).body == b"ok"
        assert served.connections == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([0, 1, SMALL_BYTES, SMALL_BYTES + 1, 300_000]),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    st.sampled_from(["read", "read_into", "read_all"]),
    st.integers(1, 100_000),
)
def test_a_body_arrives_however_it_is_framed_cut_and_read(
    size: int, framing: str, cuts: list[int], how: str, at_once: int
) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\n"
    if framing == "length":
        wire = head + b"Content-Length: %d\r\n\r\n" % size + body
    elif framing == "chunked":
        pieces = [body[at : at + 70_001] for at in range(0, size, 70_001)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        wire = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Late: 1\r\n\r\n"
    else:
        wire = head + b"\r\n" + body

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await request_of(reader)
            at = 0
            for cut in cuts:
                writer.write(wire[at : at + cut])
                at += cut
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(wire[at:])
            await writer.drain()
            if framing == "close":
                return

    async def read(answer: Answer) -> bytes:
        if how == "read_all":
            return await answer.read_all(2**20)
        got = bytearray()
        if how == "read":
            while chunk := await answer.read(at_once):
                assert len(chunk) <= at_once
                got += chunk
        else:
            buffer = memoryview(bytearray(at_once))
            while count := await answer.read_into(buffer):
                got += buffer[:count]
        return bytes(got)

    async def main() -> None:
        async with serving(handler) as served:
            for _ in range(2):
                answer = await served.send()
                assert (answer.status, answer.headers["x-a"]) == (200, "2")
                assert await read(answer) == body
            assert served.connections == (2 if framing == "close" else 1)

    asyncio.run(main())


async def test_a_connection_that_closes_at_any_byte_is_an_error_and_never_a_short_answer() -> None:
    for wire in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
    ):
        for length in range(len(wire)):
            async with serving(saying(wire[:length], close=True)) as served:

                async def read(served: Served = served) -> bytes:
                    return await (await served.send()).read_all(100)

                assert await failing(read()) == "lost", length
                await served.all_closed()


async def test_a_head_has_no_body_whatever_it_says() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with serving(saying(head)) as served:
        for method in ("HEAD", "HEAD"):
            answer = await served.send(method)
            assert (answer.body, answer.headers["content-length"]) == (b"", "1000")
        assert served.connections == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_have_no_body(status: bytes) -> None:
    async with serving(saying(b"HTTP/1.1 %s\r\nETag: x\r\n\r\n" % status, OK)) as served:
        assert (await served.send()).body == b""
        assert (await served.send()).body == b"ok"
        assert served.connections == 1


@pytest.mark.parametrize("extra", [b"more", OK, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"])
async def test_bytes_that_nobody_asked_for_belong_to_no_answer(extra: bytes) -> None:
    async with serving(saying(OK + extra)) as served:
        for _ in range(3):
            with contextlib.suppress(LaneError):
                assert (await served.send()).body == b"ok"
        assert served.connections == 3


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + bytes([1]) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["ssh", "html", "two_lengths", "no_length", "both", "control", "long", "interim",
         "upgrade"],
)  # fmt: skip
async def test_what_is_no_proper_http_is_refused(wire: bytes) -> None:
    async with serving(saying(wire, close=False), read_s=0.5) as served:
        assert await failing(served.send()) == "garbled"
        await is_so(lambda: not served.open)


async def test_interim_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\nX: early\r\n\r\n"
    async with serving(saying(b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK)) as served:
        answer = await served.send()
        assert (answer.status, answer.body, answer.headers) == (200, b"ok", {"content-length": "2"})


@pytest.mark.parametrize("said", [b"Connection: close\r\n", b"connection: Close\r\n"])
async def test_a_service_may_end_a_connection(said: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok" % said
    async with serving(saying(answer)) as served:
        for _ in range(2):
            assert (await served.send()).body == b"ok"
        assert served.connections == 2


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_connection_that_is_being_lost_is_not_taken(secure: bool, tmp_path: Path) -> None:
    async with serving(saying(OK), tls=loopback_tls(tmp_path) if secure else None) as served:
        assert (await served.send()).body == b"ok"
        (idle,) = served.pool._idle[served.origin]
        idle.idle_since = float("-inf")  # no longer trusted blindly
        assert idle._transport is not None
        idle._transport.abort()  # the loop tells the connection a step later
        assert (await served.send()).body == b"ok"
        assert served.connections == 2


# Requests


@pytest.mark.parametrize("size", [0, 10, SMALL_BYTES + 1, EXPECTING_BYTES, 9 * MIB])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_bodies_of_any_size_arrive(size: int, secure: bool, tmp_path: Path) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, length = await request_of(reader)
            if b"100-continue" in head:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            seen.append(await reader.readexactly(length))
            writer.write(OK)

    async with serving(handler, tls=loopback_tls(tmp_path) if secure else None) as served:
        for _ in range(2):
            assert (await served.send("PUT", body)).body == b"ok"
        assert served.connections == 1
    assert seen == [body, body]


async def test_a_service_that_knows_no_100_continue_gets_the_body_after_a_second() -> None:
    async with serving(saying(OK)) as served:
        assert (await served.send("PUT", bytes(EXPECTING_BYTES))).body == b"ok"


@pytest.mark.parametrize("asks", [True, False], ids=["instead_of_100", "while_it_is_sent"])
async def test_a_refusal_before_the_end_of_the_body_is_the_answer(asks: bool) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        if not asks:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await reader.readexactly(100_000)
        writer.write(refusal)
        await reader.read()

    async with serving(handler) as served:
        answer = await served.send("PUT", bytes(32 * MIB))
        assert (answer.status, answer.body) == (403, b"no")
        await is_so(lambda: not served.open)  # of half a request nothing may be left


# Bodies past the loop


def sending(*pieces: bytes, size: int, wait: asyncio.Event | None = None) -> Handler:
    """Answers each request with a body of `size` bytes, in pieces; then waits, or closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if sum(map(len, pieces)) < size:
                if wait is not None:
                    await wait.wait()
                return

    return handler


async def pulled_by(answer: Answer, keep: Callable[[memoryview], object]) -> None:
    while True:  # until something has come
        await answer.pull(keep, MIB)


async def pulled(answer: Answer, got: bytearray) -> None:
    """Read a body by `pull` where that can be, as the driver does."""
    buffer = memoryview(bytearray(10_000))
    while True:
        if answer.can_pull and await answer.pull(got.extend, 2 * MIB):
            continue
        if not (count := await answer.read_into(buffer)):
            return
        got += buffer[:count]


async def test_a_large_body_is_pulled_and_the_connection_is_used_again() -> None:
    pieces = [number.to_bytes() * MIB for number in range(9)]
    async with serving(sending(*pieces, size=9 * MIB)) as served:
        for _ in range(3):
            got = bytearray()
            await pulled(await served.send(), got)
            assert bytes(got) == b"".join(pieces)
        assert served.connections == 1


async def test_a_body_that_breaks_off_while_it_is_pulled_is_lost() -> None:
    async with serving(sending(bytes(3 * MIB), size=4 * MIB)) as served:
        got = bytearray()
        assert await failing(pulled(await served.send(), got)) == "lost"
        assert len(got) <= 3 * MIB


async def test_a_service_that_falls_silent_while_it_is_pulled_from_is_given_up() -> None:
    done = asyncio.Event()
    async with serving(sending(bytes(3 * MIB), size=4 * MIB, wait=done), read_s=0.3) as served:
        got = bytearray()
        assert await failing(pulled(await served.send(), got)) == "read_timeout"
        assert len(got) == 3 * MIB
        done.set()


async def test_what_a_file_refuses_ends_the_read() -> None:
    def refuse(_: memoryview) -> None:
        raise OSError(28, "No space left on device")

    async with serving(sending(bytes(3 * MIB), size=3 * MIB)) as served:
        answer = await served.send()
        await answer.read(10)
        while not answer.can_pull:
            await answer.read(MIB)
        with pytest.raises(OSError, match="No space"):
            await pulled_by(answer, refuse)
        await is_so(lambda: not served.open)


async def test_a_cancelled_pull_leaves_no_connection() -> None:
    done = asyncio.Event()
    async with serving(sending(bytes(MIB), size=4 * MIB, wait=done), read_s=60.0) as served:
        got = bytearray()
        task = asyncio.create_task(pulled(await served.send(), got))
        await is_so(lambda: len(got) == MIB)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done.set()
        await is_so(lambda: not served.open)


# Bodies in files


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    if not CAN_SEND_FILES:
        pytest.skip("this system has no sendfile")
    with (tmp_path / "body").open("w+b") as opened:
        for number in range(32):
            opened.write(number.to_bytes() * MIB)
        opened.flush()
        yield opened


@pytest.mark.parametrize("size", [10, SMALL_BYTES + 1, 9 * MIB])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_range_of_a_file_arrives(
    size: int, secure: bool, file: BinaryIO, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, length = await request_of(reader)
            if b"100-continue" in head:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            seen.append(await reader.readexactly(length))
            writer.write(OK)

    async with serving(handler, tls=loopback_tls(tmp_path) if secure else None) as served:
        for _ in range(2):
            sent = await served.send("PUT", FileRange(file.fileno(), MIB - 5, size))
            assert sent.body == b"ok"
        assert served.connections == 1
    file.seek(MIB - 5)
    assert seen == [file.read(size)] * 2


async def reads_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(60)


async def test_a_file_that_nobody_takes_is_given_up(file: BinaryIO) -> None:
    async with serving(reads_nothing, read_s=0.2) as served:
        body = FileRange(file.fileno(), 0, 32 * MIB)
        assert await failing(served.send("PUT", body)) == "read_timeout"


async def test_a_cancelled_file_leaves_no_thread_and_no_connection(file: BinaryIO) -> None:
    async with serving(reads_nothing, read_s=60.0) as served:
        sending = asyncio.create_task(served.send("PUT", FileRange(file.fileno(), 0, 32 * MIB)))
        await is_so(lambda: served.open == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not served.pool._open or all(c.is_closed for c in served.pool._open)


async def test_a_refusal_before_the_end_of_a_file_is_the_answer(file: BinaryIO) -> None:
    answered = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(100_000)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await answered.wait()  # else it may have all of the file before the answer is seen
        await reader.read()

    async with serving(handler) as served:
        answer = await served.send("PUT", FileRange(file.fileno(), 0, 32 * MIB))
        answered.set()
        assert (answer.status, answer.body) == (403, b"no")
        await is_so(lambda: not served.open)


async def test_a_connection_that_breaks_under_a_file_is_lost(file: BinaryIO) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(100_000)
        writer.transport.abort()

    async with serving(handler) as served:
        assert await failing(served.send("PUT", FileRange(file.fileno(), 0, 32 * MIB))) == "lost"


async def test_a_file_that_has_become_shorter_is_an_error(file: BinaryIO) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.read()

    async with serving(handler) as served:
        file.truncate(3 * MIB)
        with pytest.raises(TruncatedBodyError, match="nothing was stored"):
            await served.send("PUT", FileRange(file.fileno(), 0, 4 * MIB))
        await is_so(lambda: not served.open)
        with pytest.raises(TruncatedBodyError):
            FileRange(file.fileno(), 0, 4 * MIB).read()


# Time


async def test_a_silent_service_is_given_up() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler, read_s=0.1) as served:
        assert await failing(served.send()) == "read_timeout"
        assert await failing(served.send("PUT", bytes(9 * MIB))) == "read_timeout"
        await is_so(lambda: not served.open)


async def test_a_service_that_takes_no_more_bytes_is_given_up() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async with serving(handler, read_s=0.2) as served:
        assert await failing(served.send("PUT", bytes(64 * MIB))) == "read_timeout"


async def test_a_body_that_stalls_is_given_up_and_a_reader_that_waits_is_not() -> None:
    size = 8 * MIB
    go_on = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size - 1))
        await writer.drain()
        await go_on.wait()

    async with serving(handler, read_s=0.2) as served:
        answer = await served.send()
        await asyncio.sleep(0.5)  # longer than the service may be silent
        left = size - 1
        while left:
            left -= len(await answer.read(MIB))
        assert await failing(answer.read(MIB)) == "read_timeout"
        go_on.set()
        await is_so(lambda: not served.open)


async def test_requests_wait_for_a_connection_in_their_order_and_not_for_ever() -> None:
    release = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            await release.wait()
            writer.write(OK)

    async with serving(handler, connections=1, wait_s=0.3) as served:
        order: list[int] = []

        async def one(number: int) -> None:
            await served.send()
            order.append(number)

        tasks = [asyncio.create_task(one(0))]
        await is_so(lambda: served.open == 1)
        for number in (1, 2, 3):
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(0)
        tasks[2].cancel()
        release.set()
        await asyncio.wait(tasks)
        assert order == [0, 1, 3]
        assert served.connections == 1
        release.clear()
        first = asyncio.create_task(served.send())
        await asyncio.sleep(0)
        assert await failing(served.send()) == "busy"
        release.set()
        await first


async def test_nobody_there_is_told_at_once() -> None:
    async with serving(saying(OK)) as served:
        pass
    pool = Pool(Limits(1, 1.0, 1.0, 1.0), None)
    for _ in range(3):  # a failure gives its place back
        assert await failing(pool.send(served.origin, "GET", GET, b"")) == "connect"
    await pool.aclose()


async def test_a_certificate_that_is_not_trusted_is_a_tls_error(tmp_path: Path) -> None:
    async with serving(saying(OK), tls=loopback_tls(tmp_path)) as served:
        pool = Pool(Limits(1, 1.0, 1.0, 1.0), ssl.create_default_context())
        assert await failing(pool.send(served.origin, "GET", GET, b"")) == "tls"
        await pool.aclose()


async def test_a_handshake_that_hangs_is_a_connect_timeout() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as served:
        pool = Pool(Limits(1, 0.1, 1.0, 1.0), ssl.create_default_context())
        origin = served.origin._replace(tls=True)
        assert await failing(pool.send(origin, "GET", GET, b"")) == "connect_timeout"
        await pool.aclose()


# Keeping and losing connections


async def test_a_connection_that_the_service_closed_is_not_used_again() -> None:
    close = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)
        await close.wait()

    async with serving(handler) as served:
        await served.send()
        close.set()
        await is_so(lambda: not served.open)
        close.clear()
        assert (await served.send()).body == b"ok"
        assert served.connections == 2


async def test_a_close_that_the_loop_has_not_seen_is_found_by_a_look_at_the_socket() -> None:
    import threading
    import time

    close = threading.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)
        await writer.drain()
        await asyncio.to_thread(close.wait)

    def serve(started: asyncio.Future[int], loop: asyncio.AbstractEventLoop) -> None:
        async def main() -> None:
            async def accept(r: asyncio.StreamReader, w: asyncio.StreamWriter) -> None:
                with contextlib.suppress(asyncio.IncompleteReadError):
                    await handler(r, w)
                w.close()

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            loop.call_soon_threadsafe(started.set_result, server.sockets[0].getsockname()[1])
            await asyncio.to_thread(close.wait)
            await asyncio.sleep(0.5)
            server.close()

        asyncio.run(main())

    loop = asyncio.get_running_loop()
    started: asyncio.Future[int] = loop.create_future()
    thread = threading.Thread(target=serve, args=(started, loop))
    thread.start()
    pool = Pool(Limits(1, 1.0, 1.0, 1.0), None)
    try:
        origin = Origin("127.0.0.1", await started, tls=False)
        assert (await pool.send(origin, "GET", GET, b"")).body == b"ok"
        close.set()
        time.sleep(0.4)  # noqa: ASYNC251 - it is what keeps the loop from seeing the end
        assert (await pool.send(origin, "GET", GET, b"")).body == b"ok"
    finally:
        close.set()
        await pool.aclose()
        await asyncio.to_thread(thread.join)


async def test_a_full_pool_gives_way_to_another_origin() -> None:
    async with serving(saying(OK), connections=1) as one, serving(saying(OK)) as other:
        for served in (one, other, one):
            answer = await one.pool.send(served.origin, "GET", GET, b"")
            assert answer.body == b"ok"
        assert (one.connections, other.connections) == (2, 1)


@pytest.mark.parametrize("size", [2, 300_000], ids=["small", "large"])
async def test_a_cancellation_at_any_step_leaves_no_connection_with_half_an_answer(
    size: int,
) -> None:
    body = bytes(size)
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            for at in range(0, len(wire), max(1, len(wire) // 7)):
                writer.write(wire[at : at + max(1, len(wire) // 7)])
                await writer.drain()
                await asyncio.sleep(0)

    async with serving(handler, connections=2) as served:

        async def read() -> bytes:
            answer = await served.send()
            try:
                return await answer.read_all(2**20)
            finally:
                answer.close()

        done = cancelled = 0
        for steps in range(60):
            task = asyncio.create_task(read())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            try:
                assert await task == body
                done += 1
            except asyncio.CancelledError:
                cancelled += 1
            assert await read() == body
        assert done
        assert cancelled
        await is_so(lambda: served.open <= 2)


async def test_closing_the_pool_ends_everything() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler, connections=1) as served:
        tasks = [asyncio.create_task(served.send()) for _ in range(3)]
        await is_so(lambda: served.open == 1)
        await served.pool.aclose()
        for task in tasks:
            assert await failing(task) in {"lost", "connect"}
        assert await failing(served.send()) == "connect"
        await is_so(lambda: not served.open)


async def test_reading_pauses_while_nobody_reads() -> None:
    size = 64 * MIB
    sent = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            writer.write(bytes(MIB))
            await writer.drain()
            sent += MIB
        await reader.read()

    async with serving(handler) as served:
        answer = await served.send()
        for _ in range(200):
            await asyncio.sleep(0)
        assert sent < 32 * MIB  # what sockets hold, and no more
        total = 0
        while chunk := await answer.read(MIB):
            total += len(chunk)
        assert total == size


def test_names_of_headers_are_remembered_within_bounds() -> None:
    from polystow_s3._lane import _connection

    names = [b"X-%d" % number for number in range(2000)]
    assert len(_connection._decoded(dict.fromkeys(names, b"v"))) == 2000
    assert len(_connection._NAMES) <= 512
