"""From a call to the bytes of its request: pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple, cast
from urllib.parse import quote

from attrs import frozen

from polystow import Value
from polystow_s3._lane._connection import EXPECTING_BYTES, Body, Origin
from polystow_s3._lane._operations import OPERATIONS, Operation
from polystow_s3._lane._sending import FileRange, size_of
from polystow_s3._lane._signer import EMPTY_SHA256, UNSIGNED, Signer, Stamp
from polystow_s3._payload import FilePayload, Payload

_IN_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
_IN_QUERY = re.compile(r"[A-Za-z0-9._~-]*")
# What a header carries unchanged: ASCII, no white space at the ends nor two of it side by side.
_HEADER = re.compile(r"(?:[!-~]+(?: [!-~]+)*)?")
_PLACE = frozenset({"Bucket", "Key", "ContentLength"})
_MAX_SHAPES = 512


@frozen(eq=False, repr=False)
class Place(Value):
    """Where the requests for a bucket go.

    Attributes:
        origin: Where to connect to.
        host: The header Host.
        path: What stands before the key's slash: of the endpoint, and the bucket if it is not in
            the host's name.
        region: The region to sign for.
    """

    origin: Origin
    host: str
    path: str
    region: str


class Draft(NamedTuple):
    """A request before it has a place.

    Attributes:
        operation: Its row of the table.
        bucket: The bucket.
        path: The key in the path, with its slash; empty for a bucket.
        query: Sorted and encoded.
        headers: Of the parameters, by their names in lower case.
        body: Empty for none.
        sha256: Of the body, if it was made before.
    """

    operation: Operation
    bucket: str
    path: str
    query: str
    headers: dict[str, str]
    body: Body
    sha256: str | None


def draft(method: str, params: Mapping[str, object]) -> Draft | None:
    """A call as a request; None if the lane does not know all of it.

    Args:
        method: The method of botocore's client.
        params: Its parameters.
    """
    operation = OPERATIONS.get(method)
    if operation is None:
        return None
    headers: dict[str, str] = {}
    query = [*operation.fixed_query]
    body: Body = b""
    digest: str | None = None
    header_of, key_of = operation.headers.get, operation.query.get
    for name, value in params.items():
        if name in _PLACE or value is None:
            continue
        if (header := header_of(name)) is not None:
            text = value if isinstance(value, str) else _text(value)
            if text is None or not _is_header(text):
                return None
            headers[header] = text
        elif name == "Body":
            if isinstance(value, bytes):
                body = value
            elif isinstance(value, FilePayload):
                body, digest = value.range, value.sha256
            elif isinstance(value, Payload):
                body, digest = value.data, value.sha256
            else:
                return None
        elif (key := key_of(name)) is not None:
            text = _text(value)
            if text is None:
                return None
            query.append(f"{key}={_quoted(text)}")
        elif name == "MultipartUpload":
            body = parts_document(cast("Mapping[str, Sequence[Mapping[str, object]]]", value))
        elif name == "Metadata":
            for key, text in cast("Mapping[str, str]", value).items():
                if not _is_header(text):
                    return None
                headers[f"x-amz-meta-{key}"] = text
        else:
            return None
    if len(query) > 1:
        query.sort()
    bucket = cast("str", params["Bucket"])
    path = "" if operation.on_bucket else f"/{_path(cast('str', params['Key']))}"
    joined = "&".join(query) if query else ""
    return Draft(operation, bucket, path, joined, headers, body, digest)


def head_of(
    draft: Draft, place: Place, signer: Signer | None, stamp: Stamp, agent: str, *, signs_body: bool
) -> bytes:
    """The request's head, signed, with its empty line.

    Args:
        draft: The request.
        place: Where it goes.
        signer: What signs it; None for no signature.
        stamp: When.
        agent: The header User-Agent.
        signs_body: Whether the signature covers the body.
    """
    body, method = draft.body, draft.operation.method
    size = size_of(body)
    if not size:
        payload = EMPTY_SHA256
    elif signs_body:
        payload = draft.sha256 or _sha256_of(body)
    else:
        payload = UNSIGNED
    headers = draft.headers
    path = f"{place.path}{draft.path}" or "/"
    query = draft.query
    names = _UNSIGNED
    values: tuple[str, ...] = (place.host,)
    if signer is not None:
        names, values = _SIGNED, (place.host, payload, stamp.second)
        if (token := signer.keys.session_token) is not None:
            names, values = _SIGNED_WITH_TOKEN, (*values, token)
    if headers:
        names, values = (*names, *headers), (*values, *headers.values())
    shape = shape_of(names)
    if shape.sort is not None:
        values = shape.sort(values)
    lines = shape.lines % values
    signed = ""
    if signer is not None:
        canonical = f"{method}\n{path}\n{query}\n{shape.canonical % values}{payload}"
        signed = f"authorization: {signer.authorization(canonical, shape.names, stamp)}\r\n"
    target = f"{path}?{query}" if query else path
    length = f"content-length: {size}\r\n" if method in _WITH_BODIES else ""
    expect = "expect: 100-continue\r\n" if size >= EXPECTING_BYTES else ""
    return (
        f"{method} {target} HTTP/1.1\r\n{lines}{signed}"
        f"accept-encoding: identity\r\nuser-agent: {agent}\r\n{length}{expect}\r\n"
    ).encode()


def _sha256_of(body: Body) -> str:
    assert not isinstance(body, FileRange), "who sends from a file has read it before"
    return sha256(body).hexdigest()


_WITH_BODIES = frozenset({"PUT", "POST"})
_UNSIGNED: tuple[str, ...] = ("host",)
_SIGNED: tuple[str, ...] = ("host", "x-amz-content-sha256", "x-amz-date")
_SIGNED_WITH_TOKEN = (*_SIGNED, "x-amz-security-token")


class Shape(NamedTuple):
    """How requests with headers of the same names are written, but for the values.

    Attributes:
        sort: Puts the values into the order of the names; None where they are.
        names: The names as the canonical request has them.
        canonical: The headers and their names in the canonical request.
        lines: The headers as they are sent.
    """

    sort: Callable[[tuple[str, ...]], tuple[str, ...]] | None
    names: str
    canonical: str
    lines: str


@lru_cache(_MAX_SHAPES)
def shape_of(names: tuple[str, ...]) -> Shape:
    """The shape of requests with these headers.

    Args:
        names: In any order. If that is not theirs, there are two or more.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    ordered = [names[index] for index in order]
    told = ";".join(ordered)
    escaped = [name.replace("%", "%%") for name in ordered]  # which metadata may have
    lines = "".join([f"{name}:%s\n" for name in escaped])
    return Shape(
        None if ordered == list(names) else itemgetter(*order),
        told,
        f"{lines}\n{';'.join(escaped)}\n",
        "".join([f"{name}: %s\r\n" for name in escaped]),
    )


def parts_document(upload: Mapping[str, Sequence[Mapping[str, object]]]) -> bytes:
    """The body of CompleteMultipartUpload."""
    from html import escape

    parts = "".join(
        [
            "<Part>"
            + "".join([f"<{name}>{escape(str(value))}</{name}>" for name, value in part.items()])
            + "</Part>"
            for part in upload["Parts"]
        ]
    )
    return (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{parts}</CompleteMultipartUpload>"
    ).encode()


@lru_cache(256)  # content types, mostly
def _is_header(text: str) -> bool:
    return _HEADER.fullmatch(text) is not None


def _path(key: str) -> str:
    return key if _IN_PATH.fullmatch(key) is not None else quote(key, safe="/~")


def _quoted(text: str) -> str:
    return text if _IN_QUERY.fullmatch(text) is not None else quote(text, safe="-._~")


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value if value.isascii() or is_text(value) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        from email.utils import formatdate

        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return formatdate(aware.timestamp(), usegmt=True)
    return None


def is_text(value: str) -> bool:
    """Whether UTF-8 has it: no lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
