"""`/v1/objects`: reading, writing, deleting and listing objects."""

import logging
from collections.abc import Sequence
from typing import Annotated

import anyio
from attrs import evolve
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from polystow import (
    BatchResult,
    DeleteOptions,
    Failure,
    ListOptions,
    ListPage,
    NameHint,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    StorageError,
    Target,
    WriteOptions,
)
from polystow_fastapi import StorageResponse, form_files
from polystow_gateway._wire import Hint
from polystow_gateway._wire_requests import DeleteRequest
from polystow_gateway.server._requests import (
    bad_request,
    body_of,
    options_of,
    read_json,
    shown_as,
    strict_query,
    write_arguments,
    writing,
)
from polystow_gateway.server._responses import (
    SAFE_HEADERS,
    ContentResponse,
    Transfer,
    json_answer,
)
from polystow_gateway.server._rights import Action
from polystow_gateway.server._schema import answers, json_body, raw_body
from polystow_gateway.server._state import Gate, Gateway, need

router = APIRouter(prefix="/v1/objects", tags=["objects"], dependencies=[Depends(strict_query)])

Id = Annotated[str, Query(alias="id", description="the object's id, percent-encoded")]
Version = Annotated[str | None, Query(description="this version instead of the latest")]
_logger = logging.getLogger("polystow.gateway")
_CLEANUP_TIMEOUT_S = 30.0
_MAX_FORM_FILES = 100
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "folder": {"type": "string"},
                        "container": {"type": "string"},
                        "mount": {"type": "string"},
                    },
                    "required": ["file"],
                }
            }
        },
    }
}


@router.head("", include_in_schema=False)
@router.get("", response_class=Response)
async def get_object(
    request: Request,
    gateway: Gate,
    file_id: Id,
    version: Version = None,
    content_disposition: Annotated[
        str | None, Query(description="inline or attachment, with a file name or without")
    ] = None,
    content_type: Annotated[str | None, Query(description="instead of its own")] = None,
    cache_control: Annotated[str | None, Query(description="instead of its own")] = None,
) -> Response:
    """Send an object: ranges, conditions and HEAD as HTTP has them.

    Unless asked otherwise as an attachment; what a browser would run is one in any case.
    """
    target = await gateway.allow(request, Action.READ, file_id)
    disposition, filename = shown_as(content_disposition)
    for name, value in (("content_type", content_type), ("cache_control", cache_control)):
        if value is not None and not (value.isascii() and value.isprintable()):
            raise HTTPException(422, f"{name} can't be a header")
    answer = StorageResponse(
        gateway.storage,
        target,
        disposition=disposition,
        filename=filename,
        content_type=content_type,
        cache_control=cache_control,
        version=version,
        headers=SAFE_HEADERS,
    )
    return Transfer(answer, gateway.access, await gateway.access.identify(request))


@router.get("/content", response_class=Response)
async def get_content(request: Request, gateway: Gate, file_id: Id) -> Response:
    """Send an object, or a part of it, to the driver `gateway`, which says how in a header."""
    target = await gateway.allow(request, Action.READ, file_id)
    options = options_of(request, ReadOptions) or ReadOptions()
    answer = ContentResponse(gateway.storage, target, options)
    return Transfer(answer, gateway.access, await gateway.access.identify(request))


@router.get("/info", responses=answers(ObjectInfo), response_class=Response)
async def get_info(
    request: Request, gateway: Gate, file_id: Id, version: Version = None
) -> Response:
    """What is known of an object."""
    target = await gateway.allow(request, Action.READ, file_id)
    options = options_of(request, StatOptions) or StatOptions(version)
    return json_answer(await gateway.driver.stat(target, options))


@router.put("", responses=answers(ObjectInfo), openapi_extra=raw_body(), response_class=Response)
async def put_object(
    request: Request,
    gateway: Gate,
    file_id: Id,
    content_type: Annotated[str | None, Query(description="what Content-Type has to be")] = None,
) -> Response:
    """Store the request's body under an id; see `If-None-Match: *` and `If-Match`."""
    target = await gateway.allow(request, Action.WRITE, file_id)
    if content_type is not None and request.headers.get("content-type") != content_type:
        raise HTTPException(403, f"the request has to have the Content-Type {content_type!r}")
    return await _store(request, gateway, target, 200)


@router.post(
    "", status_code=201, responses=answers(ObjectInfo, 201), openapi_extra=raw_body(),
    response_class=Response,
)  # fmt: skip
async def post_object(
    request: Request,
    gateway: Gate,
    filename: Annotated[str, Query(description="the original name")],
    folder: str | None = None,
    container: str | None = None,
    mount: str | None = None,
    key_policy: Annotated[str | None, Query(description="unique, dated or exact")] = None,
    key: Annotated[str | None, Query(description="the whole key, instead of a policy")] = None,
) -> Response:
    """Store the request's body as a new object; the answer tells its id."""
    with bad_request():
        target = await gateway.allow_write(
            request, Hint(filename, folder, container, key_policy, mount, key)
        )
    return await _store(request, gateway, target, 201)


