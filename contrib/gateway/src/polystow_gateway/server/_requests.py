"""What requests say: strict queries, JSON bodies of bounded length, options in headers."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from polystow import (
    ObjectHeaders,
    StreamBody,
    UnsupportedOperationError,
    WriteArguments,
    WriteOptions,
)
from polystow_fastapi import Disposition, UploadLimits, request_body
from polystow_gateway._wire import OPTIONS_HEADER, WireError, load, loads

_MAX_JSON_BYTES = 4_194_304
_NO_BREAKS = dict.fromkeys(range(32), " ")
_METADATA_HEADER = "polystow-metadata"


async def strict_query(request: Request) -> None:
    """Refuse a query that is not UTF-8: a byte that is replaced would name another object.

    Raises:
        HTTPException: It is not (400).
    """
    query: bytes = request.scope["query_string"]
    try:
        text = query.decode("ascii")
        parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError as error:
        raise HTTPException(400, "the query is not percent-encoded UTF-8") from error


async def read_json[T](request: Request, cls: type[T]) -> T:
    """The request's body as a value.

    Raises:
        HTTPException: It is too long (413), or something else (400).
    """
    data = bytearray()
    limits = UploadLimits(max_size_bytes=_MAX_JSON_BYTES)
    async with await request_body(request, limits).open() as stream:
        async for chunk in stream:
            data += chunk
    try:
        return loads(cls, bytes(data), strict=True)
    except WireError as error:
        raise HTTPException(400, f"the request's body: {error}") from error


def options_of[T](request: Request, cls: type[T]) -> T | None:
    """The options that the client's driver sends in a header; None if there are none.

    Raises:
        HTTPException: They are none of this class's (400).
    """
    header = request.headers.get(OPTIONS_HEADER)
    if header is None:
        return None
    try:
        return loads(cls, header, strict=True)
    except WireError as error:
        raise HTTPException(400, f"the header {OPTIONS_HEADER}: {error}") from error


@contextmanager
def bad_request() -> Generator[None]:
    """Answer what the caller's values can't mean with 422."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise HTTPException(422, str(error)) from error


def body_of(request: Request, limits: UploadLimits) -> StreamBody:
    """The request's body, as it arrives."""
    return request_body(request, limits)


def write_arguments(request: Request, metadata: str | None = None) -> WriteArguments:
    """What the headers of a plain HTTP client say of a write.

    Content-Type, Cache-Control, Content-Disposition, Content-Encoding, Content-Language and
    Expires are kept with the object; `If-None-Match: *` writes only what is not there, If-Match
    only over what has the entity tag; `Polystow-Metadata` is a JSON table of texts.

    Raises:
        HTTPException: A header that can't be honoured (400).
    """
    given = request.headers
    arguments = WriteArguments(content_type=given.get("content-type"))
    none_match = given.get("if-none-match")
    if none_match is not None:
        if none_match.strip() != "*":
            raise HTTPException(400, "If-None-Match of a write is *, or is left out")
        arguments["overwrite"] = False
    match = given.get("if-match")
    if match is not None:
        arguments["if_match"] = entity_tag(match)
    headers = ObjectHeaders(
        cache_control=given.get("cache-control"),
        content_disposition=given.get("content-disposition"),
        content_encoding=given.get("content-encoding"),
        content_language=given.get("content-language"),
        expires=_date(given.get("expires")),
    )
    if headers != ObjectHeaders():
        arguments["headers"] = headers
    text = metadata if metadata is not None else given.get(_METADATA_HEADER)
    if text is not None:
        arguments["metadata"] = _metadata(text)
    return arguments


def writing[O: WriteOptions | None](options: O) -> O:
    """Options that a client may give.

    Raises:
        UnsupportedOperationError: Raw headers for the backend's request: they could say anything
            with the gateway's credentials.
    """
    if options is not None and options.extra_headers:
        raise UnsupportedOperationError("a gateway takes no extra_headers", operation="write")
    return options


def entity_tag(header: str) -> str:
    """The one entity tag of an If-Match, without its quotes.

    Raises:
        HTTPException: It is something else (400).
    """
    tag = header.strip()
    if len(tag) < 2 or not (tag[0] == tag[-1] == '"') or '"' in tag[1:-1]:
        raise HTTPException(400, "If-Match is one entity tag, in quotes")
    return tag[1:-1]


def shown_as(content_disposition: str | None) -> tuple[Disposition, str | None]:
    """How a browser shall show an object, and the name that it has there.

    Raises:
        HTTPException: It is neither inline nor an attachment (422).
    """
    if content_disposition is None:
        return "attachment", None
    message = Message()
    message["content-disposition"] = content_disposition.translate(_NO_BREAKS)
    kind = message.get_content_disposition()
    if kind not in {"attachment", "inline"}:
        raise HTTPException(422, "content_disposition begins with attachment or inline")
    return ("inline" if kind == "inline" else "attachment"), message.get_filename()


def _date(header: str | None) -> datetime | None:
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except ValueError as error:
        raise HTTPException(400, "Expires is no HTTP date") from error
    if moment.tzinfo is None:
        raise HTTPException(400, "Expires has no time zone: write GMT")
    return moment


def _metadata(text: str) -> dict[str, str]:
    try:
        table: object = json.loads(text)
        return dict(load(dict[str, str], table))
    except ValueError as error:
        raise HTTPException(400, "metadata is a JSON table of texts") from error
