"""The gateway's API, as plain HTTP clients use it."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from serving import open_to_all, serving

from polystow import MemoryConfig, MemoryDriver
from polystow_gateway.server import create_app
from polystow_gateway.server._config import FetchConfig

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def memory(**options: object) -> AsyncGenerator[tuple[httpx.AsyncClient, MemoryDriver]]:
    driver = MemoryDriver(MemoryConfig("files"))
    async with serving(create_app(open_to_all(driver, **options))) as client:
        yield client, driver


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    async with memory() as (client, _):
        yield client


OBJECTS = "/v1/objects"
ID = {"id": "memory:files/a b+c.txt"}


async def put(
    client: httpx.AsyncClient, content: bytes, file_id: str = ID["id"], **headers: str
) -> httpx.Response:
    return await client.put(OBJECTS, params={"id": file_id}, content=content, headers=headers)


async def test_what_was_put_under_an_id_is_got(client: httpx.AsyncClient) -> None:
    done = await put(client, b"content", **{"content-type": "text/plain"})
    assert done.status_code == 200
    assert done.json()["id"] == "memory://files/a b+c.txt"
    assert done.json()["file_id"] == "memory:files/a b+c.txt"
    got = await client.get(OBJECTS, params=ID)
    assert (got.status_code, got.content) == (200, b"content")
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["content-length"] == "7"
    head = await client.head(OBJECTS, params=ID)
    assert (head.status_code, head.headers["content-length"]) == (200, "7")


async def test_ranges_and_conditions_are_those_of_http(client: httpx.AsyncClient) -> None:
    await put(client, b"0123456789")
    part = await client.get(OBJECTS, params=ID, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    tag = part.headers["etag"]
    known = await client.get(OBJECTS, params=ID, headers={"if-none-match": tag})
    assert known.status_code == 304
    other = await client.get(OBJECTS, params=ID, headers={"if-match": '"other"'})
    assert other.status_code == 412
    beyond = await client.get(OBJECTS, params=ID, headers={"range": "bytes=10-"})
    assert beyond.status_code == 416


async def test_a_put_can_be_for_a_new_object_or_over_a_known_one(
    client: httpx.AsyncClient,
) -> None:
    first = await put(client, b"1", **{"if-none-match": "*"})
    assert first.status_code == 200
    again = await put(client, b"2", **{"if-none-match": "*"})
    assert (again.status_code, again.json()["code"]) == (409, "AlreadyExistsError")
    over = await put(client, b"3", **{"if-match": f'"{first.json()["etag"]}"'})
    assert over.status_code == 200
    stale = await put(client, b"4", **{"if-match": f'"{first.json()["etag"]}"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "PreconditionFailedError")
    weak = await put(client, b"5", **{"if-match": 'W/"x"'})
    assert weak.status_code == 400
    assert (await client.get(OBJECTS, params=ID)).content == b"3"


async def test_headers_and_metadata_are_kept(client: httpx.AsyncClient) -> None:
    await put(
        client,
        b"x",
        **{"cache-control": "max-age=5", "polystow-metadata": '{"author": "J\\u00f6"}'},
    )
    info = (await client.get(f"{OBJECTS}/info", params=ID)).json()
    assert info["metadata"] == {"author": "Jö"}
    assert info["headers"] == {"cache_control": "max-age=5"}
    assert (await client.get(OBJECTS, params=ID)).headers["cache-control"] == "max-age=5"
    for wrong in ("no JSON", "[1]", '{"a": 1}'):
        assert (await put(client, b"x", **{"polystow-metadata": wrong})).status_code == 400


async def test_a_new_object_gets_an_id(client: httpx.AsyncClient) -> None:
    query = {"filename": "ä.txt", "folder": "in", "container": "box"}
    done = await client.post(OBJECTS, params=query, content=b"new")
    assert done.status_code == 201
    assert done.json()["id"].startswith("memory://box/in/")
    assert done.json()["filename"] == "ä.txt"
    assert (await client.get(OBJECTS, params={"id": done.json()["id"]})).content == b"new"
    exact = {"filename": "b.txt", "key_policy": "exact"}
    assert (await client.post(OBJECTS, params=exact, content=b"1")).status_code == 201
    assert (await client.post(OBJECTS, params=exact, content=b"2")).status_code == 409
    for wrong in ({"key_policy": "random"}, {"filename": "../x"}, {"mount": "nowhere"}):
        answer = await client.post(OBJECTS, params={"filename": "a", **wrong}, content=b"x")
        assert answer.status_code in {400, 403, 422}, wrong


async def test_a_form_stores_its_files_where_its_fields_say(client: httpx.AsyncClient) -> None:
    kind = "text/plain"
    files = [("file", ("a.txt", b"first", kind)), ("file", ("b.bin", b"second", kind))]
    done = await client.post(f"{OBJECTS}/form", data={"folder": "forms"}, files=files)
    assert done.status_code == 201
    items = done.json()["items"]
    assert [item["filename"] for item in items] == ["a.txt", "b.bin"]
    assert all(item["id"].startswith("memory://files/forms/") for item in items)
    assert items[0]["content_type"] == "text/plain"
    empty = await client.post(f"{OBJECTS}/form", files={"": ("", b"")}, data={"a": "b"})
    assert empty.status_code in {201, 422}


async def test_a_form_that_fails_leaves_none_of_its_files() -> None:
    async with memory() as (client, driver):
        boundary = "x"
        part = '--x\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\ny\r\n'
        body = part.format("a") + part.format("..") + "--x--\r\n"
        answer = await client.post(
            f"{OBJECTS}/form",
            content=body.encode(),
            headers={"content-type": f"multipart/form-data; boundary={boundary}"},
        )
        assert answer.status_code == 400
        assert not driver._containers["files"].objects


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "text/html; charset=utf-8", "application/xhtml+xml"]
)
async def test_what_a_browser_would_run_is_an_attachment_in_a_sandbox(
    client: httpx.AsyncClient, kind: str
) -> None:
    await put(client, b"<script>alert(1)</script>", **{"content-type": kind})
    for query in (ID, {**ID, "content_disposition": "inline"}):
        got = await client.get(OBJECTS, params=query)
        assert got.headers["content-disposition"].startswith("attachment")
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]


async def test_a_file_name_breaks_out_of_no_header(client: httpx.AsyncClient) -> None:
    await put(client, b"x")
    wanted = 'inline; filename="a\r\nSet-Cookie: b=c"'
    got = await client.get(OBJECTS, params={**ID, "content_disposition": wanted})
    assert "set-cookie" not in got.headers
    for name in ("content_type", "cache_control"):
        wrong = await client.get(OBJECTS, params={**ID, name: "a\r\nSet-Cookie: b=c"})
        assert wrong.status_code == 422


async def test_bytes_that_are_no_text_name_nothing(client: httpx.AsyncClient) -> None:
    await put(client, b"x", "memory:files/�")
    for query in ("id=memory:files/%FF", "id=memory:files/%ED%A0%80"):
        answer = await client.get(f"{OBJECTS}?{query}")
        assert answer.status_code == 400
        assert "UTF-8" in answer.json()["detail"]


async def test_errors_are_problem_documents(client: httpx.AsyncClient) -> None:
    missing = await client.get(OBJECTS, params={"id": "memory:files/none"})
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    document = missing.json()
    assert (document["code"], document["id"]) == ("NotFoundError", "memory://files/none")
    nowhere = await client.get(OBJECTS, params={"id": "s3:files/none"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (403, "NoRouteError")
    forgotten = await client.get(OBJECTS)
    assert forgotten.status_code == 422
    assert "id" in forgotten.json()["detail"]
    unable = await client.get(f"{OBJECTS}/versions", params={"prefix": "memory:files"})
    assert (unable.status_code, unable.json()["code"]) == (501, "UnsupportedOperationError")


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b'{"ids": "a"}', b'{"ids": [1]}', b'{"ids": [], "x": 1}']
)
async def test_a_body_that_is_none_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(f"{OBJECTS}/delete", content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"]


async def test_a_json_body_has_a_limit(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"POST /v1/objects/delete HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_objects_are_listed_copied_moved_and_deleted(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "d/e"):
        await put(client, name.encode(), f"memory:list/{name}")
    query: dict[str, str | int] = {"prefix": "memory:list", "page_size": 2}
    first = (await client.get(f"{OBJECTS}/list", params=query)).json()
    assert [item["id"] for item in first["items"]] == ["memory://list/a", "memory://list/b"]
    rest = await client.get(f"{OBJECTS}/list", params={**query, "cursor": first["cursor"]})
    assert [item["id"] for item in rest.json()["items"]] == ["memory://list/d/e"]
    folded = await client.get(f"{OBJECTS}/list", params={**query, "delimiter": "/", "page_size": 9})
    assert folded.json()["prefixes"] == ["memory://list/d/"]
    body = {"source": "memory:list/a", "target": "memory:list/c"}
    assert (await client.post(f"{OBJECTS}/copy", json=body)).json()["id"] == "memory://list/c"
    moving = {"source": "memory:list/c", "target": {"filename": "m.txt", "container": "moved"}}
    moved = await client.post(f"{OBJECTS}/move", json=moving)
    assert moved.json()["id"].startswith("memory://moved/")
    gone = await client.get(OBJECTS, params={"id": "memory:list/c"})
    assert gone.status_code == 404
    ids = ["memory:list/a", "memory:list/b", "s3:not/there"]
    done = (await client.post(f"{OBJECTS}/delete", json={"ids": ids})).json()
    assert done["succeeded"] == ids[:2]
    assert done["failed"][0][0] == "s3:not/there"
    assert done["failed"][0][1]["code"] == "NoRouteError"
    deleted = await client.delete(OBJECTS, params={"id": "memory:list/a", "missing_ok": "false"})
    assert deleted.status_code == 404


async def test_a_listing_tells_no_metadata(client: httpx.AsyncClient) -> None:
    await put(client, b"x", "memory:told/a", **{"polystow-metadata": '{"secret": "yes"}'})
    listed = await client.get(f"{OBJECTS}/list", params={"prefix": "memory:told"})
    assert listed.json()["items"][0]["size"] == 1
    assert "yes" not in listed.text


async def test_objects_come_as_one_archive(client: httpx.AsyncClient) -> None:
    await put(client, b"one", "memory:zip/1.txt")
    await put(client, b"two", "memory:zip/2.txt")
    members = [{"id": "memory:zip/1.txt"}, {"id": "memory:zip/2.txt", "name": "../../b.txt"}]
    answer = await client.post(f"{OBJECTS}/zip", json={"members": members})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.namelist()) == 2
        assert not any(name.startswith(("/", "..")) for name in archive.namelist())
    missing = await client.post(f"{OBJECTS}/zip", json={"members": [{"id": "memory:zip/none"}]})
    assert missing.status_code == 404


async def test_an_address_that_is_not_public_is_not_fetched_from(
    client: httpx.AsyncClient,
) -> None:
    own = str(client.base_url.join("/health/live"))
    for url in (
        own,
        "http://[",
        "http://[::1]:1/",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
    ):
        answer = await client.post(f"{OBJECTS}/fetch", json={"url": url})
        assert answer.status_code in {400, 403, 422}, url


async def test_an_address_that_is_allowed_is_fetched_from() -> None:
    async with memory(fetch=FetchConfig(allowed_networks=("127.0.0.1",))) as (client, _):
        await put(client, b"fetched", "memory:files/source.txt", **{"content-type": "text/plain"})
        url = str(client.base_url.join("/v1/objects?id=memory:files/source.txt"))
        answer = await client.post(
            f"{OBJECTS}/fetch", json={"url": url, "target": "memory:files/target.txt"}
        )
        assert answer.status_code == 201, answer.text
        got = await client.get(OBJECTS, params={"id": "memory:files/target.txt"})
        assert got.content == b"fetched"
        small: dict[str, object] = {"url": url, "max_bytes": 3}
        assert (await client.post(f"{OBJECTS}/fetch", json=small)).status_code == 413


async def test_health_needs_no_credentials() -> None:
    async with memory(anonymous=None) as (client, _):
        assert (await client.get("/health/live")).json() == {"status": "ok"}
        assert (await client.get("/health/ready")).json() == {"status": "ok"}
        assert (await client.get(OBJECTS, params=ID)).status_code == 401


async def test_a_backend_that_does_not_work_is_not_ready() -> None:
    storage = {"mounts": {"gateway": {"url": "http://127.0.0.1:9", "connect_timeout_s": 0.5}}}
    async with serving(create_app(open_to_all(storage))) as client:
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
        assert (await client.get("/health/live")).status_code == 200
        status = (await client.get("/v1/admin/status")).json()
        assert status["status"] == "degraded"
        assert status["mounts"][0]["problem"]["code"] == "TransportError"


async def test_an_upload_that_breaks_off_leaves_nothing() -> None:
    async with memory() as (client, driver):
        port = client.base_url.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"PUT /v1/objects?id=memory:files/x HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 1000\r\n\r\n" + b"y" * 500
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        with anyio.fail_after(10):
            while (await client.get("/health/live")).status_code != 200:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert "files" not in driver._containers
        assert not await reader.read()


async def test_a_large_upload_streams_in_and_out_again(client: httpx.AsyncClient) -> None:
    async def content() -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * 65_536

    done = await client.put(OBJECTS, params=ID, content=content())
    assert done.json()["size"] == 64 * 65_536
    received = 0
    async with client.stream("GET", OBJECTS, params=ID) as answer:
        async for chunk in answer.aiter_raw():
            received += len(chunk)
    assert received == 64 * 65_536


async def test_a_shutdown_lets_transfers_finish() -> None:
    driver = MemoryDriver(MemoryConfig("files"))
    size = 8_000_000
    async with serving(create_app(open_to_all(driver))) as client:
        await client.put(OBJECTS, params=ID, content=bytes(size))
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET /v1/objects?id=memory:files/a%20b%2Bc.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")

        async def read() -> int:
            return len(await reader.readexactly(size))

        reading = asyncio.create_task(read())
    # The server has been told to end, and has ended.
    assert await reading == size
    writer.close()


async def test_the_description_is_openapi() -> None:
    async with memory(api_docs=True) as (client, _):
        description = (await client.get("/openapi.json")).json()
    assert description["openapi"].startswith("3.")
    paths = description["paths"]
    assert {"/v1/objects", "/v1/objects/list", "/v1/containers", "/v1/admin/mapping"} <= set(paths)
    assert "id" in json.dumps(paths["/v1/objects"]["get"]["parameters"])


async def test_raw_headers_for_the_backend_are_refused(client: httpx.AsyncClient) -> None:
    options = json.dumps({"extra_headers": {"x-amz-copy-source": "/other/secret"}})
    answer = await put(client, b"x", **{"polystow-options": options})
    assert (answer.status_code, answer.json()["code"]) == (501, "UnsupportedOperationError")
    unknown = await put(client, b"x", **{"polystow-options": '{"overwrites": false}'})
    assert unknown.status_code == 400
    assert "overwrites" in unknown.json()["detail"]
