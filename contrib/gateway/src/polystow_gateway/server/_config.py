"""The configuration of the gateway."""

from pathlib import Path
from typing import cast

from attrs import evolve, field, frozen

from polystow import StorageSource, build_config, config_from_toml


@frozen
class GatewayConfig:
    """The configuration of the gateway.

    Attributes:
        storage: What it serves: anything that `open_storage` takes. In a file: a table, or the
            path of another file, relative to this one.
        write_to: The mount for new objects that name none; None for the storage's only one.
        default_container: Where new objects go that name no container; None for the driver's,
            which only a right for the whole mount then allows.
        public_url: Its address as clients see it, behind a proxy say, with a path where it has
            one; None for that of each request.
        refstore_paths: Whether RefStore's paths are served beside our own.
    """

    storage: object = field(repr=False)
    write_to: str | None = None
    default_container: str | None = None
    public_url: str | None = None
    refstore_paths: bool = False

    @property
    def source(self) -> StorageSource:
        """The storage, as `open_storage` takes it."""
        return cast("StorageSource", self.storage)


def load_config(path: Path) -> GatewayConfig:
    """Read a TOML file.

    Raises:
        ConfigError: With all its mistakes.
    """
    config = build_config(GatewayConfig, config_from_toml(path).data)
    if isinstance(config.storage, str) and ":" not in config.storage:
        config = evolve(config, storage=path.parent / config.storage)
    return config