async def _store(request: Request, gateway: Gateway, target: Target, status: int) -> Response:
    identity = await gateway.access.identify(request)
    options = writing(options_of(request, WriteOptions))
    async with gateway.access.transfer(identity):
        body = body_of(request, identity.upload_limits)
        if options is None:
            arguments = write_arguments(request)
            if isinstance(target, NameHint):
                arguments.setdefault("overwrite", False)
            info = await gateway.storage.write(target, body, **arguments)
        else:  # what `Storage` does beside that, the client's has done
            info = await gateway.driver.write(target, body, options)
    gateway.access.note(request, created=info.uri)
    return json_answer(info, status)


@router.post(
    "/form", status_code=201, responses=answers(ListPage, 201), openapi_extra=_FORM,
    response_class=Response,
)  # fmt: skip
async def post_form(request: Request, gateway: Gate) -> Response:
    """Store the files of a form, as they arrive; its text fields come before them.

    The answer's `items` are the objects. A file that fails ends the request: those before it are
    deleted again.
    """
    identity = await gateway.access.identify(request)
    stored: list[ObjectInfo] = []
    form = form_files(request, limits=identity.upload_limits, max_files=_MAX_FORM_FILES)
    try:
        async with gateway.access.transfer(identity):
            async for file in form:
                fields = form.fields
                hint = Hint(
                    file.filename, fields.get("folder"), fields.get("container"),
                    fields.get("key_policy"), fields.get("mount"),
                )  # fmt: skip
                with bad_request():
                    target = await gateway.allow_write(request, hint)
                arguments = write_arguments(request, fields.get("metadata"))
                arguments["content_type"] = file.content_type
                arguments["overwrite"] = False
                stored.append(await gateway.storage.write(target, file, **arguments))
        if not stored:
            raise HTTPException(422, "the form has no file")
    except BaseException:
        await delete_all(gateway, stored)
        raise
    gateway.access.note(request, created=" ".join(info.uri for info in stored))
    return json_answer(ListPage(stored), 201)


async def delete_all(gateway: Gateway, stored: Sequence[ObjectInfo]) -> None:
    """Delete what a request has stored that fails; what stays is logged."""
    if not stored:
        return
    with anyio.move_on_after(_CLEANUP_TIMEOUT_S, shield=True) as scope:
        batch = await gateway.storage.delete_many([info.uri for info in stored])
        for path, error in batch.failed:
            _logger.warning("a file of a failed form could not be deleted: %s: %s", path, error)
    if scope.cancelled_caught:
        _logger.warning("files of a failed form may be left: %s", [info.uri for info in stored])


@router.delete("", status_code=204)
async def delete_object(
    request: Request,
    gateway: Gate,
    file_id: Id,
    missing_ok: Annotated[bool, Query(description="whether its absence will do")] = True,
    version: Version = None,
) -> None:
    """Delete an object."""
    target = await gateway.allow(request, Action.DELETE, file_id)
    await gateway.driver.delete(target, DeleteOptions(missing_ok, version))


@router.post(
    "/delete", responses=answers(BatchResult), openapi_extra=json_body(DeleteRequest),
    response_class=Response,
)  # fmt: skip
async def delete_objects(request: Request, gateway: Gate) -> Response:
    """Delete objects; what failed is told, each with its problem."""
    await gateway.access.identify(request)
    wanted = await read_json(request, DeleteRequest)
    given: dict[str, str] = {}
    failed: list[Failure] = []
    for file_id in wanted.ids:
        try:
            given[gateway.canonical(file_id)] = file_id
        except StorageError as error:
            failed.append(Failure(file_id, error))
    await gateway.access.allow(request, Action.DELETE, *given)
    deleter = need(gateway.driver.capabilities.delete_many, "delete_many")
    done = await deleter.delete_many(tuple(given), wanted.options)
    failed += [Failure(given.get(path, path), error) for path, error in done.failed]
    return json_answer(BatchResult([given.get(path, path) for path in done.succeeded], failed))


@router.get("/list", responses=answers(ListPage), response_class=Response)
async def list_objects(
    request: Request,
    gateway: Gate,
    prefix: Annotated[str, Query(description="what the ids begin with: s3://bucket/folder/")],
    delimiter: Annotated[str | None, Query(min_length=1)] = None,
    start_after: Annotated[str | None, Query(description="a key")] = None,
    page_size: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> Response:
    """A page of the objects whose ids begin with a prefix, sorted by key."""
    await gateway.access.identify(request)
    target = gateway.canonical_prefix(prefix)
    await gateway.access.allow(request, Action.LIST, target)
    lister = need(gateway.driver.capabilities.list, "list_page", target)
    options = ListOptions(delimiter, start_after, page_size)
    page = await lister.list_page(target, options, cursor)
    return json_answer(evolve(page, items=[without_metadata(item) for item in page.items]))


def without_metadata(info: ObjectInfo) -> ObjectInfo:
    """What a listing tells: who may list may not always read, and metadata is to be read."""
    return evolve(info, metadata=None, headers=None)
