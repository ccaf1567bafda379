"""Asking every mount whether its backend works, and what it lets us do."""

from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple

import anyio
from attrs import frozen

from polystow._body import BytesBody
from polystow._driver import StorageDriver, SupportsHealth, SupportsRoutes
from polystow._errors import (
    BackendUnavailableError,
    ConfigError,
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    StorageError,
    TransportError,
    UnsupportedOperationError,
)
from polystow._tasks import run_all
from polystow._value import Value
from polystow._values import DeleteOptions, NameHint, WriteOptions

_CONCURRENT_CHECKS = 16
PROBE = "polystow-check.txt"
"""The name of the object that shows whether a mount can be written to."""


@frozen(eq=False, repr=False)
class Health(Value):
    """What `Storage.check` saw of one mount.

    Attributes:
        scheme: The mount.
        error: What is wrong; None if nothing is, or if the driver can't tell.
        checked: Whether the driver can tell.
        seconds: How long it took.
        reachable: Whether the backend answered; None if that is not known, as for the others.
        credentials: Whether it took the credentials.
        container: Whether the default container is there, where the driver has one.
        writable: Whether an object could be written, and deleted again; None if that was not
            tried. False for a mount that is read only.
    """

    scheme: str
    error: StorageError | None
    checked: bool
    seconds: float
    reachable: bool | None = None
    credentials: bool | None = None
    container: bool | None = None
    writable: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, as far as is known."""
        return self.error is None


class Verdict(NamedTuple):
    """What an answer tells, or its absence; see `Health`."""

    reachable: bool | None
    credentials: bool | None
    container: bool | None


def judge(error: StorageError | None) -> Verdict:
    """What an error of a check tells of the backend; None is a check that went well."""
    match error:
        case None:
            return Verdict(True, True, True)
        case NotFoundError():
            return Verdict(True, True, False)
        case PermissionDeniedError():
            return Verdict(True, False, None)
        case BackendUnavailableError() | RateLimitedError():
            return Verdict(True, None, None)
        case TransportError() | OperationTimeoutError():
            return Verdict(False, None, None)
        case _:
            return Verdict(None, None, None)


async def check_mounts(
    routes: SupportsRoutes, checker: SupportsHealth | None, *, write: bool, timeout_s: float
) -> Sequence[Health]:
    """Ask all mounts side by side; what a mount raises is in its `Health`.

    Raises:
        ValueError: `timeout_s` is not above 0.
    """
    if not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s}; it has to be above 0")
    mounts = routes.mounts()
    results: dict[str, Health] = {}

    async def check(scheme: str, *, possible: bool) -> None:
        start = perf_counter()
        error: StorageError | None = None
        verdict = Verdict(None, None, None)
        if checker is not None and possible:
            error = await _ask(checker, scheme, timeout_s)
            verdict = judge(error)
        writable: bool | None = None
        if write and error is None:
            writable, error = await _probe(routes, scheme, timeout_s)
        seconds = perf_counter() - start
        results[scheme] = Health(scheme, error, possible, seconds, *verdict, writable)

    await run_all(
        [
            partial(check, scheme, possible=mount.check is not None)
            for scheme, mount in mounts.items()
        ],
        limit=_CONCURRENT_CHECKS,
    )
    return [results[scheme] for scheme in mounts]


async def _ask(checker: SupportsHealth, scheme: str, timeout_s: float) -> StorageError | None:
    with anyio.move_on_after(timeout_s):
        try:
            await checker.check(f"{scheme}:")
        except StorageError as error:
            return error
        return None
    return _too_late(scheme, timeout_s)


def _too_late(scheme: str, timeout_s: float) -> StorageError:
    return OperationTimeoutError(
        f"no answer within {timeout_s:g} s", path=f"{scheme}://", operation="check"
    )


async def _probe(
    routes: SupportsRoutes, scheme: str, timeout_s: float
) -> tuple[bool | None, StorageError | None]:
    if not routes.route(f"{scheme}:").writable:
        return False, None
    driver, _ = routes.native(f"{scheme}:")
    hint = NameHint(PROBE, key_policy="unique")
    try:
        with anyio.move_on_after(timeout_s):
            info = await driver.write(
                hint, BytesBody(b"written by a check\n"), WriteOptions("text/plain")
            )
            await _remove(driver, info.path, timeout_s)
            return True, None
    except StorageError as error:
        # Without a default container there is no place to try.
        tried = not isinstance(error, ConfigError | UnsupportedOperationError)
        error.in_operation("check", str(hint), driver.info.name).mounted(scheme)
        return (False if tried else None), error
    return False, _too_late(scheme, timeout_s)


async def _remove(driver: StorageDriver, path: str, timeout_s: float) -> None:
    with anyio.move_on_after(timeout_s, shield=True):
        try:
            await driver.delete(path, DeleteOptions())
        except StorageError as error:
            error.add_note(f"the probe could be written, and is still there: {path}")
            raise
        return
    raise OperationTimeoutError(
        f"the probe could be written, and not be deleted within {timeout_s:g} s", path=path
    )
