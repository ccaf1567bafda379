"""A driver under a scheme: its limits, and how its answers look from outside."""

from collections.abc import Sequence
from functools import cached_property
from typing import override

from attrs import AttrsInstance, evolve, field, fields, frozen

from polystow._containers import ContainerMap, ContainerNames
from polystow._digests import whole_check
from polystow._driver import Capabilities, ReadStream, Route, Saved, StorageDriver, WriteAt
from polystow._errors import PermissionDeniedError, StorageError, UnsupportedOperationError
from polystow._explain import Explanation, Setting, describe_layer
from polystow._ids import format_file_id, format_uri
from polystow._layers import layers_of, unwrap
from polystow._naming import is_new_key
from polystow._refusals import Refusals, Undeclared
from polystow._value import Value
from polystow._values import (
    Checksum,
    CopyOptions,
    Limits,
    MultipartUpload,
    NameHint,
    ObjectInfo,
    Target,
    WriteOptions,
    changed,
)


@frozen(eq=False, repr=False)
class Mount(Value):
    """A driver, and what may be done with it.

    Attributes:
        driver: The driver, with its layers.
        read_only: Refuse writes and deletion.
        allow_delete: Whether deletion is allowed.
        allow_read: Whether reading contents is allowed.
        containers: Logical names for its containers.
        settings: What it was configured with, for `Storage.explain`.
    """

    driver: StorageDriver
    read_only: bool = False
    allow_delete: bool = True
    allow_read: bool = True
    containers: ContainerMap = field(factory=ContainerMap)
    settings: tuple[Setting, ...] = ()


