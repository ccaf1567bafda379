"""Errors as answers: problem documents with what the client needs to raise the same error."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from polystow import (
    ChecksumMismatchError,
    ContainerNotEmptyError,
    NoSpaceError,
    StorageError,
    UnsupportedOperationError,
)
from polystow_fastapi import status_of
from polystow_gateway._wire_errors import error_to
from polystow_gateway.server._identity import Unauthenticated

_logger = logging.getLogger("polystow.gateway")
_OURS: tuple[tuple[type[StorageError], int], ...] = (
    (Unauthenticated, 401),
    (ContainerNotEmptyError, 409),
    (ChecksumMismatchError, 422),
    (UnsupportedOperationError, 501),
    (NoSpaceError, 507),
)
_SHOWN = frozenset({501, 507})
_NO_BODY = frozenset({204, 304})


def problem(error: StorageError) -> Response:
    """A `StorageError` as an answer.

    Of errors from 500 on, the document does not show what the backend said, except that
    something is not supported, or that it is full.
    """
    status = next((code for cls, code in _OURS if isinstance(error, cls)), status_of(error))
    if status in _NO_BODY:
        return Response(status_code=status)
    hidden = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _SHOWN
    if hidden:
        _logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    headers: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return _document(status, error_to(error, hidden=hidden), headers)


def _document(
    status: int, fields: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> Response:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        **fields,
    }
    return JSONResponse(
        document,
        status,
        {**(headers or {}), "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
        "application/problem+json",
    )


async def _storage_error(_: Request, error: Exception) -> Response:
    return problem(cast("StorageError", error))


async def _http_exception(_: Request, error: Exception) -> Response:
    refused = cast("HTTPException", error)
    if refused.status_code in _NO_BODY:
        return Response(status_code=refused.status_code)
    return _document(refused.status_code, {"detail": refused.detail}, refused.headers)


async def _invalid_request(_: Request, error: Exception) -> Response:
    problems = cast("RequestValidationError", error).errors()
    # Neither the values nor pydantic's context: they may be secrets.
    told = [f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in problems]
    return _document(422, {"detail": "; ".join(told)})


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def add_handlers(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    app.add_exception_handler(StorageError, _storage_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(ClientDisconnect, _gone)
