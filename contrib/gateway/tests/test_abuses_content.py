"""Abuses: stored HTML, names that want to be headers, URLs to fetch, bodies, talkative errors."""

import json
import logging
import socket
import threading
import time
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import httpx
import pytest
from abuses import FILES, KEYS, MINE, client_with, gateway_config, store
from serving import serving_in_thread

from polystow_gateway.server._access_config import (
    AllowanceConfig,
    GrantConfig,
    KeyConfig,
    LimitsConfig,
)
from polystow_gateway.server._config import FetchConfig
from polystow_gateway.server._keys import new_key

ACTIVE = [
    "text/html",
    "TEXT/HTML; charset=utf-8",
    "text/html;a=b",
    "image/svg+xml",
    "application/xhtml+xml",
    "text/xml",
    "application/xml",
    "application/javascript",
    "text/javascript",
    "application/pdf",
    "application/atom+xml",
]


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving_in_thread(gateway_config()) as url:
        store(url, MINE, b"mine")
        yield url


@pytest.mark.parametrize("kind", ACTIVE)
def test_stored_html_is_never_shown_in_the_gateways_name(url: str, kind: str) -> None:
    target = "s3:data/team/page.html"
    store(url, target, b"<script>alert(1)</script>", **{"content-type": kind})
    with client_with(url, "team") as client:
        for params in (
            {},
            {"content_disposition": "inline"},
            {"content_type": kind, "content_disposition": "inline"},
            {"content_type": "text/html", "content_disposition": 'inline; filename="a.html"'},
        ):
            answer = client.get("/v1/objects", params={"id": target, **params})
            assert answer.status_code == 200
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in answer.headers["content-security-policy"]
        ranged = client.get(
            "/v1/objects", params={"id": target}, headers={"range": "bytes=0-3,5-6"}
        )
        assert ranged.status_code == 206
        assert ranged.headers["content-disposition"].startswith("attachment")
        raw = client.get("/v1/objects/content", params={"id": target})
        assert raw.headers["content-type"] == "application/octet-stream"
        assert raw.headers["x-content-type-options"] == "nosniff"


def test_what_is_sent_as_harmless_is_not_sniffed(url: str) -> None:
    target = "s3:data/team/pic.png"
    store(url, target, b"<script>alert(1)</script>", **{"content-type": "image/png"})
    with client_with(url, "team") as client:
        params = {"id": target, "content_disposition": "inline"}
        answer = client.get("/v1/objects", params=params)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "evil",
    [
        "a\r\nSet-Cookie: x=1",
        "a\nX-Evil: 1",
        "a\rX-Evil: 1",
        'a"; x="',
        "ü\u2028\u202e.txt",
        "\x00",
    ],
)
def test_names_and_metadata_add_no_headers(url: str, evil: str) -> None:
    target = "s3:data/team/named"
    headers = {"cache_control": evil, "content_encoding": evil, "content_language": evil}
    options = {
        "filename": evil,
        "content_type": evil,
        "metadata": {"note": evil},
        "headers": headers,
    }
    with client_with(url, "team") as client:
        written = client.put(
            "/v1/objects",
            params={"id": target},
            content=b"x",
            headers={"polystow-options": json.dumps(options)},
        )
        assert written.status_code in {200, 400}, written.text
        for params in (
            {},
            {"content_disposition": f"attachment; filename={evil}"},
            {"content_disposition": evil},
            {"content_type": evil},
            {"cache_control": evil},
        ):
            for path in ("", "/content", "/info"):
                answer = client.get(f"/v1/objects{path}", params={"id": target, **params})
                assert answer.status_code in {200, 400, 404, 422}, (path, params, answer.text)
                assert not {"set-cookie", "x-evil"} & answer.headers.keys()
        key = f"s3:data/team/{evil}"
        if client.put("/v1/objects", params={"id": key}, content=b"x").status_code == 200:
            answer = client.get("/v1/objects", params={"id": key})
            assert answer.status_code == 200
            assert not {"set-cookie", "x-evil"} & answer.headers.keys()


