"""The exceptions of s3py-helper, and how Polystow's become these."""

from collections.abc import Generator
from contextlib import contextmanager

from polystow import (
    ConfigError,
    FileTooLargeError,
    InvalidFileTypeError,
    InvalidMetadataError,
    InvalidPathError,
    NoRouteError,
    NotFoundError,
    StorageError,
    TruncatedBodyError,
)


class StorageException(Exception):
    """The root of all; `message` says what happened."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class InvalidArgumentException(StorageException):
    """An argument can't be used."""


class InvalidFileTypeException(StorageException):
    """The type of file is not allowed."""


class FileNotFoundException(StorageException):
    """There is no such file."""


class StorageOperationException(StorageException):
    """The backend failed."""


class RouteNotSupportedException(StorageException):
    """The id belongs to a backend that is not there."""


class DeleteNotSupportedException(StorageException):
    """Deletion is switched off for the backend."""


_ARGUMENTS = (
    ConfigError,
    FileTooLargeError,
    InvalidMetadataError,
    InvalidPathError,
    TruncatedBodyError,
)


def exception_of(error: StorageError, what: str) -> StorageException:
    """The exception that s3py-helper has for an error of Polystow.

    Args:
        error: The error; it becomes the cause.
        what: What was to be done, and with which file, for the message.
    """
    cls: type[StorageException] = StorageOperationException
    if isinstance(error, NotFoundError):
        return FileNotFoundException(f"File not found: {what}: {error}")
    if isinstance(error, InvalidFileTypeError):
        cls = InvalidFileTypeException
    elif isinstance(error, NoRouteError):
        cls = RouteNotSupportedException
    elif isinstance(error, _ARGUMENTS):
        cls = InvalidArgumentException
    return cls(f"{what}: {error}")


@contextmanager
def translated(what: str) -> Generator[None]:
    """Raise s3py-helper's exceptions instead of Polystow's."""
    try:
        yield
    except StorageError as error:
        raise exception_of(error, what) from error
