"""Errors of a storage as answers: status codes and problem documents (RFC 9457)."""

import logging
import math
from http import HTTPStatus
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    FileTooLargeError,
    InvalidFileTypeError,
    InvalidMetadataError,
    InvalidPartError,
    InvalidPathError,
    NoRouteError,
    NotFoundError,
    NotModifiedError,
    OperationTimeoutError,
    PartOrderError,
    PartTooSmallError,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    RateLimitedError,
    StorageError,
    TransportError,
    TruncatedBodyError,
    UploadNotFoundError,
)

_logger = logging.getLogger("polystow.http")

_STATUSES: tuple[tuple[type[StorageError], int], ...] = (
    (NotModifiedError, 304),
    (InvalidPathError, 400),
    (InvalidMetadataError, 400),
    (InvalidPartError, 400),
    (PartOrderError, 400),
    (PartTooSmallError, 400),
    (TruncatedBodyError, 400),
    (PermissionDeniedError, 403),
    (NoRouteError, 403),
    (NotFoundError, 404),
    (UploadNotFoundError, 404),
    (AlreadyExistsError, 409),
    (PreconditionFailedError, 412),
    (FileTooLargeError, 413),
    (InvalidFileTypeError, 415),
    (RangeNotSatisfiableError, 416),
    (RateLimitedError, 429),
    (BackendUnavailableError, 503),
    (OperationTimeoutError, 503),
    (TransportError, 503),
)
_RETRY_LATER = frozenset({429, 503})


def status_of(error: StorageError) -> int:
    """The HTTP status of an error: 500 for whatever is not the client's to mend."""
    return next((status for cls, status in _STATUSES if isinstance(error, cls)), 500)


def problem_response(error: StorageError) -> Response:
    """An error as `application/problem+json`.

    Of errors from 500 on, the document tells the kind alone: what the backend said is for the
    log, not for clients.
    """
    status = status_of(error)
    if status == HTTPStatus.NOT_MODIFIED:
        return Response(status_code=status)
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": type(error).__name__,
    }
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        problem["detail"] = error.message
        if error.path is not None:
            problem["id"] = error.path
    headers = {"X-Content-Type-Options": "nosniff"}
    if error.retry_after_s is not None and status in _RETRY_LATER:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return JSONResponse(problem, status, headers, "application/problem+json")


async def storage_error_handler(_: Request, error: Exception) -> Response:
    """The exception handler for `StorageError`; `add_exception_handlers` adds it.

    Errors from 500 on are logged to `polystow.http`.
    """
    problem = cast("StorageError", error)
    if status_of(problem) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("%s: %s", type(problem).__name__, problem, exc_info=problem)
    return problem_response(problem)


def add_exception_handlers(app: Starlette) -> None:
    """Answer every `StorageError` that an endpoint raises with a problem document.

    Args:
        app: A Starlette or FastAPI application.
    """
    app.add_exception_handler(StorageError, storage_error_handler)
