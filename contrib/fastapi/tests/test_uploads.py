"""Uploads over HTTP: nothing is spooled, nothing is left behind."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polystow import MemoryDriver, Storage
from polystow_fastapi import (
    StorageDependency,
    UploadLimits,
    add_exception_handlers,
    form_files,
    upload_body,
    upload_file,
)

LIMITS = UploadLimits(max_size_bytes=1_000_000, idle_timeout_s=2)

type Handler = Callable[[Request, Storage], Awaitable[Response]]


async def put_body(request: Request, storage: Storage) -> Response:
    info = await upload_body(request, storage, "note.txt", limits=LIMITS)
    return JSONResponse({"id": info.file_id, "size": info.size, "type": info.content_type})


async def put_form(request: Request, storage: Storage) -> Response:
    form = form_files(request, limits=LIMITS, max_files=3)
    stored: list[object] = []
    async for file in form:
        if file.field == "skipped":
            continue
        info = await storage.upload(file.filename, file, content_type=file.content_type)
        stored.append([file.field, file.filename, info.file_id, info.size, info.content_type])
    return JSONResponse({"files": stored, "fields": form.fields})


async def put_spooled(request: Request, storage: Storage) -> Response:
    async with request.form() as form:
        file = form["file"]
        assert not isinstance(file, str)
        info = await upload_file(storage, file, folder="f", limits=LIMITS)
        return JSONResponse({"id": info.file_id, "size": info.size, "type": info.content_type})


class Site:
    def __init__(self, client: httpx.AsyncClient, storage: Storage) -> None:
        self.client = client
        self.storage = storage

    async def stored(self) -> list[str]:
        try:
            return [item.file_id async for item in self.storage.list("memory:files")]
        except FileNotFoundError:
            return []


@asynccontextmanager
async def site() -> AsyncGenerator[Site]:
    driver = MemoryDriver()
    files = StorageDependency(driver)
    opened: list[Storage] = []

    def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            opened[:] = [files(request)]
            return await handler(request, files(request))

        return handle

    async def ready(request: Request, storage: Storage) -> Response:
        return Response()

    app = Starlette(
        routes=[
            Route("/ready", endpoint(ready)),
            Route("/body", endpoint(put_body), methods=["PUT"]),
            Route("/form", endpoint(put_form), methods=["POST"]),
            Route("/spooled", endpoint(put_spooled), methods=["POST"]),
        ],
        lifespan=files.lifespan,
    )
    add_exception_handlers(app)
    async with serving(app) as client:
        await client.get("/ready")
        yield Site(client, opened[0])


async def test_a_body_becomes_an_object() -> None:
    async with site() as here:
        answer = await here.client.put(
            "/body", content=b"text", headers={"Content-Type": "text/markdown"}
        )
        found = answer.json()
        assert (found["size"], found["type"]) == (4, "text/markdown")
        assert await here.storage.read_bytes(found["id"]) == b"text"
        info = await here.storage.stat(found["id"])
        assert info.filename == "note.txt"


async def chunks(number: int, size: int = 100_000) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * size


async def test_a_chunked_body_becomes_an_object() -> None:
    async with site() as here:
        answer = await here.client.put("/body", content=chunks(5))
        assert answer.json()["size"] == 500_000


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_and_leaves_nothing(declared: bool) -> None:
    async with site() as here:
        content = b"x" * 1_000_001 if declared else chunks(11)
        answer = await here.client.put("/body", content=content)
        assert answer.status_code == 413
        assert answer.json()["code"] == "FileTooLargeError"
        assert await here.stored() == []


async def raw(here: Site, request: bytes) -> bytes:
    """Send bytes, and read what comes until the server closes."""
    async with await anyio.connect_tcp("127.0.0.1", here.client.base_url.port or 0) as stream:
        await stream.send(request)
        answer = b""
        try:
            while True:
                answer += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            # A server that refuses what it has not read to its end resets the connection.
            return answer


async def test_a_slow_body_is_ended_in_time_and_leaves_nothing() -> None:
    async with site() as here:
        head = b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
        with anyio.fail_after(10):
            answer = await raw(here, head + b"only this")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert await here.stored() == []


async def test_a_client_that_goes_away_leaves_nothing() -> None:
    async with site() as here:
        stream = await anyio.connect_tcp("127.0.0.1", here.client.base_url.port or 0)
        await stream.send(b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this")
        await stream.aclose()
        with anyio.fail_after(5):
            while here.storage._lifecycle._active:  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.005)
        assert await here.stored() == []


async def test_a_body_longer_than_declared_is_cut_at_its_length() -> None:
    # HTTP has no other answer: what follows is the next request, and here no valid one.
    async with site() as here:
        head = b"PUT /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
        answer = await raw(here, head + b"textPLUS")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"size":4' in answer


async def test_the_files_of_a_form_go_to_the_storage_one_by_one() -> None:
    async with site() as here:
        answer = await here.client.post(
            "/form",
            data={"title": "Titel ü", "empty": ""},
            files=[
                ("a", ("..\\..\\b ä.txt", b"first" * 40_000, "text/plain")),
                ("skipped", ("no.bin", b"x" * 300_000)),
                ("b", ("empty.bin", b"", "application/x-empty")),
            ],
        )
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["fields"] == {"title": "Titel ü", "empty": ""}
        (field, name, file_id, size, kind), (other, *_, empty_size, _) = found["files"]
        assert (field, name, size, kind) == ("a", "b ä.txt", 200_000, "text/plain")
        assert (other, empty_size) == ("b", 0)
        assert await here.storage.read_bytes(file_id) == b"first" * 40_000
        assert len(await here.stored()) == 2


def form(*parts: bytes, boundary: bytes = b"XX", end: bytes = b"--XX--\r\n") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end
    return (
        b"POST /form HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=XX\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


FILE = b'Content-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\ncontent'


@pytest.mark.parametrize(
    ("request_bytes", "status", "left"),
    [
        (form(FILE), b"200", 1),
        (form(FILE, end=b""), b"400", 0),
        (form(FILE, end=b"--X"), b"400", 0),
        (form(b"X-Long: " + b"y" * 20_000 + b"\r\n" + FILE), b"400", 0),
        (form(b'Content-Disposition: form-data; name="t"\r\n\r\n' + b"y" * 1_048_577), b"413", 0),
        (form(*([FILE] * 4)), b"413", 3),
        (form(FILE + b"y" * 1_000_000), b"413", 0),
        (form(b"no header\r\n\r\nx"), b"400", 0),
        (form(FILE).replace(b"multipart/form-data", b"text/plain"), b"415", 0),
        (form(FILE).replace(b"; boundary=XX", b""), b"400", 0),
        (form(FILE).replace(b"boundary=XX", b"boundary=" + b"X" * 2000), b"400", 0),
    ],
)
async def test_forms_that_are_none(request_bytes: bytes, status: bytes, left: int) -> None:
    async with site() as here:
        with anyio.fail_after(10):
            answer = await raw(here, request_bytes)
        assert answer.startswith(b"HTTP/1.1 %s " % status), answer[:300]
        assert len(await here.stored()) == left


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.binary(max_size=2000), min_size=1, max_size=3),
    st.integers(1, 200),
)
def test_a_form_in_any_pieces_gives_the_same_files(contents: list[bytes], piece: int) -> None:
    parts = [
        b'Content-Disposition: form-data; name="f"; filename="%d"\r\n\r\n%s' % (n, content)
        for n, content in enumerate(contents)
    ]
    body = form(*parts).partition(b"\r\n\r\n")[2]
    pieces = [body[n : n + piece] for n in range(0, len(body), piece)]

    async def receive() -> dict[str, object]:
        chunk = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(pieces)}

    async def read() -> list[bytes]:
        scope = {
            "type": "http",
            "headers": [(b"content-type", b"multipart/form-data; boundary=XX")],
        }
        files = form_files(Request(scope, receive))
        return [b"".join([chunk async for chunk in file]) async for file in files]

    assert anyio.run(read) == contents


async def test_an_upload_file_is_read_from_where_starlette_has_it() -> None:
    async with site() as here:
        answer = await here.client.post("/spooled", files={"file": ("a.csv", b"1,2", "text/csv")})
        found = answer.json()
        assert (found["size"], found["type"]) == (3, "text/csv")
        too_large = await here.client.post("/spooled", files={"file": ("a", b"x" * 1_000_001)})
        assert too_large.status_code == 413
        assert len(await here.stored()) == 1


@pytest.mark.parametrize("value", [0, -1])
def test_limits_have_to_be_above_zero(value: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        UploadLimits(max_size_bytes=value)
    with pytest.raises(ValueError, match="above 0"):
        UploadLimits(idle_timeout_s=value)
