"""Exit codes, and errors in one sentence."""

from enum import IntEnum

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ConfigError,
    DriverConflictError,
    DriverLoadError,
    DriverNotFoundError,
    InvalidPathError,
    NoRouteError,
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitedError,
    StorageError,
    TransportError,
    UnsupportedOperationError,
)
from polystow_cli._output import printable


class Exit(IntEnum):
    """What the command ends with; documented in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    CONFIG = 6
    EXISTS = 7
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


_EXITS: tuple[tuple[tuple[type[Exception], ...], Exit], ...] = (
    ((ConfigError, DriverNotFoundError, DriverLoadError, DriverConflictError), Exit.CONFIG),
    ((InvalidPathError, NoRouteError, UnsupportedOperationError), Exit.USAGE),
    ((NotFoundError,), Exit.NOT_FOUND),
    ((PermissionDeniedError,), Exit.DENIED),
    (
        (TransportError, OperationTimeoutError, BackendUnavailableError, RateLimitedError),
        Exit.UNAVAILABLE,
    ),
    ((AlreadyExistsError, PreconditionFailedError), Exit.EXISTS),
)


class CommandError(Exception):
    """What a command can't do, in one sentence.

    Args:
        message: For the person at the terminal.
        code: What the command ends with.
    """

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


def exit_of(error: Exception) -> Exit:
    """What the command ends with for an error."""
    if isinstance(error, CommandError):
        return error.code
    return next((code for classes, code in _EXITS if isinstance(error, classes)), Exit.FAILED)


def sentence(error: Exception) -> str:
    """An error as one line without control characters; a configuration's mistakes a line each."""
    if isinstance(error, ConfigError):
        return "\n".join(printable(line) for line in str(error).splitlines())
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, StorageError | CommandError | OSError):
        text = f"{type(error).__name__}: {text} (this is a bug in polystow; --debug shows where)"
    return printable(text)
