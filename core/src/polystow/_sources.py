"""Where configurations come from: a mapping, a TOML file, environment variables, a URL."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from attrs import field, frozen

from polystow._errors import ConfigError
from polystow._ids import is_scheme
from polystow._registry import Registry
from polystow._value import Value

DEFAULT_ENV_PREFIX = "POLYSTOW__"


@frozen(eq=False, repr=False)
class ConfigSource(Value):
    """A configuration that was read but not yet checked.

    Attributes:
        data: Keys and values; it may hold secrets, so the repr does not show it.
        text: Whether all its values are text.
        name: What it is called where it is told where a setting came from.
    """

    data: Mapping[str, object]
    text: bool = False
    name: str = field(default="configuration", eq=False)

    def __repr__(self) -> str:
        return f"ConfigSource(keys={sorted(self.data)}, text={self.text})"


def config_from_toml(path: Path) -> ConfigSource:
    """Read a TOML file.

    Raises:
        ConfigError: It is not there, can't be read, or is no TOML.
    """
    import tomllib  # 3 ms of imports that other sources need not pay for

    try:
        with path.open("rb") as file:
            return ConfigSource(tomllib.load(file), name=str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {str(path)!r}") from error
    except OSError as error:
        raise ConfigError(f"the configuration file {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # UnicodeDecodeError's text shows bytes of the file; its place is enough.
        reason = error if isinstance(error, tomllib.TOMLDecodeError) else "it is no UTF-8 text"
        raise ConfigError(f"the configuration file {str(path)!r} is no TOML: {reason}") from None


def config_from_env(
    environ: Mapping[str, str] | None = None, *, prefix: str = DEFAULT_ENV_PREFIX
) -> ConfigSource:
    """Read environment variables: `POLYSTOW__MOUNTS__S3__REGION` is `mounts.s3.region`.

    Names are lower-cased, `__` steps down; lists are separated by commas.

    Args:
        environ: The variables; by default those of the process.
        prefix: What the names of those that count begin with.

    Raises:
        ConfigError: A variable stands where others step down, or none begins with `prefix`.
    """
    data: dict[str, object] = {}
    for name, value in sorted((os.environ if environ is None else environ).items()):
        if not name.startswith(prefix):
            continue
        *tables, key = name.removeprefix(prefix).lower().split("__")
        table: dict[str, object] = data
        for step in tables:
            below = table.setdefault(step, {})
            if not isinstance(below, dict):
                raise ConfigError(f"{name} needs a table where another variable has a value")
            table = cast("dict[str, object]", below)
        if key in table:
            raise ConfigError(f"{name} has a value where another variable needs a table")
        table[key] = value
    if not data:
        raise ConfigError(f"no environment variable begins with {prefix!r}")
    return ConfigSource(data, text=True, name="environment")


def config_from_url(url: str, registry: Registry) -> ConfigSource:
    """Read a URL such as `memory:` or `s3://key:secret@host/bucket?region=eu`: one mount.

    Raises:
        ConfigError: The URL is malformed, or the driver has no URL form.
        DriverNotFoundError: Nothing provides its scheme.
    """
    scheme = url.partition(":")[0]
    spec = registry.spec(scheme)
    try:
        parts = urlsplit(url)
        # Some drivers take several hosts: fastdfs://10.0.0.1:22122,10.0.0.2:22122/group1.
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        # Its text shows parts of the URL, which may be those of a secret.
        raise ConfigError(f"the {scheme} URL is malformed") from None
    try:
        if spec.url_options is None:
            if url not in {f"{scheme}:", f"{scheme}://"}:
                raise ConfigError(f"the driver {scheme!r} has no options in a URL: write {scheme}:")
            options: Mapping[str, object] = {}
        else:
            options = spec.url_options(parts)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"the {scheme} URL can't be used: {error}") from None
    return ConfigSource({"mounts": {scheme: options}}, text=True, name="URL")


def is_url(text: str) -> bool:
    """Whether `text` is a URL and not a file's path."""
    scheme, colon, _ = text.partition(":")
    return bool(colon) and is_scheme(scheme)
