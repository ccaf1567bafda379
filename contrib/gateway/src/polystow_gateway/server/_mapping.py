"""Logical containers that change while the gateway runs, and reach every worker.

They are kept as an object, a JSON document, in any storage with conditional writes: two who write
at once can't lose an update, since the second one's condition fails. Each worker looks from time
to time whether the object changed.
"""

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import anyio
from attrs import field, frozen

from polystow import (
    AlreadyExistsError,
    ConfigError,
    ConfigProblem,
    ContainerMap,
    InvalidPathError,
    NotFoundError,
    PreconditionFailedError,
    Storage,
    StorageError,
    StorageSource,
    SupportsRoutes,
    UnsupportedOperationError,
    build_config,
    open_storage,
)
from polystow_gateway.server._access_config import MappingConfig
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._places import place_of
from polystow_gateway.server._rights import Place

NO_DOCUMENT = "none"
"""The entity tag of a mapping that nobody has written yet."""

_MAX_BYTES = 1_048_576
_TRIES = 8
_NONE: Mapping[str, str] = {}
_logger = logging.getLogger("polystow.gateway")

type Names = Mapping[str, Mapping[str, str]]
"""Mount to logical name to physical name."""


@frozen
class BucketMapping:
    """The logical containers.

    Attributes:
        enabled: Whether they count; if not, all names are physical.
        names: Mount to logical name to physical name. A mount inside a composite is called
            `outer:inner`.
        etag: Tells this state from others.
    """

    enabled: bool
    names: Names
    etag: str


@frozen
class _Document:
    enabled: bool = True
    mounts: dict[str, dict[str, str]] = field(factory=dict[str, dict[str, str]])


class MappingStore:
    """Keeps the mapping; one for each worker process.

    Args:
        config: Where it is kept; None for nowhere, then it can't be changed.
        served: The storage whose containers have the names.
        kept: The storage that has the document.
    """

    def __init__(self, config: MappingConfig | None, served: Storage, kept: Storage) -> None:
        self._config = config
        self._served = served
        self._kept = kept
        self._reserved = None if config is None else reserved_place(config, served)
        self._lock = anyio.Lock()
        mounts = _leaf_mounts(served.capabilities.routes)
        configured = {mount: dict(served.containers(f"{mount}:").names) for mount in mounts}
        names = {mount: found for mount, found in configured.items() if found}
        self._mounts = mounts
        self._configured = self._applied = BucketMapping(True, names, NO_DOCUMENT)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, config: GatewayConfig, storage: Storage
    ) -> "AsyncGenerator[MappingStore]":
        """Load the mapping, and follow its changes until leaving.

        Args:
            config: The configuration.
            storage: The storage that is served.

        Raises:
            ConfigError: The configuration's place for it can't be used.
            StorageError: It can't be read: without it, ids would lead elsewhere.
        """
        async with AsyncExitStack() as stack:
            mapping = config.mapping
            kept = storage
            if mapping is not None and mapping.storage is not None:
                source = cast("StorageSource", mapping.storage)
                kept = await stack.enter_async_context(open_storage(source))
            store = cls(mapping, storage, kept)
            if mapping is None:
                yield store
                return
            _require_conditions(mapping, kept)
            await store.refresh()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.follow, mapping.refresh_s)
                yield store
                tasks.cancel_scope.cancel()

    @staticmethod
    def check(config: GatewayConfig, storage: Storage) -> None:
        """Find what is wrong of the place; of one in another storage, when it is opened.

        Raises:
            ConfigError: Something is.
        """
        mapping = config.mapping
        if mapping is not None and mapping.storage is None:
            reserved_place(mapping, storage)
            _require_conditions(mapping, storage)

    async def current(self) -> BucketMapping:
        """The mapping as it is kept now.

        Raises:
            StorageError: It can't be read.
        """
        if self._config is None:
            return self._configured
        await self.refresh()
        return self._applied

    async def update(
        self,
        *,
        enabled: bool | None = None,
        names: Names | None = None,
        if_match: str | None = None,
    ) -> BucketMapping:
        """Change the mapping: at once in this process, within `refresh_s` in the others.

        Args:
            enabled: Whether it counts; None leaves that.
            names: Instead of the present names of the mounts that stand here; those of other
                mounts stay. None leaves all.
            if_match: The entity tag of the state that the change was made from. None adds the
                change to whatever is there.

        Raises:
            PreconditionFailedError: Somebody else changed it since.
            InvalidPathError: The names can't be used.
            UnsupportedOperationError: The configuration has no place for it.
        """
        if self._config is None:
            raise UnsupportedOperationError(
                "the mapping can't be changed: the configuration has no [mapping]"
            )
        for _ in range(_TRIES):
            async with self._lock:
                found = await self._read()
                if if_match is not None and if_match != found.etag:
                    raise _changed()
                wanted = BucketMapping(
                    found.enabled if enabled is None else enabled,
                    found.names if names is None else {**found.names, **names},
                    found.etag,
                )
                self._check(wanted.names)
                try:
                    written = await self._write(wanted)
                except (PreconditionFailedError, AlreadyExistsError, NotFoundError) as error:
                    if isinstance(error, NotFoundError) and found.etag == NO_DOCUMENT:
                        raise  # there is no such container
                    if if_match is not None:
                        raise _changed() from None
                    continue
                self._apply(written)
                return written
        raise PreconditionFailedError("others change the mapping all the time; try again")

    async def refresh(self) -> None:
        """Apply the mapping as it is kept now.

        Raises:
            StorageError: It can't be read.
        """
        async with self._lock:
            self._apply(await self._read())

    async def follow(self, refresh_s: float) -> None:
        """Look for changes for ever; while it can't be read, what is known stays."""
        failing = False
        while True:
            await anyio.sleep(refresh_s)
            try:
                async with self._lock:
                    if await self._etag() != self._applied.etag:
                        self._apply(await self._read())
            except StorageError as error:
                if not failing:
                    _logger.warning("the mapping of containers can't be read: %s", error)
                failing = True
            else:
                failing = False

    async def _etag(self) -> str:
        assert self._config is not None
        try:
            return (await self._kept.stat(self._config.file_id)).etag or ""
        except NotFoundError:
            return NO_DOCUMENT

    async def _read(self) -> BucketMapping:
        assert self._config is not None
        file_id = self._config.file_id
        try:
            async with self._kept.open_read(file_id) as stream:
                content = bytearray()
                async for chunk in stream:
                    content += chunk
                    if len(content) > _MAX_BYTES:
                        raise ConfigError(f"the mapping is larger than {_MAX_BYTES} bytes")
                etag = stream.info.etag or ""
        except NotFoundError:
            return self._configured
        try:
            document = build_config(_Document, json.loads(content), path=file_id)
            self._check(document.mounts)
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"the mapping {file_id!r} can't be used: {error}") from None
        return BucketMapping(document.enabled, document.mounts, etag)

    async def _write(self, mapping: BucketMapping) -> BucketMapping:
        assert self._config is not None
        mounts = {mount: dict(found) for mount, found in mapping.names.items() if found}
        content = json.dumps({"enabled": mapping.enabled, "mounts": mounts}, indent=2)
        new = mapping.etag == NO_DOCUMENT
        info = await self._kept.write(
            self._config.file_id,
            content,
            content_type="application/json",
            overwrite=not new,
            if_match=None if new else mapping.etag,
        )
        return BucketMapping(mapping.enabled, mounts, info.etag or await self._etag())

    def _check(self, names: Names) -> None:
        for mount, found in names.items():
            if mount not in self._mounts:
                known = ", ".join(sorted(self._mounts))
                raise InvalidPathError(f"no driver is mounted as {mount!r}; mounted: {known}")
            try:
                ContainerMap(found)
            except ValueError as error:
                raise InvalidPathError(f"the names of {mount!r}: {error}") from None
            reserved = self._reserved
            if reserved is not None and mount == ":".join(reserved.mounts):
                other = found.get(reserved.container, reserved.container)
                if other != reserved.container:
                    # Else the mapping itself would be looked for there from now on.
                    raise InvalidPathError(
                        f"{reserved.container!r} keeps the mapping, and can't stand for {other!r}"
                    )

    def _apply(self, mapping: BucketMapping) -> None:
        for mount in self._mounts:
            names = mapping.names.get(mount, _NONE) if mapping.enabled else _NONE
            containers = self._served.containers(f"{mount}:")
            if containers.names != names:
                containers.replace(names)
        self._applied = mapping


