"""What an `OSError` of the operating system means to the user. One pure function."""

import errno

from polystow._errors import (
    BackendUnavailableError,
    FileTooLargeError,
    InvalidPathError,
    NoSpaceError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
)

_MEANINGS: dict[int, tuple[type[StorageError], str]] = {
    errno.ENOENT: (NotFoundError, "there is no such object"),
    errno.ENOTDIR: (NotFoundError, "there is no such object"),
    errno.ENXIO: (NotFoundError, "that is no regular file, so no object"),
    errno.EACCES: (PermissionDeniedError, "the file system's permissions forbid it"),
    errno.EPERM: (PermissionDeniedError, "the operating system does not permit it"),
    errno.EROFS: (PermissionDeniedError, "the file system is mounted read-only"),
    errno.ENOSPC: (NoSpaceError, "no space is left on the file system"),
    errno.EDQUOT: (NoSpaceError, "the disk quota is used up"),
    errno.EFBIG: (FileTooLargeError, "the file would be larger than the system allows"),
    errno.ENAMETOOLONG: (InvalidPathError, "a name is too long for this file system"),
    errno.EILSEQ: (InvalidPathError, "this file system can't keep such a name"),
    errno.ELOOP: (InvalidPathError, "symbolic links lead in a circle"),
    errno.EXDEV: (
        StorageError,
        "the place is on another file system than the root, so nothing can be moved there",
    ),
}

_PASSING = {
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
    errno.EAGAIN: "the file system is busy",
    errno.EBUSY: "the file system is busy",
    errno.ENOMEM: "the machine is out of memory",
    errno.ESTALE: "the file server has forgotten an open file",
    errno.ETIMEDOUT: "the file server does not answer",
}


def translate(error: OSError, *, operation: str, path: str, driver: str) -> StorageError:
    """The error to raise instead of `error`, which becomes its cause.

    Args:
        error: What the operating system said.
        operation: The operation that failed.
        path: What it was about, as the driver was given it.
        driver: The driver's name.
    """
    number = error.errno or 0
    if number in _PASSING:
        return BackendUnavailableError(
            _PASSING[number], operation=operation, path=path, driver=driver, retryable=True
        )
    kind, message = _MEANINGS.get(number, (StorageError, ""))
    if not message:
        message = f"the file system failed: {error.strerror or error}"
    return kind(message, operation=operation, path=path, driver=driver)
