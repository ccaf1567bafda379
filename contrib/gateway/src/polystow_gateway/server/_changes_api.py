"""`/v1/objects/…`: copying, moving and changing objects, signed URLs, archives, URLs to fetch."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from polystow import (
    FetchRules,
    MetadataOptions,
    NameHint,
    ObjectInfo,
    PresignOptions,
    ZipMember,
    errors_about,
    parse_id,
    parse_object_path,
)
from polystow_fastapi import ZipResponse
from polystow_gateway._wire import Hint
from polystow_gateway._wire_requests import (
    CopyRequest,
    FetchRequest,
    MetadataRequest,
    MoveRequest,
    PresignRequest,
    SignedUrl,
    ZipRequest,
)
from polystow_gateway.server._objects_api import Id
from polystow_gateway.server._requests import bad_request, body_of, read_json, strict_query
from polystow_gateway.server._responses import Transfer, json_answer
from polystow_gateway.server._rights import Action
from polystow_gateway.server._schema import answers, json_body, raw_body
from polystow_gateway.server._state import Gate, Gateway, need

router = APIRouter(prefix="/v1/objects", tags=["objects"], dependencies=[Depends(strict_query)])

_MAX_ZIP_MEMBERS = 10_000
_ACTIONS = {
    "GET": Action.READ,
    "HEAD": Action.READ,
    "PUT": Action.WRITE,
    "DELETE": Action.DELETE,
}


@router.post(
    "/copy", responses=answers(ObjectInfo), openapi_extra=json_body(CopyRequest),
    response_class=Response,
)  # fmt: skip
async def copy_object(request: Request, gateway: Gate) -> Response:
    """Copy an object, also from one backend to another."""
    await gateway.access.identify(request)
    wanted = await read_json(request, CopyRequest)
    source = await gateway.allow(request, Action.READ, wanted.source)
    with bad_request():
        target = await gateway.allow_write(request, wanted.target)
    copier = need(gateway.driver.capabilities.copy, "copy", source)
    info = await copier.copy(source, target, wanted.options)
    gateway.access.note(request, created=info.uri)
    return json_answer(info)


@router.post(
    "/move", responses=answers(ObjectInfo), openapi_extra=json_body(MoveRequest),
    response_class=Response,
)  # fmt: skip
async def move_object(request: Request, gateway: Gate) -> Response:
    """Copy an object, verified, and delete the source."""
    await gateway.access.identify(request)
    wanted = await read_json(request, MoveRequest)
    source = await gateway.allow(request, Action.READ, wanted.source)
    await gateway.allow(request, Action.DELETE, wanted.source)
    with bad_request():
        target = await gateway.allow_write(request, wanted.target)
    info = await gateway.storage.move(source, target, overwrite=wanted.overwrite)
    gateway.access.note(request, created=info.uri)
    return json_answer(info)


@router.post("/metadata", status_code=204, openapi_extra=json_body(MetadataRequest))
async def set_metadata(request: Request, gateway: Gate) -> None:
    """Replace the user's metadata of an object, or add to it."""
    await gateway.access.identify(request)
    wanted = await read_json(request, MetadataRequest)
    target = await gateway.allow(request, Action.WRITE, wanted.id)
    setter = need(gateway.driver.capabilities.set_metadata, "set_metadata", target)
    await setter.set_metadata(target, wanted.metadata, MetadataOptions(wanted.mode))


@router.post("/append", status_code=204, openapi_extra=raw_body())
async def append(request: Request, gateway: Gate, file_id: Id) -> None:
    """Add the request's body at the end of an object."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    identity = await gateway.access.identify(request)
    appender = need(gateway.driver.capabilities.append, "append", target)
    async with gateway.access.transfer(identity):
        await appender.append(target, body_of(request, identity.upload_limits))


@router.post("/modify", status_code=204, openapi_extra=raw_body())
async def modify(
    request: Request, gateway: Gate, file_id: Id, offset: Annotated[int, Query(ge=0)]
) -> None:
    """Write the request's body over an object's content from an offset on."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    identity = await gateway.access.identify(request)
    appender = need(gateway.driver.capabilities.append, "modify", target)
    async with gateway.access.transfer(identity):
        await appender.modify(target, offset, body_of(request, identity.upload_limits))


