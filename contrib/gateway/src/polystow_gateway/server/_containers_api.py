"""`/v1/containers`, and what objects have beside content: tags, access, versions."""

from typing import Annotated

from attrs import evolve
from fastapi import APIRouter, Depends, Query, Request, Response

from polystow import (
    AclOptions,
    ContainerInfo,
    ContainerPage,
    DeleteContainerOptions,
    ListOptions,
    ObjectInfo,
    TagOptions,
    VersionPage,
)
from polystow_gateway._wire_requests import (
    AclRequest,
    ContainerRequest,
    Deleted,
    RestoreRequest,
    TagsRequest,
    VersioningState,
)
from polystow_gateway.server._objects_api import Id, Version, without_metadata
from polystow_gateway.server._requests import bad_request, read_json, strict_query
from polystow_gateway.server._responses import json_answer
from polystow_gateway.server._rights import Action
from polystow_gateway.server._schema import answers, json_body
from polystow_gateway.server._state import Gate, need

router = APIRouter(prefix="/v1", dependencies=[Depends(strict_query)])

_CONTAINERS = ["containers"]
_OBJECTS = ["objects"]
ContainerId = Annotated[str, Query(alias="id", description="s3://bucket")]


@router.post(
    "/containers", tags=[*_CONTAINERS], status_code=201, responses=answers(ContainerInfo, 201),
    openapi_extra=json_body(ContainerRequest), response_class=Response,
)  # fmt: skip
async def create_container(request: Request, gateway: Gate) -> Response:
    """Make a container."""
    await gateway.access.identify(request)
    wanted = await read_json(request, ContainerRequest)
    target = await gateway.allow_container(request, wanted.id)
    containers = need(gateway.driver.capabilities.containers, "create_container", target)
    return json_answer(await containers.create_container(target, wanted.options), 201)


@router.get(
    "/containers", tags=[*_CONTAINERS], responses=answers(ContainerPage), response_class=Response
)
async def list_containers(
    request: Request, gateway: Gate, prefix: str, cursor: str | None = None
) -> Response:
    """A page of a mount's containers: `s3:`, or `s3:log` for those whose names begin so."""
    target = await gateway.allow_mount(request, prefix)
    containers = need(gateway.driver.capabilities.containers, "list_containers", target)
    return json_answer(await containers.list_containers(target, cursor))


@router.get(
    "/containers/info", tags=[*_CONTAINERS], responses=answers(ContainerInfo),
    response_class=Response,
)  # fmt: skip
async def stat_container(
    request: Request,
    gateway: Gate,
    container: ContainerId,
    usage: Annotated[
        bool, Query(description="count its objects, for which all are listed")
    ] = False,
) -> Response:
    """What is known of a container."""
    target = await gateway.allow_container(request, container)
    return json_answer(await gateway.storage.stat_container(target, usage=usage))


@router.delete(
    "/containers", tags=[*_CONTAINERS], responses=answers(Deleted), response_class=Response
)
async def delete_container(
    request: Request,
    gateway: Gate,
    container: ContainerId,
    missing_ok: bool = True,
    contents: Annotated[bool, Query(description="delete all that is in it before")] = False,
) -> Response:
    """Delete a container."""
    target = await gateway.allow_container(request, container)
    containers = need(gateway.driver.capabilities.containers, "delete_container", target)
    done = [0]
    options = DeleteContainerOptions(missing_ok, contents, done.append)
    await containers.delete_container(target, options)
    return json_answer(Deleted(max(done)))


@router.get(
    "/containers/versioning", tags=[*_CONTAINERS], responses=answers(VersioningState),
    response_class=Response,
)  # fmt: skip
async def get_versioning(request: Request, gateway: Gate, container: ContainerId) -> Response:
    """Whether a container keeps what is overwritten or deleted."""
    target = await gateway.allow_container(request, container)
    versions = need(gateway.driver.capabilities.versions, "get_versioning", target)
    return json_answer(VersioningState(await versions.get_versioning(target)))


