"""`DiskS3Server`: the service in an event loop and a thread of its own."""

import asyncio
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
from aiohttp import web

from polystow_testing._context import ServerContext
from polystow_testing._listening import stop_listening
from polystow_testing.s3._checksums import Support
from polystow_testing.s3._faults import Fault, Faults
from polystow_testing.s3._service import Service
from polystow_testing.s3._signatures import Credentials
from polystow_testing.s3._store import Store

_BACKLOG = 128
_POLL_S = 0.005


@attrs.frozen
class UploadInProgress:
    """A multipart upload that was neither completed nor aborted.

    Attributes:
        bucket: Where it goes.
        key: Where it goes.
        parts: The numbers of the parts that have come.
    """

    bucket: str
    key: str
    parts: tuple[int, ...]


class DiskS3Server(ServerContext):
    """A small S3 server on loopback, in this process, for large objects, faults and speed.

    It does what a storage driver needs of S3, as AWS documents it: CreateBucket, PutObject (with
    If-Match and If-None-Match), GetObject with ranges, HeadObject, DeleteObject, DeleteObjects,
    ListObjectsV2, CopyObject and multipart uploads. Bodies are streamed both ways.

    Args:
        directory: Where objects go; a temporary directory by default.
        discard: Throw the bodies away; what is read is a pattern, the byte at offset n being n
            modulo 256.
        digests: Whether entity tags are MD5s and `x-amz-content-sha256` is verified; by default
            unless the bodies are thrown away. Without, it is several times as fast.
        checksums: Whether it keeps and verifies checksums as AWS does, ignores them as Ceph does,
            or refuses them as Backblaze does.
        buckets: Buckets that are there from the start.
        credentials: What requests have to be signed with; None takes any signature, and none.
        host: The address to bind.
        tls: How it speaks TLS; None for plain HTTP. `loopback_tls` makes a pair of contexts.

    Attributes:
        faults: What goes wrong, to be added to at any time.

    Example:
        >>> with DiskS3Server(buckets=("bucket",)) as server:  # doctest: +SKIP
        ...     server.endpoint
        'http://127.0.0.1:43211'
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        discard: bool = False,
        digests: bool | None = None,
        checksums: Support = "known",
        buckets: tuple[str, ...] = (),
        credentials: Credentials | None = None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.faults = Faults()
        self._directory = directory
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._discard = discard
        self._digests = not discard if digests is None else digests
        self._checksums: Support = checksums
        self._buckets = buckets
        self._credentials = credentials
        self._host = host
        self._port = 0
        self._service: Service | None = None
        self._server: web.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None

    @property
    def endpoint(self) -> str:
        """Its URL, `http://127.0.0.1:port`."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """Its port."""
        return self._port

    def start(self) -> None:
        """Start serving; returns when connections are accepted."""
        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="polystow-s3-")
            self._directory = Path(self._temporary.name)
        self._directory.mkdir(parents=True, exist_ok=True)
        store = Store(
            self._directory,
            discard=self._discard,
            digests=self._digests,
            checksums=self._checksums,
        )
        store.buckets = {bucket: {} for bucket in self._buckets}
        self._service = Service(store, self.faults, self._credentials)
        self._started.clear()
        self._thread = threading.Thread(target=self._run, name="disk-s3-server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.stop()
            raise self._failure

    def stop(self) -> None:
        """Close all connections and stop; harmless when it does not run."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
        self._service = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary, self._directory = None, None

    def add_fault(self, fault: Fault) -> Fault:
        """Put a fault into effect; the same as `faults.add`."""
        return self.faults.add(fault)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests of each operation have come."""
        return dict(self._running_service.counters.requests)

    @property
    def running(self) -> Mapping[str, int]:
        """How many requests of each operation are under way."""
        return {name: n for name, n in self._running_service.counters.running.items() if n}

    @property
    def peak(self) -> Mapping[str, int]:
        """The most requests of each operation that were under way at once."""
        return dict(self._running_service.counters.peak)

    @property
    def open_connections(self) -> int:
        """How many connections clients hold open."""
        return self._ask(lambda: len(self._server.connections) if self._server else 0)

    @property
    def uploads(self) -> tuple[UploadInProgress, ...]:
        """The multipart uploads in progress."""
        service = self._running_service
        return self._ask(
            lambda: tuple(
                UploadInProgress(upload.bucket, upload.key, tuple(sorted(upload.parts)))
                for upload in service.store.uploads.values()
            )
        )

    def keys(self, bucket: str) -> tuple[str, ...]:
        """The keys of the objects in a bucket, sorted."""
        service = self._running_service
        return self._ask(lambda: tuple(sorted(service.store.buckets[bucket])))

    def corrupt(self, bucket: str, key: str) -> None:
        """Change the first byte of an object behind its entity tag and checksum."""
        service = self._running_service

        def change() -> None:
            path = service.store.buckets[bucket][key].segments[0].path
            assert path is not None, "the bodies are thrown away"
            with path.open("r+b") as file:
                first = file.read(1)
                file.seek(0)
                file.write(bytes([first[0] ^ 0xFF]))

        self._ask(change)

    def reset(self) -> None:
        """Drop all objects, uploads, faults and counters; the buckets stay."""
        service = self._running_service
        self.faults.clear()

        def clear() -> None:
            service.store.clear()
            counters = service.counters
            for counter in (counters.requests, counters.answered, counters.peak):
                counter.clear()

        self._ask(clear)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Block until something is so; call it in a worker thread from async tests.

        Args:
            condition: Asked every few milliseconds.
            timeout_s: How long to wait, in seconds.

        Raises:
            TimeoutError: It did not become so.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not get there in time")
            time.sleep(_POLL_S)

    @property
    def _running_service(self) -> Service:
        if self._service is None:
            raise RuntimeError("the server does not run")
        return self._service

    def _ask[T](self, question: Callable[[], T]) -> T:
        # The store and the connections belong to the loop's thread.
        loop = self._loop
        if loop is None or self._thread is None:
            raise RuntimeError("the server does not run")

        async def answer() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(answer(), loop).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to start()
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        service = self._running_service
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._server = web.Server(
            service.handle, access_log=None, read_bufsize=2**18, auto_decompress=False
        )
        runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            listener = await self._loop.create_server(
                self._server, self._host, 0, ssl=self._tls, backlog=_BACKLOG
            )
            self._port = listener.sockets[0].getsockname()[1]
            self._started.set()
            try:
                await self._stop.wait()
            finally:
                await stop_listening(listener)
        finally:
            service.stopping = True
            await runner.cleanup()
