"""Asking every mount whether its backend works."""

from collections.abc import Sequence
from functools import partial
from time import perf_counter

from attrs import frozen

from polystow._driver import SupportsHealth, SupportsRoutes
from polystow._errors import StorageError
from polystow._tasks import run_all

_CONCURRENT_CHECKS = 16


@frozen
class Health:
    """What `Storage.check` saw of one mount.

    Attributes:
        scheme: The mount.
        error: What is wrong; None if nothing is, or if the driver can't tell.
        checked: Whether the driver can tell.
        seconds: How long the answer took.
    """

    scheme: str
    error: StorageError | None
    checked: bool
    seconds: float


async def check_mounts(routes: SupportsRoutes, checker: SupportsHealth | None) -> Sequence[Health]:
    """Ask all mounts side by side; what a mount raises is in its `Health`."""
    mounts = routes.mounts()
    results: dict[str, Health] = {}

    async def check(scheme: str, *, possible: bool) -> None:
        start = perf_counter()
        error: StorageError | None = None
        if checker is not None and possible:
            try:
                await checker.check(f"{scheme}:")
            except StorageError as failure:
                error = failure
        results[scheme] = Health(scheme, error, possible, perf_counter() - start)

    await run_all(
        [
            partial(check, scheme, possible=mount.check is not None)
            for scheme, mount in mounts.items()
        ],
        limit=_CONCURRENT_CHECKS,
    )
    return [results[scheme] for scheme in mounts]
