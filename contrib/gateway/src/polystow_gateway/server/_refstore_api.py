"""RefStore's own paths and shapes, so that its clients go on working; see the switch in the config.

What differs from RefStore 0.3.0 is what was wrong there: credentials are needed, contents stream,
errors have statuses of their own, and an upload makes no bucket. Paths, parameters and answers are
those of its description (`/openapi.json`).
"""

import json
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from attrs import frozen
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from polystow import (
    CreateContainerOptions,
    DeleteContainerOptions,
    ListPage,
    NotFoundError,
    ObjectInfo,
    PresignOptions,
    Uri,
    format_uri,
)
from polystow_fastapi import StorageResponse
from polystow_gateway.server._changes_api import sign
from polystow_gateway.server._mapping import BucketMapping
from polystow_gateway.server._refstore_upload import receive_upload
from polystow_gateway.server._requests import read_json, strict_query
from polystow_gateway.server._responses import SAFE_HEADERS, Transfer
from polystow_gateway.server._rights import Action
from polystow_gateway.server._schema import json_body
from polystow_gateway.server._state import Gate, Gateway, need

router = APIRouter(tags=["refstore"], dependencies=[Depends(strict_query)])

_NAME = "RefStore API"
_VERSION = "0.3.0"
_UNITS = ("B", "KB", "MB", "GB", "TB")
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "logic_bucket": {"type": "string"},
                        "path": {"type": "string"},
                        "use_logical_uri": {"type": "boolean"},
                    },
                    "required": ["file"],
                }
            }
        },
    }
}


@frozen
class _Uris:
    uris: list[str]


@frozen
class _NewBucket:
    name: str
    location: str | None = None


@frozen
class _NewMapping:
    enable_bucket_mapping: bool | None = None
    bucket_map: Mapping[str, str] | None = None


@router.get("/")
async def root() -> dict[str, str]:
    """What this is."""
    return {
        "name": _NAME,
        "version": _VERSION,
        "description": "A Polystow gateway at RefStore's paths",
        "docs": "/docs",
        "health": "/health",
        "gateway": "/gateway/status",
    }


@router.get("/health")
async def health(gateway: Gate) -> Response:
    """Whether the backends work."""
    ok = await gateway.readiness.is_ready()
    message = "the gateway works" if ok else "a backend does not work"
    return _answer(status="ok" if ok else "error", message=message, buckets_ok=ok)


@router.post("/upload", openapi_extra=_UPLOAD)
async def upload(request: Request, gateway: Gate) -> Response:
    """Store the form's `file`: as `path/filename`, over what is there, or under a dated key."""
    identity = await gateway.access.identify(request)
    gateway.access.require_somewhere(identity, Action.WRITE)  # a file may come before its place
    async with gateway.access.transfer(identity):
        info, fields = await receive_upload(request, gateway, identity)
    gateway.access.note(request, created=info.uri)
    logical = fields.get("use_logical_uri", "").lower() in {"true", "1", "on", "yes"}
    uri = _shown(gateway, info.uri, logical=logical)
    return _answer(uri=uri, success=True, message="File uploaded successfully")


@router.get("/download", response_class=Response)
async def download(request: Request, gateway: Gate, uri: str) -> Response:
    """Send an object, as an attachment."""
    target = await gateway.allow(request, Action.READ, uri)
    answer = StorageResponse(gateway.storage, target, headers=SAFE_HEADERS)
    return Transfer(answer, gateway.access, await gateway.access.identify(request))


@router.get("/presigned-url")
async def presigned_url(
    request: Request,
    gateway: Gate,
    uri: str,
    expiry_seconds: Annotated[int | None, Query(ge=1, le=31_536_000)] = None,
    method: Literal["GET", "PUT", "DELETE", "HEAD"] = "GET",
) -> Response:
    """A URL that needs no credentials."""
    expires = None if expiry_seconds is None else timedelta(seconds=expiry_seconds)
    url = await sign(request, gateway, uri, PresignOptions(method, expires))
    return _answer(url=url, uri=uri, expiry=expiry_seconds or _expiry(gateway))


@router.get("/info")
async def info(request: Request, gateway: Gate, uri: str) -> Response:
    """What is known of an object; one that is not there does not exist, and is no error."""
    target = await gateway.allow(request, Action.READ, uri)
    try:
        found = await gateway.storage.stat(target)
    except NotFoundError:
        return _answer(uri=uri, info=None, exists=False)
    physical, logical = (
        Uri.parse(gateway.storage.with_container(found.uri, names))
        for names in ("physical", "logical")
    )
    told = {
        "logic_bucket": logical.container,
        "physical_bucket": physical.container,
        "object_name": physical.key,
        "size": found.size,
        "size_human": _human(found.size or 0),
        "content_type": found.content_type or "application/octet-stream",
        "last_modified": _time(found),
        "etag": found.etag,
    }
    return _answer(uri=uri, info=told, exists=True)


