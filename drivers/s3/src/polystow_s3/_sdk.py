"""The border to aiobotocore: the one module that knows its exceptions, settings and `Any`s.

Only `_client` imports this, when the first request is made.
"""

# mypy: disable-error-code="import-untyped,misc"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnnecessaryCast=false

import asyncio
import base64
import hashlib
import os
import ssl
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cache, partial
from importlib.metadata import version
from typing import Any, cast, override

import aiohttp
import aiohttp.abc
import aiohttp.payload
import botocore
import botocore.loaders
import botocore.utils
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp.client_proto import ResponseHandler
from anyio import to_thread
from botocore.exceptions import NoCredentialsError, ProxyConnectionError

from polystow import ConfigError
from polystow_s3._clock import Clock
from polystow_s3._config import S3Config
from polystow_s3._credentials import CredentialCache
from polystow_s3._headers import EXTRA_HEADERS
from polystow_s3._payload import Payload
from polystow_s3._sdk_answers import (
    CappedResponse,
    ParserFactory,
    ProxyRefusedError,
    refuse_dtd,
    stop_asking,
)
from polystow_s3._sdk_credentials import CachedCredentials, new_session
from polystow_s3._sdk_signing import Signing, presigning
from polystow_s3._times import parse_time


class Sdk:
    """One open client of botocore.

    Args:
        client: It, entered.
        handlers: What to take off its events at the end, if it is the caller's; None if it is
            ours, and to be closed.
    """

    def __init__(self, client: Any, handlers: "list[_Handler] | None" = None) -> None:  # noqa: ANN401
        self._client = client
        self._handlers = handlers

    @property
    def endpoint(self) -> str:
        """Where requests go, as far as that does not depend on the bucket."""
        return str(self._client.meta.endpoint_url)

    @property
    def region(self) -> str:
        """The region that requests are signed for, as far as that does not depend on the bucket."""
        return str(self._client.meta.region_name)

    @property
    def client(self) -> Any:  # noqa: ANN401
        """The client itself."""
        return self._client

    async def call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Send one request; raises what `fault_of` understands."""
        if self._handlers is None:
            answer: dict[str, Any] = await getattr(self._client, method)(**params)
            return answer
        with _our_call():
            return cast("dict[str, Any]", await getattr(self._client, method)(**params))

    async def presign(
        self, method: str, params: Mapping[str, object], expires_s: int, *, signed: bool = True
    ) -> str:
        """Make a URL; asks nobody but, perhaps, the source of the credentials."""
        with _our_call(), presigning(str(params["Bucket"]), signed=signed):
            url: str = await self._client.generate_presigned_url(
                method, Params=params, ExpiresIn=expires_s
            )
        return url

    async def locate(self, bucket: str) -> str:
        """A signed URL of a bucket as requests have it: host, path, and the region in its query."""
        with _our_call():
            url: str = await self._client.generate_presigned_url(
                "head_bucket", Params={"Bucket": bucket}, ExpiresIn=60
            )
        return url

    async def presign_post(
        self,
        bucket: str,
        key: str,
        fields: Mapping[str, str],
        conditions: Sequence[object],
        expires_s: int,
    ) -> tuple[str, dict[str, str]]:
        """Sign a POST policy: where the form goes, and its fields."""
        with _our_call(), presigning(bucket, signed=True):
            try:
                made: dict[str, Any] = await self._client.generate_presigned_post(
                    bucket,
                    key,
                    Fields=dict(fields),
                    Conditions=list(conditions),
                    ExpiresIn=expires_s,
                )
            except AttributeError:
                # What botocore does without credentials, in a client of the caller's.
                raise NoCredentialsError from None
        return made["url"], made["fields"]

    async def aclose(self) -> None:
        """Close all connections, or leave the caller's client as it was."""
        if self._handlers is None:
            await self._client.__aexit__(None, None, None)
            return
        for event, handler, unique_id in self._handlers:
            self._client.meta.events.unregister(event, handler, unique_id)


type _Handler = tuple[str, Any, str | None]

_ours: ContextVar[bool] = ContextVar("polystow_s3_ours", default=False)


@contextmanager
def _our_call() -> Generator[None]:
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


