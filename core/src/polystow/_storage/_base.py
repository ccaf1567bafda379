"""What all operations of a storage stand on: its driver, its routes, and whether it is open."""

from attrs import evolve, fields

from polystow._composite import as_composite
from polystow._containers import ContainerMap, ContainerNames
from polystow._driver import Capabilities, Route, StorageDriver, SupportsRoutes
from polystow._errors import UnsupportedOperationError
from polystow._explain import Explanation, describe_layer
from polystow._layers import layers_of
from polystow._lifecycle import Lifecycle


class StorageBase:
    """The driver below, and what can be asked without I/O; see `Storage`."""

    def __init__(self, driver: StorageDriver) -> None:
        driver = as_composite(driver)
        routes = driver.capabilities.routes
        assert routes is not None
        self._root = driver
        self._routes: SupportsRoutes = routes
        self._lifecycle = Lifecycle()

    @property
    def capabilities(self) -> Capabilities:
        """What at least one of the mounts can do."""
        return self._root.capabilities

    @property
    def driver(self) -> StorageDriver:
        """The driver below: a composite, with its layers."""
        return self._root

    def route(self, file_id: str) -> Route:
        """Which mount owns an id, the path there, and what the mount can do; asks nobody."""
        return self._routes.route(file_id)

    def native[T](self, file_id: str, driver: type[T]) -> tuple[T, str]:
        """The driver below, for what only one backend can do: its typed methods.

        ```python
        fastdfs, path = storage.native("fastdfs:", FastdfsDriver)
        ```

        Neither layers nor mount limits count there, and its errors have no scheme in their paths.

        Args:
            file_id: An id of the mount; `"s3:"` is enough.
            driver: The class that is expected.

        Returns:
            The driver, and the path of the id for it.

        Raises:
            UnsupportedOperationError: The id ends at another kind of driver.
        """
        found, path = self._routes.native(file_id)
        if not isinstance(found, driver):
            raise UnsupportedOperationError(
                f"the id ends at a {type(found).__name__}, not at a {driver.__name__}",
                path=file_id,
                operation="native",
            )
        return found, path

    def explain(self, file_id: str) -> Explanation:
        """Which mount, driver, limits, layers, deadlines and retries an id would meet.

        Asks nobody. `print` it to read it; secrets are not shown.

        Args:
            file_id: An id; `"s3:"` is enough for a mount.
        """
        explanation = self._routes.explain(file_id)
        layers = tuple(map(describe_layer, layers_of(self._root)))
        return evolve(explanation, layers=layers + explanation.layers)

    def containers(self, file_id: str) -> ContainerMap:
        """The logical names of a mount's containers, to look at and to change.

        Args:
            file_id: An id of the mount; `"s3:"` is enough.
        """
        return self._routes.containers(file_id)

    def with_container(self, file_id: str, show: ContainerNames) -> str:
        """The canonical id of the same object, with its container's logical or physical name.

        Whichever a mount gives back by default, both are understood.
        """
        return self._routes.renamed(file_id, show)

    def require(self, capability: str, file_id: str | None = None) -> None:
        """Make sure at start-up that something will be possible.

        Args:
            capability: A capability's name: `"presign"`, `"list"` …
            file_id: Demand it of the mount of this id (`"s3:"` is enough); None of all mounts.

        Raises:
            UnsupportedOperationError: Names the mounts that lack it.
            ValueError: There is no such capability.
        """
        names = [attribute.name for attribute in fields(Capabilities)]
        names.remove("limits")
        if capability not in names:
            raise ValueError(f"there is no capability {capability!r}: {', '.join(names)}")
        if file_id is None:
            mounts = self._routes.mounts()
        else:
            route = self._routes.route(file_id)
            mounts = {route.scheme: route.capabilities}
        lacking = sorted(
            scheme for scheme, found in mounts.items() if getattr(found, capability) is None
        )
        if lacking:
            raise UnsupportedOperationError(
                f"{capability} is required, and not possible on {', '.join(map(repr, lacking))}",
                operation="require",
            )

    async def drain(self, timeout_s: float) -> int:
        """Refuse new operations and wait for those under way; `open_storage` does it on leaving.

        Args:
            timeout_s: How long to wait at most, in seconds.

        Returns:
            How many operations and open streams are left.
        """
        return await self._lifecycle.drain(timeout_s)


def need[T](capability: T | None, path: str, operation: str) -> T:
    """The capability of at least one mount; which one an id needs is seen there.

    Raises:
        UnsupportedOperationError: No mount has it.
    """
    if capability is None:
        raise UnsupportedOperationError(
            "no mounted driver can do that", path=path or None, operation=operation
        )
    return capability