def reserved_place(config: MappingConfig, served: Storage) -> Place | None:
    """Where the mapping is kept in the storage that is served; None if it is in another one.

    Raises:
        ConfigError: The id leads nowhere, or has a logical container, which might come to stand
            for another one.
    """
    if config.storage is not None:
        return None
    try:
        place = place_of(served, config.file_id)
    except StorageError as error:
        raise _mistake(error.message) from None
    if not place.container or not place.key:
        raise _mistake("it has to be the id of an object: scheme:container/key")
    physical = f"{place.container}/{place.key}"
    if not config.file_id.endswith((f":{physical}", f"/{physical}")):
        raise _mistake(f"write the container's physical name, {place.container!r}")
    return place


def _require_conditions(config: MappingConfig, kept: Storage) -> None:
    try:
        limits = kept.route(config.file_id).capabilities.limits
    except StorageError as error:
        raise _mistake(error.message) from None
    if not (limits.client_names_keys and limits.create_only and limits.if_match):
        raise _mistake(
            "its driver has no conditional writes; give a place in another storage by "
            "mapping.storage, a file driver's, say"
        )


def _mistake(message: str) -> ConfigError:
    return ConfigError.of([ConfigProblem("mapping.file_id", message)])


def _changed() -> PreconditionFailedError:
    return PreconditionFailedError("the mapping was changed meanwhile; read it again")


def _leaf_mounts(routes: SupportsRoutes | None, outer: str = "") -> tuple[str, ...]:
    if routes is None:
        return ()
    found: list[str] = []
    for scheme, capabilities in routes.mounts().items():
        name = f"{outer}{scheme}"
        found += (
            (name,)
            if capabilities.routes is None
            else _leaf_mounts(capabilities.routes, f"{name}:")
        )
    return tuple(found)