@router.put(
    "/containers/versioning", tags=[*_CONTAINERS], status_code=204,
    openapi_extra=json_body(VersioningState),
)  # fmt: skip
async def set_versioning(request: Request, gateway: Gate, container: ContainerId) -> None:
    """Let a container keep versions, or no more."""
    target = await gateway.allow_container(request, container)
    wanted = await read_json(request, VersioningState)
    versions = need(gateway.driver.capabilities.versions, "set_versioning", target)
    with bad_request():
        if wanted.state == "off":
            raise ValueError("versioning can be 'enabled' or 'suspended'")
        await versions.set_versioning(target, wanted.state)


@router.get(
    "/objects/versions", tags=[*_OBJECTS], responses=answers(VersionPage), response_class=Response
)
async def list_versions(
    request: Request,
    gateway: Gate,
    prefix: str,
    page_size: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    cursor: str | None = None,
) -> Response:
    """A page of the versions and delete markers of objects whose ids begin with a prefix."""
    await gateway.access.identify(request)
    target = gateway.canonical_prefix(prefix)
    await gateway.access.allow(request, Action.LIST, target)
    versions = need(gateway.driver.capabilities.versions, "list_versions", target)
    page = await versions.list_versions(target, ListOptions(page_size=page_size), cursor)
    items = [evolve(item, info=without_metadata(item.info)) for item in page.items]
    return json_answer(evolve(page, items=items))


@router.post(
    "/objects/restore", tags=[*_OBJECTS], responses=answers(ObjectInfo),
    openapi_extra=json_body(RestoreRequest), response_class=Response,
)  # fmt: skip
async def restore_version(request: Request, gateway: Gate) -> Response:
    """Make a version the latest again, as a new one."""
    await gateway.access.identify(request)
    wanted = await read_json(request, RestoreRequest)
    target = await gateway.allow(request, Action.WRITE, wanted.id)
    versions = need(gateway.driver.capabilities.versions, "restore_version", target)
    return json_answer(await versions.restore_version(target, wanted.version))


@router.get(
    "/objects/tags", tags=[*_OBJECTS], responses=answers(TagsRequest), response_class=Response
)
async def get_tags(
    request: Request, gateway: Gate, file_id: Id, version: Version = None
) -> Response:
    """The tags of an object, or of a container."""
    target = await gateway.allow_either(request, Action.READ, file_id)
    tagger = need(gateway.driver.capabilities.tags, "get_tags", target)
    return json_answer(TagsRequest(await tagger.get_tags(target, TagOptions(version))))


@router.put(
    "/objects/tags", tags=[*_OBJECTS], status_code=204, openapi_extra=json_body(TagsRequest)
)
async def set_tags(request: Request, gateway: Gate, file_id: Id, version: Version = None) -> None:
    """Have these tags instead; none at all removes them."""
    target = await gateway.allow_either(request, Action.WRITE, file_id)
    wanted = await read_json(request, TagsRequest)
    tagger = need(gateway.driver.capabilities.tags, "set_tags", target)
    with bad_request():
        await tagger.set_tags(target, wanted.tags, TagOptions(version))


@router.get(
    "/objects/acl", tags=[*_OBJECTS], responses=answers(AclRequest), response_class=Response
)
async def get_acl(
    request: Request, gateway: Gate, file_id: Id, version: Version = None
) -> Response:
    """Who may do what with an object, or a container, at the backend."""
    target = await gateway.allow(request, Action.ADMIN, file_id)
    access = need(gateway.driver.capabilities.acl, "get_acl", target)
    return json_answer(AclRequest(await access.get_acl(target, AclOptions(version))))


@router.put("/objects/acl", tags=[*_OBJECTS], status_code=204, openapi_extra=json_body(AclRequest))
async def set_acl(request: Request, gateway: Gate, file_id: Id, version: Version = None) -> None:
    """Have this access instead, at the backend: an administrator's to say."""
    target = await gateway.allow(request, Action.ADMIN, file_id)
    wanted = await read_json(request, AclRequest)
    access = need(gateway.driver.capabilities.acl, "set_acl", target)
    with bad_request():
        await access.set_acl(target, wanted.acl, AclOptions(version))
