"""`/v1/admin`: what the gateway is, how it is configured, and its mounts' state."""

from typing import Annotated

from attrs import evolve
from fastapi import APIRouter, Depends, Query, Request, Response

from polystow_gateway._wire import RemoteCapabilities
from polystow_gateway._wire_admin import GatewaySettings, GatewayStatus, MountStatus
from polystow_gateway._wire_errors import error_to
from polystow_gateway._wire_requests import MappingRequest, MappingState
from polystow_gateway.server._mapping import BucketMapping
from polystow_gateway.server._requests import entity_tag, read_json, strict_query
from polystow_gateway.server._responses import json_answer
from polystow_gateway.server._schema import answers, json_body
from polystow_gateway.server._state import Gate

router = APIRouter(prefix="/v1", dependencies=[Depends(strict_query)])


@router.get(
    "/capabilities", tags=["objects"], responses=answers(RemoteCapabilities),
    response_class=Response,
)  # fmt: skip
async def capabilities(
    request: Request,
    gateway: Gate,
    mount: Annotated[str | None, Query(description="of this mount; else what any can do")] = None,
) -> Response:
    """What can be done, for drivers that ask when they are opened."""
    await gateway.access.identify(request)
    found = gateway.driver.capabilities
    if mount is not None:
        found = gateway.storage.route(f"{mount}:").capabilities
    remote = RemoteCapabilities.of(found)
    remote = evolve(remote, limits=evolve(remote.limits, extra_headers=False))
    if gateway.config.presign == "gateway":
        signs = gateway.config.signing is not None
        names = remote.names | {"presign"} if signs else remote.names - {"presign"}
        remote = evolve(remote, names=names)
    return json_answer(remote)


@router.get(
    "/check", tags=["objects"], status_code=204, responses={503: {"description": "it does not"}}
)
async def check(
    request: Request,
    gateway: Gate,
    place: Annotated[
        str, Query(alias="id", description="a mount or container; empty for all")
    ] = "",
) -> None:
    """Whether a mount's backend works."""
    await gateway.check(request, place)


@router.get("/admin/status", tags=["admin"], responses=answers(GatewayStatus),
            response_class=Response)  # fmt: skip
async def status(request: Request, gateway: Gate) -> Response:
    """What each mount's backend says now."""
    await gateway.allow_admin(request)
    mounts = [
        MountStatus(
            mount.scheme,
            mount.ok,
            mount.seconds,
            mount.reachable,
            mount.credentials,
            mount.container,
            # An administrator may read what the backend said.
            None if mount.error is None else error_to(mount.error),
        )
        for mount in await gateway.storage.check()
    ]
    return json_answer(
        GatewayStatus("ok" if all(mount.ok for mount in mounts) else "degraded", mounts)
    )


@router.get("/admin/config", tags=["admin"], responses=answers(GatewaySettings),
            response_class=Response)  # fmt: skip
async def config(request: Request, gateway: Gate) -> Response:
    """The configuration, without its secrets."""
    await gateway.allow_admin(request)
    return json_answer(gateway.settings())


@router.get("/admin/mapping", tags=["admin"], responses=answers(MappingState),
            response_class=Response)  # fmt: skip
async def get_mapping(request: Request, gateway: Gate) -> Response:
    """The logical names of containers; the answer's ETag is for an update with If-Match."""
    await gateway.allow_admin(request)
    return _mapping_answer(await gateway.mapping.current())


@router.put("/admin/mapping", tags=["admin"], responses=answers(MappingState),
            openapi_extra=json_body(MappingRequest), response_class=Response)  # fmt: skip
async def put_mapping(request: Request, gateway: Gate) -> Response:
    """Change the logical names; with If-Match only if nobody else has since."""
    await gateway.allow_admin(request)
    wanted = await read_json(request, MappingRequest)
    match = request.headers.get("if-match")
    mapping = await gateway.mapping.update(
        enabled=wanted.enabled,
        names=wanted.names,
        if_match=None if match is None else entity_tag(match),
    )
    return _mapping_answer(mapping)


def _mapping_answer(mapping: BucketMapping) -> Response:
    state = MappingState(mapping.enabled, mapping.names, mapping.etag)
    return json_answer(state, headers={"etag": f'"{mapping.etag}"'})
