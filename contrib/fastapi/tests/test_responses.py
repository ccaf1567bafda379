"""Stored objects over HTTP, from a real server to a real client."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import override

import anyio
import httpx
import pytest
from serving import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polystow import (
    Body,
    Capabilities,
    Limits,
    MemoryDriver,
    NotFoundError,
    ObjectHeaders,
    ObjectInfo,
    PresignOptions,
    ReadOptions,
    ReadStream,
    Storage,
    StorageError,
    Target,
    TransportError,
    WriteOptions,
)
from polystow_fastapi import (
    StorageDependency,
    StorageResponse,
    ZipResponse,
    add_exception_handlers,
)

DATA = bytes(range(256)) * 1000


class SlowStream(ReadStream):
    """Gives a first chunk, then waits for what never comes, or breaks."""

    def __init__(self, info: ObjectInfo, stream: ReadStream, driver: "WatchedMemory") -> None:
        self.info = info
        self.range = stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._driver = driver
        self._first = True

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if self._first:
            self._first = False
            return b"x" * 1000
        if self._driver.breaks:
            raise TransportError("the connection broke")
        self._driver.waiting.set()
        await anyio.sleep_forever()
        raise AssertionError

    @override
    async def aclose(self) -> None:
        self._driver.closed.set()


class WatchedMemory(MemoryDriver):
    """Tells of its streams; objects named `slow` never end."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = anyio.Event()
        self.closed = anyio.Event()
        self.breaks = False
        self.reads: list[ReadOptions] = []

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        self.reads.append(options)
        if path.endswith("slow"):
            return SlowStream(stream.info, stream, self)
        return stream


type Endpoint = Callable[[Storage, str], Response]


@asynccontextmanager
async def site(
    driver: MemoryDriver, endpoint: Endpoint = StorageResponse
) -> AsyncGenerator[tuple[httpx.AsyncClient, Storage]]:
    """An application with one endpoint, its client, and its storage."""
    files = StorageDependency(driver)
    opened: list[Storage] = []

    async def get(request: Request) -> Response:
        opened[:] = [files(request)]
        return endpoint(files(request), request.path_params["file_id"])

    app = Starlette(
        routes=[Route("/{file_id:path}", get, methods=["GET", "HEAD"])], lifespan=files.lifespan
    )
    add_exception_handlers(app)
    async with serving(app) as client:
        await client.get("/memory:none")
        yield client, opened[0]


async def test_an_object_comes_with_what_is_known_of_it() -> None:
    async with site(MemoryDriver()) as (client, storage):
        info = await storage.write(
            *("memory:b/k", DATA), content_type="image/png", filename="bild ä.png"
        )
        answer = await client.get("/memory:b/k")
        assert answer.status_code == 200
        assert answer.content == DATA
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["etag"] == f'"{info.etag}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-disposition"] == (
            "attachment; filename=\"bild _.png\"; filename*=UTF-8''bild%20%C3%A4.png"
        )
        head = await client.head("/memory:b/k")
        assert head.content == b""
        for name in ("content-length", "content-type", "etag", "last-modified"):
            assert head.headers[name] == answer.headers[name]


