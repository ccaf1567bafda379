"""What an operation on an id would meet, and where each setting came from."""

from collections.abc import Mapping, Sequence

import attrs
from attrs import frozen

from polystow._keys import join_path
from polystow._secret import Secret
from polystow._value import Value
from polystow._values import DriverInfo, Limits

DEFAULT = "default"


@frozen(eq=False, repr=False)
class Setting(Value):
    """A setting that counts for an id.

    Attributes:
        scope: What it belongs to: `"storage"`, `"mount s3"`, `"driver"`, `"request"`.
        name: Its key in the configuration.
        value: Its value as text; secrets are not shown.
        origin: Where it came from: `"polystow.toml: mounts.s3.region"`, `"default"` …
    """

    scope: str
    name: str
    value: str
    origin: str

    def __str__(self) -> str:
        return f"{self.scope}: {self.name} = {self.value}  ({self.origin})"


@frozen(eq=False, repr=False)
class Explanation(Value):
    """What an operation on an id would meet; nobody was asked.

    Attributes:
        uri: The canonical id.
        mounts: The mounts that it goes through, from the outside.
        path: The path for the driver.
        driver: The driver that it ends at.
        readable: Whether the mounts allow reading.
        writable: Whether they allow writing.
        deletable: Whether they allow deleting.
        capabilities: What the driver can do beside reading, writing and deleting.
        limits: What it accepts.
        layers: The layers around it, the first outermost.
        settings: Deadlines, retries, and whatever else was configured.
    """

    uri: str
    mounts: tuple[str, ...]
    path: str
    driver: DriverInfo
    readable: bool
    writable: bool
    deletable: bool
    capabilities: tuple[str, ...]
    limits: Limits
    layers: tuple[str, ...]
    settings: tuple[Setting, ...]

    def __str__(self) -> str:
        allowed = [
            name
            for name, flag in (
                ("read", self.readable),
                ("write", self.writable),
                ("delete", self.deletable),
            )
            if flag
        ]
        lines = [
            self.uri,
            f"mounts: {' > '.join(self.mounts)}",
            f"driver: {self.driver.name} ({self.driver.distribution}), path {self.path!r}",
            f"allowed: {', '.join(allowed) or 'nothing'}",
            f"capabilities: {', '.join(self.capabilities) or 'none'}",
            f"limits: {self.limits}",
            *[f"layer: {layer}" for layer in self.layers],
            *[str(setting) for setting in self.settings],
        ]
        return "\n".join(lines)


def settings_of(
    scope: str,
    config: object,
    table: Mapping[str, object] | None,
    source: str,
    path: str,
    *,
    but: Sequence[str] = (),
) -> tuple[Setting, ...]:
    """The settings of a config object.

    Args:
        scope: See `Setting`.
        config: An attrs object; of anything else nothing is told.
        table: The keys that it was made of; what is not there is a default. None if the object
            itself was given.
        source: What the configuration is called.
        path: Where the table stands in it.
        but: Names to leave out.
    """
    cls: type = type(config)
    if not attrs.has(cls):
        return ()
    found: list[Setting] = []
    for attribute in attrs.fields(cls):
        name = attribute.alias or attribute.name
        if not attribute.init or name in but:
            continue
        value: object = getattr(config, attribute.name)
        shown = "***" if attribute.repr is False or isinstance(value, Secret) else repr(value)
        if table is None:
            origin = f"{source}: {path}"
        else:
            origin = f"{source}: {join_path(path, name)}" if name in table else DEFAULT
        found.append(Setting(scope, name, shown, origin))
    return tuple(found)


def describe_layer(layer: object) -> str:
    """A layer as text. Of those that are not ours the type alone: they may hold secrets."""
    ours = type(layer).__module__.startswith("polystow.")
    return repr(layer) if ours else getattr(layer, "__qualname__", type(layer).__qualname__)
