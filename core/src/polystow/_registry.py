"""Finding drivers: one scan of the entry points in `polystow.drivers`, on first use."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from attrs import frozen

from polystow._driver import API_VERSION
from polystow._errors import DriverConflictError, DriverLoadError, DriverNotFoundError
from polystow._keys import suggestion
from polystow._spec import ENTRY_POINT_GROUP, DriverSpec
from polystow._value import Value

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

KNOWN_DISTRIBUTIONS: Mapping[str, str] = {
    "s3": "polystow-s3",
    "fastdfs": "polystow-fastdfs",
    "gateway": "polystow-gateway",
}
"""Drivers that are not installed with the core, and where they are."""


@frozen(eq=False, repr=False)
class InstalledDriver(Value):
    """A driver that an installed distribution announces; it may not have been imported yet.

    Attributes:
        name: The driver's name.
        distribution: The distribution that announces it.
        entry_point: Where its `DriverSpec` is.
    """

    name: str
    distribution: str
    entry_point: "EntryPoint"


def scan_entry_points() -> "Iterable[EntryPoint]":
    """All entry points of the group, of every installed distribution; imports none of them."""
    from importlib import metadata  # 10 ms of imports, for those who open something

    # `metadata.entry_points` parses those of all groups, which takes twice as long.
    return [
        entry_point
        for distribution in metadata.distributions()
        if ENTRY_POINT_GROUP in _announcements(distribution)
        for entry_point in distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    ]


def _announcements(distribution: "Distribution") -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except UnicodeDecodeError:
        return ""  # of something that is no driver, or a broken one


class Registry:
    """The drivers that can be opened.

    Args:
        prefer: Driver name to distribution, where two distributions announce the same driver.
        allow: The distributions whose drivers may be used; None for all. What is not allowed is
            never imported.
        scan: Where entry points come from.
    """

    def __init__(
        self,
        *,
        prefer: Mapping[str, str] | None = None,
        allow: Collection[str] | None = None,
        scan: "Callable[[], Iterable[EntryPoint]]" = scan_entry_points,
    ) -> None:
        self._prefer = {name: _normalized(dist) for name, dist in (prefer or {}).items()}
        self._allow = None if allow is None else {_normalized(name) for name in allow}
        self._scan = scan
        self._found: dict[str, list[EntryPoint]] | None = None
        self._specs: dict[str, DriverSpec[Any]] = {}

    def register(self, spec: DriverSpec[Any]) -> None:
        """Add a driver by hand, ahead of what is installed: for tests and for applications."""
        self._specs[spec.name] = spec

    def installed(self) -> list[InstalledDriver]:
        """What is announced and allowed, by name; two of one name stand beside each other."""
        return [
            driver
            for name in sorted(self._scanned())
            for _, driver in sorted(self._candidates(name).items())
        ]

    def spec(self, name: str) -> DriverSpec[Any]:
        """The driver of that name.

        Args:
            name: As in `DriverSpec.name`.

        Raises:
            DriverNotFoundError: No allowed distribution announces it.
            DriverConflictError: Two do, and `prefer` names none of them.
            DriverLoadError: Its module can't be imported, or is no driver for this version.
        """
        spec = self._specs.get(name)
        if spec is None:
            spec = self._specs[name] = _load(self._choose(name))
        return spec

    def _scanned(self) -> "dict[str, list[EntryPoint]]":
        if self._found is None:
            self._found = {}
            for entry_point in self._scan():
                self._found.setdefault(entry_point.name, []).append(entry_point)
        return self._found

    def _candidates(self, name: str) -> dict[str, InstalledDriver]:
        candidates: dict[str, InstalledDriver] = {}
        for entry_point in self._scanned().get(name, ()):
            distribution = _distribution_name(entry_point)
            key = _normalized(distribution)
            if self._allow is None or key in self._allow:
                # A distribution that stands twice on sys.path counts once, the first.
                candidates.setdefault(key, InstalledDriver(name, distribution, entry_point))
        return candidates

    def _choose(self, name: str) -> "EntryPoint":
        found = self._scanned()
        if len(found.get(name, ())) == 1 and self._allow is None and name not in self._prefer:
            return found[name][0]  # whoever announces it: its name takes 3 ms to read
        candidates = self._candidates(name)
        preferred = self._prefer.get(name)
        if preferred is not None:
            if preferred in candidates:
                return candidates[preferred].entry_point
            raise DriverNotFoundError(
                f"the driver {name!r} is preferred from {preferred!r}, which is not installed "
                f"or not allowed; it is announced by {_names(candidates) or 'nobody'}"
            )
        if not candidates:
            known = [other for other in found if self._candidates(other)]
            raise DriverNotFoundError(self._advice(name, known))
        if len(candidates) > 1:
            raise DriverConflictError(
                f"the driver {name!r} is announced by {_names(candidates)}; uninstall all but one, "
                "or name one in the registry's `prefer`"
            )
        return next(iter(candidates.values())).entry_point

    def _advice(self, name: str, known: list[str]) -> str:
        distribution = KNOWN_DISTRIBUTIONS.get(name)
        if distribution is None:
            return f"no installed distribution provides a driver {name!r}{suggestion(name, known)}"
        if self._allow is not None and _normalized(distribution) not in self._allow:
            return f"the driver {name!r} is in {distribution}, which `allow` leaves out"
        return f"the driver {name!r} is not installed: python -m pip install {distribution}"


def _distribution_name(entry_point: "EntryPoint") -> str:
    try:
        name: object = entry_point.dist and entry_point.dist.metadata["Name"]
    except Exception:  # noqa: BLE001 - whatever is wrong with it, only its own drivers suffer
        name = None
    return name if isinstance(name, str) else "(unknown)"


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _names(candidates: Mapping[str, InstalledDriver]) -> str:
    return " and ".join(sorted(driver.distribution for driver in candidates.values()))


def _is_spec(value: object) -> TypeGuard[DriverSpec[Any]]:
    return isinstance(value, DriverSpec)


def _where(entry_point: "EntryPoint") -> str:
    return f"{entry_point.value!r} of {_distribution_name(entry_point)}"


def _load(entry_point: "EntryPoint") -> DriverSpec[Any]:
    try:
        value: object = entry_point.load()
    except Exception as error:
        raise DriverLoadError(
            f"the driver {entry_point.name!r} is broken: importing {_where(entry_point)} raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not _is_spec(value):
        raise DriverLoadError(
            f"the driver {entry_point.name!r} is broken: {_where(entry_point)} is a "
            f"{type(value).__name__}, not a DriverSpec"
        )
    if value.api_version != API_VERSION:
        raise DriverLoadError(
            f"the driver {entry_point.name!r} of {_distribution_name(entry_point)} is written for "
            f"version {value.api_version} of the driver protocol; this polystow has {API_VERSION}: "
            "install matching versions of both"
        )
    return value
