"""The border to aiobotocore: the one module that knows its exceptions, settings and `Any`s.

Only `_client` imports this, when the first request is made.
"""

# mypy: disable-error-code="import-untyped,misc"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnnecessaryCast=false

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol, cast, override

import aiohttp
import aiohttp.abc
import aiohttp.http_exceptions
import aiohttp.payload
import botocore.auth
import botocore.exceptions
import botocore.loaders
import botocore.utils
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from anyio import to_thread
from botocore.parsers import ResponseParserError

from polystow_s3._config import S3Config
from polystow_s3._errors import Fault, FaultKind
from polystow_s3._payload import Payload
from polystow_s3._times import parse_retry_after, parse_time

_MESSAGE_CHARACTERS = 300
_PREHASHED = "polystow-s3v4"


class Sdk:
    """One open client of botocore.

    Args:
        client: It, entered.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401
        self._client = client

    async def call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Send one request; raises what `fault_of` understands."""
        answer: dict[str, Any] = await getattr(self._client, method)(**params)
        return answer

    async def presign(self, method: str, params: Mapping[str, object], expires_s: int) -> str:
        """Sign a URL; asks nobody but, perhaps, the source of the credentials."""
        url: str = await self._client.generate_presigned_url(
            method, Params=params, ExpiresIn=expires_s
        )
        return url

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.__aexit__(None, None, None)


async def open_sdk(config: S3Config) -> Sdk:
    """Make the client; opens no connection, but may ask a role's service for credentials."""
    session = AioSession()
    components = cast("Any", session)
    components.get_component("response_parser_factory").set_parser_defaults(
        timestamp_parser=parse_timestamp
    )
    # 40 ms of JSON, which create_client would else parse on the event loop, and each time.
    loader = await to_thread.run_sync(_loader, components.get_config_variable("data_path"))
    components.register_component("data_loader", loader)
    region = config.region or components.get_config_variable("region") or "us-east-1"
    context = cast("Any", session).create_client(
        "s3",
        region_name=region,
        endpoint_url=config.endpoint,
        verify=_verify(config),
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=_reveal(config.secret_access_key),
        aws_session_token=_reveal(config.session_token),
        config=_aio_config(config),
    )
    client = await context.__aenter__()
    _prepare(client, config)
    return Sdk(client)


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


def _reveal(secret: Any) -> str | None:  # noqa: ANN401
    return secret.reveal() if secret else None


class _Session(AIOHTTPSession):
    """Sends each request once: repeating it is up to the request policy.

    aiohttp repeats a PUT or DELETE when a connection that was used before breaks, even after all
    of it was sent; what the server did with the first would be forgotten.
    """

    async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = await cast("Any", super())._get_session(proxy_url)  # noqa: SLF001
        cast("Any", session)._retry_connection = False  # noqa: SLF001 - there is no other switch
        return session


def _aio_config(config: S3Config) -> AioConfig:
    style = config.addressing_style
    if style == "auto" and config.endpoint is not None:
        style = "path"
    return cast("Any", AioConfig)(
        http_session_cls=_Session,
        signature_version="s3v4",
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
        s3={"addressing_style": style, "payload_signing_enabled": config.signs_payload},
    )


@cache
def _version(distribution: str) -> str:
    return version(distribution)


class _Events(Protocol):
    def register(self, event: str, handler: object) -> None: ...
    def register_first(self, event: str, handler: object) -> None: ...


def _prepare(client: Any, config: S3Config) -> None:  # noqa: ANN401
    events: _Events = client.meta.events
    for operation in ("PutObject", "UploadPart"):
        events.register_first(f"choose-signer.s3.{operation}", _choose_signer)
    if config.checksums == "when_supported":
        for operation in ("GetObject", "HeadObject"):
            events.register(f"before-call.s3.{operation}", _ask_for_checksums)
    events.register("before-call.s3.DeleteObjects", _digest_with_md5)


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


class _PrehashedAuth(botocore.auth.S3SigV4Auth):
    """SigV4 that takes a body's SHA-256 from the payload, where a thread has made it.

    botocore would hash it on the event loop: 5 ms for each part of 8 MiB.
    """

    @override
    def payload(self, request: Any) -> str:
        data = request.data
        if isinstance(data, Payload) and data.sha256 is not None:
            return data.sha256
        return cast("str", super().payload(request))


