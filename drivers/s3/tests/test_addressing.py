"""Where requests go: the three ways to name a bucket, TLS, proxies, and what the URL may say."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from anyio import to_thread
from s3_raw import RawServer, Reply, Seen

from polystow import (
    BytesBody,
    ConfigError,
    DriverContext,
    InvalidPathError,
    PresignOptions,
    RequestPolicy,
    Secret,
    StatOptions,
    TransportError,
    WriteOptions,
    open_storage,
)
from polystow_s3 import SPEC, S3Config
from polystow_s3._addressing import is_loopback
from polystow_testing.s3 import Credentials, DiskS3Server
from polystow_testing.s3._signatures import check_signature

PRESIGN = PresignOptions()

type Open = Callable[..., AbstractAsyncContextManager[Any]]


def found(_: Seen) -> Reply:
    return Reply(200, b"", {"ETag": '"e"'})


@pytest.fixture
def plain() -> Iterator[RawServer]:
    """A server that has everything, and remembers what it was asked."""
    with RawServer(found) as server:
        yield server


def asked(server: RawServer) -> tuple[str, str]:
    """Host and path of the last request."""
    seen = server.seen[-1]
    return seen.headers["host"].partition(":")[0], seen.target.partition("?")[0]


def open_url(url: str) -> None:
    with urlopen(url, timeout=10):
        pass


# The bucket


@pytest.mark.parametrize(
    ("form", "host", "target"),
    [
        ("http://key:secret@{}", "127.0.0.1", "/bucket/a%20b"),
        ("http://key:secret@{}/bucket", "127.0.0.1", "/bucket/a%20b"),
        ("http://key:secret@bucket.localhost:{port}?addressing_style=host", "bucket.localhost",
         "/a%20b"),
        ("http://key:secret@localhost:{port}/bucket?addressing_style=virtual", "bucket.localhost",
         "/bucket/a%20b".removeprefix("/bucket")),
        ("s3://key:secret@{}/bucket?tls=false", "127.0.0.1", "/bucket/a%20b"),
    ],
)  # fmt: skip
async def test_each_form_of_url_names_the_bucket(
    plain: RawServer, open_s3: Open, form: str, host: str, target: str, localhost: None
) -> None:
    url = form.format(plain.netloc, port=plain.netloc.partition(":")[2])
    config = S3Config.from_url(url, region="us-east-1")
    options = {
        name: getattr(config, name)
        for name in ("endpoint", "default_bucket", "addressing_style", "access_key_id")
    }
    async with open_s3(plain, **options) as driver:
        await driver.stat("bucket/a b", StatOptions())
    assert asked(plain) == (host, target)


@pytest.fixture
def localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below `localhost` are this machine, as RFC 6761 says; not every resolver knows it."""
    import socket

    if os.environ.get("POLYSTOW_LOOP") == "uvloop":
        pytest.skip("uvloop asks the system's resolver by itself")
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        known = isinstance(name, str) and name.endswith("localhost")
        return real("127.0.0.1" if known else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


async def test_a_bucket_in_the_host_is_all_that_there_is(plain: RawServer, open_s3: Open) -> None:
    async with open_s3(plain, addressing_style="host", default_bucket="bucket") as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        assert asked(plain)[1] == "/k"
        with pytest.raises(ConfigError, match="host is the bucket 'bucket'"):
            await driver.stat("other/k", StatOptions())
        with pytest.raises(ConfigError, match="host is the bucket 'bucket'"):
            await driver.object_url("other/k")
    assert len(plain.seen) == 1


async def test_requests_to_a_bucket_in_the_host_are_signed_as_they_are_sent(
    open_s3: Open,
) -> None:
    known = Credentials("key", "secret")
    refused: list[str | None] = []

    def check(seen: Seen) -> Reply:
        assert "/bucket" not in seen.target
        refused.append(check_signature(seen.method, seen.target, seen.headers, known))
        return found(seen)

    with RawServer(check) as server:
        async with open_s3(server, addressing_style="host") as driver:
            await driver.write("bucket/ü b", BytesBody(bytes(100_000)), WriteOptions())
            await driver.stat("bucket/a+b", StatOptions())
            url = await driver.presign("bucket/a b", PresignOptions())
            await to_thread.run_sync(open_url, url)
    assert refused == [None, None, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"addressing_style": "host"}, "needs endpoint"),
        ({"addressing_style": "host", "endpoint": "https://h"}, "default_bucket"),
        ({"dual_stack": True, "endpoint": "https://h"}, "AWS's"),
        ({"accelerate": True, "addressing_style": "path"}, "accelerate needs"),
    ],
)
def test_addressing_that_can_not_be_is_refused(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        S3Config(**options)


@pytest.mark.parametrize("bucket", ["ab", "a..b", "-abc", "abc-", ".abc", "192.168.0.1", "AB"])
async def test_a_bucket_that_s3_forbids_is_refused_before_anything_is_sent(
    disk: DiskS3Server, open_s3: Open, bucket: str
) -> None:
    async with open_s3(disk, endpoint=None) as driver:
        with pytest.raises(InvalidPathError, match="S3 has no bucket"):
            await driver.stat(f"{bucket}/k", StatOptions())
        with pytest.raises(InvalidPathError, match="S3 has no bucket"):
            await driver.object_url(f"{bucket}/k")


@pytest.mark.parametrize("bucket", ["abc", "a.b-c", "0ab", "a" * 63, "Old_Bucket", "a" * 64])
async def test_a_bucket_that_s3_has_or_had_is_taken(
    disk: DiskS3Server, open_s3: Open, bucket: str
) -> None:
    async with open_s3(disk, endpoint=None) as driver:
        assert bucket in await driver.object_url(f"{bucket}/k")


async def test_other_services_have_their_own_rules(plain: RawServer, open_s3: Open) -> None:
    async with open_s3(plain) as driver:
        await driver.stat("a/k", StatOptions())


# The environment


def test_minios_variables_are_understood() -> None:
    config = S3Config.from_env(
        {
            "MINIO_SERVER_URL": "http://127.0.0.1:9000",
            "MINIO_ROOT_USER": "minio",
            "MINIO_ROOT_PASSWORD": "minio-password",
            "AWS_ACCESS_KEY_ID": "of-aws",
            "AWS_SECRET_ACCESS_KEY": "of-aws",
            "AWS_SESSION_TOKEN": "of-aws",
        },
        default_bucket="files",
    )
    assert config.endpoint == "http://127.0.0.1:9000"
    assert config.access_key_id == "minio"
    assert config.secret_access_key == Secret("minio-password")
    assert config.session_token is None
    assert config.default_bucket == "files"


async def test_a_driver_opens_with_minios_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Credentials("minio", "minio-password")
    with DiskS3Server(buckets=("bucket",), credentials=known) as server:
        monkeypatch.setenv("MINIO_SERVER_URL", server.endpoint)
        monkeypatch.setenv("MINIO_ROOT_USER", known.access_key_id)
        monkeypatch.setenv("MINIO_ROOT_PASSWORD", known.secret_access_key)
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.delenv(name, raising=False)
        async with SPEC.open(S3Config.from_env(), DriverContext(RequestPolicy())) as driver:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())