def test_requests_to_the_backend_take_no_headers_from_clients(url: str) -> None:
    options = {"extra_headers": {"x-amz-acl": "public-read"}}
    with client_with(url, "team") as client:
        answer = client.put(
            "/v1/objects",
            params={"id": MINE},
            content=b"x",
            headers={"polystow-options": json.dumps(options)},
        )
        assert answer.status_code in {400, 501}


class _Inside(BaseHTTPRequestHandler):
    """A server that only the gateway's own machine reaches."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hunter2")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextmanager
def inside() -> Generator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Inside)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_no_url_leads_into_the_gateways_own_network(url: str) -> None:
    _Inside.asked = 0
    with inside() as port, client_with(url, "team") as client:
        for host in (
            "127.0.0.1",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::]",
            "[64:ff9b::7f00:1]",
            "user:pass@127.0.0.1",
            "127.0.0.1.",
        ):
            body = {"url": f"http://{host}:{port}/x.txt", "target": "s3:data/team/fetched"}
            answer = client.post("/v1/objects/fetch", json=body)
            assert 400 <= answer.status_code < 600
            assert "hunter2" not in answer.text
        for bad in (
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            "gopher://127.0.0.1/x",
            "s3:data/other/x",
            "//127.0.0.1/x",
            "http://",
            "http://[",
            "http://a b/",
            "http://127.0.0.1\r\nX: y/",
            "",
        ):
            for target in (
                "s3:data/team/fetched",
                {"filename": "x", "folder": "team", "container": "data"},
            ):
                answer = client.post("/v1/objects/fetch", json={"url": bad, "target": target})
                assert answer.status_code in {400, 403, 422}, (bad, answer.text)
        assert client.get("/v1/objects", params={"id": "s3:data/team/fetched"}).status_code == 404
    assert _Inside.asked == 0


def test_a_client_can_not_widen_what_may_be_fetched(url: str) -> None:
    _Inside.asked = 0
    with inside() as port, client_with(url, "team") as client:
        networks = ["127.0.0.0/8"]
        for more in ("allowed_networks", "rules", "headers"):
            body = {"url": f"http://127.0.0.1:{port}/", "target": "s3:data/team/x", more: networks}
            assert client.post("/v1/objects/fetch", json=body).status_code == 400
    assert _Inside.asked == 0


def test_what_the_configuration_allows_is_fetched() -> None:
    _Inside.asked = 0
    config = gateway_config(fetch=FetchConfig(allowed_networks=("127.0.0.0/8",)))
    with inside() as port, serving_in_thread(config) as own, client_with(own, "team") as client:
        body = {"url": f"http://127.0.0.1:{port}/x.txt", "target": "s3:data/team/fetched"}
        assert client.post("/v1/objects/fetch", json=body).status_code == 201
        fetched = client.get("/v1/objects", params={"id": "s3:data/team/fetched"})
        assert fetched.content == b"hunter2"
    assert _Inside.asked == 1


def test_a_body_is_no_larger_than_its_key_may_send(url: str) -> None:
    del url
    key, kept = new_key("small")
    small = KeyConfig(
        kept,
        grants=(GrantConfig(("s3:data/team/",), FILES),),
        allowance=AllowanceConfig(max_size_bytes=1000),
    )
    config = gateway_config(
        limits=LimitsConfig(max_size_bytes=5000, requests_per_s=1e6, burst=10**6),
        keys={**gateway_config().keys, "small": small},
    )
    with serving_in_thread(config) as own, client_with(own, None) as client:

        def chunks(size: int) -> Iterator[bytes]:
            for _ in range(size // 100):
                yield b"x" * 100

        for given, limit in ((key, 1000), (KEYS["team"], 5000)):
            client.headers["x-api-key"] = given
            large = {"id": "s3:data/team/large"}
            for content in (b"x" * (limit + 1), chunks(limit + 100)):
                answer = client.put("/v1/objects", content=content, params=large)
                assert answer.status_code == 413
            form = {"container": "data", "folder": "team"}
            files = {"file": ("a", b"x" * (limit + 1))}
            assert client.post("/v1/objects/form", data=form, files=files).status_code == 413
            assert client.get("/v1/objects", params=large).status_code == 404  # nothing is left
            assert client.put("/v1/objects", content=chunks(limit), params=large).status_code == 200
            assert client.delete("/v1/objects", params=large).status_code == 204


def test_documents_are_limited_before_they_are_parsed(url: str) -> None:
    with client_with(url, "team") as client:
        for path in ("delete", "zip", "copy", "presign"):
            large = b'{"ids": ["' + b"x" * 5_000_000 + b'"]}'
            answer = client.post(f"/v1/objects/{path}", content=large)
            assert answer.status_code == 413, path
            for bad in (
                b"[" * 100_000,
                b"{",
                b"\xff",
                b"null",
                b"[]",
                b'{"ids": 1}',
                b"NaN",
                b"1e999",
            ):
                answer = client.post(f"/v1/objects/{path}", content=bad)
                assert answer.status_code == 400, (path, bad[:10], answer.text)


def test_a_slow_body_is_cut_off_and_leaves_nothing() -> None:
    limits = LimitsConfig(idle_timeout_s=0.3, requests_per_s=1e6, burst=10**6)
    with serving_in_thread(gateway_config(limits=limits)) as own:
        port = httpx.URL(own).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            head = (
                "PUT /v1/objects?id=s3:data/team/slow HTTP/1.1\r\nHost: x\r\n"
                f"X-API-Key: {KEYS['team']}\r\nContent-Length: 100\r\n\r\nabc"
            )
            sock.sendall(head.encode())
            answer = b""
            while chunk := sock.recv(65_536):
                answer += chunk
        assert b" 408 " in answer
        with client_with(own, "team") as client:
            assert client.get("/v1/objects", params={"id": "s3:data/team/slow"}).status_code == 404


def test_an_upload_whose_client_leaves_is_none_and_is_told_of(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polystow.audit")
    port = httpx.URL(url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        head = (
            "PUT /v1/objects?id=s3:data/team/left HTTP/1.1\r\nHost: x\r\n"
            f"X-API-Key: {KEYS['team']}\r\nContent-Length: 100\r\n\r\nabc"
        )
        sock.sendall(head.encode())
    told = audited(caplog, 1)[0]
    assert (told["outcome"], told["received_bytes"]) == ("aborted", 3)
    with client_with(url, "team") as client:
        assert client.get("/v1/objects", params={"id": "s3:data/team/left"}).status_code == 404


def test_who_has_too_many_transfers_waits_and_others_do_not() -> None:
    limits = LimitsConfig(max_transfers_per_key=1, requests_per_s=1e6, burst=10**6)
    with serving_in_thread(gateway_config(limits=limits)) as own:
        port = httpx.URL(own).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            head = (
                "PUT /v1/objects?id=s3:data/team/held HTTP/1.1\r\nHost: x\r\n"
                f"X-API-Key: {KEYS['team']}\r\nContent-Length: 4\r\n"
                "Expect: 100-continue\r\n\r\n"
            )
            sock.sendall(head.encode())
            assert b" 100 " in sock.recv(65_536)  # it is being received
            with client_with(own, "team") as client:
                busy = client.put("/v1/objects", params={"id": MINE}, content=b"x")
                assert busy.status_code == 429
                assert int(busy.headers["retry-after"]) >= 1
                assert client.get("/v1/objects", params={"id": MINE}).status_code == 429
                assert client.get("/v1/objects/info", params={"id": MINE}).status_code == 404
            store(own, MINE, b"by another key")
            sock.sendall(b"held")
            assert b" 200 " in sock.recv(65_536)
        with client_with(own, "team") as client:
            assert client.get("/v1/objects", params={"id": MINE}).status_code == 200


def test_a_zip_can_not_leave_the_folder_it_is_unpacked_in(url: str) -> None:
    names = ["../evil", "/etc/passwd", "C:\\evil", "a/../../evil", "..\\evil", "a\x00b"]
    with client_with(url, "team") as client:
        members = [{"id": MINE, "name": name} for name in names]
        answer = client.post("/v1/objects/zip", json={"members": members, "filename": "a\r\nX: y"})
        assert answer.status_code in {200, 422}
        assert "x" not in answer.headers
        if answer.status_code == 200:
            for name in zipfile.ZipFile(BytesIO(answer.content)).namelist():
                assert ".." not in name.split("/")
                assert not name.startswith(("/", "C:"))
                assert "\\" not in name


def test_errors_tell_neither_secrets_nor_how_they_came_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    storage = {
        "mounts": {
            "fastdfs": {
                "trackers": [f"127.0.0.1:{port}"],
                "connect_timeout_s": 0.5,
                "request": {"attempts": 1},
            }
        }
    }
    key, kept = new_key("team")
    keys = {"team": KeyConfig(kept, grants=(GrantConfig(("*",), FILES),))}
    config = gateway_config(
        storage=storage, write_to=None, keys=keys, mapping=None, tokens=None, signing=None
    )
    with serving_in_thread(config) as own, client_with(own, None) as client:
        client.headers["x-api-key"] = key
        target = "fastdfs:group1/M00/00/00/wKgAAVZ5Y0KAQ0x0AAAAAAAAAAA123.txt"
        answers = [
            client.get("/v1/objects", params={"id": target}),
            client.get("/v1/objects/info", params={"id": target}),
            client.post("/v1/objects", params={"filename": "a"}, content=b"x"),
            client.get("/health/ready"),
        ]
        for answer in answers:
            assert answer.status_code in {500, 503}
            for told in (str(port), "Traceback", "ConnectionRefused", "/site-packages/", key[-64:]):
                assert told not in answer.text
                assert told not in str(answer.headers)
        for wrong in (
            client.get("/v1/objects", params={"id": MINE}, headers={"x-api-key": key + "0"}),
            client.get("/nowhere"),
            client.post("/v1/objects/copy", content=f'{{"source": "{key}"'),
            client.get("/v1/objects", params={"id": "\ud800".encode("utf-8", "surrogatepass")}),
            client.get("/v1/objects?id=%ff%fe"),
            client.get("/v1/objects", params={"id": f"s3:{'x' * 5000}"}),
        ):
            assert 400 <= wrong.status_code < 500
            assert key[-64:] not in wrong.text
    assert key[-64:] not in caplog.text
    assert kept not in caplog.text


def audited(caplog: pytest.LogCaptureFixture, count: int) -> list[dict[str, Any]]:
    """The audit's lines, when there are so many: each is written after its answer."""
    deadline = time.monotonic() + 10
    while len(caplog.records) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [json.loads(record.getMessage()) for record in caplog.records]


