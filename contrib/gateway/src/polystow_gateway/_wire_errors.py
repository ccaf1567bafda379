"""Errors on their way from gateway to client: problem documents (RFC 9457).

A document has `code`, the class, and what a `StorageError` has beside its message: `id`,
`operation`, `retryable`, `outcome`, `retry_after_s`. What a backend said of its own trouble stays
in the gateway's log.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

import polystow
from polystow import (
    BackendUnavailableError,
    FileTooLargeError,
    NotModifiedError,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    StorageError,
)

_CLASSES: Mapping[str, type[StorageError]] = {
    name: value
    for name in polystow.__all__
    if isinstance(value := getattr(polystow, name), type) and issubclass(value, StorageError)
}
_BY_STATUS: Mapping[int, type[StorageError]] = {
    304: NotModifiedError,
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    408: OperationTimeoutError,
    413: FileTooLargeError,
    429: RateLimitedError,
    502: BackendUnavailableError,
    503: BackendUnavailableError,
    504: OperationTimeoutError,
}
_REPEATED = frozenset({429, 502, 503})
"""Answers that came before anything was done, whoever gave them."""

HIDDEN = "the gateway's backend failed; its log says how"


def class_name(error: StorageError) -> str:
    """The name of the public class that an error is of, or the nearest one."""
    for cls in type(error).__mro__:
        if _CLASSES.get(cls.__name__) is cls:
            return cls.__name__
    return "StorageError"


def error_to(error: StorageError, *, hidden: bool = False) -> dict[str, object]:
    """An error as what JSON can hold.

    Args:
        error: The error.
        hidden: Whether its message is left out.
    """
    fields: dict[str, object] = {
        "code": class_name(error),
        "detail": HIDDEN if hidden else error.message,
        "id": error.path,
        "operation": error.operation,
        "retryable": error.retryable or None,
        "outcome": None if error.outcome == "failed" else error.outcome,
        "retry_after_s": error.retry_after_s,
    }
    return {name: value for name, value in fields.items() if value is not None}


def error_from(fields: Mapping[str, object], status: int | None = None) -> StorageError:
    """The error of a document; whatever is no document of ours is an error, too.

    Args:
        fields: What came.
        status: The answer's status, for documents without a class of ours.
    """
    code = fields.get("code")
    known = _CLASSES.get(code) if isinstance(code, str) else None
    cls = known or _BY_STATUS.get(status or 0, StorageError)
    message, path, operation = (
        value if isinstance(value := fields.get(name), str) else None
        for name in ("detail", "id", "operation")
    )
    if not message:
        message = f"the gateway answers {_phrase(status)}"
    retry_after = fields.get("retry_after_s")
    retryable = fields.get("retryable") is True
    if known is None:
        retryable = status in _REPEATED
    error = cls(message)
    error.message, error.path, error.operation = message, path, operation
    error.retryable = retryable
    error.outcome = "unknown" if fields.get("outcome") == "unknown" else "failed"
    if type(retry_after) in {int, float}:
        error.retry_after_s = float(cast("float", retry_after))
    return error


def _phrase(status: int | None) -> str:
    try:
        return f"{status} {HTTPStatus(status or 0).phrase}"
    except ValueError:
        return str(status)