@router.post("/truncate", status_code=204)
async def truncate(
    request: Request,
    gateway: Gate,
    file_id: Id,
    size_bytes: Annotated[int, Query(ge=0)],
) -> None:
    """Cut an object to a size, or fill it with zeros up to it."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    limit = (await gateway.access.identify(request)).upload_limits.max_size_bytes
    if limit is not None and size_bytes > limit:
        raise HTTPException(413, f"the object would be larger than {limit} bytes")
    appender = need(gateway.driver.capabilities.append, "truncate", target)
    await appender.truncate(target, size_bytes)


@router.post(
    "/presign", responses=answers(SignedUrl), openapi_extra=json_body(PresignRequest),
    response_class=Response,
)  # fmt: skip
async def presign(request: Request, gateway: Gate) -> Response:
    """A URL that allows one method on one object, without credentials, until it expires."""
    await gateway.access.identify(request)
    wanted = await read_json(request, PresignRequest)
    return json_answer(SignedUrl(await sign(request, gateway, wanted.id, wanted.options)))


async def sign(request: Request, gateway: Gateway, file_id: str, options: PresignOptions) -> str:
    """A URL of the gateway, or of the backend where the configuration says so."""
    target = await gateway.allow(request, _ACTIONS[options.method], file_id)
    identity = await gateway.access.allow(request, Action.PRESIGN, target)
    if options.expires is not None and options.expires <= timedelta():
        raise HTTPException(422, "expires has to be above 0")
    if gateway.config.presign == "backend":
        signer = need(gateway.driver.capabilities.presign, "presign", target)
        with bad_request():
            return await signer.presign(target, options)
    with errors_about("presign", target, "gateway"):
        parse_object_path(parse_id(target).path)
    response = options.response
    params = {
        "version": options.version,
        "content_type": options.content_type if response is None else response.content_type,
        "content_disposition": None if response is None else response.content_disposition,
        "cache_control": None if response is None else response.cache_control,
    }
    return gateway.access.sign(
        request,
        identity,
        options.method,
        target,
        options.expires,
        params={name: value for name, value in params.items() if value is not None},
    )


@router.post(
    "/zip",
    openapi_extra=json_body(ZipRequest),
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
async def zip_objects(request: Request, gateway: Gate) -> Response:
    """Objects of any mounts as one archive, made while it is sent."""
    await gateway.access.identify(request)
    wanted = await read_json(request, ZipRequest)
    if len(wanted.members) > _MAX_ZIP_MEMBERS:
        raise HTTPException(413, f"an archive takes {_MAX_ZIP_MEMBERS} members at most")
    members = [ZipMember(gateway.canonical(each.id), each.name) for each in wanted.members]
    identity = await gateway.access.allow(request, Action.READ, *[member.id for member in members])
    with bad_request():
        answer = ZipResponse(
            gateway.storage,
            members,
            filename=wanted.filename,
            compress_level=wanted.compress_level,
            on_error=wanted.on_error,
        )
    return Transfer(answer, gateway.access, identity)


@router.post(
    "/fetch", status_code=201, responses=answers(ObjectInfo, 201),
    openapi_extra=json_body(FetchRequest), response_class=Response,
)  # fmt: skip
async def fetch(request: Request, gateway: Gate) -> Response:
    """Get a URL, of a public address alone, and store what it gives, as it comes."""
    await gateway.access.identify(request)
    wanted = await read_json(request, FetchRequest)
    with bad_request():
        target = wanted.target
        if target is None:
            target = Hint(unquote(urlsplit(wanted.url).path.rpartition("/")[2]) or "download")
        where = await gateway.allow_write(request, target)
        prefix = gateway.named(where)[1] if isinstance(where, NameHint) else where
    identity = await gateway.access.allow(request, Action.FETCH, prefix)
    with bad_request():
        rules = _rules(wanted, gateway, identity.upload_limits.max_size_bytes)
    async with gateway.access.transfer(identity):
        overwrite = not isinstance(where, NameHint)
        info = await gateway.storage.fetch_url(wanted.url, where, rules=rules, overwrite=overwrite)
    gateway.access.note(request, created=info.uri)
    return json_answer(info, 201)


def _rules(wanted: FetchRequest, gateway: Gateway, upload_limit: int | None) -> FetchRules:
    limits = gateway.config.fetch
    sizes = [
        size for size in (limits.max_bytes, wanted.max_bytes, upload_limit) if size is not None
    ]
    return FetchRules(
        max_bytes=min(sizes, default=None),
        timeout_s=min(limits.timeout_s, wanted.timeout_s or limits.timeout_s),
        content_types=wanted.content_types,
        allowed_networks=limits.allowed_networks,
    )
