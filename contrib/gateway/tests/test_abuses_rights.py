"""Abuses: everything that somebody tries with somebody else's files."""

from collections.abc import Generator, Mapping

import httpx
import pytest
from abuses import (
    ADMIN_CALLS,
    CALLS,
    MINE,
    NEW_OBJECTS,
    bearer,
    client_with,
    everything,
    gateway_config,
    store,
)
from fastapi.routing import APIRoute
from serving import serving_in_thread

from polystow_gateway.server import _app

type Stored = Mapping[str, object]
SECRET = b"hunter2"


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving_in_thread(gateway_config()) as url:
        pin = {"polystow-metadata": '{"pin": "hunter3"}'}
        store(url, MINE, b"mine", **pin)
        store(url, "s3:data/other/secret.txt", SECRET, **pin)
        store(url, "s3:data/teammate/x", SECRET)
        store(url, "s3:data/team", SECRET)
        store(url, "s3:private/team/x", SECRET)
        store(url, "other:data/team/x", SECRET)
        yield url


@pytest.fixture(scope="module")
def before(url: str) -> Stored:
    return everything(url)


ALL_SPELLINGS = {"get", "put", "delete", "list", "copy-from", "copy-to", "fetch", "zip"}
ELSEWHERE = [
    "s3:data/other/secret.txt",
    "s3://data/other/secret.txt",
    "s3:ours/other/secret.txt",
    "s3:data/teammate/x",
    "s3:data/team/../other/secret.txt",
    "s3:data/team/./../other/secret.txt",
    "s3:data/team//../other/secret.txt",
    "s3:data/team/..\\other\\secret.txt",
    "s3:data/team/%2e%2e/other/secret.txt",
    "s3:data/team/..%2fother/secret.txt",
    "s3:data//team/../other/secret.txt",
    "s3:data/TEAM/x",
    "s3:data/",
    "s3:private/team/x",
    "s3:team/x",
    "other:data/team/x",
    "other://data/team/x",
    "s3:config/mapping.json",
    "s3:/data/team/x",
    "s3:///data/team/mine.txt",
    "nowhere:data/team/x",
    "data/team/mine.txt",
    "group1/M00/00/00/wKgAAVZ5Y0KAQ0x0AAAAAAAAAAA123.txt",
    "S3:data/team/mine.txt",
    "../../etc/passwd",
    "file:/etc/passwd",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_key_does_nothing_outside_of_its_prefix(url: str, call: str, before: Stored) -> None:
    with client_with(url, "team") as client:
        for target in ELSEWHERE if call in ALL_SPELLINGS else ELSEWHERE[::4]:
            answer = CALLS[call](target).send(client)
            assert answer.status_code in {400, 403, 422}, (target, answer.text)
            assert SECRET not in answer.content
    assert everything(url) == before


@pytest.mark.parametrize("call", CALLS)
def test_nobody_does_anything_without_a_key(url: str, call: str, before: Stored) -> None:
    with client_with(url, None) as client:
        answer = CALLS[call](MINE).send(client)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert everything(url) == before


@pytest.mark.parametrize("call", CALLS)
def test_a_key_without_rights_does_nothing(url: str, call: str) -> None:
    with client_with(url, "nothing") as client:
        assert CALLS[call](MINE).send(client).status_code == 403


def test_every_endpoint_is_in_the_tables_of_abuses() -> None:
    tried = {(call("x").method, call("x").path) for call in CALLS.values()}
    tried |= {(call("x", "y").method, call("x", "y").path) for call in NEW_OBJECTS.values()}
    tried |= {(call.method, call.path) for call in ADMIN_CALLS.values()}
    tried |= {("POST", "/v1/objects/form"), ("GET", "/v1/capabilities")}
    open_to_all = {("GET", "/health/live"), ("GET", "/health/ready")}
    there = {
        (method, route.path)
        for router in _app._ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert there - tried == open_to_all
    assert tried <= there


def test_a_right_to_read_is_one_to_read_alone(url: str) -> None:
    reading = {"get", "head", "content", "info", "zip", "get-tags"}
    with client_with(url, "reader") as client:
        for name, call in CALLS.items():
            if name not in reading:
                assert call(MINE).send(client).status_code == 403, name


@pytest.mark.parametrize("call", NEW_OBJECTS)
def test_new_objects_go_nowhere_else(url: str, call: str, before: Stored) -> None:
    places = [
        ("data", ""),
        ("data", "other"),
        ("data", "teammate"),
        ("data", "team/../other"),
        ("data", "/team/../other"),
        ("data", "team\\..\\other"),
        ("data", "team//other"),
        ("data", ".."),
        ("ours", "other"),
        ("private", "team"),
        ("data/team", ""),
        ("data/team/..", "other"),
        ("data/other", "team"),
        ("..", "team"),
        ("", "team"),
    ]
    with client_with(url, "team") as client:
        for container, folder in places:
            answer = NEW_OBJECTS[call](container, folder).send(client)
            assert answer.status_code in {400, 403, 422}, (container, folder, answer.text)
    assert everything(url) == before


def test_new_objects_of_an_unnamed_container_or_mount_need_the_whole_mount(url: str) -> None:
    with client_with(url, "team") as client:
        for params in (
            {"filename": "a", "folder": "team"},
            {"filename": "a", "folder": "team", "mount": "other", "container": "data"},
            {"filename": "a", "folder": "team", "mount": "nowhere", "container": "data"},
        ):
            assert client.post("/v1/objects", params=params, content=b"x").status_code == 403


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "", "a\\b", "a\x00b", "a\nb"])
def test_a_new_file_can_not_have_a_path_for_its_name(url: str, name: str) -> None:
    with client_with(url, "team") as client:
        for policy in ("unique", "dated", "exact"):
            params = {
                "filename": name, "container": "data", "folder": "team", "key_policy": policy,
            }  # fmt: skip
            answer = client.post("/v1/objects", params=params, content=b"x")
            assert answer.status_code == 400, (name, policy, answer.text)


