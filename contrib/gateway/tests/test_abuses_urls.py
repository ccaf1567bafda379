"""Abuses: signed URLs, replayed and altered."""

import time
from collections.abc import Generator
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
import jwt
import pytest
from abuses import (
    FILES,
    MINE,
    SIGNING_SECRET,
    TOKEN_SECRET,
    client_with,
    everything,
    gateway_config,
    store,
)
from serving import serving_in_thread

from polystow import Secret
from polystow_gateway.server._access_config import (
    GrantConfig,
    RoleConfig,
    ServerConfig,
    SigningConfig,
)
from polystow_gateway.server._signed_urls import SignedUrl, sign

PUBLIC = "https://files.example.org/prefix"
ROLES = {"team": RoleConfig((GrantConfig(("s3:data/team/",), FILES),))}
CONFIG = gateway_config(
    public_url=PUBLIC, roles=ROLES, server=ServerConfig(trusted_proxies=("127.0.0.1",))
)


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving_in_thread(CONFIG) as url:
        store(url, MINE, b"mine")
        store(url, "s3:data/team/other", b"other")
        yield url


def signed(url: str, method: str = "GET", key: str = "team", **options: object) -> httpx.URL:
    """A signed URL for `MINE`, as it reaches the gateway behind its proxy."""
    body = {"id": MINE, "options": {"method": method, **options}}
    with client_with(url, key) as client:
        answer = client.post("/v1/objects/presign", json=body)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["url"]
    assert text.startswith(f"{PUBLIC}/v1/objects?")
    return httpx.URL(url + text.removeprefix(PUBLIC))


def made(url: str, **changes: object) -> httpx.URL:
    """A URL signed by whoever has the signing key."""
    what = {
        "method": "GET",
        "target": "s3://data/team/mine.txt",
        "expires": int(time.time()) + 60,
        "signer": "key:team",
        "ip": None,
        "query": (),
        **changes,
    }
    text = sign(SignedUrl(**what), PUBLIC, "one", Secret(SIGNING_SECRET))  # type: ignore[arg-type]
    return httpx.URL(url + text.removeprefix(PUBLIC))


def send(url: httpx.URL, method: str = "GET", **headers: str) -> httpx.Response:
    content = b"evil" if method in {"PUT", "POST"} else None
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with client_with("", None) as client:
        return client.request(method, url, content=content, headers=names)


def altered_to(url: httpx.URL, query: list[tuple[str, str]]) -> httpx.URL:
    return url.copy_with(query=urlencode(query, quote_via=quote).encode())


def test_a_signed_url_does_what_it_is_for_whatever_the_host_header_says(url: str) -> None:
    answer = send(signed(url), host="evil.example.org")
    assert (answer.status_code, answer.content) == (200, b"mine")
    assert send(signed(url), "HEAD").status_code == 200
    assert send(made(url)).status_code == 200


def test_each_altered_part_makes_a_url_invalid(url: str) -> None:
    before = everything(url)
    for method in ("GET", "PUT", "DELETE"):
        right = signed(url, method)
        parameters = parse_qsl(right.query.decode(), keep_blank_values=True)
        others = {
            "id": "s3://data/team/other",
            "x-polystow-method": "DELETE" if method != "DELETE" else "PUT",
            "x-polystow-expires": str(int(time.time()) + 99_999),
            "x-polystow-key": "two",
            "x-polystow-signer": "key:root",
            "x-polystow-signature": "A" * 43,
        }
        assert {name for name, _ in parameters} == set(others)
        for index, (name, value) in enumerate(parameters):
            for altered in (
                [(name, others[name])],
                [(name, f"{value}x")],
                [(name, "")],
                [(name.upper(), value)],
                [],
                [(name, value), (name, others[name])],
                [(name, others[name]), (name, value)],
            ):
                query = parameters[:index] + altered + parameters[index + 1 :]
                answer = send(altered_to(right, query), method)
                assert answer.status_code in {400, 401, 422}, (name, altered)
        for more in (("version", "1"), ("content_type", "text/html"), ("x-polystow-ip", "::1")):
            assert send(altered_to(right, [*parameters, more]), method).status_code == 401, more
    assert everything(url) == before


def test_a_url_is_for_one_method(url: str) -> None:
    before = everything(url)
    for method, allowed in (("GET", {"GET", "HEAD"}), ("PUT", {"PUT"}), ("DELETE", {"DELETE"})):
        right = signed(url, method)
        for other in {"GET", "HEAD", "PUT", "DELETE", "POST"} - allowed:
            assert send(right, other).status_code in {401, 405, 422}, (method, other)
    assert everything(url) == before


def test_a_url_is_for_one_endpoint(url: str) -> None:
    right = signed(url)
    for path in ("/v1/objects/info", "/v1/objects/content", "/v1/objects/tags", "/v1/capabilities"):
        assert send(right.copy_with(path=path)).status_code == 401, path
    put = signed(url, "PUT")
    for path in ("/v1/objects/append", "/v1/objects/truncate", "/v1/objects/presign"):
        assert send(put.copy_with(path=path), "POST").status_code in {401, 422}, path


