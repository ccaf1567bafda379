"""From a configuration to what has to be opened: every mount's driver and its checked config.

All mistakes, of all mounts, are found before anything is opened.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import attrs
from attrs import field, frozen, validators

from polystow._config import config_problems
from polystow._containers import ContainerMap, ContainerNames, check_names
from polystow._errors import ConfigError, ConfigProblem, StorageError
from polystow._explain import Setting, settings_of
from polystow._ids import is_scheme
from polystow._keys import join_path, suggestion
from polystow._policy import RequestPolicyConfig
from polystow._registry import Registry
from polystow._spec import DriverSpec
from polystow._validation import FileRules
from polystow._value import Value
from polystow._values import KeyPolicy

COMPOSITE = "composite"
_CONFIG = "config"
_SECTION_KEYS = (
    "mounts", "unprefixed", "write_to", "key_policy", "validation", "request", "deadline_s",
    "close_timeout_s",
)  # fmt: skip
_MOUNT_KEYS = (
    "driver", "read_only", "allow_delete", "allow_read", "containers", "show_containers",
    "validation", "request", "deadline_s",
)  # fmt: skip


@frozen(eq=False, repr=False)
class _CompositeKeys(Value):
    """The keys of a composite that stand beside its mounts.

    Attributes:
        unprefixed: The mount of ids without a scheme, whose driver has to know such ids.
        write_to: The mount that new objects go to; may be left out with a single one.
        key_policy: How the keys of new objects are made; `"unique"` if nobody says.
        validation: What files may be written, on any mount.
        request: The request policy of mounts that have none of their own.
        deadline_s: A total time limit for each operation, in seconds.
        close_timeout_s: How long closing waits for what is under way, in seconds.
    """

    unprefixed: str | None = None
    write_to: str | None = None
    key_policy: Literal["unique", "dated", "exact"] | None = None
    validation: FileRules | None = None
    request: RequestPolicyConfig | None = None
    deadline_s: float | None = field(default=None, validator=validators.optional(validators.gt(0)))
    close_timeout_s: float = field(default=10.0, validator=validators.gt(0))


def _are_containers(_: object, __: object, value: Mapping[str, str]) -> None:
    check_names(value)


@frozen(eq=False, repr=False)
class _MountKeys(Value):
    """The keys of a mount that are not its driver's.

    Attributes:
        driver: The driver's name; by default the mount's scheme.
        read_only: Refuse writes and deletion.
        allow_delete: Whether deletion is allowed.
        allow_read: Whether reading contents is allowed.
        containers: The application's own names for containers, to the real ones.
        show_containers: Which of both ids come back with; both are understood.
        validation: What files may be written to it.
        request: Its request policy, instead of the storage's.
        deadline_s: A total time limit for each of its operations, in seconds.
    """

    driver: str | None = None
    read_only: bool = False
    allow_delete: bool = True
    allow_read: bool = True
    containers: dict[str, str] = field(factory=dict[str, str], validator=_are_containers)
    show_containers: ContainerNames = "physical"
    validation: FileRules | None = None
    request: RequestPolicyConfig | None = None
    deadline_s: float | None = field(default=None, validator=validators.optional(validators.gt(0)))


@frozen(eq=False, repr=False)
class PlannedMount(Value):
    """A mount that can be opened.

    Attributes:
        spec: Its driver; None for a composite.
        config: The driver's config, or a `StoragePlan` for a composite.
        read_only: See `Mount`.
        allow_delete: See `Mount`.
        allow_read: See `Mount`.
        containers: See `Mount`.
        validation: What files may be written to it, or None for all.
        request: The request policy's config.
        deadline_s: A total time limit for each operation, in seconds, or None.
        settings: All of that, with where it came from.
    """

    spec: DriverSpec[Any] | None
    config: object
    read_only: bool
    allow_delete: bool
    allow_read: bool
    containers: ContainerMap
    validation: FileRules | None
    request: RequestPolicyConfig
    deadline_s: float | None
    settings: tuple[Setting, ...]


@frozen(eq=False, repr=False)
class _Request(Value):
    """A request policy's config, and where it was written."""

    config: RequestPolicyConfig
    settings: tuple[Setting, ...]