@router.delete("/delete", openapi_extra=json_body(_Uris))
async def delete(request: Request, gateway: Gate) -> Response:
    """Delete objects, each by itself."""
    await gateway.access.identify(request)
    uris = (await read_json(request, _Uris)).uris
    targets = [gateway.canonical(uri) for uri in uris]
    if targets:
        await gateway.access.allow(request, Action.DELETE, *targets)
    failed = {path for path, _ in (await gateway.storage.delete_many(targets)).failed}
    pairs = list(zip(uris, targets, strict=True))
    return _answer(
        deleted=[uri for uri, target in pairs if target not in failed],
        failed=[uri for uri, target in pairs if target in failed],
    )


@router.get("/list")
async def list_files(
    request: Request,
    gateway: Gate,
    logic_bucket: str | None = None,
    prefix: str = "",
    recursive: bool = True,
    use_logical_uri: bool = False,
) -> Response:
    """All objects of a bucket below a prefix; not recursive: its folders too."""
    await gateway.access.identify(request)
    bucket = logic_bucket or _default_bucket(gateway)
    target = gateway.canonical_prefix(format_uri(_mount(gateway), f"{bucket}/{prefix}"))
    await gateway.access.allow(request, Action.LIST, target)
    pages = gateway.storage.list_pages(target, delimiter=None if recursive else "/")
    first = await anext(pages, ListPage([]))  # before the answer begins: it may fail

    async def entries() -> AsyncGenerator[dict[str, object]]:
        page: ListPage | None = first
        while page is not None:
            for item in page.items:
                yield _entry(gateway, item.uri, item, logical=use_logical_uri)
            for folder in page.prefixes:
                yield _entry(gateway, folder, None, logical=use_logical_uri)
            page = await anext(pages, None)

    async def text() -> AsyncGenerator[str]:
        yield f'{{"logic_bucket":{json.dumps(bucket)},"files":['
        separator = ""
        async for entry in entries():
            yield separator + json.dumps(entry)
            separator = ","
        yield "]}"

    return StreamingResponse(_in_pieces(text()), media_type="application/json")


@router.get("/gateway/status")
async def status(request: Request, gateway: Gate) -> Response:
    """Whether the backend answers, and what it has."""
    await gateway.allow_admin(request)
    mapping = await gateway.mapping.current()
    endpoint = _endpoint(gateway)
    return _answer(
        status="connected",
        endpoint=endpoint,
        secure=endpoint.startswith("https:"),
        enable_bucket_mapping=_is_mapped(gateway, mapping),
        default_bucket=_default_bucket(gateway),
        bucket_count=len(await _buckets(gateway)),
    )


@router.get("/gateway/config")
async def config(request: Request, gateway: Gate) -> Response:
    """The configuration, without its secrets."""
    await gateway.allow_admin(request)
    mapping = await gateway.mapping.current()
    endpoint = _endpoint(gateway)
    return _answer(
        endpoint=endpoint,
        secure=endpoint.startswith("https:"),
        enable_bucket_mapping=_is_mapped(gateway, mapping),
        bucket_map=_names(gateway, mapping),
        default_bucket=_default_bucket(gateway),
        presigned_expiry=_expiry(gateway),
        public_url=gateway.config.public_url,
    )


@router.get("/gateway/buckets")
async def list_buckets(request: Request, gateway: Gate) -> Response:
    """All buckets."""
    await gateway.allow(request, Action.ADMIN, format_uri(_mount(gateway), ""))
    buckets = await _buckets(gateway)
    return _answer(buckets=buckets, total=len(buckets))


@router.post("/gateway/buckets", openapi_extra=json_body(_NewBucket))
async def create_bucket(request: Request, gateway: Gate) -> Response:
    """Make a bucket; one that is there already will do."""
    await gateway.access.identify(request)
    wanted = await read_json(request, _NewBucket)
    target = await gateway.allow_container(request, format_uri(_mount(gateway), wanted.name))
    containers = need(gateway.driver.capabilities.containers, "create_container", target)
    options = CreateContainerOptions(exist_ok=True, region=wanted.location)
    await containers.create_container(target, options)
    return _answer(success=True, name=wanted.name, message="the bucket is there")


