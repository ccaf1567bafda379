"""From exceptions of botocore, aiobotocore and aiohttp to `Fault`s."""

# mypy: disable-error-code="import-untyped,misc"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnnecessaryCast=false

from typing import Any, cast

import aiohttp
import aiohttp.http_exceptions
import botocore.exceptions
from botocore.parsers import ResponseParserError

from polystow_s3._errors import Fault, FaultKind
from polystow_s3._sdk_answers import FOREIGN, AnswerTooLongError, ProxyRefusedError
from polystow_s3._times import parse_http_date, parse_retry_after

_MESSAGE_CHARACTERS = 300


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
        server_time=parse_http_date(headers.get("date", "")),
        foreign=FOREIGN in described,
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
            botocore.exceptions.InvalidRegionError,
            botocore.exceptions.ProfileNotFound,
            botocore.exceptions.ConfigParseError,
            botocore.exceptions.InvalidConfigError,
        ),
        "config",
    ),
    ((botocore.exceptions.BotoCoreError, aiohttp.ClientError), "request"),
)


def _kind_of(error: BaseException) -> FaultKind | None:
    # aiobotocore has one exception for "could not connect" and "broke while sending", and one for
    # all that it does not expect.
    inner = _inner(error)
    if isinstance(error, ProxyRefusedError):
        return "proxy"
    if isinstance(inner, AnswerTooLongError | aiohttp.ClientResponseError):
        return "garbled"
    if isinstance(inner, aiohttp.ClientConnectorError) and not isinstance(
        inner, aiohttp.ClientSSLError
    ):
        return "connect"
    for classes, kind in _KINDS:
        if isinstance(error, classes):
            return kind
    return None


def _inner(error: BaseException) -> object:
    return cast("Any", error).kwargs.get("error") if hasattr(error, "kwargs") else None


def _text_of(error: BaseException) -> str:
    shown = _inner(error) or error
    if isinstance(shown, aiohttp.ClientResponseError):
        # Its own text has the URL, which may be a presigned one.
        return f"{shown.status} {shown.message}"[:_MESSAGE_CHARACTERS]
    text = str(shown)[:_MESSAGE_CHARACTERS]
    return f"{type(shown).__name__}: {text}" if text else type(shown).__name__
