"""`/v1/uploads`: objects that are made of parts, uploaded in any order and by several processes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from polystow import MultipartPage, MultipartUpload, ObjectInfo, Part, PartOptions
from polystow_gateway._wire import PartList
from polystow_gateway._wire_requests import BeginUpload, CompleteUpload
from polystow_gateway.server._objects_api import Id
from polystow_gateway.server._requests import (
    bad_request,
    body_of,
    options_of,
    read_json,
    strict_query,
    writing,
)
from polystow_gateway.server._responses import json_answer
from polystow_gateway.server._rights import Action
from polystow_gateway.server._schema import answers, json_body, raw_body
from polystow_gateway.server._state import Gate, need

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], dependencies=[Depends(strict_query)])

UploadId = Annotated[str, Query(min_length=1)]


@router.post(
    "", status_code=201, responses=answers(MultipartUpload, 201),
    openapi_extra=json_body(BeginUpload), response_class=Response,
)  # fmt: skip
async def begin_upload(request: Request, gateway: Gate) -> Response:
    """Begin an upload."""
    await gateway.access.identify(request)
    wanted = await read_json(request, BeginUpload)
    with bad_request():
        target = await gateway.allow_write(request, wanted.target)
    uploader = need(gateway.driver.capabilities.multipart, "create_multipart", str(target))
    return json_answer(await uploader.create_multipart(target, writing(wanted.options)), 201)


@router.put("/parts", responses=answers(Part), openapi_extra=raw_body(), response_class=Response)
async def put_part(
    request: Request,
    gateway: Gate,
    file_id: Id,
    upload_id: UploadId,
    number: Annotated[int, Query(ge=1, le=2**31)],
) -> Response:
    """Upload the request's body as a part, in the place of the one with its number."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    identity = await gateway.access.identify(request)
    uploader = need(gateway.driver.capabilities.multipart, "put_part", target)
    options = options_of(request, PartOptions) or PartOptions()
    async with gateway.access.transfer(identity):
        body = body_of(request, identity.upload_limits)
        with bad_request():
            part = await uploader.put_part(target, upload_id, number, body, options)
    return json_answer(part)


@router.get("/parts", responses=answers(PartList), response_class=Response)
async def list_parts(request: Request, gateway: Gate, file_id: Id, upload_id: UploadId) -> Response:
    """All parts that are there, sorted by number."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    uploader = need(gateway.driver.capabilities.multipart, "list_parts", target)
    return json_answer(PartList(await uploader.list_parts(target, upload_id)))


@router.post(
    "/complete", responses=answers(ObjectInfo), openapi_extra=json_body(CompleteUpload),
    response_class=Response,
)  # fmt: skip
async def complete_upload(request: Request, gateway: Gate) -> Response:
    """Make the object of its parts."""
    await gateway.access.identify(request)
    wanted = await read_json(request, CompleteUpload)
    target = await gateway.allow(request, Action.WRITE, wanted.id)
    uploader = need(gateway.driver.capabilities.multipart, "complete_multipart", target)
    info = await uploader.complete_multipart(
        target, wanted.upload_id, tuple(wanted.parts), wanted.options
    )
    gateway.access.note(request, created=info.uri)
    return json_answer(info)


@router.delete("", status_code=204)
async def abort_upload(request: Request, gateway: Gate, file_id: Id, upload_id: UploadId) -> None:
    """Drop an upload and its parts; one that is not there counts as dropped."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    uploader = need(gateway.driver.capabilities.multipart, "abort_multipart", target)
    await uploader.abort_multipart(target, upload_id)


@router.get("", responses=answers(MultipartPage), response_class=Response)
async def list_uploads(
    request: Request, gateway: Gate, prefix: str, cursor: str | None = None
) -> Response:
    """A page of the uploads that are under way to ids that begin with a prefix."""
    await gateway.access.identify(request)
    target = gateway.canonical_prefix(prefix)
    await gateway.access.allow(request, Action.LIST, target)
    uploader = need(gateway.driver.capabilities.multipart, "list_multiparts", target)
    return json_answer(await uploader.list_multiparts(target, cursor))