async def open_sdk(config: S3Config, clock: Clock, credentials: CredentialCache | None) -> Sdk:
    """Make the client; opens no connection.

    Args:
        config: The driver's.
        clock: The service's time.
        credentials: What to sign with; None where the configuration has a session or a client, or
            wants no signatures.
    """
    if config.client is not None:
        return _borrow(config, clock)
    session: Any = config.session
    if session is None:
        session = new_session(config.profile, config.credentials_file, config.config_file)
        parsers = ParserFactory()
        parsers.set_parser_defaults(timestamp_parser=parse_timestamp)
        session.register_component("response_parser_factory", parsers)
        # 40 ms of JSON, which create_client would else parse on the event loop, and each time.
        loader = await to_thread.run_sync(_loader, session.get_config_variable("data_path"))
        session.register_component("data_loader", loader)
    if credentials is not None:
        session.register_component("credential_provider", CachedCredentials(credentials))
    await to_thread.run_sync(_check_files, config)
    region = config.region or session.get_config_variable("region") or os.environ.get("AWS_REGION")
    if region is None and credentials is not None and config.credentials is not None:
        region = (await credentials.get()).region
    context = session.create_client(
        "s3",
        region_name=region or "us-east-1",
        endpoint_url=config.endpoint,
        verify=_verify(config),
        config=_aio_config(config),
    )
    client = await context.__aenter__()
    for event, handler, _ in _handlers(client, config, clock):
        client.meta.events.register_first(event, handler)
    return Sdk(client)


def _borrow(config: S3Config, clock: Clock) -> Sdk:
    client: Any = config.client
    events = getattr(client.meta, "events", None)
    if events is None or not hasattr(client, "generate_presigned_post"):
        raise ConfigError(
            "client is no S3 client of aiobotocore: give what entering "
            "session.create_client('s3') gives"
        )
    handlers: list[_Handler] = []
    for event, handler, _ in [
        *_handlers(client, config, clock),
        ("before-call.s3", _leave_checksums_out, None),
    ]:
        # Several drivers may borrow one client.
        unique_id = f"polystow-{len(handlers)}-{id(clock)}"
        ours = _only_ours(handler)
        events.register_first(event, ours, unique_id)
        handlers.append((event, ours, unique_id))
    return Sdk(client, handlers)


def _only_ours(handler: Any) -> Any:  # noqa: ANN401
    def called(**arguments: object) -> Any:  # noqa: ANN401
        return handler(**arguments) if _ours.get() else None

    return called


def _leave_checksums_out(params: dict[str, Any], **_: object) -> None:
    # Those that are wanted are in the request already. botocore's default hashes the body on the
    # event loop, and compares the whole object's with a part of it.
    if params["context"].pop("checksum", None) is not None:
        params["headers"].pop("x-amz-sdk-checksum-algorithm", None)


def _handlers(client: Any, config: S3Config, clock: Clock) -> list[_Handler]:  # noqa: ANN401
    signing = Signing(config, clock, client.meta.region_name)
    handlers: list[_Handler] = [
        ("choose-signer.s3", signing.choose, None),
        ("before-parameter-build.s3", signing.use_region, None),
        ("before-parameter-build.s3", _take_extra_headers, None),
        ("before-call.s3", _add_extra_headers, None),
        ("before-sign.s3", signing.prepare, None),
        ("before-parse.s3", refuse_dtd, None),
        ("needs-retry.s3.HeadBucket", stop_asking, None),
    ]
    if config.checksums == "when_supported":
        handlers += [
            (f"before-call.s3.{name}", _ask_for_checksums, None)
            for name in ("GetObject", "HeadObject")
        ]
    handlers.append(("before-call.s3.DeleteObjects", _digest_with_md5, None))
    return handlers