cast("dict[str, type]", botocore.auth.AUTH_TYPE_MAPS)[_PREHASHED] = _PrehashedAuth


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


def _choose_signer(signature_version: object, **_: object) -> str | None:
    # Not for presigned URLs (`s3v4-query`), directory buckets or unsigned requests.
    return _PREHASHED if signature_version in {"s3v4", "v4"} else None


def fault_of(error: BaseException) -> Fault | None:
    """What an exception of botocore, aiobotocore or aiohttp means; None if it is another's."""
    if isinstance(error, botocore.exceptions.ClientError):
        return _answer_fault(error)
    kind = _kind_of(error)
    return None if kind is None else Fault(kind, message=_text_of(error))


def _answer_fault(error: Any) -> Fault:  # noqa: ANN401
    response: dict[str, Any] = error.response
    described: dict[str, Any] = response.get("Error", {})
    answer: dict[str, Any] = response.get("ResponseMetadata", {})
    headers: dict[str, str] = answer.get("HTTPHeaders", {})
    message = str(described.get("Message") or "")
    return Fault(
        "answer",
        code=str(described.get("Code") or ""),
        status=int(answer.get("HTTPStatusCode", 0)),
        message=message[:_MESSAGE_CHARACTERS],
        retry_after_s=parse_retry_after(headers.get("retry-after")),
    )


_KINDS: tuple[tuple[tuple[type[BaseException], ...], FaultKind], ...] = (
    ((botocore.exceptions.ConnectTimeoutError,), "connect_timeout"),
    ((botocore.exceptions.ReadTimeoutError, TimeoutError), "read_timeout"),
    ((botocore.exceptions.SSLError, aiohttp.ClientSSLError), "tls"),
    ((botocore.exceptions.ProxyConnectionError, aiohttp.ClientConnectorError), "connect"),
    (
        (
            botocore.exceptions.NoCredentialsError,
            botocore.exceptions.PartialCredentialsError,
            botocore.exceptions.CredentialRetrievalError,
            botocore.exceptions.TokenRetrievalError,
        ),
        "credentials",
    ),
    (
        (
            botocore.exceptions.ConnectionClosedError,
            botocore.exceptions.EndpointConnectionError,
            botocore.exceptions.ResponseStreamingError,
            botocore.exceptions.IncompleteReadError,
            botocore.exceptions.HTTPClientError,
            aiohttp.ClientConnectionError,
            aiohttp.ClientPayloadError,
        ),
        "lost",
    ),
    ((ResponseParserError, aiohttp.http_exceptions.HttpProcessingError), "garbled"),
    (
        (
            botocore.exceptions.NoRegionError,
            botocore.exceptions.ProfileNotFound,
            botocore.exceptions.ConfigParseError,
            botocore.exceptions.InvalidConfigError,
        ),
        "config",
    ),
    ((botocore.exceptions.BotoCoreError, aiohttp.ClientError), "request"),
)


def _kind_of(error: BaseException) -> FaultKind | None:
    # aiobotocore has one exception for "could not connect" and "broke while sending".
    inner = cast("Any", error).kwargs.get("error") if hasattr(error, "kwargs") else None
    if isinstance(inner, aiohttp.ClientConnectorError) and not isinstance(
        inner, aiohttp.ClientSSLError
    ):
        return "connect"
    for classes, kind in _KINDS:
        if isinstance(error, classes):
            return kind
    return None


def _text_of(error: BaseException) -> str:
    inner = cast("Any", error).kwargs.get("error") if hasattr(error, "kwargs") else None
    shown = error if inner is None else inner
    text = str(shown)[:_MESSAGE_CHARACTERS]
    return f"{type(shown).__name__}: {text}" if text else type(shown).__name__


def parse_timestamp(value: object) -> datetime:
    """A time with zone, from any form that botocore knows."""
    found = parse_time(value) if isinstance(value, str) else None
    if found is not None:
        return found
    return cast("datetime", cast("Any", botocore.utils).parse_timestamp(value))
