"""Opening a storage: from a configuration or a driver to a `Storage`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from logging import getLogger
from typing import TYPE_CHECKING, cast

from polystow._composite import WritePolicy, as_composite
from polystow._driver import StorageDriver
from polystow._layers import Layer, wrap
from polystow._storage import Storage
from polystow._values import KeyPolicy

if TYPE_CHECKING:
    from polystow._opening import Configuration, StorageSource
    from polystow._registry import Registry

_CLOSE_TIMEOUT_S = 10.0

_logger = getLogger("polystow")


@asynccontextmanager
async def open_storage(
    source: "StorageSource",
    *,
    write_to: WritePolicy | None = None,
    key_policy: KeyPolicy | None = None,
    layers: Sequence[Layer] = (),
    registry: "Registry | None" = None,
    close_timeout_s: float | None = None,
) -> AsyncGenerator[Storage]:
    """Open a storage; it connects to nothing until it is used.

    Args:
        source: The path of a TOML file; a mapping with the same keys (see `plan_storage`); a
            `ConfigSource` such as `config_from_env()`; a URL, `memory:` or
            `s3://key:secret@host/bucket`; or a driver, which its owner closes.
        write_to: Where new objects go, instead of what the configuration says: a scheme, or a
            function from `NewObject` to a scheme.
        key_policy: How the keys of new objects are made, instead of what the configuration says.
        layers: Advice around every operation, the first outermost.
        registry: Where drivers are found; by default all that are installed.
        close_timeout_s: How long leaving waits for what is under way, in seconds, instead of
            what the configuration says (10 s).

    Yields:
        The storage. Leaving refuses new operations, waits for those under way up to the time
        limit, and closes the connections.

    Raises:
        ConfigError: With all mistakes of the configuration.
        DriverNotFoundError: A driver is not installed; it says which distribution has it.
        TypeError: `source` is none of these.
        ValueError: `write_to` or `key_policy` beside a driver, which has its own policies.
    """
    if not isinstance(source, Mapping) and hasattr(source, "capabilities"):
        if write_to is not None or key_policy is not None:
            raise ValueError(
                "write_to and key_policy need a configuration; give them to the CompositeDriver"
            )
        timeout_s = _CLOSE_TIMEOUT_S if close_timeout_s is None else close_timeout_s
        driver = as_composite(cast("StorageDriver", source))
        async with _draining(Storage(wrap(driver, layers)), timeout_s) as storage:
            yield storage
        return
    from polystow._opening import open_configured  # 25 ms of imports, which a driver does not need

    async with (
        open_configured(
            source,  # pyright: ignore[reportArgumentType]  # hasattr tells mypy alone
            registry,
            write_to=write_to,
            key_policy=key_policy,
            close_timeout_s=close_timeout_s,
        ) as (driver, timeout_s),
        _draining(Storage(wrap(driver, layers)), timeout_s) as storage,
    ):
        yield storage


def validate_config(
    source: "Configuration",
    *,
    write_to: WritePolicy | None = None,
    key_policy: KeyPolicy | None = None,
    registry: "Registry | None" = None,
) -> None:
    """Check a configuration as `open_storage` does, without opening or connecting to anything.

    The drivers that it names are imported; their SDKs are not.

    Args:
        source: As in `open_storage`, but a driver.
        write_to: See there.
        key_policy: See there.
        registry: See there.

    Raises:
        ConfigError: With all mistakes of the configuration, each with its place.
        DriverNotFoundError: A driver is not installed; it says which distribution has it.
    """
    from polystow._opening import plan_of

    plan_of(source, registry, write_to, key_policy)


@asynccontextmanager
async def _draining(storage: Storage, timeout_s: float) -> AsyncGenerator[Storage]:
    try:
        yield storage
    finally:
        left = await storage.drain(timeout_s)
        if left:
            _logger.warning(
                "closing: %d operations or streams were still under way after %g s and are cut off",
                left,
                timeout_s,
            )
