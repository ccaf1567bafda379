"""Abuses at RefStore's paths, where RefStore itself lets everybody in."""

import socket
from collections.abc import Generator, Mapping

import httpx
import pytest
from abuses import (
    KEYS,
    MINE,
    REFSTORE_ADMIN_CALLS,
    REFSTORE_CALLS,
    client_with,
    everything,
    gateway_config,
    store,
)
from fastapi.routing import APIRoute
from serving import serving_in_thread

from polystow_gateway.server import _refstore_api

type Stored = Mapping[str, object]
SECRET = b"hunter2"
ELSEWHERE = [
    "s3://data/other/secret.txt",
    "s3:ours/other/secret.txt",
    "s3://data/team/../other/secret.txt",
    "s3://data/team/%2e%2e/other/secret.txt",
    "s3://data/teammate/x",
    "s3://data/",
    "s3://private/team/x",
    "other://data/team/x",
    "s3://config/mapping.json",
    "data/team/mine.txt",
    "",
]


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    config = gateway_config(refstore_paths=True, default_container="data")
    with serving_in_thread(config) as url:
        store(url, MINE, b"mine", **{"content-type": "text/html"})
        store(url, "s3:data/other/secret.txt", SECRET)
        store(url, "s3:data/teammate/x", SECRET)
        store(url, "s3:private/team/x", SECRET)
        yield url


@pytest.fixture(scope="module")
def before(url: str) -> Stored:
    return everything(url)


@pytest.mark.parametrize("call", REFSTORE_CALLS)
def test_nobody_and_no_other_key_reaches_a_file(url: str, call: str, before: Stored) -> None:
    for key, status in ((None, {401}), ("nothing", {403}), ("admin", {403})):
        with client_with(url, key) as client:
            assert REFSTORE_CALLS[call](MINE).send(client).status_code in status
    with client_with(url, "team") as client:
        for target in ELSEWHERE:
            answer = REFSTORE_CALLS[call](target).send(client)
            assert answer.status_code in {400, 403}, (target, answer.text)
            assert SECRET not in answer.content
    assert everything(url) == before


def test_one_forbidden_uri_stops_a_deletion_before_it_begins(url: str, before: Stored) -> None:
    with client_with(url, "team") as client:
        uris = {"uris": [MINE, "s3://data/other/secret.txt"]}
        assert client.request("DELETE", "/delete", json=uris).status_code == 403
    assert everything(url) == before


@pytest.mark.parametrize("call", REFSTORE_ADMIN_CALLS)
def test_a_key_for_files_administers_nothing(url: str, call: str, before: Stored) -> None:
    for key, status in ((None, 401), ("nothing", 403), ("team", 403), ("bucket", 403)):
        with client_with(url, key) as client:
            assert REFSTORE_ADMIN_CALLS[call].send(client).status_code == status, key
    assert everything(url) == before


def upload(client: httpx.Client, filename: str = "a.txt", **fields: str) -> httpx.Response:
    files = {"file": (filename, b"evil", "text/html")}
    return client.post("/upload", data=fields, files=files)


def test_an_upload_goes_nowhere_else(url: str, before: Stored) -> None:
    for key, status in ((None, 401), ("nothing", 403), ("reader", 403)):
        with client_with(url, key) as client:
            assert upload(client, logic_bucket="data", path="team").status_code == status
    with client_with(url, "team") as client:
        for fields in (
            {},
            {"path": "other"},
            {"path": "team/../other"},
            {"path": "/team/../other"},
            {"path": "team//../other"},
            {"path": ".."},
            {"path": "teammate"},
            {"path": "team", "logic_bucket": "private"},
            {"path": "team", "logic_bucket": "config"},
            {"path": "other", "logic_bucket": "ours"},
            {"path": "team", "logic_bucket": "data/other"},
            {"path": "team", "logic_bucket": "data/team/.."},
        ):
            assert upload(client, **fields).status_code in {400, 403, 422}, fields
        for name in ("..", ".", "../other/secret.txt", "..\\..\\other\\secret.txt", "/etc/passwd"):
            answer = upload(client, name, path="team")
            if answer.status_code == 200:
                stored = answer.json()["uri"]
                assert stored.startswith("s3://data/team/"), name
                assert client.request("DELETE", "/delete", json={"uris": [stored]}).is_success
    assert everything(url) == before


def test_who_may_write_nowhere_makes_the_gateway_keep_nothing(url: str) -> None:
    port = httpx.URL(url).port
    assert port is not None
    for key in ("reader", "nothing", "admin"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            head = (
                "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\nExpect: 100-continue\r\n"
                f"X-API-Key: {KEYS[key]}\r\n\r\n"
            )
            sock.sendall(head.encode())
            assert sock.recv(65_536).startswith(b"HTTP/1.1 403 ")  # before any of the body


def test_a_listing_shows_nothing_beside_its_prefix(url: str) -> None:
    with client_with(url, None) as client:
        assert client.get("/list").status_code == 401
    with client_with(url, "team") as client:
        for params in (
            {},
            {"prefix": "te"},
            {"prefix": "team"},
            {"prefix": "other/"},
            {"prefix": "team/../"},
            {"prefix": "team/", "logic_bucket": "private"},
            {"prefix": "/team/"},
        ):
            answer = client.get("/list", params=params)
            assert answer.status_code in {400, 403}, (params, answer.text)
        files = client.get("/list", params={"prefix": "team/"}).json()["files"]
        assert [file["object_name"] for file in files] == ["team/mine.txt"]


def test_what_is_downloaded_is_never_run(url: str) -> None:
    with client_with(url, "team") as client:
        answer = client.get("/download", params={"uri": MINE})
        assert answer.content == b"mine"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_endpoint_of_refstores_is_tried() -> None:
    tried = {(call("x").method, call("x").path) for call in REFSTORE_CALLS.values()}
    tried |= {(call.method, call.path) for call in REFSTORE_ADMIN_CALLS.values()}
    tried |= {("POST", "/upload"), ("GET", "/list")}
    there = {
        (method, route.path.replace("{name}", "data"))
        for route in _refstore_api.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert there - tried == {("GET", "/"), ("GET", "/health")}
    assert tried <= there


def test_without_the_switch_the_paths_are_not_there() -> None:
    with serving_in_thread(gateway_config()) as own, client_with(own, "root") as client:
        for call in (*REFSTORE_ADMIN_CALLS.values(), REFSTORE_CALLS["download"](MINE)):
            assert call.send(client).status_code == 404
