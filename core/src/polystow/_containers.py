"""Logical containers: an application's own names for a mount's buckets, groups or directories."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

type ContainerNames = Literal["physical", "logical"]
"""Which names ids come back with."""


class ContainerMap:
    """Logical names, each for one physical container; they can change while the storage is open.

    Ids with either name are understood. What is not in the map is physical, and an empty map
    changes nothing.

    Args:
        names: Logical name to physical name.
        show: Which names come back, in `ObjectInfo.uri`, listings and errors.

    Raises:
        ValueError: Two logical names stand for one container, or a physical name is also another
            one's logical name, so that an id with it could mean either.
    """

    __slots__ = ("_logical", "_physical", "show")

    def __init__(
        self, names: Mapping[str, str] | None = None, *, show: ContainerNames = "physical"
    ) -> None:
        self.show: ContainerNames = show
        self._physical: Mapping[str, str] = {}
        self._logical: Mapping[str, str] = {}
        self.replace(names or {})

    @property
    def names(self) -> Mapping[str, str]:
        """Logical name to physical name."""
        return MappingProxyType(self._physical)

    def replace(self, names: Mapping[str, str]) -> None:
        """Have these names instead; operations under way keep theirs.

        Raises:
            ValueError: See the class; the old names stay.
        """
        check_names(names)
        self._physical = dict(names)
        self._logical = {physical: logical for logical, physical in names.items()}

    def update(self, names: Mapping[str, str]) -> None:
        """Add names, in the place of those that are there.

        Raises:
            ValueError: See the class; the old names stay.
        """
        self.replace({**self._physical, **names})

    def physical(self, container: str) -> str:
        """The physical name of a container; of one that is physical, itself."""
        return self._physical.get(container, container)

    def logical(self, container: str) -> str:
        """The logical name of a container; of one that has none, itself."""
        return self._logical.get(container, container)

    def inward(self, path: str) -> str:
        """A path with the physical name of its container."""
        if not self._physical:
            return path
        container, slash, key = path.partition("/")
        return f"{self.physical(container)}{slash}{key}"

    def outward(self, path: str, show: ContainerNames | None = None) -> str:
        """A physical path with the names that are shown, or those that are asked for."""
        if not self._logical or (show or self.show) == "physical":
            return path
        container, slash, key = path.partition("/")
        return f"{self.logical(container)}{slash}{key}"

    def __repr__(self) -> str:
        return f"ContainerMap({dict(self._physical)!r}, show={self.show!r})"


def check_names(names: Mapping[str, str]) -> None:
    """Refuse names that don't lead to one container, and back.

    Raises:
        ValueError: They don't.
    """
    taken: dict[str, str] = {}
    for logical, physical in names.items():
        for name in (logical, physical):
            if not name or "/" in name:
                raise ValueError(f"{name!r} can't be a container's name")
        other = taken.setdefault(physical, logical)
        if other != logical:
            raise ValueError(f"{other!r} and {logical!r} both stand for {physical!r}")
        if physical != logical and physical in names:
            raise ValueError(
                f"{physical!r} is the container of {logical!r} and the logical name of another"
            )