def test_awss_variables_count_more_than_minios() -> None:
    config = S3Config.from_env(
        {
            "AWS_ENDPOINT_URL": "https://all.example",
            "AWS_ENDPOINT_URL_S3": "https://s3.example",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_CA_BUNDLE": "/ca.pem",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "MINIO_SERVER_URL": "http://127.0.0.1:9000",
            "MINIO_ROOT_USER": "minio",
        }
    )
    assert (config.endpoint, config.region) == ("https://s3.example", "eu-west-1")
    assert (config.access_key_id, config.session_token) == ("key", Secret("token"))
    assert config.ca_file == Path("/ca.pem")


def test_an_empty_environment_is_aws_with_its_chain() -> None:
    assert S3Config.from_env({}) == S3Config()


def test_arguments_replace_the_credentials_of_the_environment_as_a_whole() -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
    }  # fmt: skip
    assert S3Config.from_env(environ, anonymous=True).access_key_id is None
    config = S3Config.from_env(environ, access_key_id="a", secret_access_key=Secret("b"))
    assert (config.access_key_id, config.session_token) == ("a", None)


@pytest.mark.parametrize(
    "environ",
    [
        {"MINIO_SERVER_URL": "127.0.0.1:9000"},
        {"MINIO_SERVER_URL": "http://127.0.0.1:9000", "MINIO_ROOT_PASSWORD": "geheim"},
        {"AWS_SECRET_ACCESS_KEY": "geheim"},
        {"MINIO_SERVER_URL": "key:geheim@127.0.0.1:9000"},
    ],
)
def test_mistakes_in_the_environment_are_told_without_secrets(environ: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        S3Config.from_env(environ)
    assert "geheim" not in str(caught.value)


# URLs


def test_arguments_count_more_than_the_url() -> None:
    url = "https://key:secret@host:9000/files?region=eu-west-1"
    config = S3Config.from_url(url, access_key_id="a", secret_access_key=Secret("b"), region="x")
    assert (config.access_key_id, config.region) == ("a", "x")
    assert (config.endpoint, config.default_bucket) == ("https://host:9000", "files")


@pytest.mark.parametrize(
    "url",
    [
        "https://key:geh/eim@host", "https://key:geheim@[host", "https://key:geheim@host:x",
        "ftp://key:geheim@host", "https://key:geheim@host?tls=false", "https://:geheim@host",
        "https://key:geheim@host?tls_verify=false", "https://key:geheim@host/a/b",
        "https://host?client=geheim", "https://host?credentials=geheim", "https://key@host",
        "https://key:geh?eim@host", "https://key:geheim@host?proxy=geheim",
    ],
)  # fmt: skip
def test_malformed_urls_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        S3Config.from_url(url)
    assert "geh" not in str(caught.value)


async def test_a_url_switches_no_verification_off() -> None:
    with pytest.raises(ConfigError, match="tls_verify can't stand in a URL"):
        async with open_storage("s3://host/b?tls_verify=false"):
            pass


@pytest.mark.parametrize(
    "options",
    [
        {"access_key_id": "a", "secret_access_key": Secret("b"), "anonymous": True},
        {"anonymous": True, "profile": "p"},
        {"profile": "p", "access_key_id": "a", "secret_access_key": Secret("b")},
    ],
)
def test_credentials_come_from_one_place(options: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="come from one place"):
        S3Config(**options)


# TLS and plain http


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("a.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True),
     ("::1", True), ("10.0.0.1", False), ("localhost.example", False), ("example", False)],
)  # fmt: skip
def test_loopback_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_secrets_over_plain_http_are_warned_of(
    disk: DiskS3Server, open_s3: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_s3(disk, endpoint="http://files.example") as driver:
        await driver.presign("bucket/k", PRESIGN)
        await driver.presign("bucket/k", PRESIGN)
    assert caplog.text.count("plain http") == 1
    caplog.clear()
    for options in (
        {"endpoint": "https://files.example"},
        {},
        {"endpoint": "http://files.example", "anonymous": True, "access_key_id": None,
         "secret_access_key": None},
    ):  # fmt: skip
        async with open_s3(disk, **options) as driver:
            await driver.object_url("bucket/k")
    assert "plain http" not in caplog.text


@pytest.mark.parametrize("name", ["ca_file", "client_certificate_file"])
@pytest.mark.parametrize("content", [None, "no PEM"])
async def test_certificates_that_can_not_be_read_are_a_config_error(
    disk: DiskS3Server, open_s3: Open, tmp_path: Path, name: str, content: str | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    async with open_s3(disk, endpoint="https://localhost:1", **{name: path}) as driver:
        with pytest.raises(ConfigError, match=name):
            await driver.stat("bucket/k", StatOptions())


def test_a_key_file_needs_its_certificate() -> None:
    with pytest.raises(ValueError, match="client_certificate_file"):
        S3Config(client_key_file=Path("key.pem"))


# Proxies


async def test_requests_go_through_the_proxy(open_s3: Open, plain: RawServer) -> None:
    secret = "user:geh%2Feim"
    async with open_s3(
        plain, endpoint="http://s3.example", proxy=Secret(f"http://{secret}@{plain.netloc}")
    ) as driver:
        await driver.stat("bucket/k", StatOptions())
    seen = plain.seen[-1]
    assert seen.target == "http://s3.example/bucket/k"
    assert seen.headers["host"] == "s3.example"
    assert seen.headers["proxy-authorization"].startswith("Basic ")


async def test_the_environments_proxy_is_used_but_for_what_it_leaves_out(
    open_s3: Open, plain: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(found) as direct:
        monkeypatch.setenv("HTTP_PROXY", plain.endpoint)
        monkeypatch.setenv("http_proxy", plain.endpoint)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for endpoint in ("http://s3.example", direct.endpoint):
            async with open_s3(plain, endpoint=endpoint) as driver:
                await driver.stat("bucket/k", StatOptions())
        assert [seen.target for seen in plain.seen] == ["http://s3.example/bucket/k"]
        assert [seen.target for seen in direct.seen] == ["/bucket/k"]


@pytest.mark.parametrize("endpoint", ["http://s3.example", "https://s3.example"])
async def test_a_proxy_that_refuses_is_an_error_without_its_password(
    open_s3: Open, endpoint: str
) -> None:
    with RawServer(lambda _: Reply(407, b"<html>who are you?</html>")) as server:
        proxy = Secret(f"http://user:geheim@{server.netloc}")
        async with open_s3(server, endpoint=endpoint, proxy=proxy, attempts=1) as driver:
            with pytest.raises(Exception, match="407") as caught:
                await driver.stat("bucket/k", StatOptions())
    error: BaseException | None = caught.value
    while error is not None:
        assert "geheim" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


async def test_a_proxy_that_is_not_there_is_a_transport_error(open_s3: Open) -> None:
    with RawServer(found) as server:
        netloc = server.netloc
    async with open_s3(
        server, endpoint="http://s3.example", proxy=Secret(f"http://u:geheim@{netloc}"), attempts=1
    ) as driver:
        with pytest.raises(TransportError, match="no connection") as caught:
            await driver.stat("bucket/k", StatOptions())
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["host:8080", "socks5://host", "http://", "http://u:geheim@h:x"])
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy is no URL") as caught:
        S3Config(proxy=Secret(proxy))
    assert "geheim" not in str(caught.value)