@router.get("/gateway/buckets/{name}")
async def get_bucket(request: Request, gateway: Gate, name: str) -> Response:
    """What a bucket has; its objects are counted."""
    target = await gateway.allow_container(request, format_uri(_mount(gateway), name))
    try:
        found = await gateway.storage.stat_container(target, usage=True)
    except NotFoundError:
        return _answer(
            name=name, exists=False, object_count=None, total_size=None, total_size_human=None
        )
    return _answer(
        name=name,
        exists=True,
        object_count=found.count,
        total_size=found.size_bytes,
        total_size_human=_human(found.size_bytes or 0),
    )


@router.delete("/gateway/buckets/{name}")
async def delete_bucket(
    request: Request, gateway: Gate, name: str, force: bool = False
) -> Response:
    """Delete a bucket; with `force` all that is in it before."""
    target = await gateway.allow_container(request, format_uri(_mount(gateway), name))
    containers = need(gateway.driver.capabilities.containers, "delete_container", target)
    await containers.delete_container(target, DeleteContainerOptions(contents=force))
    return _answer(success=True, name=name, message="the bucket is gone")


@router.get("/gateway/bucket-mapping")
async def get_bucket_mapping(request: Request, gateway: Gate) -> Response:
    """The logical names of the buckets."""
    await gateway.allow_admin(request)
    return _mapping_answer(gateway, await gateway.mapping.current())


@router.put("/gateway/bucket-mapping", openapi_extra=json_body(_NewMapping))
async def put_bucket_mapping(request: Request, gateway: Gate) -> Response:
    """Change the logical names of the buckets, in every worker process."""
    await gateway.allow_admin(request)
    wanted = await read_json(request, _NewMapping)
    names = None if wanted.bucket_map is None else {_mount(gateway): wanted.bucket_map}
    mapping = await gateway.mapping.update(enabled=wanted.enable_bucket_mapping, names=names)
    return _mapping_answer(gateway, mapping)


def _mapping_answer(gateway: Gateway, mapping: BucketMapping) -> Response:
    names = _names(gateway, mapping)
    counts = _is_mapped(gateway, mapping)
    return _answer(
        enable_bucket_mapping=counts,
        bucket_map=names,
        reverse_bucket_map={physical: name for name, physical in names.items()} if counts else {},
    )


def _names(gateway: Gateway, mapping: BucketMapping) -> dict[str, str]:
    return dict(mapping.names.get(_mount(gateway), {}))


def _is_mapped(gateway: Gateway, mapping: BucketMapping) -> bool:
    return mapping.enabled and bool(_names(gateway, mapping))


def _mount(gateway: Gateway) -> str:
    if gateway.write_to is None:
        raise HTTPException(501, "RefStore's paths need one mount for new objects: write_to")
    return gateway.write_to


def _default_bucket(gateway: Gateway) -> str:
    if gateway.default_container is None:
        raise HTTPException(422, "name a bucket: the gateway has no default_container")
    return gateway.default_container


def _endpoint(gateway: Gateway) -> str:
    return gateway.setting("endpoint") or f"{_mount(gateway)}:"


def _expiry(gateway: Gateway) -> int:
    signing = gateway.config.signing
    return 3600 if signing is None else int(signing.expires_s)


async def _buckets(gateway: Gateway) -> list[dict[str, object]]:
    mount = f"{_mount(gateway)}:"
    return [
        {
            "name": found.name,
            "creation_date": None if found.created is None else found.created.isoformat(),
        }
        async for found in gateway.storage.list_containers(mount)
    ]


def _entry(
    gateway: Gateway, uri: str, item: ObjectInfo | None, *, logical: bool
) -> dict[str, object]:
    size = 0 if item is None else item.size or 0
    return {
        "object_name": Uri.parse(uri).key,
        "size": size,
        "size_human": _human(size),
        "last_modified": None if item is None else _time(item),
        "is_dir": item is None,
        "s3_uri": _shown(gateway, uri, logical=logical),
    }


def _shown(gateway: Gateway, uri: str, *, logical: bool) -> str:
    return gateway.storage.with_container(uri, "logical" if logical else "physical")


def _time(info: ObjectInfo) -> str | None:
    moment = info.modified or info.created
    return None if moment is None else moment.isoformat()


def _human(size: float) -> str:
    for unit in _UNITS:
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def _answer(**fields: object) -> Response:
    return JSONResponse(fields, headers={"cache-control": "no-store"})


async def _in_pieces(texts: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """Few large chunks instead of many small ones."""
    piece: list[str] = []
    length = 0
    async for text in texts:
        piece.append(text)
        length += len(text)
        if length >= 65_536:
            yield "".join(piece)
            piece, length = [], 0
    yield "".join(piece)
