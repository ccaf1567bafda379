"""The configuration, the entry point, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from urllib.parse import urlsplit

import pytest

from polystow import ConfigError, build_config
from polystow_fastdfs import FastdfsConfig
from polystow_fastdfs._config import parse_tracker
from polystow_fastdfs.spec import FASTDFS


def test_trackers_are_all_that_is_needed() -> None:
    config = build_config(FastdfsConfig, {"trackers": ["10.0.0.1:22122", "tracker2"]})
    assert (config.group, config.store_path_index) == (None, -1)


def test_all_mistakes_are_told_at_once() -> None:
    data = {
        "trackers": ["10.0.0.1:99999"],
        "group": "a/b",
        "store_path_index": 255,
        "network_timeout_s": 0,
        "unknown_length": "guess",
        "timeout": 1,
    }
    with pytest.raises(ConfigError) as caught:
        build_config(FastdfsConfig, data)
    assert {problem.path for problem in caught.value.problems} == data.keys()


@pytest.mark.parametrize("trackers", [[], [""], ["a b"], ["h:0"], ["h:"], ["u@h"], ["::1"]])
def test_what_is_no_tracker_address_is_a_mistake(trackers: list[str]) -> None:
    with pytest.raises(ConfigError, match="trackers"):
        build_config(FastdfsConfig, {"trackers": trackers})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tracker", ("tracker", 22122)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[::1]", ("::1", 22122)),
        ("[::1]:9", ("::1", 9)),
    ],
)
def test_tracker_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_tracker(text) == address


def test_url() -> None:
    assert FASTDFS.url_options is not None
    url = urlsplit("fastdfs://10.0.0.1:22122,10.0.0.2/group1?network_timeout_s=3&retries=0")
    config = build_config(FastdfsConfig, FASTDFS.url_options(url), text=True)
    assert config == FastdfsConfig(
        trackers=("10.0.0.1:22122", "10.0.0.2"), group="group1", network_timeout_s=3.0, retries=0
    )


def test_url_names_the_base_url_of_each_group() -> None:
    assert FASTDFS.url_options is not None
    url = urlsplit(
        "fastdfs://h?base_urls.group1=https%3A%2F%2Fa%2F1&base_urls.G_2=http://b&token_ttl_s=60"
    )
    config = build_config(FastdfsConfig, FASTDFS.url_options(url), text=True)
    assert config.base_urls == {"group1": "https://a/1", "G_2": "http://b"}
    assert config.token_ttl_s == 60


def test_url_with_a_password_is_refused_without_showing_it() -> None:
    assert FASTDFS.url_options is not None
    with pytest.raises(ValueError, match="no password") as caught:
        FASTDFS.url_options(urlsplit("fastdfs://me:hunter2@10.0.0.1/"))
    assert "hunter2" not in str(caught.value)


def test_entry_point_is_the_specification() -> None:
    (entry_point,) = entry_points(group="polystow.drivers", name="fastdfs")
    assert entry_point.load() is FASTDFS


def test_importing_the_specification_imports_no_sdk() -> None:
    code = "import sys, polystow_fastdfs.spec; print('aiofdfs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
