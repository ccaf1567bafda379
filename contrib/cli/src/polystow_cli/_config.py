"""Which configuration a command uses."""

import os
from collections.abc import Mapping
from pathlib import Path

from polystow import ConfigSource, StorageSource, config_from_env
from polystow_cli._exits import CommandError, Exit

ENV_PREFIX = "POLYSTOW__"
CONFIG_VARIABLE = "POLYSTOW_CONFIG"


def places() -> tuple[Path, ...]:
    """Where a configuration file is looked for, in this order."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return Path("polystow.toml"), home / "polystow" / "config.toml"


def find_config(given: str | None, environ: Mapping[str, str]) -> tuple[StorageSource, str]:
    """The configuration to open, and where it comes from.

    The first of these counts: `--config` (a file or a URL), the variable `POLYSTOW_CONFIG`,
    variables `POLYSTOW__…`, `polystow.toml` here, `~/.config/polystow/config.toml`.

    Args:
        given: What `--config` says, if anything.
        environ: The environment's variables.

    Raises:
        CommandError: There is none.
        ConfigError: The variables contradict each other.
    """
    if given is not None:
        return given, "--config"
    if named := environ.get(CONFIG_VARIABLE):
        return named, CONFIG_VARIABLE
    if any(name.startswith(ENV_PREFIX) for name in environ):
        source: ConfigSource = config_from_env(environ)
        return source, f"variables {ENV_PREFIX}…"
    for path in places():
        if path.is_file():
            return path, str(path)
    looked = " nor ".join(str(path) for path in places())
    raise CommandError(
        f"there is no configuration: neither {looked}; write one, or give --config FILE or a URL "
        "such as --config 's3://KEY:SECRET@host/bucket'",
        Exit.CONFIG,
    )
