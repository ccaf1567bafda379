"""`FaultProxy`: a TCP proxy that breaks what passes through it, for any protocol."""

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import Literal

from polystow_testing._context import ServerContext
from polystow_testing._listening import stop_listening
from polystow_testing.faults._wire import (
    Close,
    Delay,
    Drip,
    Flip,
    Hang,
    Refuse,
    Split,
    Traffic,
    Truncate,
    WireFault,
)

_BLOCK_BYTES = 65_536
_HALF_CLOSED_S = 1.0
_RESET = struct.pack("ii", 1, 0)

type _Way = Literal["up", "down"]


class _Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client_reader, self.client = reader, writer
        self.server: asyncio.StreamWriter | None = None
        self.held = 0
        self.task = asyncio.current_task()

    def close(self, *, reset: bool) -> None:
        for writer in (self.client, self.server):
            if writer is None or writer.transport.is_closing():
                continue
            if reset:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()


class FaultProxy(ServerContext):
    """Stands between a client and one server on loopback, in a thread with its own event loop.

    One fault is armed at a time. All methods may be called from any thread.

    Args:
        server: Where connections go, `host:port`.
        host: Where it listens.

    Example:
        >>> with FaultProxy("127.0.0.1:9000") as proxy:  # doctest: +SKIP
        ...     proxy.arm(WireFault(Close(reset=True), after_bytes=100))
        ...     connect(proxy.address)
    """

    def __init__(self, server: str, *, host: str = "127.0.0.1") -> None:
        server_host, _, server_port = server.rpartition(":")
        self._server = (server_host.strip("[]"), int(server_port))
        self._host = host
        self._port = 0
        self._fault: WireFault | None = None
        self._fired = 0
        self._passed = {"up": 0, "down": 0}
        self._counts = {"connections": 0, "up": 0, "down": 0}
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._healed: asyncio.Event = asyncio.Event()
        self._listening = asyncio.Lock()
        self._revival: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """Where clients connect, `host:port`; it stays the same through outages."""
        return f"{self._host}:{self._port}"

    # Life

    def start(self) -> None:
        """Listen, on a free port.

        Raises:
            RuntimeError: It runs already.
        """
        if self._thread is not None:
            raise RuntimeError("this FaultProxy is running already")
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="fault-proxy", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure

    def stop(self) -> None:
        """Close everything; harmless when it does not run."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._loop is not None
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()

    def _run(self, started: threading.Event) -> None:
        async def serve() -> None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            with _reserved(self._host) as self._port:
                await self._listen()
                started.set()
                await self._stopping.wait()
                await self._stop_listening()
                await self._drop_links(reset=False)

        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - raised again by start()
            self._failure = error
        finally:
            started.set()

    # Faults

    def arm(self, fault: WireFault) -> None:
        """Put a fault into effect, in place of any other; bytes count from now on."""

        async def do() -> None:
            await self._heal()
            self._fault, self._fired = fault, 0
            self._passed = {"up": 0, "down": 0}
            self._healed = asyncio.Event()
            if isinstance(fault.action, Refuse) and fault.direction == "connect":
                await self._refuse(fault.action)

        self._ask(do)

    def heal(self) -> int:
        """End the fault: listen, and let pass what was held. Returns how often it has fired."""

        async def do() -> int:
            await self._heal()
            return self._fired

        return self._ask(do)

    @property
    def fired(self) -> int:
        """How often the fault that was armed last has fired."""
        return self._fired

    def close_connections(self, *, reset: bool = False) -> None:
        """Close all connections, and wait until they are gone.

        Args:
            reset: Send TCP resets in place of an orderly end.
        """

        async def do() -> None:
            await self._drop_links(reset=reset)

        self._ask(do)

    # What has happened

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""

        async def do() -> int:
            return len(self._links)

        return self._ask(do)

    def traffic(self, *, reset: bool = False) -> Traffic:
        """What has passed since the last reset.

        Args:
            reset: Count from 0 again.
        """

        async def do() -> Traffic:
            counts = self._counts
            if reset:
                self._counts = {"connections": 0, "up": 0, "down": 0}
            return Traffic(counts["connections"], counts["up"], counts["down"])

        return self._ask(do)

    @property
    def listener_id(self) -> str:
        """Its listening socket, as `/proc/self/fd` shows it; another one after an outage."""

        async def do() -> str:
            assert self._listener is not None
            return f"socket:[{os.fstat(self._listener.sockets[0].fileno()).st_ino}]"

        return self._ask(do)

    # Within the proxy's own loop

    def _ask[T](self, question: Callable[[], Awaitable[T]]) -> T:
        if self._thread is None or self._loop is None:
            raise RuntimeError("this FaultProxy is not running: use it in a with statement")

        async def answer() -> T:
            return await question()

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result()

    async def _listen(self) -> None:
        # The end of an outage and `heal` may come at once: a second listener would stay for ever.
        async with self._listening:
            if self._listener is not None:
                return
            self._listener = await asyncio.start_server(
                self._serve,
                self._host,
                self._port,
                limit=_BLOCK_BYTES,
                backlog=512,
                reuse_port=True,
            )

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await stop_listening(listener)

    async def _heal(self) -> None:
        self._fault = None
        if self._revival is not None:
            self._revival.cancel()
        self._healed.set()
        await self._listen()

    async def _refuse(self, action: Refuse) -> None:
        self._fired += 1
        await self._stop_listening()
        current = asyncio.current_task()
        for link in tuple(self._links):
            if link.task is not current:
                link.close(reset=True)
        if action.for_s is not None:
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            self._revival = loop.call_later(action.for_s, lambda: loop.create_task(self._listen()))

    async def _drop_links(self, *, reset: bool) -> None:
        links = list(self._links)
        for link in links:
            link.close(reset=reset)
            if link.task is not None:
                link.task.cancel()
        tasks = [link.task for link in links if link.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(reader, writer)
        self._links.add(link)
        self._counts["connections"] += 1
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._connect(link)
        finally:
            self._links.discard(link)
            link.close(reset=False)

    async def _connect(self, link: _Link) -> None:
        fault, first = self._fault, b""
        if fault is not None and fault.direction == "connect" and self._may_fire(fault):
            action = fault.action
            self._fired += 1
            if isinstance(action, Close):
                link.close(reset=action.reset)
                return
            if isinstance(action, Delay):
                await asyncio.sleep(action.delay_s)
            elif isinstance(action, Hang):
                held = await self._hold(link, link.client_reader)
                if held is None:
                    return
                first = held
        try:
            server_reader, link.server = await asyncio.open_connection(
                *self._server, limit=_BLOCK_BYTES
            )
        except OSError:
            link.close(reset=True)
            return
        for side in (link.client, link.server):
            sock: socket.socket = side.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.server.write(first)
        down = asyncio.create_task(self._pump(link, "down", server_reader, link.client))
        try:
            await self._pump(link, "up", link.client_reader, link.server)
            # The client is done. An answer that is held would never reach it.
            if not link.held:
                await asyncio.wait([down], timeout=_HALF_CLOSED_S)
        finally:
            down.cancel()
            await asyncio.wait([down])

    async def _pump(
        self, link: _Link, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(_BLOCK_BYTES):
                self._counts[way] += len(data)
                if not await self._pass(link, way, data, reader, writer):
                    return
            if not writer.transport.is_closing():
                writer.write_eof()
        except OSError:
            link.close(reset=True)

    async def _pass(
        self,
        link: _Link,
        way: _Way,
        data: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Pass a block on, or do to it what the fault says; False ends the pumping."""
        fault, passed = self._fault, self._passed[way]
        self._passed[way] += len(data)
        if fault is None or fault.direction != way or not self._may_fire(fault):
            return await _write(writer, data)
        here = max(0, fault.after_bytes - passed)
        # The last byte that may pass is enough, except for a fault that needs one to change.
        if here > len(data) or (here == len(data) and isinstance(fault.action, Flip)):
            return await _write(writer, data)
        self._fired += 1
        await _write(writer, data[:here])
        return await self._act(link, fault, data[here:], reader, writer)

    def _may_fire(self, fault: WireFault) -> bool:
        return fault.times is None or self._fired < fault.times

    async def _act(
        self,
        link: _Link,
        fault: WireFault,
        rest: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        match fault.action:
            case Close(reset=reset):
                link.close(reset=reset)
                return False
            case Refuse() as action:
                await self._refuse(action)
                link.close(reset=True)
                return False
            case Truncate():
                writer.write_eof()
                while await reader.read(_BLOCK_BYTES):
                    pass
                return False
            case Hang():
                held = await self._hold(link, reader)
                if held is None:
                    # What was held is lost with the connection that it came from.
                    link.close(reset=False)
                    return False
                rest += held
            case Delay(delay_s=delay_s):
                await asyncio.sleep(delay_s)
            case Split(piece_bytes=size, first_bytes=first):
                for at in range(0, min(first, len(rest)), size):
                    await _write(writer, rest[at : min(at + size, first)])
                    await asyncio.sleep(0)
                rest = rest[first:]
            case Drip(pause_s=pause_s):
                return await self._drip(rest, pause_s, writer)
            case Flip(mask=mask):
                rest = bytes([rest[0] ^ mask]) + rest[1:]
        return await _write(writer, rest)

    async def _hold(self, link: _Link, reader: asyncio.StreamReader) -> bytes | None:
        """Keep what comes, up to a block, until the fault ends; None when its sender is gone."""
        held: list[bytes] = []
        healed = asyncio.create_task(self._healed.wait())
        link.held += 1
        try:
            while not healed.done():
                more = asyncio.create_task(reader.read(_BLOCK_BYTES))
                try:
                    await asyncio.wait({healed, more}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not more.done():
                        more.cancel()
                        await asyncio.wait([more])
                if more.cancelled():
                    break
                if not (block := more.result()):
                    return None
                held.append(block)
                if len(held) > 1:
                    await healed
        finally:
            link.held -= 1
            healed.cancel()
            await asyncio.wait([healed])
        return b"".join(held)

    async def _drip(self, rest: bytes, pause_s: float, writer: asyncio.StreamWriter) -> bool:
        for at in range(len(rest)):
            if self._healed.is_set():
                return await _write(writer, rest[at:])
            await _write(writer, rest[at : at + 1])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._healed.wait(), pause_s)
        return True


@contextlib.contextmanager
def _reserved(host: str) -> Generator[int]:
    """A port that nobody else gets while the proxy does not listen on it."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((host, 0))
        yield reservation.getsockname()[1]


async def _write(writer: asyncio.StreamWriter, data: bytes) -> bool:
    if writer.transport.is_closing():
        return False
    if data:
        writer.write(data)
        await writer.drain()
    return True