def test_the_audit_tells_who_did_what_and_no_secret(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polystow.audit")
    with client_with(url, "team") as client:
        body = {"id": MINE}
        signed = client.post("/v1/objects/presign", json=body).json()["url"]
        evil = "s3:data/other/\n{}\x1b[31m"
        audited(caplog, 1)
        client.get("/v1/objects", params={"id": evil})
        audited(caplog, 2)
    with client_with(url, None) as client:
        client.get("/v1/objects" + signed.partition("/v1/objects")[2])
        audited(caplog, 3)
        client.get("/v1/objects", headers={"x-api-key": KEYS["team"][:-1]}, params={"id": MINE})
    told = audited(caplog, 4)
    text = "".join(record.getMessage() for record in caplog.records)
    assert text.isprintable()
    for secret in (KEYS["team"][-64:-1], httpx.URL(signed).params["x-polystow-signature"]):
        assert secret not in text
    assert [(one["identity"], one["outcome"], one["signed_url"]) for one in told] == [
        ("key:team", "ok", False),
        ("key:team", "denied", False),
        ("key:team", "ok", True),
        (None, "denied", False),
    ]
    assert told[0]["actions"] == ["read", "presign"]
    assert told[2]["targets"] == ["s3://data/team/mine.txt"]
    assert told[2]["sent_bytes"] == 4


def test_a_configuration_with_secrets_does_not_show_them() -> None:
    config = gateway_config()
    assert "the secret of" not in repr(config)