async def test_ranges_and_conditions() -> None:
    async with site(MemoryDriver()) as (client, storage):
        info = await storage.write("memory:b/k", DATA)
        url, tag = "/memory:b/k", f'"{info.etag}"'

        part = await client.get(url, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, DATA[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{len(DATA)}"
        assert part.headers["content-length"] == "100"

        tail = await client.get(url, headers={"Range": "bytes=-7", "If-Range": tag})
        assert (tail.status_code, tail.content) == (206, DATA[-7:])

        changed = await client.get(url, headers={"Range": "bytes=-7", "If-Range": '"other"'})
        assert (changed.status_code, changed.content) == (200, DATA)

        beyond = await client.get(url, headers={"Range": f"bytes={len(DATA)}-"})
        assert beyond.status_code == 416
        assert beyond.headers["content-range"] == f"bytes */{len(DATA)}"
        assert beyond.json()["code"] == "RangeNotSatisfiableError"

        same = await client.get(url, headers={"If-None-Match": tag})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == tag
        assert "content-type" not in same.headers

        failed = await client.get(url, headers={"If-Match": '"other"'})
        assert (failed.status_code, failed.content) == (412, b"")

        modified = part.headers["last-modified"]
        since = await client.get(url, headers={"If-Modified-Since": modified})
        assert since.status_code == 304

        head = await client.head(url, headers={"Range": "bytes=0-9"})
        assert (head.status_code, head.headers["content-length"]) == (206, "10")


async def test_several_ranges_come_as_parts_with_their_places() -> None:
    async with site(MemoryDriver()) as (client, storage):
        await storage.write("memory:b/k", DATA, content_type="video/mp4")
        answer = await client.get("/memory:b/k", headers={"Range": "bytes=0-9,500-599,-5"})
        assert answer.status_code == 206
        kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
        assert kind == "multipart/byteranges"
        assert answer.headers["content-length"] == str(len(answer.content))
        parts = answer.content.split(f"--{boundary}".encode())
        assert parts[0] == b""
        assert parts[-1] == b"--\r\n"
        found = [part[2:-2].split(b"\r\n\r\n", 1) for part in parts[1:-1]]
        size = len(DATA)
        assert [head.decode().splitlines() for head, _ in found] == [
            ["Content-Type: video/mp4", f"Content-Range: bytes {place}/{size}"]
            for place in ("0-9", "500-599", f"{size - 5}-{size - 1}")
        ]
        assert [data for _, data in found] == [DATA[:10], DATA[500:600], DATA[-5:]]


async def test_each_part_is_read_of_the_same_object() -> None:
    driver = WatchedMemory()
    async with site(driver) as (client, storage):
        info = await storage.write("memory:b/k", DATA)
        driver.reads.clear()
        await client.get("/memory:b/k", headers={"Range": "bytes=0-9,500-599"})
        assert [options.if_match for options in driver.reads] == [info.etag, info.etag]


@pytest.mark.parametrize(
    "kind",
    ["text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml",
     "application/atom+xml", "text/xml", "application/javascript", "application/pdf"],
)  # fmt: skip
async def test_active_types_are_never_shown_in_the_sites_name(kind: str) -> None:
    def inline(storage: Storage, file_id: str) -> Response:
        return StorageResponse(storage, file_id, disposition="inline")

    async with site(MemoryDriver(), inline) as (client, storage):
        await storage.write("memory:b/x", b"<script>", content_type=kind)
        answer = await client.get("/memory:b/x")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        await storage.write("memory:b/x", b"\x89PNG", content_type="image/png")
        answer = await client.get("/memory:b/x")
        assert answer.headers["content-disposition"].startswith("inline")


async def test_trusted_types_are_shown_where_that_is_asked_for() -> None:
    def trusted(storage: Storage, file_id: str) -> Response:
        return StorageResponse(storage, file_id, disposition="inline", allow_active=True)

    async with site(MemoryDriver(), trusted) as (client, storage):
        await storage.write("memory:b/x", b"<p>", content_type="text/html")
        answer = await client.get("/memory:b/x")
        assert answer.headers["content-disposition"].startswith("inline")


async def test_a_stored_name_and_type_cannot_add_headers() -> None:
    async with site(MemoryDriver()) as (client, storage):
        await storage.write(
            "memory:b/x", b"x", content_type="text/plain\r\nX-Evil: 1", filename="a\r\nX-Evil: 1"
        )
        answer = await client.get("/memory:b/x")
        assert answer.status_code == 200
        assert "x-evil" not in answer.headers
        assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "ü", "\x00", "日本"])
async def test_kept_headers_that_can_not_be_sent_are_left_out(value: str) -> None:
    headers = ObjectHeaders(cache_control=value, content_encoding=value, content_language=value)
    async with site(MemoryDriver()) as (client, storage):
        await storage.write("memory:b/x", b"x", headers=headers)
        for method in ("GET", "HEAD"):
            answer = await client.request(method, "/memory:b/x")
            assert answer.status_code == 200
            assert not {"x-evil", "cache-control", "content-language"} & answer.headers.keys()


@pytest.mark.parametrize(
    ("file_id", "status", "code"),
    [
        ("memory:b/none", 404, "NotFoundError"),
        ("other:b/k", 403, "NoRouteError"),
        ("group1/M00/00/00/x.jpg", 403, "NoRouteError"),
        ("../../etc/passwd", 403, "NoRouteError"),
        ("memory:", 400, "InvalidPathError"),
        ("S3:b/k", 400, "InvalidPathError"),
    ],
)
async def test_errors_before_the_first_byte_are_problem_documents(
    file_id: str, status: int, code: str
) -> None:
    async with site(MemoryDriver()) as (client, _):
        answer = await client.get(f"/{file_id.replace('..', '%2e%2e')}")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"] == code
        assert problem["status"] == status
        ranged = await client.get(
            f"/{file_id.replace('..', '%2e%2e')}", headers={"Range": "bytes=0-1"}
        )
        assert ranged.status_code == status


