"""What the endpoints share: the storage, who may use it, and how targets are named for that."""

import ast
from typing import Annotated

from attrs import evolve, frozen
from fastapi import Depends, Request

from polystow import (
    InvalidPathError,
    NameHint,
    NoRouteError,
    Storage,
    StorageDriver,
    UnsupportedOperationError,
    format_uri,
    parse_id,
)
from polystow_gateway._wire import WireTarget, name_of
from polystow_gateway._wire_admin import GatewaySettings, MountSettings
from polystow_gateway.server._access import Access
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._identity import Identity
from polystow_gateway.server._mapping import MappingStore
from polystow_gateway.server._readiness import Readiness
from polystow_gateway.server._rights import Action


@frozen(eq=False)
class Gateway:
    """The state of a worker process.

    Attributes:
        config: The configuration.
        storage: The storage that is served.
        access: Who may use it.
        mapping: The logical names of containers, which change at run time.
        readiness: Whether the backends work.
        write_to: The mount for new objects that name none; None if there is no such.
    """

    config: GatewayConfig
    storage: Storage
    access: Access
    mapping: MappingStore
    readiness: Readiness
    write_to: str | None

    @property
    def default_container(self) -> str | None:
        """Where new objects go that name no container; None if that is not known."""
        if self.config.default_container is not None:
            return self.config.default_container
        return self.setting("default_container") or self.setting("default_bucket")

    def setting(self, name: str) -> str | None:
        """A text of the configuration of the mount for new objects."""
        if self.write_to is None:
            return None
        for setting in self.storage.explain(f"{self.write_to}:").settings:
            if setting.name == name:
                try:
                    value: object = ast.literal_eval(setting.value)
                except (SyntaxError, ValueError):
                    return None
                return value if isinstance(value, str) else None
        return None

    @property
    def driver(self) -> StorageDriver:
        """The storage's driver, for operations with all their options."""
        return self.storage.driver

    def canonical(self, file_id: str) -> str:
        """The one form of an id that rights are about: with scheme and physical container."""
        return self.storage.with_container(file_id, "physical")

    def canonical_prefix(self, prefix: str) -> str:
        """The same of a listing's prefix; that of a whole container ends in a slash."""
        canonical = self.canonical(prefix)
        path = parse_id(canonical).path
        return canonical if not path or "/" in path else f"{canonical}/"

    def named(self, hint: NameHint) -> tuple[NameHint, str]:
        """A new object's name with its mount and container, and the prefix that it goes below.

        Where the backend chooses the container, that is the whole mount.

        Raises:
            NoRouteError: There is no such mount, or none for new objects.
            InvalidPathError: The container can't be one.
        """
        scheme = hint.mount or self.write_to
        if scheme is None:
            raise NoRouteError(
                "this gateway has several mounts and none for new objects: name one",
                path=str(hint),
            )
        limits = self.storage.route(f"{scheme}:").capabilities
        nested = limits.routes is not None
        container = hint.container
        if container is None and scheme == self.write_to and not nested:
            container = self.default_container
        if container is not None and not nested:
            if "/" in container:
                raise InvalidPathError("a container's name has no slash", path=str(hint))
            # The physical one, since the mapping may change before the write.
            container = self.storage.containers(f"{scheme}:").physical(container)
        hint = evolve(hint, mount=scheme, container=container)
        if container is None or nested:
            return hint, format_uri(scheme, "")
        prefix = self.canonical_prefix(format_uri(scheme, container))
        if not limits.limits.client_names_keys:
            return hint, prefix
        if callable(hint.key_policy):
            return hint, prefix + hint.key_policy(hint)
        folder = (hint.folder or "").strip("/")
        return hint, f"{prefix}{folder}/" if folder else prefix

    async def allow(self, request: Request, action: Action, file_id: str) -> str:
        """Let a request act on an object.

        Returns:
            Its canonical id.

        Raises:
            PermissionDeniedError: It may not.
        """
        await self.access.identify(request)
        canonical = self.canonical(file_id)
        await self.access.allow(request, action, canonical)
        return canonical

    async def allow_either(self, request: Request, action: Action, file_id: str) -> str:
        """Let a request act on an object, or administer a container.

        Returns:
            Its canonical id.
        """
        await self.access.identify(request)
        canonical = self.canonical(file_id)
        if "/" in parse_id(canonical).path.rstrip("/"):
            return await self.allow(request, action, file_id)
        return await self.allow_container(request, file_id)

    async def allow_write(self, request: Request, target: WireTarget) -> NameHint | str:
        """Let a request write to an id, or a new object.

        Returns:
            The target for the storage.
        """
        await self.access.identify(request)
        if isinstance(target, str):
            return await self.allow(request, Action.WRITE, target)
        hint, prefix = self.named(name_of(target))
        await self.access.allow(request, Action.WRITE, prefix)
        return hint

    async def allow_container(self, request: Request, container: str) -> str:
        """Let a request administer a container.

        Returns:
            Its canonical id.
        """
        await self.access.identify(request)
        await self.access.allow(request, Action.ADMIN, self.canonical_prefix(container))
        return self.canonical(container)

    async def allow_mount(self, request: Request, prefix: str) -> str:
        """Let a request administer all containers of a mount.

        Returns:
            The canonical form of the prefix.
        """
        await self.access.identify(request)
        canonical = self.canonical(prefix)
        path = parse_id(canonical).path
        # A prefix of names is also that of others' containers.
        await self.access.allow(request, Action.ADMIN, canonical.removesuffix(path))
        return canonical

    async def allow_admin(self, request: Request) -> Identity:
        """Let a request administer the gateway itself."""
        await self.access.identify(request)
        return await self.access.allow(request, Action.ADMIN)

    async def check(self, request: Request, place: str) -> None:
        """Ask a mount's backend whether it works; an empty place asks all that can tell.

        Raises:
            StorageError: What is wrong.
        """
        await self.access.identify(request)
        checker = need(self.driver.capabilities.check, "check", place)
        if not place:
            await checker.check("")
            return
        await self.access.allow(request, Action.LIST, self.canonical_prefix(place))
        await checker.check(place)

    def settings(self) -> GatewaySettings:
        """The configuration, without its secrets."""
        routes = self.driver.capabilities.routes
        assert routes is not None
        config = self.config
        return GatewaySettings(
            [_settings_of(self.storage, scheme) for scheme in routes.mounts()],
            self.write_to,
            config.default_container,
            config.public_url,
            config.presign,
            config.refstore_paths,
            sorted(config.keys),
            sorted(config.roles),
            config.anonymous is not None,
        )


def _settings_of(storage: Storage, scheme: str) -> MountSettings:
    found = storage.explain(f"{scheme}:")
    return MountSettings(
        scheme,
        found.driver.name,
        found.writable,
        found.deletable,
        found.capabilities,
        {} if found.driver.name == "composite" else storage.containers(f"{scheme}:").names,
        {f"{setting.scope}: {setting.name}": setting.value for setting in found.settings},
    )


def need[T](capability: T | None, operation: str, path: str | None = None) -> T:
    """A capability of the storage.

    Raises:
        UnsupportedOperationError: No mount has it.
    """
    if capability is None:
        raise UnsupportedOperationError("no mount can do that", path=path, operation=operation)
    return capability


async def gateway_of(request: Request) -> Gateway:
    """The application's state."""
    gateway: Gateway = request.state.gateway
    return gateway


Gate = Annotated[Gateway, Depends(gateway_of)]