def _take_extra_headers(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    # botocore knows no such parameter.
    context[EXTRA_HEADERS] = params.pop(EXTRA_HEADERS, {})


def _add_extra_headers(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    params["headers"].update(context.get(EXTRA_HEADERS) or {})


def _check_files(config: S3Config) -> None:
    """Read the certificates, whose mistakes would else look like a broken connection."""
    try:
        if config.ca_file is not None:
            ssl.create_default_context(cafile=config.ca_file)
        if config.client_certificate_file is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(config.client_certificate_file, config.client_key_file)
    except OSError as error:
        reason = "it is no PEM" if isinstance(error, ssl.SSLError) else error.strerror
        name = (
            "ca_file"
            if config.client_certificate_file is None
            else ("ca_file, client_certificate_file or client_key_file")
        )
        raise ConfigError(f"{name} can't be used: {reason}") from error


@cache
def _loader(data_path: str | None) -> Any:  # noqa: ANN401
    loader = botocore.loaders.create_loader(data_path)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data_with_path(name)
    loader.load_service_model("s3", "service-2", api_version=None)
    loader.load_service_model("s3", "endpoint-rule-set-1", api_version=None)
    return loader


def _verify(config: S3Config) -> str | bool | None:
    # Over http there is nothing to verify, and loading the certificates takes 20 ms of CPU.
    over_http = config.endpoint is not None and config.endpoint.startswith("http://")
    if not config.tls_verify or over_http:
        return False
    return str(config.ca_file) if config.ca_file else None


class _AbruptHandler(ResponseHandler):
    """Closes its connection at once.

    aiohttp would wait for the server's part of an end of TLS, up to 30 s and unknown to its
    connector, so that a closed client would leave sockets behind.
    """

    @override
    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        super().close()


class _Session(AIOHTTPSession):
    """Sends each request once: repeating it is up to the request policy.

    aiohttp repeats a PUT or DELETE when a connection that was used before breaks, even after all
    of it was sent; what the server did with the first would be forgotten.
    """

    async def send(self, request: Any) -> Any:  # noqa: ANN401
        try:
            return await cast("Any", super()).send(request)
        except ProxyConnectionError as error:
            inner = error.kwargs["error"]
            if not isinstance(inner, aiohttp.ClientHttpProxyError):
                raise
            refused = ProxyRefusedError(f"{inner.status} {inner.message}")
        # Out here, so that aiohttp's is not its context.
        raise refused

    async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = await cast("Any", super())._get_session(proxy_url)  # noqa: SLF001
        # There are no other switches.
        cast("Any", session)._retry_connection = False  # noqa: SLF001
        cast("Any", session)._response_class = CappedResponse  # noqa: SLF001
        loop = asyncio.get_running_loop()
        cast("Any", session).connector._factory = partial(_AbruptHandler, loop=loop)  # noqa: SLF001
        return session


def _aio_config(config: S3Config) -> AioConfig:
    style = config.addressing_style
    if style == "host" or (style == "auto" and config.endpoint is not None):
        style = "path"
    files = (config.client_certificate_file, config.client_key_file)
    certificate = tuple(str(file) for file in files if file is not None)
    proxy = config.proxy.reveal() if config.proxy else None
    return cast("Any", AioConfig)(
        http_session_cls=_Session,
        signature_version=botocore.UNSIGNED if config.anonymous else "s3v4",
        # botocore builds its own User-Agent anew for each request, in 110 µs.
        user_agent=f"polystow-s3/{_version('polystow-s3')} aiobotocore/{_version('aiobotocore')}",
        connect_timeout=config.connect_timeout_s,
        read_timeout=config.read_timeout_s,
        max_pool_connections=config.max_pool_connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Everything is checked before, with messages for users of Polystow.
        parameter_validation=False,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={"http": proxy, "https": proxy} if proxy else None,
        client_cert=certificate if len(certificate) == 2 else next(iter(certificate), None),
        s3={
            "addressing_style": style,
            "payload_signing_enabled": config.signs_payload,
            "use_dualstack_endpoint": config.dual_stack,
            "use_accelerate_endpoint": config.accelerate,
        },
    )


@cache
def _version(distribution: str) -> str:
    return version(distribution)


def _ask_for_checksums(params: dict[str, Any], **_: object) -> None:
    # Not as botocore's parameter ChecksumMode: then botocore verifies ranged answers against
    # the whole object's checksum, where a server sends that (rclone).
    params["headers"]["x-amz-checksum-mode"] = "ENABLED"


def _digest_with_md5(params: dict[str, Any], **_: object) -> None:
    # DeleteObjects must carry a digest. botocore's CRC32 is refused by Swift and by older
    # servers; Content-MD5 is what all of them take, but S3's directory buckets.
    if params["context"].get("endpoint_properties", {}).get("backend") == "S3Express":
        return
    md5 = hashlib.md5(params["body"], usedforsecurity=False)
    params["headers"]["Content-MD5"] = base64.b64encode(md5.digest()).decode()
    params["context"].pop("checksum", None)


@aiohttp.payload_type(Payload)
class _SentPayload(aiohttp.payload.Payload):
    """How aiohttp sends a `Payload`."""

    _autoclose = True

    def __init__(self, value: Payload, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(value, *args, **kwargs)
        self._payload = value
        self._size = len(value)

    @override
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body is bytes")

    @override
    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    @override
    async def write_with_length(
        self, writer: aiohttp.abc.AbstractStreamWriter, content_length: int | None
    ) -> None:
        self._consumed = not self._payload.repeatable
        for chunk in self._payload.chunks(getattr(writer, "transport", None)):
            await writer.write(chunk)


def parse_timestamp(value: object) -> datetime:
    """A time with zone, from any form that botocore knows."""
    found = parse_time(value) if isinstance(value, str) else None
    if found is not None:
        return found
    return cast("datetime", cast("Any", botocore.utils).parse_timestamp(value))