async def test_a_client_that_goes_away_ends_the_read_at_once() -> None:
    driver = WatchedMemory()
    async with site(driver) as (client, storage):
        await storage.write("memory:b/slow", DATA)
        async with client.stream("GET", "/memory:b/slow") as answer:
            assert answer.status_code == 200
            await driver.waiting.wait()  # the server is in the middle of a read
        with anyio.fail_after(5):
            await driver.closed.wait()


async def test_a_read_that_breaks_breaks_the_answer() -> None:
    driver = WatchedMemory()
    driver.breaks = True
    async with site(driver) as (client, storage):
        await storage.write("memory:b/slow", DATA)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/memory:b/slow")
        assert driver.closed.is_set()


async def test_a_zip_of_several_objects() -> None:
    def archive(storage: Storage, file_ids: str) -> Response:
        return ZipResponse(storage, file_ids.split(","), filename="alles ü.zip")

    import io
    import zipfile

    driver = WatchedMemory()
    async with site(driver, archive) as (client, storage):
        await storage.write("memory:b/1.bin", DATA)
        await storage.write("memory:b/2.txt", b"two")
        answer = await client.get("/memory:b/1.bin,memory:b/2.txt")
        assert answer.headers["content-type"] == "application/zip"
        assert "alles%20%C3%BC.zip" in answer.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
            assert {name: found.read(name) for name in found.namelist()} == {
                "1.bin": DATA,
                "2.txt": b"two",
            }
        assert (await client.get("/memory:b/none")).status_code == 404
        await storage.write("memory:b/slow", DATA)
        async with client.stream("GET", "/memory:b/2.txt,memory:b/slow"):
            await driver.waiting.wait()
        with anyio.fail_after(5):
            await driver.closed.wait()


class SigningMemory(MemoryDriver):
    """Signs URLs that show what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(presign=self, limits=Limits(response_headers=True))

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        response = options.response
        assert response is not None
        assert options.expires is not None
        return (
            f"http://127.0.0.1:1/{path}?{options.method}&{options.expires.total_seconds():g}"
            f"&{response.content_disposition}"
        )


async def test_a_redirect_leads_to_a_signed_url() -> None:
    def signed(storage: Storage, file_id: str) -> Response:
        return StorageResponse(storage, file_id, redirect=timedelta(minutes=1))

    async with site(SigningMemory(), signed) as (client, storage):
        await storage.write("memory:b/x.txt", b"x")
        answer = await client.get("/memory:b/x.txt")
        assert answer.status_code == 307
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["location"] == (
            "http://127.0.0.1:1/b/x.txt?GET&60&attachment;%20filename=%22x.txt%22"
        )
        assert (await client.get("/memory:b/none")).status_code == 404

    async with site(MemoryDriver(), signed) as (client, storage):
        await storage.write("memory:b/x.txt", b"x")
        answer = await client.get("/memory:b/x.txt")
        assert (answer.status_code, answer.content) == (200, b"x")


class FailingMemory(MemoryDriver):
    """Fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Callable[[], StorageError] = lambda: NotFoundError("gone")

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        raise self.error()

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        raise self.error()


async def test_what_a_backend_said_stays_in_the_log() -> None:
    driver = FailingMemory()
    async with site(driver) as (client, _):
        driver.error = lambda: TransportError("10.0.0.7:9000 refused", retry_after_s=1.2)
        answer = await client.get("/memory:b/k")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert "10.0.0.7" not in answer.text
        driver.error = lambda: StorageError("internal detail")
        answer = await client.get("/memory:b/k")
        assert answer.status_code == 500
        assert "detail" not in answer.json()


async def test_two_hundred_clients_that_go_away_leave_nothing() -> None:
    def large(storage: Storage, file_id: str) -> Response:
        return StorageResponse(storage, file_id)

    async with site(MemoryDriver(), large) as (client, storage):
        await storage.write("memory:b/large", bytes(20_000_000))
        before = len(asyncio.all_tasks())
        port = client.base_url.port
        assert port is not None

        async def visit() -> None:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"GET /memory:b/large HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")

        for _ in range(4):
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(visit)
        with anyio.fail_after(10):
            while storage._lifecycle._active or len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.01)
