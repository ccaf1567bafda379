"""Every error that Polystow raises, in one tree.

```
StorageError
├── NotFoundError (FileNotFoundError)             no such object or container
├── AlreadyExistsError (FileExistsError)          create-only, and it is there
├── PermissionDeniedError (PermissionError)       the backend, or the mount's limits, forbid it
├── InvalidPathError (ValueError)                 the id, path or name can't be used
├── InvalidMetadataError (ValueError)             the backend can't keep such metadata
├── OperationTimeoutError (TimeoutError)          a time limit passed
├── TransportError (ConnectionError)              the connection failed or broke
├── BackendUnavailableError                       the backend answers that it can't serve now
├── RateLimitedError                              the backend answers that we ask too much
├── PreconditionFailedError                       a condition of the caller's does not hold
├── NotModifiedError                              a conditional read, and it did not change
├── RangeNotSatisfiableError                      the range starts at or after the end
├── ChecksumMismatchError                         the bytes are not those that were written
├── TruncatedBodyError                            a body is not as long as it was declared
├── UploadNotFoundError (LookupError)             no such multipart upload (any more)
├── InvalidPartError (ValueError)                 a part is missing, or is another one
├── PartTooSmallError (ValueError)                a part that is not the last is too small
├── PartOrderError (ValueError)                   parts that are not in ascending order
├── ContainerNotEmptyError (OSError)              a container to delete still has contents
├── NoSpaceError (OSError)                        the backend is full
├── UnsupportedOperationError                     this driver can't do that
├── NoRouteError                                  no mounted driver owns the id
├── InvalidFileTypeError                          the type of file is not allowed
├── FileTooLargeError                             over a size limit
├── LifecycleError (RuntimeError)                 not open, closed, another event loop, after a fork
├── ConfigError (ValueError)                      the configuration is wrong: all mistakes at once
├── DriverNotFoundError                           no installed distribution provides the driver
├── DriverLoadError                                a driver is installed, but broken
└── DriverConflictError                           two distributions claim one driver
```

Errors of a driver's SDK never escape; they are the `__cause__`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Self

from attrs import frozen

from polystow._value import Value

type Outcome = Literal["failed", "unknown"]


class StorageError(Exception):
    """The root of all errors of Polystow.

    Drivers raise a fresh instance each time, with `path` as they were given it; every composite
    on the way out adds its mount's prefix, so that a user reads an id.

    Args:
        message: What happened and what to do about it. No secrets.
        path: The path or id that the operation was about, or None.
        operation: The operation's name, as in `Storage` (`"stat"`), or None.
        driver: The driver's name (`DriverInfo.name`), or None.
        retryable: Whether the same request may succeed if it is simply repeated.
        outcome: `"unknown"` where a change may have happened although it failed, because the
            answer was lost; `"failed"` otherwise.
        retry_after_s: How long the backend asked to wait before a repetition, in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        operation: str | None = None,
        driver: str | None = None,
        retryable: bool = False,
        outcome: Outcome = "failed",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.operation = operation
        self.driver = driver
        self.retryable = retryable
        self.outcome: Outcome = outcome
        self.retry_after_s = retry_after_s
        self._settled = False

    @property
    def uri(self) -> str | None:
        """The canonical id that the operation was about, `scheme://container/key`, if known."""
        return self.path

    def in_operation(self, operation: str, path: str, driver: str) -> Self:
        """Fill what is not known yet of operation, path and driver; return the error itself.

        A `settled` error stays as it is: it is about something else.
        """
        if self._settled:
            return self
        if self.operation is None:
            self.operation = operation
        if self.path is None:
            self.path = path
        if self.driver is None:
            self.driver = driver
        return self

    def settled(self) -> Self:
        """Mark that `path` is final; return the error itself.

        For errors that pass through a driver but are not about its object, such as one from
        another storage that a body reads: composites add no prefix to them.
        """
        self._settled = True
        return self

    def mounted(self, scheme: str, shown: Callable[[str], str] = str) -> Self:
        """See the error through a composite that mounts its driver under `scheme`; itself.

        Args:
            scheme: The mount's.
            shown: How the driver's path is shown there.
        """
        if not self._settled:
            self.path = f"{scheme}://{shown(self.path or '')}"
        return self

    def __str__(self) -> str:
        subject = " ".join(
            part
            for part in (self.operation, None if self.path is None else _shown(self.path))
            if part is not None
        )
        return f"{subject}: {self.message}" if subject else self.message

    def __reduce__(self) -> tuple[Callable[..., "StorageError"], tuple[object, ...]]:
        return _restore, (type(self), self.args, self.__dict__.copy())


def _shown(path: str) -> str:
    # Without control characters, and not longer than a reader wants.
    return repr(path if len(path) <= 256 else f"{path[:200]}…{path[-40:]}")


