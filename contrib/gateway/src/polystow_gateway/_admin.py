"""The small client of administrators."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from attrs import evolve

from polystow import (
    ContainerInfo,
    ContainerPage,
    CreateContainerOptions,
    DriverContext,
    RequestPolicy,
)
from polystow_gateway._calls import Call, Query
from polystow_gateway._client_config import GatewayClientConfig
from polystow_gateway._http import Http
from polystow_gateway._naming import Naming
from polystow_gateway._wire_admin import GatewaySettings, GatewayStatus
from polystow_gateway._wire_requests import (
    ContainerRequest,
    Deleted,
    MappingRequest,
    MappingState,
)


class GatewayAdmin:
    """What administrators ask of a gateway; `GatewayDriver.admin`, or `open_admin`.

    Ids are the gateway's own, `s3:bucket`, whatever mount the driver is for. Each method needs the
    right `admin`, and raises `PermissionDeniedError` without it.

    Args:
        http: The connections.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    async def status(self) -> GatewayStatus:
        """What each mount's backend says now."""
        return await self._fetch(_get("status", "/v1/admin/status"), GatewayStatus)

    async def config(self) -> GatewaySettings:
        """The gateway's configuration, without its secrets."""
        return await self._fetch(_get("config", "/v1/admin/config"), GatewaySettings)

    async def mapping(self) -> MappingState:
        """The logical names of containers."""
        return await self._fetch(_get("mapping", "/v1/admin/mapping"), MappingState)

    async def update_mapping(
        self,
        *,
        enabled: bool | None = None,
        names: Mapping[str, Mapping[str, str]] | None = None,
        if_match: str | None = None,
    ) -> MappingState:
        """Change the logical names of containers, in every worker process of the gateway.

        Args:
            enabled: Whether they count; None leaves that.
            names: Mount to logical name to physical name, instead of those of these mounts; None
                leaves all.
            if_match: The `etag` of the state that the change was made from: if another one was
                made since, it is refused.

        Raises:
            PreconditionFailedError: See `if_match`.
            InvalidPathError: The names can't be used.
        """
        call = Call(
            "update_mapping",
            "",
            "PUT",
            "/v1/admin/mapping",
            json=MappingRequest(enabled, names),
            if_match=if_match,
            idempotent=if_match is None,
        )
        return await self._fetch(call, MappingState)

    async def list_containers(self, mount: str) -> Sequence[ContainerInfo]:
        """All containers of a mount, `s3:`, or those that begin so, `s3:log`."""
        found: list[ContainerInfo] = []
        cursor: str | None = None
        while True:
            query: Query = {"prefix": mount, "cursor": cursor}
            call = Call("list_containers", mount, "GET", "/v1/containers", query)
            page = await self._fetch(call, ContainerPage)
            found += page.items
            cursor = page.cursor
            if cursor is None:
                return found

    async def create_container(
        self, container_id: str, *, exist_ok: bool = False, region: str | None = None
    ) -> ContainerInfo:
        """Make a container.

        Args:
            container_id: `s3:bucket`.
            exist_ok: Whether one that is there already will do.
            region: Where; None for the driver's own.

        Raises:
            AlreadyExistsError: See `exist_ok`.
        """
        wanted = ContainerRequest(container_id, CreateContainerOptions(exist_ok, region))
        call = Call(
            "create_container",
            container_id,
            "POST",
            "/v1/containers",
            json=wanted,
            idempotent=exist_ok,
        )
        return await self._fetch(call, ContainerInfo)

    async def stat_container(self, container_id: str, *, usage: bool = False) -> ContainerInfo:
        """What is known of a container.

        Args:
            container_id: `s3:bucket`.
            usage: Count its objects and their bytes, for which the gateway lists all.

        Raises:
            NotFoundError: There is none.
        """
        query: Query = {"id": container_id, "usage": usage}
        call = Call("stat_container", container_id, "GET", "/v1/containers/info", query)
        return await self._fetch(call, ContainerInfo)

    async def delete_container(
        self, container_id: str, *, missing_ok: bool = True, contents: bool = False
    ) -> int:
        """Delete a container.

        Args:
            container_id: `s3:bucket`.
            missing_ok: False raises `NotFoundError` if it is not there.
            contents: Delete all that is in it before.

        Returns:
            How many objects and versions were deleted with it.

        Raises:
            ContainerNotEmptyError: It has contents, and `contents` is False.
        """
        call = Call(
            "delete_container",
            container_id,
            "DELETE",
            "/v1/containers",
            {"id": container_id, "missing_ok": missing_ok, "contents": contents},
            idempotent=missing_ok,
        )
        return (await self._fetch(call, Deleted)).count

    async def _fetch[T](self, call: Call, answer: type[T]) -> T:
        return await self._http.fetch(evolve(call, own_ids=True), answer)


@asynccontextmanager
async def open_admin(config: GatewayClientConfig) -> AsyncGenerator[GatewayAdmin]:
    """The client of administrators by itself, without a storage.

    Args:
        config: The gateway's address, and the key.
    """
    http = Http(config, DriverContext(RequestPolicy()), Naming(None))
    try:
        yield GatewayAdmin(http)
    finally:
        await http.aclose()


def _get(operation: str, url: str) -> Call:
    return Call(operation, "", "GET", url)
