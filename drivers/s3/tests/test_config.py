"""The configuration: its mistakes, and the URL that it can be written as."""

import pickle
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import ConfigError, Registry, Secret, build_config
from polystow_s3 import SPEC, S3Config
from polystow_s3._url import url_options

MIB = 1024**2


def test_the_driver_is_found_by_its_entry_point() -> None:
    assert Registry().spec("s3") is SPEC


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part_size_bytes": 5 * MIB - 1}, "part_size_bytes is 5,242,879 bytes; possible are"),
        ({"part_size_bytes": 5 * 1024 * MIB + 1}, "part_size_bytes is"),
        ({"multipart_threshold_bytes": -1}, "multipart_threshold_bytes is -1"),
        ({"upload_concurrency": 0}, "upload_concurrency is 0"),
        ({"max_pool_connections": 0}, "max_pool_connections is 0"),
        ({"connect_timeout_s": 0}, "connect_timeout_s is 0"),
        ({"read_timeout_s": float("nan")}, "read_timeout_s is nan"),
        ({"presign_expires_s": 604_801}, "presign_expires_s is 604,801 seconds"),
        ({"endpoint": "localhost:9000"}, "write http://host:port"),
        ({"endpoint": "http://k:geheim@host"}, "has credentials in it"),
        ({"endpoint": "http://host:port"}, "endpoint is no URL"),
        ({"endpoint": "http://host/?x"}, "query"),
        ({"default_bucket": "a/b"}, "default_bucket"),
        ({"region": " "}, "region is ' '"),
        ({"region": "eu west/1"}, "a region has letters"),
        ({"access_key_id": "a"}, "belong together"),
        ({"secret_access_key": "geheim"}, "belong together"),
        ({"session_token": "geheim"}, "session_token needs"),
        ({"addressing_style": "dns"}, "'auto', 'path', 'virtual'"),
    ],
)
def test_mistakes_are_told_clearly(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(S3Config, options)
    assert message in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(S3Config, {"part_size_bytes": 1, "upload_concurrency": 0, "endpont": "x"})
    assert {problem.path for problem in caught.value.problems} == {
        "part_size_bytes", "upload_concurrency", "endpont",
    }  # fmt: skip


def test_no_secret_shows_in_the_config() -> None:
    config = S3Config(
        access_key_id="a", secret_access_key=Secret("geheim"), session_token=Secret("geheimer")
    )
    assert "geheim" not in repr(config)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "s3://key:se%2Fcret@host:9000/files?region=eu-west-1&tls=false",
            {
                "endpoint": "http://host:9000", "default_bucket": "files", "region": "eu-west-1",
                "access_key_id": "key", "secret_access_key": "se/cret",
            },
        ),
        ("s3://host/b", {"endpoint": "https://host", "default_bucket": "b"}),
        ("s3://[::1]:9000", {"endpoint": "https://[::1]:9000"}),
        ("s3:///b?read_timeout_s=5", {"default_bucket": "b", "read_timeout_s": "5"}),
        ("s3:", {}),
    ],
)  # fmt: skip
def test_urls_become_options(url: str, options: dict[str, str]) -> None:
    assert url_options(urlsplit(url)) == options
    build_config(S3Config, url_options(urlsplit(url)), text=True)


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:geh/eim@host/b",
        "s3://key:123/geheim@host/b",
        "s3://key:geheim#@host/b",
        "s3://key:geheim@host:port/b",
        "s3://host/b?tls=geheim",
        "s3://host/b?region=a&region=b",
        "s3://host/b?endpoint=http://x",
        "s3://host/a/b",
        "s3:///b?tls=false",
    ],
)
def test_wrong_urls_are_refused_without_showing_the_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        url_options(urlsplit(url))
    assert "geh" not in str(caught.value)


@given(secret=st.text(min_size=1))
def test_any_secret_can_stand_in_a_url(secret: str) -> None:
    from urllib.parse import quote

    try:
        quoted = quote(secret, safe="")
    except UnicodeEncodeError:
        return
    options = url_options(urlsplit(f"s3://key:{quoted}@host/b"))
    assert options["secret_access_key"] == secret


def test_bodies_are_signed_over_http_and_not_over_https() -> None:
    assert S3Config(endpoint="http://host").signs_payload
    assert not S3Config(endpoint="https://host").signs_payload
    assert not S3Config().signs_payload
    assert not S3Config(endpoint="http://host", payload_signing="never").signs_payload
    assert S3Config(payload_signing="always").signs_payload


def test_the_config_can_be_pickled() -> None:
    config = S3Config(endpoint="http://host", part_size_bytes=6 * MIB)
    assert pickle.loads(pickle.dumps(config)) == config
