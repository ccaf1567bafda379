"""What SQLite's errors mean to the user."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

import polystow as ps

NAME = "sqlite"
_MEANINGS: dict[int, type[ps.StorageError]] = {
    sqlite3.SQLITE_BUSY: ps.BackendUnavailableError,
    sqlite3.SQLITE_LOCKED: ps.BackendUnavailableError,
    sqlite3.SQLITE_FULL: ps.NoSpaceError,
    sqlite3.SQLITE_PERM: ps.PermissionDeniedError,
    sqlite3.SQLITE_READONLY: ps.PermissionDeniedError,
}


def translate(error: sqlite3.Error) -> ps.StorageError:
    """What to raise instead."""
    # The low byte is the primary code; mistakes that Python itself finds have none.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    kind = _MEANINGS.get(code, ps.StorageError)
    return kind(f"SQLite: {error}", retryable=kind is ps.BackendUnavailableError)


@contextmanager
def about(operation: str, path: str) -> Generator[None]:
    """Say of errors what they are about."""
    try:
        yield
    except ps.StorageError as error:
        error.in_operation(operation, path, NAME)
        raise