def send_form(client: httpx.Client, fields: Mapping[str, str], filename: str) -> httpx.Response:
    # httpx itself sends fields before files.
    return client.post("/v1/objects/form", data=fields, files={"file": (filename, b"evil")})


def test_a_form_goes_nowhere_else(url: str, before: Stored) -> None:
    with client_with(url, "team") as client:
        for fields in (
            {"container": "data", "folder": "other"},
            {"container": "data", "folder": "team/../other"},
            {"container": "private", "folder": "team"},
            {"folder": "team"},
            {},
        ):
            assert send_form(client, fields, "a.txt").status_code == 403
        # The name of a file in a form has no folders, whatever the client writes.
        fields = {"container": "data", "folder": "team"}
        answer = send_form(client, fields, "../../other/evil.txt")
        assert answer.status_code == 201
        stored = answer.json()["items"][0]["id"]
        assert stored.startswith("s3://data/team/")
        assert client.delete("/v1/objects", params={"id": stored}).status_code == 204
    assert everything(url) == before


def test_one_forbidden_id_stops_a_batch_before_it_begins(url: str, before: Stored) -> None:
    with client_with(url, "team") as client:
        for path, body in (
            ("delete", {"ids": [MINE, "s3:data/other/secret.txt"]}),
            ("zip", {"members": [{"id": MINE}, {"id": "s3:data/other/secret.txt"}]}),
        ):
            answer = client.post(f"/v1/objects/{path}", json=body)
            assert answer.status_code == 403
            assert answer.headers["content-type"] == "application/problem+json"
        assert everything(url) == before  # MINE, which comes first, is still there


def test_a_listing_shows_nothing_beside_its_prefix(url: str) -> None:
    with client_with(url, "team") as client:
        for prefix in ("s3:", "s3:data", "s3:data/", "s3:data/te", "s3:data/team"):
            answer = client.get("/v1/objects/list", params={"prefix": prefix})
            assert answer.status_code == 403, prefix
        shown = client.get("/v1/objects/list", params={"prefix": "s3:data/team/"}).json()
        assert [item["id"] for item in shown["items"]] == ["s3://data/team/mine.txt"]
        for more in (
            {"start_after": "other/"},
            {"start_after": "../"},
            {"delimiter": "a"},
            {"cursor": "b3RoZXIv"},
            {"cursor": "other/secret"},
        ):
            params = {"prefix": "s3:data/team/", **more}
            answer = client.get("/v1/objects/list", params=params)
            assert "secret" not in answer.text
            assert "teammate" not in answer.text
            assert answer.status_code in {200, 400, 422}


