"""Opening a storage: from a configuration or a driver to a `Storage`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from logging import getLogger
from pathlib import Path
from typing import cast

from anyio import to_thread

from polystow._composite import CompositeDriver, WritePolicy, as_composite
from polystow._driver import StorageDriver
from polystow._errors import ConfigError
from polystow._layers import DeadlineLayer, Layer, wrap
from polystow._mount import Mount
from polystow._plan import PlannedMount, StoragePlan, plan_storage
from polystow._policy import RequestPolicy
from polystow._registry import Registry
from polystow._sources import ConfigSource, config_from_toml, config_from_url, is_url
from polystow._spec import DriverContext
from polystow._storage import Storage
from polystow._validation import ValidationLayer
from polystow._values import KeyPolicy

_logger = getLogger("polystow")

type StorageSource = str | Path | Mapping[str, object] | ConfigSource | StorageDriver
"""What a storage can be opened from."""


@asynccontextmanager
async def open_storage(
    source: StorageSource,
    *,
    write_to: WritePolicy | None = None,
    key_policy: KeyPolicy | None = None,
    layers: Sequence[Layer] = (),
    registry: Registry | None = None,
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
    if not isinstance(source, str | Path | Mapping | ConfigSource):
        if not hasattr(source, "capabilities"):
            raise TypeError(
                f"a storage can't be opened from a {type(source).__name__}: give a path, a "
                "mapping, a ConfigSource, a URL or a driver"
            )
        if write_to is not None or key_policy is not None:
            raise ValueError(
                "write_to and key_policy need a configuration; give them to the CompositeDriver"
            )
        timeout_s = 10.0 if close_timeout_s is None else close_timeout_s
        driver = wrap(as_composite(source), layers)
        async with _draining(Storage(driver), timeout_s) as storage:
            yield storage
        return
    registry = registry or Registry()
    if isinstance(source, str | Path) and not is_url(str(source)):
        source = await to_thread.run_sync(_read, source, registry)
    plan = _plan(_read(source, registry), registry, write_to, key_policy)
    timeout_s = plan.close_timeout_s if close_timeout_s is None else close_timeout_s
    async with AsyncExitStack() as stack:
        driver = await _open_composite(
            plan, stack, timeout_s, write_to=write_to, key_policy=key_policy
        )
        storage = Storage(wrap(driver, layers))
        yield await stack.enter_async_context(_draining(storage, timeout_s))


def validate_config(
    source: str | Path | Mapping[str, object] | ConfigSource,
    *,
    write_to: WritePolicy | None = None,
    key_policy: KeyPolicy | None = None,
    registry: Registry | None = None,
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
    registry = registry or Registry()
    _plan(_read(source, registry), registry, write_to, key_policy)


def _plan(
    source: ConfigSource,
    registry: Registry,
    write_to: WritePolicy | None,
    key_policy: KeyPolicy | None,
) -> StoragePlan:
    given = {"write_to": write_to, "key_policy": key_policy}
    arguments = {name: value for name, value in given.items() if value is not None}
    return plan_storage(
        source.data, registry, text=source.text, source=source.name, arguments=arguments
    )


def _read(
    source: str | Path | Mapping[str, object] | ConfigSource, registry: Registry
) -> ConfigSource:
    if isinstance(source, str) and is_url(source):
        return config_from_url(source, registry)
    if isinstance(source, str) and "://" in source:
        # Not shown, since URLs may hold secrets.
        raise ConfigError("that is neither a file's path nor a URL: write its scheme in lower case")
    if isinstance(source, str | Path):
        return config_from_toml(Path(source))
    return source if isinstance(source, ConfigSource) else ConfigSource(source)


async def _open_composite(
    plan: StoragePlan,
    stack: AsyncExitStack,
    close_timeout_s: float,
    *,
    write_to: WritePolicy | None = None,
    key_policy: KeyPolicy | None = None,
) -> StorageDriver:
    mounts: dict[str, Mount] = {}
    for scheme, planned in plan.mounts.items():
        driver = await _open_mount(planned, stack, close_timeout_s)
        mounts[scheme] = Mount(
            driver,
            read_only=planned.read_only,
            allow_delete=planned.allow_delete,
            allow_read=planned.allow_read,
            containers=planned.containers,
            settings=planned.settings,
        )
    composite = CompositeDriver(
        mounts,
        unprefixed=plan.unprefixed,
        write_to=write_to or plan.write_to,
        key_policy=key_policy or plan.key_policy,
    )
    return _advised(composite, plan)


async def _open_mount(
    planned: PlannedMount, stack: AsyncExitStack, close_timeout_s: float
) -> StorageDriver:
    if planned.spec is None:
        plan = cast("StoragePlan", planned.config)
        driver = await _open_composite(plan, stack, close_timeout_s)
    else:
        context = DriverContext(RequestPolicy(planned.request), close_timeout_s)
        opened = planned.spec.open(planned.config, context)
        driver = await stack.enter_async_context(opened)
    return _advised(driver, planned)


def _advised(driver: StorageDriver, planned: PlannedMount | StoragePlan) -> StorageDriver:
    layers: list[Layer] = []
    if planned.deadline_s is not None:
        layers.append(DeadlineLayer(planned.deadline_s))
    if planned.validation is not None:
        layers.append(ValidationLayer(planned.validation))
    return wrap(driver, layers)


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