@frozen(eq=False, repr=False)
class StoragePlan(Value):
    """What a configuration says, checked.

    Attributes:
        mounts: Scheme to mount.
        unprefixed: The mount of ids without a scheme, or None.
        write_to: Where new objects go, or None.
        key_policy: How the keys of new objects are made, or None.
        validation: What files may be written, or None for all.
        deadline_s: A total time limit for each operation, in seconds, or None.
        close_timeout_s: How long closing waits for what is under way, in seconds.
    """

    mounts: Mapping[str, PlannedMount]
    unprefixed: str | None
    write_to: str | None
    key_policy: KeyPolicy | None
    validation: FileRules | None
    deadline_s: float | None
    close_timeout_s: float


def plan_storage(
    data: Mapping[str, object],
    registry: Registry,
    *,
    text: bool,
    source: str = "configuration",
    arguments: Mapping[str, object] | None = None,
) -> StoragePlan:
    """Check a configuration.

    Args:
        data: `mounts` (scheme to table), `unprefixed`, `write_to`, `key_policy`,
            `validation` (see `FileRules`), `request`, `deadline_s`, `close_timeout_s`. A mount's
            table has `driver` (by default its scheme), `read_only`, `allow_delete`,
            `allow_read`, `containers` (logical to physical names), `show_containers`,
            `validation`, `request`, `deadline_s`, and the driver's own keys, or in their place
            `config`, the driver's config as an object, which may also stand for the table. With
            `driver = "composite"` it is such a configuration itself.
        registry: Where drivers come from.
        text: As in `build_config`.
        source: What the configuration is called where a setting came from it.
        arguments: What counts instead of the configuration's own `write_to` and `key_policy`.

    Raises:
        ConfigError: With all mistakes.
        DriverNotFoundError: A driver is missing, and that is the only mistake.
    """
    planner = _Planner(registry, text=text, source=source)
    config = RequestPolicyConfig()
    request = _Request(config, settings_of("request", config, {}, source, ""))
    plan = planner.composite(data, "", request, arguments=arguments or {})
    if planner.problems:
        if len(planner.problems) == len(planner.driver_errors) == 1:
            raise planner.driver_errors[0]
        raise ConfigError.of(planner.problems)
    assert plan is not None
    return plan