def _restore(
    cls: type[StorageError], args: tuple[object, ...], state: dict[str, object]
) -> StorageError:
    # A subclass's __init__ may want other arguments, and OSError.__new__ drops `args`.
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class _Subject:
    __slots__ = ("_driver", "_operation", "_path")

    def __init__(self, operation: str, path: str, driver: str) -> None:
        self._operation = operation
        self._path = path
        self._driver = driver

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, StorageError):
            error.in_operation(self._operation, self._path, self._driver)


def errors_about(operation: str, path: str, driver: str) -> AbstractContextManager[None]:
    """Fill what errors that pass do not say of what they are about; for drivers.

    Args:
        operation: The driver's method.
        path: As the driver was given it.
        driver: The driver's name (`DriverInfo.name`).
    """
    return _Subject(operation, path, driver)


class NotFoundError(StorageError, FileNotFoundError):
    """There is no such object, or no such container."""


class AlreadyExistsError(StorageError, FileExistsError):
    """A create-only write found that the object is there already."""


class PermissionDeniedError(StorageError, PermissionError):
    """The backend refused the credentials or the action, or the mount's limits forbid it."""


class InvalidPathError(StorageError, ValueError):
    """The id, path, key or name can't be used here; the message says why."""


class InvalidMetadataError(StorageError, ValueError):
    """The backend can't keep such metadata; the message says which entry, and why."""


class OperationTimeoutError(StorageError, TimeoutError):
    """A time limit passed."""


class TransportError(StorageError, ConnectionError):
    """The connection to the backend failed or broke."""


class BackendUnavailableError(StorageError):
    """The backend answered that it can't serve the request now."""


class RateLimitedError(StorageError):
    """The backend answered that it gets too many requests."""


class PreconditionFailedError(StorageError):
    """The object is not the one that `if_match` or `if_unmodified_since` asked for."""


class NotModifiedError(StorageError):
    """The object did not change: `if_none_match` or `if_modified_since` of a read say so."""


class RangeNotSatisfiableError(StorageError):
    """The range starts at or after the end of the object."""


class ChecksumMismatchError(StorageError):
    """The bytes are not those that the checksum was made of."""


class TruncatedBodyError(StorageError):
    """A body is not as long as declared: it ended before, or goes on after, its length.

    Nothing is stored: a body that goes on would have been stored truncated.
    """


class UploadNotFoundError(StorageError, LookupError):
    """There is no such multipart upload: it was completed, aborted, or has expired."""


class InvalidPartError(StorageError, ValueError):
    """A part to complete a multipart upload with is not there, or its entity tag is another."""


class PartTooSmallError(StorageError, ValueError):
    """A part of a multipart upload that is not the last is smaller than the backend takes."""


class PartOrderError(StorageError, ValueError):
    """The parts to complete a multipart upload with are not in ascending order of their numbers."""


class ContainerNotEmptyError(StorageError, OSError):
    """A container to be deleted has contents; `contents=True` deletes them too."""


class NoSpaceError(StorageError, OSError):
    """The backend has no space left."""


class UnsupportedOperationError(StorageError):
    """The driver can't do this; `Storage.require` finds that out at start-up."""


class NoRouteError(StorageError):
    """No mounted driver owns the id; the message names what is mounted."""


class InvalidFileTypeError(StorageError):
    """The file's type is not allowed."""


class FileTooLargeError(StorageError):
    """The file is over a size limit."""


class LifecycleError(StorageError, RuntimeError):
    """The storage is not open, already closed, of another event loop, or of a parent process."""


@frozen(eq=False, repr=False)
class ConfigProblem(Value):
    """One mistake in a configuration.

    Attributes:
        path: Where it is, keys joined by dots (`mounts.s3.endpoint`); empty for the whole.
        message: What is wrong and what to write instead.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(StorageError, ValueError):
    """The configuration is wrong.

    Attributes:
        problems: All its mistakes at once, each with its path.
    """

    def __init__(self, message: str, *, problems: Sequence[ConfigProblem] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[ConfigProblem, ...] = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[ConfigProblem]) -> Self:
        """The error that reports these problems."""
        if len(problems) == 1:
            return cls(f"configuration: {problems[0]}", problems=problems)
        lines = "".join(f"\n  {problem}" for problem in problems)
        return cls(f"configuration has {len(problems)} mistakes:{lines}", problems=problems)


class DriverNotFoundError(StorageError):
    """No installed distribution provides the driver; the message says which one to install."""


class DriverLoadError(StorageError):
    """The driver's distribution is installed, but its entry point can't be used."""


class DriverConflictError(StorageError):
    """Two distributions claim one driver; the message names both."""