@pytest.mark.parametrize("call", ADMIN_CALLS)
def test_a_key_for_files_administers_nothing(url: str, call: str, before: Stored) -> None:
    for key, status in ((None, 401), ("nothing", 403), ("team", 403), ("bucket", 403)):
        with client_with(url, key) as client:
            assert ADMIN_CALLS[call].send(client).status_code == status, key
    assert everything(url) == before


@pytest.mark.parametrize("call", CALLS)
def test_a_key_for_administration_reaches_no_files(url: str, call: str) -> None:
    if call in {"get-acl", "put-acl"}:
        pytest.skip("who may use an object at the backend is administration")
    with client_with(url, "admin") as client:
        assert CALLS[call](MINE).send(client).status_code == 403


def test_administration_of_one_container_is_not_that_of_its_neighbours(url: str) -> None:
    del url
    from abuses import FILES

    from polystow_gateway.server._access_config import GrantConfig, KeyConfig
    from polystow_gateway.server._keys import new_key

    key, kept = new_key("owner")
    keys = {"owner": KeyConfig(kept, grants=(GrantConfig(("s3:data",), (*FILES, "admin")),))}
    with serving_in_thread(gateway_config(keys=keys)) as own, client_with(own, None) as client:
        client.headers["x-api-key"] = key
        for prefix in ("s3:", "s3:data", "s3:d", ""):
            answer = client.get("/v1/containers", params={"prefix": prefix})
            assert answer.status_code in {400, 403}, prefix
        for target in ("s3:data2", "s3:", "s3:datas", "other:data"):
            answer = client.post("/v1/containers", json={"id": target})
            assert answer.status_code in {400, 403}, target
        for name in ("status", "config", "mapping", "put-mapping"):
            assert ADMIN_CALLS[name].send(client).status_code == 403


def test_the_mapping_is_out_of_reach_of_file_endpoints(url: str) -> None:
    kept = "s3:config/mapping.json"
    with client_with(url, "admin") as client:
        assert client.put("/v1/admin/mapping", json={"enabled": True}).status_code == 200
    for key in ("bucket", "root"):
        with client_with(url, key) as client:
            for name, call in CALLS.items():
                if name in {"list", "versions", "list-uploads", "check"}:
                    continue
                assert call(kept).send(client).status_code in {403, 501}, (key, name)
    with client_with(url, "admin") as client:
        assert client.get("/v1/admin/mapping").json()["enabled"] is True


def test_metadata_of_others_is_not_told(url: str) -> None:
    target = "s3:data/other/secret.txt"
    with client_with(url, "team") as client:
        for name in ("head", "info", "get-tags", "get-acl", "versions"):
            answer = CALLS[name](target).send(client)
            assert answer.status_code == 403
            assert "hunter3" not in answer.text
            assert "polystow-info" not in answer.headers
            assert "etag" not in answer.headers
        # Listing is not reading.
        listed = client.get("/v1/objects/list", params={"prefix": "s3:data/team/"}).json()
        assert "metadata" not in listed["items"][0]
        # Whether there is something is not told either.
        there = client.get("/v1/objects/info", params={"id": target})
        nowhere = client.get("/v1/objects/info", params={"id": "s3:data/other/none"})
        assert there.status_code == nowhere.status_code == 403
        assert there.text.replace("secret.txt", "") == nowhere.text.replace("none", "")


def test_the_api_is_described_to_those_alone_who_shall_know_it(url: str) -> None:
    with client_with(url, "root") as client:
        for path in ("/openapi.json", "/docs", "/redoc", "/docs/oauth2-redirect"):
            assert client.get(path).status_code == 404, path


def test_the_keys_of_the_table_do_work(url: str) -> None:
    with client_with(url, None) as client:
        for key in ("root", "team", "reader", "bucket"):
            answer = client.get("/v1/objects", params={"id": MINE}, headers=bearer(key))
            assert (answer.status_code, answer.content) == (200, b"mine")