class MountedDriver:
    """A mount with its scheme.

    Args:
        scheme: The scheme.
        mount: The driver and its limits.
        bare: Whether ids that the driver recognises without a scheme are given without it.

    Raises:
        ValueError: A composite is given logical containers; its own mounts can have some.
    """

    __slots__ = (
        "_bare",
        "_settings",
        "capabilities",
        "containers",
        "deletable",
        "driver",
        "readable",
        "refusals",
        "scheme",
        "writable",
    )

    def __init__(self, scheme: str, mount: Mount, *, bare: bool) -> None:
        self.scheme = scheme
        self.driver = mount.driver
        self.capabilities = mount.driver.capabilities
        self.refusals = Refusals(self.capabilities)
        self.writable = not mount.read_only
        self.deletable = mount.allow_delete and not mount.read_only
        self.readable = mount.allow_read
        self.containers = mount.containers
        self._settings = mount.settings
        if self.capabilities.routes is not None and mount.containers.names:
            raise ValueError(
                f"the mount {scheme!r} is a composite: give logical containers to its own mounts"
            )
        self._bare = self.capabilities.bare_ids if bare else None

    def route(self, path: str) -> Route:
        """The route of a path here: to the last driver, where this one is a composite."""
        routes = self.capabilities.routes
        if routes is None or not path:
            return Route(self.scheme, path, self.capabilities, self.writable, self.deletable)
        try:
            inner = routes.route(path)
        except StorageError as error:
            self.blame(error, "route", path)
            raise
        return Route(
            self.scheme,
            format_uri(inner.scheme, inner.path),
            inner.capabilities,
            self.writable and inner.writable,
            self.deletable and inner.deletable,
        )

    def explain(self, path: str) -> Explanation:
        """What an operation on a path would meet."""
        layers = tuple(map(describe_layer, layers_of(self.driver)))
        routes = self.capabilities.routes
        if routes is not None and path:
            inner = routes.explain(path)
            return evolve(
                inner,
                uri=format_uri(self.scheme, inner.uri),
                mounts=(self.scheme, *inner.mounts),
                readable=self.readable and inner.readable,
                writable=self.writable and inner.writable,
                deletable=self.deletable and inner.deletable,
                layers=layers + inner.layers,
                settings=self._settings + inner.settings,
            )
        return Explanation(
            self.outward_path(path),
            (self.scheme,),
            path,
            self.driver.info,
            self.readable,
            self.writable,
            self.deletable,
            tuple(
                option.name
                for option in fields(Capabilities)
                if option.name != "limits" and getattr(self.capabilities, option.name) is not None
            ),
            self.capabilities.limits,
            layers,
            self._settings,
        )

    def native(self, path: str) -> tuple[StorageDriver, str]:
        """The last driver of a path, without its layers, and the path there."""
        routes = self.capabilities.routes
        if routes is None or not path:
            return unwrap(self.driver), path
        try:
            return routes.native(path)
        except StorageError as error:
            self.blame(error, "native", path)
            raise

    def for_target[O: (WriteOptions, CopyOptions)](self, target: Target, options: O) -> O:
        """The options for a target: a name that nobody else can have needs no `overwrite=False`."""
        if options.overwrite or not isinstance(target, NameHint):
            return options
        if self.capabilities.routes is not None:
            return options  # the composite there may have another key policy
        if self.capabilities.limits.client_names_keys and not is_new_key(target):
            return options
        return changed(options, overwrite=True)

    def limits_of(self, target: Target) -> Limits:
        """What the driver accepts that a target ends at."""
        routes = self.capabilities.routes
        if routes is None or isinstance(target, NameHint):
            return self.capabilities.limits
        return routes.route(target).capabilities.limits

    def renamed(self, path: str, show: ContainerNames) -> str:
        """The canonical id of a path, with the container's physical or logical name."""
        routes = self.capabilities.routes
        if routes is not None:
            return format_uri(self.scheme, routes.renamed(path, show))
        return format_uri(self.scheme, self.containers.outward(path, show))

    def containers_of(self, path: str) -> ContainerMap:
        """The logical containers of the last mount of a path."""
        routes = self.capabilities.routes
        return self.containers if routes is None else routes.containers(path)

    def outward(self, info: ObjectInfo) -> ObjectInfo:
        """An object of the driver, as the composite shows it."""
        if self.containers.show == "logical":
            info = evolve(info, path=self.containers.outward(info.path))
        inner = info.file_id
        if self._bare is None or not self._bare.owns_bare_id(inner):
            inner = format_file_id(self.scheme, inner)
        return info.mounted(self.scheme, inner)

    def outward_all(self, infos: Sequence[ObjectInfo]) -> Sequence[ObjectInfo]:
        """Objects of the driver, as the composite shows them."""
        if self._bare is not None or self.containers.show == "logical":
            return [self.outward(info) for info in infos]
        scheme = self.scheme
        return [info.mounted(scheme, format_file_id(scheme, info.file_id)) for info in infos]

    def outward_upload(self, upload: MultipartUpload) -> MultipartUpload:
        """An upload of the driver, as the composite shows it."""
        return evolve(upload, path=self.outward_path(upload.path))

    def outward_path(self, path: str) -> str:
        """A path of the driver, as the composite shows it."""
        return format_uri(self.scheme, self.containers.outward(path))

    def blame[E: StorageError](self, error: E, operation: str, path: str) -> E:
        """Fill what an error of the driver does not say, and add the scheme; the error itself."""
        error.in_operation(operation, path, self.driver.info.name)
        return error.mounted(self.scheme, self.containers.outward)

    def require_writable(self, target: Target, operation: str) -> None:
        """Refuse if the mount is read only.

        Args:
            target: The path for its driver, or the name of a new object.
            operation: The operation's name.

        Raises:
            PermissionDeniedError: It is.
        """
        if not self.writable:
            hint = isinstance(target, NameHint)
            raise PermissionDeniedError(
                f"the mount {self.scheme!r} is read only",
                path=str(target) if hint else self.outward_path(str(target)),
                operation=operation,
                driver=self.driver.info.name,
            )

    def require_readable(self, path: str, operation: str) -> None:
        """Refuse if the mount's contents may not be read; `path` is the one for its driver.

        Raises:
            PermissionDeniedError: They may not.
        """
        if not self.readable:
            raise PermissionDeniedError(
                f"the mount {self.scheme!r} allows no reading",
                path=self.outward_path(path),
                operation=operation,
                driver=self.driver.info.name,
            )

    def require_deletable(self, path: str, operation: str) -> None:
        """Refuse if the mount allows no deletion; `path` is the one for its driver.

        Raises:
            PermissionDeniedError: It does not.
        """
        if not self.deletable:
            raise PermissionDeniedError(
                f"the mount {self.scheme!r} allows no deletion",
                path=self.outward_path(path),
                operation=operation,
                driver=self.driver.info.name,
            )

    def require[T](self, capability: T | None, path: str, operation: str) -> T:
        """The capability; `path` is the one for the mount's driver.

        Raises:
            UnsupportedOperationError: The mount lacks it.
        """
        if capability is None:
            raise UnsupportedOperationError(
                f"the mount {self.scheme!r} (driver {self.driver.info.name!r}) can't do that",
                path=self.outward_path(path),
                operation=operation,
                driver=self.driver.info.name,
            )
        return capability

    def verifies(self, checksum: Checksum) -> bool:
        """Whether the backend, or a composite before it, compares a checksum that it is given."""
        return (
            self.capabilities.routes is not None
            or checksum.algorithm in self.capabilities.limits.checksums
        )

    def refuse(
        self, undeclared: Undeclared | None, options: AttrsInstance, target: Target, operation: str
    ) -> None:
        """Refuse options that the driver does not declare; see `Refusals`.

        Raises:
            UnsupportedOperationError: One is set.
        """
        name = None if undeclared is None else undeclared.first_set(options)
        if name is not None:
            hint = isinstance(target, NameHint)
            raise UnsupportedOperationError(
                f"the mount {self.scheme!r} (driver {self.driver.info.name!r}) does not support "
                f"the option {name!r}",
                path=str(target) if hint else self.outward_path(str(target)),
                operation=operation,
                driver=self.driver.info.name,
            )


class MountedStream(ReadStream):
    """A read of a mounted driver, as the composite shows it."""

    def __init__(self, stream: ReadStream, mounted: MountedDriver) -> None:
        self.range = stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._stream = stream
        self._mounted = mounted
        self._check = whole_check(stream)
        self.verified = stream.verified or self._check is not None

    # It can be set like the attribute that it is, which neither checker believes.
    @cached_property
    def info(self) -> ObjectInfo:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """The object, as the composite shows it; made when somebody asks."""
        return self._mounted.outward(self._stream.info)

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        try:
            chunk = await self._stream.receive(max_bytes)
            if self._check is not None:
                await self._check.take(chunk)
            return chunk
        except StorageError as error:
            self._mounted.blame(error, "open_read", self._stream.info.path)
            raise

    @override
    async def read_all(self) -> bytes:
        if self._check is not None:
            return await super().read_all()
        try:
            return await self._stream.read_all()
        except StorageError as error:
            self._mounted.blame(error, "open_read", self._stream.info.path)
            raise

    @override
    async def save(self, write: WriteAt, offset: int, max_bytes: int, crc32: int = 0) -> Saved:
        if self._check is not None:
            return await super().save(write, offset, max_bytes, crc32)
        try:
            return await self._stream.save(write, offset, max_bytes, crc32)
        except StorageError as error:
            self._mounted.blame(error, "open_read", self._stream.info.path)
            raise

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()
