"""The one client of an open driver: made by the first request, shared by all, drained at the end.

Each single request goes through the request policy here, has its time limits here, and leaves
here as an answer or as a `StorageError`.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakSet

import anyio
from anyio import CancelScope, to_thread
from attrs import frozen

from polystow import (
    Attempt,
    ConfigError,
    DriverContext,
    LifecycleError,
    OperationTimeoutError,
    RequestPolicy,
    StorageError,
    Value,
    in_thread,
)
from polystow_s3._addressing import is_loopback
from polystow_s3._clock import Clock
from polystow_s3._config import S3Config
from polystow_s3._credentials import (
    ChainCredentials,
    CredentialCache,
    Credentials,
    CredentialsSource,
    SdkClient,
)
from polystow_s3._errors import Correction, Fault, Subject, corrections_of, error_of
from polystow_s3._hot import HotLane
from polystow_s3._lane._faults import LaneError
from polystow_s3._lane._lane import ElsewhereError
from polystow_s3._names import check_aws_bucket
from polystow_s3._payload import FilePayload, Payload

if TYPE_CHECKING:
    from polystow_s3._sdk import Sdk

SLOW_REQUEST_S = 600.0
"""What requests may take for which S3 keeps the connection alive while it works: completing an
upload and copying (API reference, CompleteMultipartUpload: "could take several minutes")."""

_ENDPOINTS = frozenset({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"})

_OPENING_S = 10.0

_logger = logging.getLogger("polystow.s3")


@frozen(slots=False, eq=False, repr=False)  # made for each request: 3 times as fast as with slots
class Call(Value):
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


class _SignedWith(NamedTuple):
    generation: int
    offset_s: float


class Client:
    """See the module.

    Args:
        config: The driver's.
        context: Its policy and its limits.

    Attributes:
        refuses_checksums: Whether the service was seen to refuse requests that carry one.
        policy: What limits and repeats requests.
    """

    def __init__(self, config: S3Config, context: DriverContext) -> None:
        self.config = config
        self.refuses_checksums = False
        self.policy: RequestPolicy = context.policy
        self._close_timeout_s = context.close_timeout_s
        self._lock = asyncio.Lock()  # anyio's own would import its backend, 10 ms
        self._sdk: Sdk | None = None
        self._module: Any = None
        self._faults: Any = None
        self._closed = False
        self._drained = False
        self._running = 0
        self._streams: WeakSet[object] = WeakSet()
        self._idle: anyio.Event | None = None
        self._is_aws = _is_aws(config)
        self._checks_buckets = self._is_aws or config.addressing_style == "host"
        self.clock = Clock()
        self._credentials = _cache_of(config, self.clock, self._explain)
        self._warned = False
        self._lane = HotLane(
            config, self.clock, self._credentials, self._locate, self._warn_of_plain_http
        )

    def _explain(self, error: Exception) -> StorageError | None:
        fault = self._fault_of(error)
        if fault is None:
            return None
        explained = error_of(fault, Subject("", ""))
        # It is about the operation that needs them, and another service than S3.
        explained.operation = explained.path = None
        if fault.kind != "credentials":
            explained.message = f"the source of the credentials: {explained.message}"
            explained.args = (explained.message,)
        return explained

    @property
    def sends_files(self) -> bool:
        """Whether bodies can be sent from files, without being seen here."""
        return self._lane.sends_files

    @property
    def credentials(self) -> CredentialCache | None:
        """What requests are signed with; None where a session or client of the caller's has them,
        or nothing is signed.
        """  # noqa: D205
        return self._credentials

    @property
    def opening_s(self) -> float:
        """How long it may take until aiobotocore can be used, in seconds."""
        return _OPENING_S if self._sdk is None else 0.0

    def operation(self, name: str, path: str) -> "Running":
        """Around each operation: closing waits for it, and its errors name it."""
        return Running(self, name, path)

    def call(self, call: Call) -> Awaitable[dict[str, Any]]:
        """Send a request, as often as the policy says.

        Raises:
            StorageError: As `error_of` words it.
        """
        return self.policy(call.subject, partial(self.send_once, call))

    async def send_once(self, call: Call, _: Attempt | None = None) -> dict[str, Any]:
        """Send a request once, whatever the policy says.

        Once more if the service refused it for this machine's clock or for stale credentials, and
        that could be corrected: such a request was not carried out.
        """
        if self._checks_buckets:
            self._check_bucket(call)
        corrected: set[Correction] = set()
        while True:
            # The first ones are got while this is being signed.
            generation = 0 if self._credentials is None else self._credentials.generation or 1
            offset_s = self.clock.offset_s
            try:
                if self._drained:
                    self._refuse_drained()
                draft = self._lane.draft(call.method, call.params)
                if draft is not None:
                    try:
                        return await self._lane.send(draft)
                    except ElsewhereError:
                        self._lane.leave(draft.bucket)
                if isinstance(call.payload, FilePayload):
                    await in_thread(call.payload.load)
                sdk = self._sdk or await self._open()
                return await self.guarded(call, partial(sdk.call, call.method, call.params))
            except Exception as error:
                raised = self.error(error, call.subject)
                cause = error.__cause__ if raised is error else error
                if await self._correct(cause, _SignedWith(generation, offset_s), corrected):
                    continue
                if raised is error:
                    raise
                raise raised from error

    async def _correct(
        self, cause: BaseException | None, signed_with: "_SignedWith", corrected: set[Correction]
    ) -> bool:
        fault = None if cause is None else self._fault_of(cause)
        if fault is None:
            return False
        for correction in corrections_of(fault):
            if correction in corrected:
                continue
            corrected.add(correction)
            if correction == "clock":
                if fault.server_time is not None:
                    self.clock.learn(fault.server_time)
                # Another request may have learned it, or renewed them, since this one was signed.
                if self.clock.offset_s != signed_with.offset_s:
                    return True
            elif self._credentials and await self._credentials.renew(signed_with.generation):
                return True
        return False

    def _fault_of(self, error: BaseException) -> Fault | None:
        if isinstance(error, LaneError):
            return error.fault
        # As long as the SDK is not imported, no exception is of it.
        return None if self._faults is None else self._faults.fault_of(error)

    def _check_bucket(self, call: Call) -> None:
        if self._is_aws and "Bucket" in call.params:
            check_aws_bucket(str(call.params["Bucket"]), call.subject.path)
        own = self.config.default_bucket
        if self.config.addressing_style == "host" and call.params.get("Bucket") != own:
            raise ConfigError(
                f"the endpoint's host is the bucket {own!r}, so that no other can be reached: "
                "use another addressing_style"
            )

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
        fault = self._fault_of(error)
        return error if fault is None else error_of(fault, subject)

    async def making[T](self, call: Call, make: Callable[["Sdk"], Awaitable[T]]) -> T:
        """Make a URL or a form: asks nobody but, perhaps, the source of the credentials."""
        self._check_bucket(call)
        sdk = self._sdk or await self._open()
        return await self.guarded(call, lambda: make(sdk))

    async def sdk_client(self) -> SdkClient:
        """The client of aiobotocore itself."""
        sdk = self._sdk or await self._open()
        client: SdkClient = sdk.client
        return client

    async def region(self) -> str:
        """The region that requests are signed for."""
        sdk = self._sdk or await self._open()
        return sdk.region

    async def _locate(self, bucket: str) -> str:
        sdk = self._sdk or await self._open()
        return await sdk.locate(bucket)

    async def _open(self) -> "Sdk":
        # Whoever holds the lock opens; if that task is cancelled, nothing is open yet, and the
        # next in the queue begins again.
        async with self._lock:
            if self._sdk is not None:
                return self._sdk
            self._refuse_drained()
            if self._module is None:
                # 220 ms of imports that would hold the event loop.
                self._module, self._faults = await to_thread.run_sync(_import_sdk)
            try:
                sdk: Sdk = await self._module.open_sdk(self.config, self.clock, self._credentials)
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
            self._warn_of_plain_http(sdk.endpoint)
            return sdk

    def _warn_of_plain_http(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        if (
            parts.scheme == "http"
            and not (self.config.anonymous or is_loopback(parts.hostname or ""))
            and not self._warned
        ):
            self._warned = True
            _logger.warning(
                "requests to %s go over plain http: everybody on the way can read the objects, "
                "session tokens and presigned URLs",
                parts.netloc,
            )

    def begin(self) -> None:
        """Count an operation."""
        if self._closed:
            raise LifecycleError("the storage is closed", driver="s3")
        self._running += 1

    def _refuse_drained(self) -> None:
        if self._drained:
            raise LifecycleError("the storage is closed", driver="s3")

    def end(self) -> None:
        """Count it as done."""
        self._running -= 1
        if self._idle is not None:
            self._wake()

    def stream_opened(self, stream: object) -> None:
        """Remember an open stream; weakly, since one that is dropped can't be waited for."""
        self._streams.add(stream)

    def stream_closed(self, stream: object) -> None:
        """Forget it."""
        self._streams.discard(stream)
        if self._idle is not None:
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
            with CancelScope(shield=True):
                await self._lane.aclose()
                if sdk is not None:
                    await sdk.aclose()

    async def _drain(self) -> None:
        if not self._running and not self._streams:
            return
        self._idle = anyio.Event()
        with anyio.move_on_after(self._close_timeout_s) as scope:
            await self._idle.wait()
        if scope.cancelled_caught:
            _logger.warning(
                "s3: closed while %d operations and %d streams were under way, after %g s",
                self._running,
                len(self._streams),
                self._close_timeout_s,
            )


def _is_aws(config: S3Config) -> bool:
    elsewhere = config.endpoint or config.client or config.session
    return not elsewhere and _ENDPOINTS.isdisjoint(os.environ)


def _cache_of(
    config: S3Config, clock: Clock, explain: Callable[[Exception], StorageError | None]
) -> CredentialCache | None:
    if config.anonymous or config.session is not None or config.client is not None:
        return None
    source: CredentialsSource
    if config.access_key_id is not None:
        source = Credentials(
            access_key_id=config.access_key_id,
            secret_access_key=config.secret_access_key,
            session_token=config.session_token,
        )
    elif config.credentials is not None:
        source = config.credentials
    else:
        source = ChainCredentials(
            config.profile, config.credentials_file, config.config_file, config.region
        )
    return CredentialCache(source, clock, explain, timeout_s=config.read_timeout_s)


def _extend(scope: CancelScope, seconds: float) -> None:
    scope.deadline = anyio.current_time() + seconds


def _import_sdk() -> tuple[Any, Any]:
    from polystow_s3 import _sdk, _sdk_faults

    return _sdk, _sdk_faults


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
        if error is not None and isinstance(error, StorageError):
            error.in_operation(self._name, self._path, "s3")
