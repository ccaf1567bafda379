"""Reading the configuration, and finding all its mistakes before anything is served."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from attrs import evolve

from polystow import (
    ConfigError,
    ConfigProblem,
    ConfigSource,
    Storage,
    StorageError,
    build_config,
    config_from_env,
    config_from_toml,
    open_storage,
)
from polystow_gateway.server._access import Access
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._mapping import MappingStore
from polystow_gateway.server._places import place_of

ENV_PREFIX = "POLYSTOW_GATEWAY__"
_NONE: Mapping[str, object] = {}


def load_config(path: Path | None, environ: Mapping[str, str] | None = None) -> GatewayConfig:
    """Read a TOML file, or environment variables, or both; the variables count before the file.

    `POLYSTOW_GATEWAY__SERVER__PORT` is `server.port`. Paths in the file are relative to it.

    Args:
        path: The file; None for the variables alone.
        environ: The environment; None for no variables.

    Raises:
        ConfigError: With all its mistakes.
    """
    given = any(name.startswith(ENV_PREFIX) for name in environ or {})
    variables = config_from_env(environ, prefix=ENV_PREFIX).data if given else _NONE
    if path is None and not given:
        raise ConfigError(f"there is no configuration: no file, and no variables {ENV_PREFIX}…")
    data = variables if path is None else _merged(config_from_toml(path).data, variables, "")
    config = build_config(GatewayConfig, data, text=given)
    if given:
        config = evolve(config, storage=_as_text(config.storage))
        if config.mapping is not None:
            mapping = evolve(config.mapping, storage=_as_text(config.mapping.storage))
            config = evolve(config, mapping=mapping)
    return config if path is None else _relative_to(path.parent, config)


async def check_config(config: GatewayConfig) -> None:
    """Find the mistakes that show only beside what is mounted: of rights, roles, keys.

    Connects to nothing.

    Raises:
        ConfigError: With all of them.
    """
    problems: list[ConfigProblem] = []
    try:
        async with open_storage(config.source) as storage:
            for check in (_check_target, Access, MappingStore.check):
                try:
                    check(config, storage)
                except ConfigError as error:
                    problems += error.problems
    except ConfigError as error:
        problems += [
            ConfigProblem(f"storage.{problem.path}", problem.message) for problem in error.problems
        ] or [ConfigProblem("storage", error.message)]
    except StorageError as error:
        problems.append(ConfigProblem("storage", error.message))
    if problems:
        raise ConfigError.of(list(dict.fromkeys(problems)))  # two may find the same one


def _check_target(config: GatewayConfig, storage: Storage) -> None:
    if config.write_to is not None:
        try:
            place_of(storage, f"{config.write_to}:")
        except StorageError as error:
            raise ConfigError.of([ConfigProblem("write_to", error.message)]) from None


def _merged(
    file: Mapping[str, object], variables: Mapping[str, object], path: str
) -> dict[str, object]:
    merged = dict(file)
    for key, value in variables.items():
        below = merged.get(key)
        where = f"{path}.{key}" if path else key
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            tables = cast("tuple[Mapping[str, object], Mapping[str, object]]", (below, value))
            merged[key] = _merged(*tables, where)
        elif isinstance(below, Mapping) or (isinstance(value, Mapping) and below is not None):
            message = "the file and the environment disagree: a value here, a table there"
            raise ConfigError.of([ConfigProblem(where, message)])
        else:
            merged[key] = value
    return merged


def _as_text(storage: object) -> object:
    if not isinstance(storage, Mapping):
        return storage
    return ConfigSource(cast("Mapping[str, object]", storage), text=True)


def _relative_to(folder: Path, config: GatewayConfig) -> GatewayConfig:
    """The paths of a file, as they stand from its folder."""
    mapping, tokens = config.mapping, config.tokens
    if mapping is not None:
        mapping = evolve(mapping, storage=_file_below(folder, mapping.storage))
    if tokens is not None and tokens.public_key_file is not None:
        tokens = evolve(tokens, public_key_file=folder / tokens.public_key_file)
    server = config.server
    certificate, key = (
        None if path is None else folder / path for path in (server.tls_certificate, server.tls_key)
    )
    return evolve(
        config,
        storage=_file_below(folder, config.storage),
        mapping=mapping,
        tokens=tokens,
        server=evolve(server, tls_certificate=certificate, tls_key=key),
    )


def _file_below(folder: Path, storage: object) -> object:
    return folder / storage if isinstance(storage, str) and ":" not in storage else storage
