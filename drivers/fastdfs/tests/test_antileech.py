"""URLs with and without tokens: what they say, and whether a server takes them."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    ConfigError,
    InvalidPathError,
    PresignMethod,
    PresignOptions,
    ResponseHeaders,
    UnsupportedOperationError,
    build_config,
    open_storage,
)
from polystow_fastdfs import FastdfsConfig, FileId
from polystow_fastdfs._antileech import file_url, make_token, timestamp_for
from polystow_fastdfs._operations import Operations
from polystow_fastdfs._signing import UrlSigner
from polystow_testing.fastdfs import FastdfsHttpServer, FastdfsServer

if TYPE_CHECKING:
    from conftest import MakeClient

REAL = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
SECRET = "FastDFS1234567890"
NOW = 1_800_000_000


@attrs.define
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(fastdfs_server: FastdfsServer, clock: Clock) -> Iterator[FastdfsHttpServer]:
    with FastdfsHttpServer(fastdfs_server, secret=SECRET, token_ttl_s=900, clock=clock) as site:
        yield site


def config_of(site: FastdfsHttpServer, **options: object) -> FastdfsConfig:
    given = {
        "trackers": ["127.0.0.1:1"],
        "base_urls": {"group1": site.base_url("group1")},
        "anti_leech_secret": site.secret,
        "token_ttl_s": site.token_ttl_s,
        **options,
    }
    return build_config(FastdfsConfig, given)


def signer_of(site: FastdfsHttpServer, clock: Clock, **options: object) -> UrlSigner:
    config = config_of(site, **options)
    assert config.anti_leech_secret is not None
    return UrlSigner(config, config.anti_leech_secret, Operations(), clock)


async def fetch(url: str, method: str = "GET") -> tuple[int, bytes, str | None]:
    """Status, body and Content-Disposition."""

    def ask() -> tuple[int, bytes, str | None]:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
        try:
            connection.request(method, f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers["Content-Disposition"]
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(ask)


# What they say


def test_token_is_the_md5_of_name_secret_and_time() -> None:
    name = "M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
    expected = hashlib.md5(f"{name}{SECRET}{NOW}".encode()).hexdigest()
    assert make_token(name, SECRET, NOW) == expected == expected.lower()


@given(
    now=st.floats(1_000_000_000, 2_000_000_000),
    expires=st.floats(1, 86_400),
    ttl=st.integers(1, 10_000),
)
def test_token_is_old_enough_at_its_expiry_and_not_before(
    now: float, expires: float, ttl: int
) -> None:
    timestamp = timestamp_for(now, expires, ttl)
    # Servers count whole seconds, and refuse what is older than `ttl`.
    assert int(now + expires) - timestamp <= ttl
    assert int(now + expires + 1) + 1 - timestamp > ttl


@pytest.mark.parametrize("expires", [0, -1, 0.5, 10**10])
def test_expiry_that_servers_can_not_count_is_refused(expires: float) -> None:
    with pytest.raises(UnsupportedOperationError, match="expire"):
        timestamp_for(NOW, expires, 900)


def test_url_without_token() -> None:
    urls = {"group1": "https://files.example/a/"}
    file = FileId.parse(REAL)
    assert file_url(urls, file) == "https://files.example/a/" + file.name
    url = file_url(urls, file, attachment="ü b.pdf")
    assert url.endswith("?filename=%C3%BC%20b.pdf")


def test_odd_characters_of_an_extension_are_quoted() -> None:
    file = FileId.parse(REAL.replace("JPG", "a?#"))
    assert file_url({"group1": "http://h"}, file).endswith("237.a%3F%23")


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\r\nSet-Cookie: x", "ü" * 117, "\ud800"])
def test_attachment_name_that_would_be_cut_or_break_out_is_refused(name: str) -> None:
    with pytest.raises(InvalidPathError, match="attachment"):
        file_url({"group1": "http://h"}, FileId.parse(REAL), attachment=name)


def test_group_without_base_url_is_named() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"'group1' has no base URL.*group2"):
        file_url({"group2": "http://h"}, FileId.parse(REAL))


@pytest.mark.parametrize(
    "base_urls",
    [
        {"group1": "ftp://h"},
        {"group1": "h/group1"},
        {"group1": "http://"},
        {"group1": "http://u:p@h/"},
        {"group1": "http://h/?a=b"},
        {"group1": "http://h/#x"},
        {"group1": "http://h /"},
        {"group1": "http://[h"},
        {"a/b": "http://h"},
    ],
)
def test_what_is_no_base_url_is_a_mistake_of_the_configuration(base_urls: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="base_urls"):
        build_config(FastdfsConfig, {"trackers": ["h"], "base_urls": base_urls})


@pytest.mark.parametrize("secret", ["", "x" * 129])
def test_secret_that_servers_would_cut_is_a_mistake_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match="1 to 128 bytes") as caught:
        build_config(FastdfsConfig, {"trackers": ["h"], "anti_leech_secret": secret})
    assert "xxx" not in str(caught.value)


# Whether a server takes them


@pytest.mark.parametrize("expires_s", [1, 60, 900, 86_400])
async def test_signed_url_works_until_it_expires(
    fastdfs_server: FastdfsServer, site: FastdfsHttpServer, clock: Clock, expires_s: int
) -> None:
    path = fastdfs_server.put(b"hello", ext="txt")
    options = PresignOptions("GET", timedelta(seconds=expires_s))
    url = await signer_of(site, clock).presign(path, options)
    assert await fetch(url) == (200, b"hello", None)
    clock.now += expires_s
    assert await fetch(url) == (200, b"hello", None)
    clock.now += 1
    assert (await fetch(url))[0] == 400


async def test_signed_url_works_by_default_for_as_long_as_configured(
    fastdfs_server: FastdfsServer, site: FastdfsHttpServer, clock: Clock
) -> None:
    path = fastdfs_server.put(b"hello")
    signer = signer_of(site, clock, presign_expires_s=100)
    url = await signer.presign(path, PresignOptions("HEAD"))
    assert (await fetch(url, "HEAD"))[0] == 200
    clock.now += 101
    assert (await fetch(url, "HEAD"))[0] == 400


async def test_changed_url_is_refused(
    fastdfs_server: FastdfsServer, site: FastdfsHttpServer, clock: Clock
) -> None:
    one, other = fastdfs_server.put(b"one"), fastdfs_server.put(b"other")
    url = await signer_of(site, clock).presign(one, PresignOptions())
    later = str(int(parse_qs(urlsplit(url).query)["ts"][0]) + 1000)
    ts = parse_qs(urlsplit(url).query)["ts"][0]
    for changed in (
        url.replace(one, other),
        url.replace(f"ts={ts}", f"ts={later}"),
        url.replace(f"ts={ts}", "ts=0"),
        url.partition("?")[0],
        url.partition("&ts")[0],
        url.replace("token=", "token=0"),
    ):
        assert changed != url
        assert (await fetch(changed))[0] == 400
    wrong = signer_of(site, clock, anti_leech_secret="another")
    assert (await fetch(await wrong.presign(one, PresignOptions())))[0] == 400


@pytest.mark.parametrize(
    ("disposition", "sent"),
    [
        ('attachment; filename="a b.pdf"', b"a b.pdf"),
        ("attachment; filename*=UTF-8''%C3%BC%26%3D.pdf", "ü&=.pdf".encode()),
        ("ATTACHMENT; filename=x", b"x"),
    ],
)
async def test_attachment_is_saved_under_the_name_that_was_asked_for(
    fastdfs_server: FastdfsServer,
    site: FastdfsHttpServer,
    clock: Clock,
    disposition: str,
    sent: bytes,
) -> None:
    path = fastdfs_server.put(b"hello")
    response = ResponseHeaders(content_disposition=disposition)
    url = await signer_of(site, clock).presign(path, PresignOptions(response=response))
    status, _, header = await fetch(url)
    assert (status, (header or "").encode("latin-1")) == (200, b'attachment; filename="%s"' % sent)


@pytest.mark.parametrize(
    "response",
    [
        ResponseHeaders(content_type="text/plain"),
        ResponseHeaders(cache_control="no-store"),
        ResponseHeaders(content_disposition="inline"),
        ResponseHeaders(content_disposition="attachment"),
        ResponseHeaders(content_disposition='attachment; filename="a"', content_language="de"),
    ],
)
async def test_headers_that_servers_can_not_send_are_refused(
    site: FastdfsHttpServer, clock: Clock, response: ResponseHeaders
) -> None:
    with pytest.raises(UnsupportedOperationError, match="FastDFS servers") as caught:
        await signer_of(site, clock).presign(REAL, PresignOptions(response=response))
    assert (caught.value.path, caught.value.operation) == (REAL, "presign")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_methods_are_refused(
    site: FastdfsHttpServer, clock: Clock, method: PresignMethod
) -> None:
    with pytest.raises(UnsupportedOperationError, match="GET and HEAD"):
        await signer_of(site, clock).presign(REAL, PresignOptions(method))


async def test_storage_signs_for_a_configured_site(fastdfs_server: FastdfsServer) -> None:
    with FastdfsHttpServer(fastdfs_server, secret=SECRET) as site:
        mount = {
            "trackers": fastdfs_server.trackers,
            "base_urls": {"group1": site.base_url("group1")},
            "anti_leech_secret": SECRET,
        }
        async with open_storage({"mounts": {"fastdfs": mount}, "write_to": "fastdfs"}) as storage:
            storage.require("presign")
            info = await storage.upload("a.txt", b"hello")
            url = await storage.presign(info.uri, expires=timedelta(minutes=1))
            assert await fetch(url) == (200, b"hello", None)
            assert SECRET not in repr(storage)


async def test_plain_url_where_servers_check_no_token(
    make_client: MakeClient, fastdfs_server: FastdfsServer
) -> None:
    with FastdfsHttpServer(fastdfs_server, url_have_group_name=False) as site:
        async with make_client(base_urls={"group1": site.base_url("group1")}) as client:
            assert client.driver.capabilities.presign is None
            info = await client.upload(b"hello", "a.txt")
            assert await fetch(client.driver.url(info.path)) == (200, b"hello", None)
            url = client.driver.url(info.path, attachment="b.txt")
            assert (await fetch(url))[2] == 'attachment; filename="b.txt"'
            with pytest.raises(InvalidPathError, match="no FastDFS id"):
                client.driver.url("bucket/key")
