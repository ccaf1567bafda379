"""Containers, versions, tags and access, through the gateway."""

from collections.abc import Mapping
from typing import Literal

from attrs import evolve

from polystow import (
    Acl,
    AclOptions,
    CannedAcl,
    ContainerInfo,
    ContainerPage,
    CreateContainerOptions,
    DeleteContainerOptions,
    ListOptions,
    ObjectInfo,
    TagOptions,
    Versioning,
    VersionPage,
)
from polystow_gateway._calls import Call, Query
from polystow_gateway._http import Http
from polystow_gateway._wire_requests import (
    AclRequest,
    ContainerRequest,
    Deleted,
    RestoreRequest,
    TagsRequest,
    VersioningState,
)


class Administration:
    """See `SupportsContainers`, `SupportsVersions`, `SupportsTags` and `SupportsAcl`.

    Args:
        http: The connections.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self._naming = http.naming

    async def create_container(
        self, path: str, options: CreateContainerOptions, /
    ) -> ContainerInfo:
        """Needs an administrator's rights, as do the others on containers."""
        wanted = ContainerRequest(self._naming.outward(path), options)
        call = Call(
            "create_container",
            path,
            "POST",
            "/v1/containers",
            json=wanted,
            idempotent=options.exist_ok,
        )
        return self._container(await self._http.fetch(call, ContainerInfo))

    async def list_containers(self, path: str, cursor: str | None, /) -> ContainerPage:
        """One request for a page."""
        query = {"prefix": self._naming.outward(path), "cursor": cursor}
        call = Call("list_containers", path, "GET", "/v1/containers", query)
        page = await self._http.fetch(call, ContainerPage)
        return ContainerPage([self._container(item) for item in page.items], page.cursor)

    async def stat_container(self, path: str, /) -> ContainerInfo:
        """One request."""
        call = Call("stat_container", path, "GET", "/v1/containers/info", self._of(path))
        return self._container(await self._http.fetch(call, ContainerInfo))

    async def delete_container(self, path: str, options: DeleteContainerOptions, /) -> None:
        """One request; how many objects and versions are gone is told at its end."""
        query = {
            **self._of(path),
            "missing_ok": options.missing_ok,
            "contents": options.contents,
        }
        call = Call(
            "delete_container",
            path,
            "DELETE",
            "/v1/containers",
            query,
            idempotent=options.missing_ok,
        )
        deleted = await self._http.fetch(call, Deleted)
        if options.progress is not None and deleted.count:
            options.progress(deleted.count)

    async def get_versioning(self, path: str, /) -> Versioning:
        """One request."""
        call = Call("get_versioning", path, "GET", "/v1/containers/versioning", self._of(path))
        return (await self._http.fetch(call, VersioningState)).state

    async def set_versioning(self, path: str, state: Literal["enabled", "suspended"], /) -> None:
        """One request."""
        call = Call(
            "set_versioning",
            path,
            "PUT",
            "/v1/containers/versioning",
            self._of(path),
            json=VersioningState(state),
        )
        await self._http.run(call)

    async def list_versions(
        self, path: str, options: ListOptions, cursor: str | None, /
    ) -> VersionPage:
        """One request for a page."""
        query: Query = {
            "prefix": self._naming.outward(path),
            "page_size": min(options.page_size, 10_000),
            "cursor": cursor,
        }
        call = Call("list_versions", path, "GET", "/v1/objects/versions", query)
        page = await self._http.fetch(call, VersionPage)
        items = [evolve(item, info=self._naming.info(item.info)) for item in page.items]
        return VersionPage(items, page.cursor)

    async def restore_version(self, path: str, version: str, /) -> ObjectInfo:
        """One request."""
        wanted = RestoreRequest(self._naming.outward(path), version)
        call = Call(
            "restore_version",
            path,
            "POST",
            "/v1/objects/restore",
            json=wanted,
            idempotent=False,
        )
        return self._naming.info(await self._http.fetch(call, ObjectInfo))

    async def get_tags(self, path: str, options: TagOptions, /) -> Mapping[str, str]:
        """One request."""
        query = {**self._of(path), "version": options.version}
        call = Call("get_tags", path, "GET", "/v1/objects/tags", query)
        return (await self._http.fetch(call, TagsRequest)).tags

    async def set_tags(self, path: str, tags: Mapping[str, str], options: TagOptions, /) -> None:
        """One request."""
        query = {**self._of(path), "version": options.version}
        call = Call("set_tags", path, "PUT", "/v1/objects/tags", query, json=TagsRequest(tags))
        await self._http.run(call)

    async def get_acl(self, path: str, options: AclOptions, /) -> Acl:
        """Needs an administrator's rights."""
        query = {**self._of(path), "version": options.version}
        call = Call("get_acl", path, "GET", "/v1/objects/acl", query)
        found = (await self._http.fetch(call, AclRequest)).acl
        return found if isinstance(found, Acl) else Acl(None)

    async def set_acl(self, path: str, acl: CannedAcl | Acl, options: AclOptions, /) -> None:
        """Needs an administrator's rights."""
        query = {**self._of(path), "version": options.version}
        call = Call("set_acl", path, "PUT", "/v1/objects/acl", query, json=AclRequest(acl))
        await self._http.run(call)

    def _of(self, path: str) -> Query:
        return {"id": self._naming.outward(path)}

    def _container(self, info: ContainerInfo) -> ContainerInfo:
        return evolve(info, path=self._naming.inward(info.path))