class _Planner:
    def __init__(self, registry: Registry, *, text: bool, source: str) -> None:
        self._registry = registry
        self._text = text
        self._source = source
        self.problems: list[ConfigProblem] = []
        self.driver_errors: list[StorageError] = []

    def composite(
        self,
        data: Mapping[str, object],
        path: str,
        inherited: _Request,
        *,
        arguments: Mapping[str, object],
        outer: tuple[Setting, ...] = (),
    ) -> StoragePlan | None:
        own = {key: value for key, value in data.items() if key != "mounts"}
        for key in sorted(set(own) - set(_SECTION_KEYS)):
            hint = suggestion(key, _SECTION_KEYS)
            self.problems.append(ConfigProblem(join_path(path, key), f"unknown key{hint}"))
            del own[key]
        keys = self._structure(_CompositeKeys, own, path)
        request = self._request(inherited, keys, own, path)
        settings = outer + self._settings(
            f"composite {path}" if path else "storage", keys, own, path, arguments
        )
        mounts = self._mounts(data.get("mounts"), join_path(path, "mounts"), request, settings)
        if mounts is None:
            return None
        # As they were written: another key beside them may be wrong.
        tables = cast("Mapping[str, object]", data["mounts"])
        for name in ("unprefixed", "write_to"):
            scheme = own.get(name)
            if isinstance(scheme, str) and scheme not in tables:
                hint = suggestion(scheme, list(tables))
                message = f"{scheme!r} is not mounted{hint}"
                self.problems.append(ConfigProblem(join_path(path, name), message))
        given = arguments.get("write_to") or own.get("write_to")
        if given is None and len(tables) > 1:
            message = f"it is required with several mounts; one of {', '.join(sorted(tables))}"
            self.problems.append(ConfigProblem(join_path(path, "write_to"), message))
        if keys is None:
            return None
        return StoragePlan(
            mounts,
            keys.unprefixed,
            keys.write_to,
            keys.key_policy,
            keys.validation,
            keys.deadline_s,
            keys.close_timeout_s,
        )

    def _mounts(
        self, data: object, path: str, request: _Request, outer: tuple[Setting, ...]
    ) -> dict[str, PlannedMount] | None:
        if not isinstance(data, Mapping) or not data:
            message = "it is required: a table with a table for each scheme"
            self.problems.append(ConfigProblem(path, message))
            return None
        mounts: dict[str, PlannedMount] = {}
        for scheme, table in cast("Mapping[str, object]", data).items():
            below = join_path(path, scheme)
            if not is_scheme(scheme):
                message = "it can't be a scheme: it has to match [a-z][a-z0-9+.-]+"
                self.problems.append(ConfigProblem(below, message))
            if attrs.has(type(table)):
                table = {_CONFIG: table}
            if not isinstance(table, Mapping):
                message = f"{type(table).__name__} is not a table of keys and values"
                self.problems.append(ConfigProblem(below, message))
                continue
            of_mount = cast("Mapping[str, object]", table)
            mount = self._mount(scheme, of_mount, below, request, outer)
            if mount is not None:
                mounts[scheme] = mount
        return mounts

    def _mount(
        self,
        scheme: str,
        table: Mapping[str, object],
        path: str,
        inherited: _Request,
        outer: tuple[Setting, ...],
    ) -> PlannedMount | None:
        own = {key: value for key, value in table.items() if key in _MOUNT_KEYS}
        rest = {key: value for key, value in table.items() if key not in _MOUNT_KEYS}
        keys = self._structure(_MountKeys, own, path)
        driver = table.get("driver")
        name = driver if isinstance(driver, str) else scheme
        request = self._request(inherited, keys, own, path)
        settings = outer + self._settings(f"mount {scheme}", keys, own, path, {})
        spec: DriverSpec[Any] | None = None
        if name == COMPOSITE:
            config: object = self.composite(rest, path, request, arguments={})
        else:
            try:
                spec = self._registry.spec(name)
            except StorageError as error:
                self.driver_errors.append(error)
                self.problems.append(ConfigProblem(path, error.message))
                return None
            config = rest.get(_CONFIG)
            if len(rest) > 1 or not isinstance(config, spec.config):
                config = self._structure(spec.config, rest, path, beside=_MOUNT_KEYS)
        if keys is None or config is None:
            return None
        if spec is None and keys.containers:
            message = "a composite has no containers of its own: give them to its mounts"
            self.problems.append(ConfigProblem(join_path(path, "containers"), message))
            return None
        if spec is not None:
            given = None if _CONFIG in rest else rest
            of_driver = settings_of("driver", config, given, self._source, path)
            settings += request.settings + of_driver
        return PlannedMount(
            spec,
            config,
            keys.read_only,
            keys.allow_delete,
            keys.allow_read,
            ContainerMap(keys.containers, show=keys.show_containers),
            keys.validation,
            request.config,
            keys.deadline_s,
            settings,
        )

    def _request(
        self,
        inherited: _Request,
        keys: "_CompositeKeys | _MountKeys | None",
        table: Mapping[str, object],
        path: str,
    ) -> _Request:
        if keys is None or keys.request is None:
            return inherited
        given = table.get("request")
        names = cast("Mapping[str, object]", given if isinstance(given, Mapping) else {})
        place = join_path(path, "request")
        settings = settings_of("request", keys.request, names, self._source, place)
        return _Request(keys.request, settings)

    def _settings(
        self,
        scope: str,
        keys: "_CompositeKeys | _MountKeys | None",
        table: Mapping[str, object],
        path: str,
        arguments: Mapping[str, object],
    ) -> tuple[Setting, ...]:
        # A composite below another is a mount there, whose keys these are.
        among_others = _MOUNT_KEYS if path and isinstance(keys, _CompositeKeys) else ()
        found = settings_of(
            scope, keys, table, self._source, path, but=("request", *arguments, *among_others)
        )
        return found + tuple(
            Setting(scope, name, repr(value), "argument of open_storage")
            for name, value in arguments.items()
        )

    def _structure[C](
        self,
        cls: type[C],
        data: Mapping[str, object],
        path: str,
        *,
        beside: tuple[str, ...] = (),
    ) -> C | None:
        result = config_problems(cls, data, path=path, text=self._text, beside=beside)
        if isinstance(result, list):
            self.problems.extend(cast("list[ConfigProblem]", result))
            return None
        return result
