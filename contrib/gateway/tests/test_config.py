"""The two configurations: of the gateway, and of its client."""

from pathlib import Path

import pytest

from polystow import ConfigError, Registry, Secret, open_storage, validate_config
from polystow_gateway import GatewayClientConfig
from polystow_gateway.server import load_config
from polystow_gateway.spec import SPEC


def test_the_storage_of_a_file_is_a_table_or_the_path_of_another_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('write_to = "memory"\n[storage.mounts.memory]\n')
    config = load_config(file)
    assert config.storage == {"mounts": {"memory": {}}}
    assert config.write_to == "memory"
    file.write_text('storage = "polystow.toml"\n')
    assert load_config(file).storage == tmp_path / "polystow.toml"
    file.write_text('storage = "memory:"\n')
    assert load_config(file).storage == "memory:"


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('storage = "memory:"\nwrite_too = "s3"\nrefstore_paths = 1\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert len(caught.value.problems) == 2


def test_a_client_is_configured_by_a_url() -> None:
    registry = Registry()
    registry.register(SPEC)
    assert SPEC.url_options is not None
    from urllib.parse import urlsplit

    options = SPEC.url_options(urlsplit("gateway://k%2Fey@host:8000/prefix/?mount=s3&tls=false"))
    assert options == {"url": "http://host:8000/prefix", "key": "k/ey", "mount": "s3"}
    assert SPEC.url_options(urlsplit("gateway://host")) == {"url": "https://host"}


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host", "http://", "http://u:p@host", "http://host?a=b", "http://h:x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        validate_config({"mounts": {"gateway": {"url": url}}})


def test_the_key_is_not_shown() -> None:
    config = GatewayClientConfig("https://host", key=Secret("hidden"))
    assert "hidden" not in repr(config)


async def open_it(url: str) -> None:
    async with open_storage(url):
        pass


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", ["gateway:", "gateway://host#x", "gateway://host?tls=perhaps", "gateway://host?colour=1"]
)
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        await open_it(url)
