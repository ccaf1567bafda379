"""The one client of an open driver: made by the first request, shared by all, drained at the end.

Each single request goes through the request policy here, has its time limits here, and leaves
here as an answer or as a `StorageError`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import anyio
from anyio import CancelScope, Lock, to_thread
from attrs import frozen

from polystow import (
    Attempt,
    DriverContext,
    LifecycleError,
    OperationTimeoutError,
    Request,
    RequestPolicy,
    StorageError,
)
from polystow_s3._config import S3Config
from polystow_s3._errors import Subject, error_of
from polystow_s3._hot import HotLane, open_lane
from polystow_s3._lane._faults import LaneError
from polystow_s3._lane._lane import ElsewhereError
from polystow_s3._payload import Payload

if TYPE_CHECKING:
    from polystow_s3._sdk import Sdk

SLOW_REQUEST_S = 600.0
"""What requests may take for which S3 keeps the connection alive while it works: completing an
upload and copying (API reference, CompleteMultipartUpload: "could take several minutes")."""

_logger = logging.getLogger("polystow.s3")


@frozen
class Call:
    """One request to the service.

    Attributes:
        method: The method of botocore's client.
        params: Its parameters.
        subject: What it is about, for errors.
        payload: The body, if it is in `params`: its progress moves the time limit.
        slow: Whether the service may take minutes to answer.
    """

    method: str
    params: Mapping[str, object]
    subject: Subject
    payload: Payload | None = None
    slow: bool = False


class Client:
    """See the module.

    Args:
        config: The driver's.
        context: Its policy and its limits.

    Attributes:
        refuses_checksums: Whether the service was seen to refuse requests that carry one.
    """

    def __init__(self, config: S3Config, context: DriverContext) -> None:
        self.config = config
        self.refuses_checksums = False
        self._context = context
        self._lock = Lock()
        self._sdk: Sdk | None = None
        self._module: Any = None
        self._lane: HotLane | None = None
        self._closed = False
        self._drained = False
        self._running = 0
        self._streams: WeakSet[object] = WeakSet()
        self._idle: anyio.Event | None = None

    @property
    def policy(self) -> RequestPolicy:
        """What limits and repeats requests."""
        return self._context.policy

    def operation(self, name: str, path: str) -> "Running":
        """Around each operation: closing waits for it, and its errors name it."""
        return Running(self, name, path)

    async def call(self, call: Call) -> dict[str, Any]:
        """Send a request, as often as the policy says.

        Raises:
            StorageError: As `error_of` words it.
        """
        subject = call.subject
        request = Request(subject.operation, subject.path, subject.idempotent)
        return await self.policy(request, partial(self.send_once, call))

    async def send_once(self, call: Call, _: Attempt | None = None) -> dict[str, Any]:
        """Send a request once, whatever the policy says."""
        lane = self._lane or await self._open_lane()
        if (draft := lane.draft(call.method, call.params)) is not None:
            try:
                return await lane.send(draft)
            except ElsewhereError:
                pass
            except Exception as error:
                raised = self.error(error, call.subject)
                if raised is error:
                    raise
                raise raised from error
        sdk = self._sdk or await self._open()
        return await self.guarded(call, lambda: sdk.call(call.method, call.params))

    async def guarded[T](self, call: Call, send: Callable[[], Awaitable[T]]) -> T:
        """Await something of the SDK's, within a call's time limits.

        Raises:
            StorageError: What the SDK's exceptions mean.
        """
        config = self.config
        limit = config.pool_timeout_s + config.connect_timeout_s
        limit += SLOW_REQUEST_S if call.slow else config.read_timeout_s
        with CancelScope(deadline=anyio.current_time() + limit) as scope:
            if call.payload is not None:
                # aiohttp has no limit for a server that takes no more bytes, so each chunk that
                # it takes gets the time of one silence.
                call.payload.on_progress = partial(_extend, scope, config.read_timeout_s)
            try:
                return await send()
            except Exception as error:
                raised = self.error(error, call.subject)
                if raised is error:
                    raise
                raise raised from error
            finally:
                if call.payload is not None:
                    call.payload.abandon()
        assert scope.cancelled_caught
        subject = call.subject
        raise OperationTimeoutError(
            f"no connection within {config.pool_timeout_s:g} s, or no answer after it; "
            "see pool_timeout_s, max_pool_connections and read_timeout_s",
            path=subject.path,
            operation=subject.operation,
            driver="s3",
            retryable=subject.idempotent,
            outcome="unknown" if subject.changes else "failed",
        )

    def error(self, error: Exception, subject: Subject) -> Exception:
        """The error to raise for an exception of the SDK; any other exception itself."""
        if isinstance(error, StorageError):
            return error
        if isinstance(error, LaneError):
            return error_of(error.fault, subject)
        if self._module is None:
            return error
        fault = self._module.fault_of(error)
        return error if fault is None else error_of(fault, subject)

    async def presign(self, method: str, params: Mapping[str, object], subject: Subject,
                      expires_s: int) -> str:  # fmt: skip
        """Sign a URL."""
        sdk = self._sdk or await self._open()
        call = Call(method, params, subject)
        return await self.guarded(call, lambda: sdk.presign(method, params, expires_s))

    async def _open_lane(self) -> HotLane:
        async with self._lock:
            if self._lane is None:
                self._refuse_drained()
                self._lane = await open_lane(self.config)
            return self._lane

    async def _open(self) -> "Sdk":
        # Whoever holds the lock opens; if that task is cancelled, nothing is open yet, and the
        # next in the queue begins again.
        async with self._lock:
            if self._sdk is not None:
                return self._sdk
            self._refuse_drained()
            if self._module is None:
                # 220 ms of imports that would hold the event loop.
                self._module = await to_thread.run_sync(_import_sdk)
            try:
                sdk: Sdk = await self._module.open_sdk(self.config)
            except Exception as error:
                raised = self.error(error, Subject("open", ""))
                if raised is error:
                    raise
                raise raised from error
            try:
                self._refuse_drained()
            except LifecycleError:
                await sdk.aclose()
                raise
            self._sdk = sdk
            return sdk

    def begin(self) -> None:
        """Count an operation."""
        self._refuse_closed()
        self._running += 1

    def _refuse_drained(self) -> None:
        if self._drained:
            raise LifecycleError("the storage is closed", driver="s3")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LifecycleError("the storage is closed", driver="s3")

    def end(self) -> None:
        """Count it as done."""
        self._running -= 1
        self._wake()

    def stream_opened(self, stream: object) -> None:
        """Remember an open stream; weakly, since one that is dropped can't be waited for."""
        self._streams.add(stream)

    def stream_closed(self, stream: object) -> None:
        """Forget it."""
        self._streams.discard(stream)
        self._wake()

    def _wake(self) -> None:
        if self._idle is not None and not self._running and not self._streams:
            self._idle.set()

    async def aclose(self) -> None:
        """Wait for what is under way, up to the context's limit, then close all connections."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._drain()
        finally:
            self._drained = True
            sdk, self._sdk = self._sdk, None
            lane, self._lane = self._lane, None
            with CancelScope(shield=True):
                if lane is not None:
                    await lane.aclose()
                if sdk is not None:
                    await sdk.aclose()

    async def _drain(self) -> None:
        if not self._running and not self._streams:
            return
        self._idle = anyio.Event()
        with anyio.move_on_after(self._context.close_timeout_s) as scope:
            await self._idle.wait()
        if scope.cancelled_caught:
            _logger.warning(
                "s3: closed while %d operations and %d streams were under way, after %g s",
                self._running,
                len(self._streams),
                self._context.close_timeout_s,
            )


def _extend(scope: CancelScope, seconds: float) -> None:
    scope.deadline = anyio.current_time() + seconds


def _import_sdk() -> Any:  # noqa: ANN401
    from polystow_s3 import _sdk

    return _sdk


class Running:
    """Around one operation; a class of its own because it costs 1 µs and a generator 5.

    Args:
        client: The client that it runs on.
        name: The operation's name.
        path: What it is about.
    """

    __slots__ = ("_client", "_name", "_path")

    def __init__(self, client: Client, name: str, path: str) -> None:
        self._client = client
        self._name = name
        self._path = path

    def __enter__(self) -> None:
        self._client.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.end()
        if isinstance(error, StorageError):
            error.in_operation(self._name, self._path, "s3")
