"""From a configuration to open drivers: what `open_storage` does with one."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

from anyio import to_thread

from polystow._composite import CompositeDriver, WritePolicy
from polystow._driver import StorageDriver
from polystow._errors import ConfigError
from polystow._layers import DeadlineLayer, Layer, wrap
from polystow._mount import Mount
from polystow._plan import PlannedMount, StoragePlan, plan_storage
from polystow._policy import RequestPolicy
from polystow._registry import Registry
from polystow._sources import ConfigSource, config_from_toml, config_from_url, is_url
from polystow._spec import DriverContext
from polystow._validation import ValidationLayer
from polystow._values import KeyPolicy

type Configuration = str | Path | Mapping[str, object] | ConfigSource
"""What a storage's configuration comes from."""

type StorageSource = Configuration | StorageDriver
"""What a storage can be opened from."""


@asynccontextmanager
async def open_configured(
    source: Configuration,
    registry: Registry | None,
    *,
    write_to: WritePolicy | None,
    key_policy: KeyPolicy | None,
    close_timeout_s: float | None,
) -> AsyncGenerator[tuple[StorageDriver, float]]:
    """Open what a configuration names; for arguments and errors see `open_storage`.

    Yields:
        A composite of its mounts, and how long closing waits, in seconds.
    """
    registry = registry or Registry()
    if isinstance(source, str | Path) and not is_url(str(source)):
        source = await to_thread.run_sync(_read, source, registry)
    plan = plan_of(source, registry, write_to, key_policy)
    timeout_s = plan.close_timeout_s if close_timeout_s is None else close_timeout_s
    async with AsyncExitStack() as stack:
        yield (
            await _open_composite(plan, stack, timeout_s, write_to=write_to, key_policy=key_policy),
            timeout_s,
        )


def plan_of(
    source: Configuration,
    registry: Registry | None,
    write_to: WritePolicy | None,
    key_policy: KeyPolicy | None,
) -> StoragePlan:
    """Check a configuration; for arguments and errors see `validate_config`."""
    registry = registry or Registry()
    read = _read(source, registry)
    given = {"write_to": write_to, "key_policy": key_policy}
    arguments = {name: value for name, value in given.items() if value is not None}
    return plan_storage(read.data, registry, text=read.text, source=read.name, arguments=arguments)


def _read(source: Configuration, registry: Registry) -> ConfigSource:
    if isinstance(source, str) and is_url(source):
        return config_from_url(source, registry)
    if isinstance(source, str) and "://" in source:
        # Not shown, since URLs may hold secrets.
        raise ConfigError("that is neither a file's path nor a URL: write its scheme in lower case")
    if isinstance(source, str | Path):
        return config_from_toml(Path(source))
    if isinstance(source, Mapping):
        return ConfigSource(source)
    # Type checkers believe that nothing else can come.
    if not isinstance(cast("object", source), ConfigSource):
        raise TypeError(
            f"a storage can't be opened from a {type(source).__name__}: give a path, a mapping, "
            "a ConfigSource, a URL or a driver"
        )
    return source


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