def test_a_url_that_is_replayed_after_its_end_opens_nothing(url: str) -> None:
    for ago in (1, 3600):
        assert send(made(url, expires=int(time.time()) - ago)).status_code == 401
    assert send(made(url, expires=0)).status_code == 401


def test_how_long_a_url_works_is_limited(url: str) -> None:
    for seconds in (0, -1, 604_801, 1e12, 1e300):
        body = {"id": MINE, "options": {"expires": seconds}}
        with client_with(url, "team") as client:
            answer = client.post("/v1/objects/presign", json=body)
        assert answer.status_code in {400, 422}, seconds


def test_a_url_for_one_address_is_for_no_other(url: str) -> None:
    one = made(url, ip="192.0.2.7")
    assert send(one, x_forwarded_for="192.0.2.7").status_code == 200
    assert send(one, x_forwarded_for="::ffff:192.0.2.7").status_code == 200
    assert send(one, x_forwarded_for="192.0.2.8").status_code == 401
    assert send(one, x_forwarded_for="192.0.2.7, 192.0.2.8").status_code == 401
    assert send(one).status_code == 401
    assert send(made(url, ip="nonsense")).status_code == 401


def test_a_url_of_another_gateway_or_key_is_none(url: str) -> None:
    what = SignedUrl("GET", "s3://data/team/mine.txt", int(time.time()) + 60, "key:team")
    for base, key, secret in (
        ("https://other.example.org", "one", SIGNING_SECRET),
        ("", "one", SIGNING_SECRET),
        (PUBLIC, "one", "another secret of at least 32 bytes."),
        (PUBLIC, "two", SIGNING_SECRET),
        (PUBLIC, "two", ""),
    ):
        text = sign(what, base, key, Secret(secret))
        assert send(httpx.URL(url + text.removeprefix(base))).status_code == 401


def test_a_signed_url_needs_the_rights_of_its_signer_and_for_its_method(url: str) -> None:
    with client_with(url, "reader") as client:
        body = {"id": MINE, "options": {"method": "PUT"}}
        assert client.post("/v1/objects/presign", json=body).status_code == 403
        assert client.post("/v1/objects/presign", json={"id": MINE}).status_code == 403
    with client_with(url, "team") as client:
        for target in ("s3:data/other/x", "other:data/team/x", "s3:data/team/../x"):
            assert client.post("/v1/objects/presign", json={"id": target}).status_code == 403
    assert send(made(url, signer="key:reader")).status_code == 403  # may read, and not sign
    for signer in ("key:nothing", "key:nobody", "key:expired", "anonymous", "root", "", "url:x"):
        assert send(made(url, signer=signer)).status_code in {401, 403}, signer


def test_a_url_dies_with_the_key_that_signed_it(url: str) -> None:
    keys = {name: key for name, key in CONFIG.keys.items() if name != "team"}
    from attrs import evolve

    with serving_in_thread(evolve(CONFIG, keys=keys)) as later:
        store(later, MINE, b"mine")
        right = signed(url)
        assert send(right).status_code == 200
        moved = httpx.URL(later + str(right).removeprefix(url))
        assert send(moved).status_code == 401
    signing = SigningConfig({"new": Secret("n" * 32)}, "new")
    with serving_in_thread(evolve(CONFIG, signing=signing)) as later:
        store(later, MINE, b"mine")
        assert send(httpx.URL(later + str(signed(url)).removeprefix(url))).status_code == 401


def test_a_url_ends_with_the_token_that_signed_it(url: str) -> None:
    end = int(time.time()) + 100
    claims = {"exp": end, "aud": "files", "sub": "john", "roles": "team"}
    text = jwt.encode(claims, TOKEN_SECRET, "HS256")
    with client_with(url, None) as client:
        client.headers["authorization"] = f"Bearer {text}"
        body = {"id": MINE, "options": {"expires": 3600}}
        answer = client.post("/v1/objects/presign", json=body)
    assert answer.status_code == 200
    query = dict(parse_qsl(urlsplit(answer.json()["url"]).query))
    assert int(query["x-polystow-expires"]) <= end
    assert send(httpx.URL(url + answer.json()["url"].removeprefix(PUBLIC))).content == b"mine"


def test_a_signed_put_writes_its_own_object_alone(url: str) -> None:
    target = "s3:data/team/put.txt"
    with client_with(url, "team") as client:
        options = {"method": "PUT", "content_type": "text/plain"}
        body = {"id": target, "options": options}
        text = client.post("/v1/objects/presign", json=body).json()["url"]
        right = httpx.URL(url + text.removeprefix(PUBLIC))
        assert send(right, "PUT", content_type="text/html").status_code == 403
        assert send(right, "PUT", content_type="text/plain").status_code == 200
        assert client.delete("/v1/objects", params={"id": target}).status_code == 204


def test_a_signature_without_a_signing_key_opens_nothing(url: str) -> None:
    del url
    with serving_in_thread(gateway_config(signing=None)) as own:
        store(own, MINE, b"mine")
        assert send(made(own)).status_code == 401
        with client_with(own, "team") as client:
            answer = client.post("/v1/objects/presign", json={"id": MINE})
            assert answer.status_code == 501
