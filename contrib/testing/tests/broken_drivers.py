"""A small key-value service over TCP, a driver for it that is right, and some that are not."""

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import ClassVar, Self, override

import anyio
from anyio import EndOfStream

from polystow import (
    Body,
    Capabilities,
    ContentRange,
    DeleteOptions,
    DriverInfo,
    NotFoundError,
    ObjectInfo,
    OperationTimeoutError,
    ReadOptions,
    ReadStream,
    StatOptions,
    StorageDriver,
    Target,
    TransportError,
    WriteOptions,
)
from polystow_testing.faults import FaultTarget

LIMIT_S = 0.3


class KeyValueServer:
    """Lines `GET name`, `PUT name size` (a body follows), `DEL name`; each answer has its size."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.address = ""
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        ready: Future[str] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), daemon=True)
        self._thread.start()
        self.address = ready.result(5)

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self, ready: Future[str]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        ready.set_result("127.0.0.1:{1}".format(*server.sockets[0].getsockname()))
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode().split():
                answer: bytes | None = b""
                if line[0] == "PUT":
                    self.objects[line[1]] = await reader.readexactly(int(line[2]))
                elif line[0] == "DEL":
                    self.objects.pop(line[1], None)
                else:
                    answer = self.objects.get(line[1])
                head = b"-1\n" if answer is None else b"%d\n" % len(answer)
                writer.write(head + (answer or b""))
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


class _Bytes(ReadStream):
    def __init__(self, info: ObjectInfo, data: bytes, options: ReadOptions) -> None:
        self.info, self._data = info, data
        self.chunk_size_bytes = options.chunk_size_bytes
        size = len(data)
        self.range = ContentRange(0, size, size)
        if options.range is not None:
            self.range = options.range.resolve(size)
            self._data = data[self.range.offset : self.range.offset + self.range.length]

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if not self._data:
            raise EndOfStream
        chunk, self._data = self._data[:max_bytes], self._data[max_bytes:]
        return chunk

    @override
    async def aclose(self) -> None:
        self._data = b""


class Driver:
    """Right, if not fast: a connection carries one exchange at a time, and half of one never."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.info = DriverInfo("toy", "toy")
        self.capabilities = Capabilities()

    async def aclose(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, request: bytes, operation: str, path: str) -> bytes:
        changes = operation in {"write", "delete"}
        try:
            async with asyncio.timeout(LIMIT_S):
                answer = await self._exchange(request)
        except TimeoutError as error:
            raise OperationTimeoutError(
                "no answer", path=path, operation=operation, driver="toy",
                outcome="unknown" if changes else "failed",
            ) from error  # fmt: skip
        except (OSError, EOFError, ValueError) as error:
            raise TransportError(
                f"the exchange failed: {error}", path=path, operation=operation, driver="toy",
                outcome="unknown" if changes else "failed",
            ) from error  # fmt: skip
        if answer is None:
            raise NotFoundError("there is none", path=path, operation=operation, driver="toy")
        return answer

    async def _exchange(self, request: bytes) -> bytes | None:
        if self._idle:
            try:
                return await self._exchange_on(self._idle.pop(), request)
            except (OSError, EOFError, ValueError):
                # The server may have closed it meanwhile; only reads may be repeated.
                if not request.startswith(b"GET"):
                    raise
        return await self._exchange_on(await asyncio.open_connection(*self._address), request)

    async def _exchange_on(
        self, link: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
    ) -> bytes | None:
        try:
            link[1].write(request)
            size = int(await link[0].readline())
            answer = None if size < 0 else await link[0].readexactly(size)
        except BaseException:
            self.broken(link)
            raise
        self._idle.append(link)
        return answer

    def broken(self, link: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        link[1].transport.abort()

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        data = await self._ask(f"GET {path}\n".encode(), "open_read", path)
        return _Bytes(ObjectInfo(path, size=len(data)), data, options)

    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        return ObjectInfo(path, size=len(await self._ask(f"GET {path}\n".encode(), "stat", path)))

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        assert isinstance(target, str)
        async with await body.open() as stream:
            data = b"".join([chunk async for chunk in stream])
        await self._ask(f"PUT {target} {len(data)}\n".encode() + data, "write", target)
        return ObjectInfo(target, size=len(data))

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        await self._ask(f"DEL {path}\n".encode(), "delete", path)


class SwallowsCancellation(Driver):
    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        try:
            return await super().stat(path, options)
        except asyncio.CancelledError:
            return ObjectInfo(path)


class ReusesPoisonedConnections(Driver):
    @override
    def broken(self, link: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._idle.append(link)


class LosesConnections(Driver):
    """Keeps what broke, for no use."""

    @override
    def broken(self, link: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        _LOST.append(link)


_LOST: list[object] = []


def forget_what_was_lost() -> None:
    """Without the warnings that tell of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _LOST.clear()
        gc.collect()


class LeavesTasks(Driver):
    @override
    def broken(self, link: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        super().broken(link)
        _LOST.append(asyncio.create_task(asyncio.sleep(5), name="forgotten"))


class HasNoTimeLimit(Driver):
    @override
    async def _ask(self, request: bytes, operation: str, path: str) -> bytes:
        return await self._exchange(request) or b""


class HoldsTheLoop(Driver):
    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        end = time.thread_time() + 0.12
        while time.thread_time() < end:
            pass
        return await super().stat(path, options)


class LetsErrorsOfTheSystemOut(Driver):
    @override
    async def _ask(self, request: bytes, operation: str, path: str) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return await self._exchange(request) or b""


class CallsLostWritesFailed(Driver):
    @override
    async def _ask(self, request: bytes, operation: str, path: str) -> bytes:
        try:
            return await super()._ask(request, operation, path)
        except TransportError as error:
            error.outcome = "failed"
            raise


class ToyTarget(FaultTarget):
    """The service, and whichever of the drivers it is made for."""

    name = "toy"
    # The toy does not make names.
    leaves_out = frozenset(
        {"write_small", "write_large", "write_stream", "write_unknown", "list", "copy",
         "set_metadata"}
    )  # fmt: skip
    connections = 1
    time_limit_s = 1.5
    driver: ClassVar[type[Driver]] = Driver

    def __init__(self, driver: type[Driver] | None = None) -> None:
        self._driver = driver or self.driver
        self._server = KeyValueServer()

    @override
    def __enter__(self) -> Self:
        self._server.start()
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()

    @property
    @override
    def addresses(self) -> Mapping[str, str]:
        return {"server": self._server.address}

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        @asynccontextmanager
        async def opened() -> AsyncGenerator[StorageDriver]:
            driver = self._driver(addresses["server"])
            try:
                yield driver
            finally:
                with anyio.CancelScope(shield=True):
                    await driver.aclose()

        return opened()

    @override
    def put(self, name: str, data: bytes) -> str:
        self._server.objects[f"box/{name}"] = data
        return f"box/{name}"

    @override
    def get(self, path: str) -> bytes | None:
        return self._server.objects.get(path)

    @override
    def inventory(self) -> frozenset[str]:
        return frozenset(self._server.objects)

    @override
    def clear(self) -> None:
        self._server.objects.clear()
