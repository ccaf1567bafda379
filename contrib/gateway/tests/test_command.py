"""The command: keys, checks, and real processes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import anyio
import httpx
import pytest
from click.testing import CliRunner

from polystow import ConfigError
from polystow_gateway.server import check_config, load_config
from polystow_gateway.server._command import command
from polystow_gateway.server._keys import matches, new_key, parse_key

GOOD = """
write_to = "memory"
[storage.mounts.memory]
[roles.reader]
grants = [{ prefixes = ["memory:files/"], actions = ["read", "list"] }]
"""


def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    result = CliRunner(env={"POLYSTOW_GATEWAY_CONFIG": None, **(env or {})}).invoke(
        command, arguments
    )
    return result.exit_code, result.stdout, result.stderr


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return file


def test_a_new_key_is_printed_once_with_its_entry(tmp_path: Path) -> None:
    code, output, _ = run("new-key", "app-1", "--prefix", 'memory:a"b/', "--action", "write")
    assert code == 0
    key, _, entry = output.partition("\n")
    kept = tomllib.loads(entry)["keys"]["app-1"]
    assert kept["grants"] == [{"prefixes": ['memory:a"b/'], "actions": ["write"]}]
    parsed = parse_key(key)
    assert parsed is not None
    assert matches(parsed, kept["hash"])
    assert key.rpartition("_")[2] not in entry
    config = load_config(written(tmp_path, GOOD + entry))
    anyio.run(check_config, config)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "x" * 65, "a b", "ü"])
def test_a_key_has_a_plain_name(name: str) -> None:
    assert run("new-key", "--", name)[0] == 2


def test_a_good_configuration_passes_the_check(tmp_path: Path) -> None:
    code, output, _ = run("--config", str(written(tmp_path, GOOD)), "--check")
    assert (code, output) == (0, "the configuration is good\n")


def test_all_mistakes_of_shape_are_told_at_once(tmp_path: Path) -> None:
    text = """
    storage = "memory:"
    [server]
    prot = 1
    port = 70000
    trusted_proxies = ["10.0.0.1/8"]
    [keys.a]
    hash = "polystow_a_hunter2"
    [keys."B c"]
    hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
    expires = 2030-01-01T00:00:00
    [roles.r]
    grants = [{ prefixes = [], actions = ["raed"] }]
    [signing]
    current = "k"
    keys.k = "hunter2"
    [limits]
    burst = 0
    """
    code, _, errors = run("--config", str(written(tmp_path, text)), "--check")
    assert code == 6
    for place in (
        "server.prot: unknown key; did you mean 'port'",
        "server.port",
        "server.trusted_proxies",
        "hash: it is no hash of a key",
        "expires: it has no time zone",
        "prefixes is empty",
        "'raed' is not one of",
        "signing.keys: 'k' is too short",
        "limits.burst",
    ):
        assert place in errors
    assert "hunter2" not in errors


def test_all_mistakes_of_meaning_are_told_at_once(tmp_path: Path) -> None:
    text = """
    write_to = "s3"
    [storage.mounts.memory]
    [keys.a]
    hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
    roles = ["nobody"]
    grants = [{ prefixes = ["memory:", "s3:bucket/", "bucket"] }]
    [anonymous]
    grants = [{ prefixes = ["memory:/x"] }]
    [signing]
    current = "new"
    keys.old = "0123456789012345678901234567890123456789"
    [tokens]
    algorithms = ["HS256"]
    audience = "files"
    [mapping]
    file_id = "memory:config"
    """
    code, _, errors = run("--config", str(written(tmp_path, text)), "--check")
    assert code == 6
    for place in (
        "write_to: no driver is mounted as 's3'",
        "keys.a.roles[0]: there is no role 'nobody'",
        "keys.a.grants[0].prefixes[1]: 's3:bucket/'",
        "keys.a.grants[0].prefixes[2]: 'bucket'",
        "anonymous.grants[0].prefixes[0]: 'memory:/x'",
        "signing.current: there is no key 'new'",
        "tokens.secret: HS… algorithms need `secret`",
        "mapping.file_id: it has to be the id of an object",
    ):
        assert place in errors


def test_mistakes_of_the_storage_have_their_place(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "[storage.mounts.memory]\nsize = 3\n"))
    with pytest.raises(ConfigError, match=r"storage\.mounts\.memory\.size"):
        anyio.run(check_config, config)
    config = load_config(written(tmp_path, 'storage = "nowhere.toml"\n'))
    with pytest.raises(ConfigError, match=r"storage: there is no configuration file"):
        anyio.run(check_config, config)
    config = load_config(written(tmp_path, "[storage.mounts.nodriver]\n"))
    with pytest.raises(ConfigError, match="storage"):
        anyio.run(check_config, config)


def test_variables_count_before_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + "[server]\nport = 1\nworkers = 2\n")
    env = {
        "POLYSTOW_GATEWAY__SERVER__PORT": "8",
        "POLYSTOW_GATEWAY__SERVER__TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "POLYSTOW_GATEWAY__SIGNING__CURRENT": "k",
        "POLYSTOW_GATEWAY__SIGNING__KEYS__K": "s" * 32,
        "POLYSTOW_GATEWAY__REFSTORE_PATHS": "true",
    }
    config = load_config(file, env)
    assert (config.server.port, config.server.workers) == (8, 2)
    assert config.server.trusted_proxies == ("10.0.0.0/8", "::1")
    assert config.refstore_paths
    assert config.signing is not None
    assert config.signing.keys["k"].reveal() == "s" * 32
    assert "s" * 32 not in repr(config)
    anyio.run(check_config, config)


def test_variables_alone_will_do() -> None:
    env = {
        "POLYSTOW_GATEWAY__STORAGE__MOUNTS__FILE__ROOT": "/tmp",
        "POLYSTOW_GATEWAY__STORAGE__MOUNTS__FILE__FSYNC": "yes",
    }
    anyio.run(check_config, load_config(None, env))
    with pytest.raises(ConfigError, match="there is no configuration"):
        load_config(None, {})
    assert run("--check")[0] == 6


def test_a_table_and_a_value_do_not_go_together(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    for env in (
        {"POLYSTOW_GATEWAY__STORAGE__MOUNTS": "x"},
        {"POLYSTOW_GATEWAY__WRITE_TO__X": "x"},
    ):
        with pytest.raises(ConfigError, match="disagree"):
            load_config(file, env)


def test_the_examples_of_the_readme_are_configurations(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    whole, mapping = re.findall(r"^```toml\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)[:2]
    config = load_config(written(tmp_path, whole))
    assert config.keys["reports"].roles == ("reader",)
    assert config.tokens is not None
    config = load_config(written(tmp_path, GOOD + mapping))
    assert config.mapping is not None
    anyio.run(check_config, config)


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    text = """
    storage = "polystow.toml"
    [mapping]
    file_id = "file:config/mapping.json"
    storage = "other.toml"
    [tokens]
    algorithms = ["ES256"]
    audience = "files"
    public_key_file = "keys/public.pem"
    [server]
    tls_certificate = "/etc/tls.pem"
    """
    config = load_config(written(tmp_path, text))
    assert config.storage == tmp_path / "polystow.toml"
    assert config.mapping is not None
    assert config.mapping.storage == tmp_path / "other.toml"
    assert config.tokens is not None
    assert config.tokens.public_key_file == tmp_path / "keys" / "public.pem"
    assert config.server.tls_certificate == Path("/etc/tls.pem")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def until_all_workers(client: httpx.Client, url: str, content: bytes) -> None:
    """Wait until an object is there for whichever worker takes a connection."""
    deadline = time.monotonic() + 30
    in_a_row = 0
    while in_a_row < 20:
        assert time.monotonic() < deadline
        answer = client.get(url, headers={"connection": "close"})
        in_a_row = in_a_row + 1 if answer.content == content else 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_workers_serve_both_ports_share_the_mapping_and_end_when_told(tmp_path: Path) -> None:
    port, admin_port = free_port(), free_port()
    key, kept = new_key("root")
    text = f"""
    [storage.mounts.file]
    root = "{tmp_path}"
    [keys.root]
    hash = "{kept}"
    grants = [{{ prefixes = ["*"], actions = ["read", "write", "admin"] }}]
    [mapping]
    file_id = "file:config/mapping.json"
    refresh_s = 0.1
    [server]
    port = {port}
    admin_port = {admin_port}
    workers = 2
    """
    arguments = [sys.executable, "-m", "polystow_gateway", "--config", str(written(tmp_path, text))]
    env = {name: value for name, value in os.environ.items() if not name.startswith("POLYSTOW")}
    files, admin = (f"http://127.0.0.1:{number}" for number in (port, admin_port))
    with (
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        ) as process,
        httpx.Client(timeout=60, trust_env=False) as client,
    ):
        try:
            # The sockets listen before the workers are there, which then answer.
            assert process.stderr is not None
            for _ in range(2):
                assert "listening" in process.stderr.readline()
            for url, status in (
                (f"{files}/health/live", 200),
                (f"{admin}/health/live", 200),
                (f"{files}/v1/admin/mapping", 404),
                (f"{admin}/v1/admin/mapping", 401),
                (f"{admin}/v1/objects?id=file:files/a", 404),
                (f"{files}/v1/objects?id=file:files/a", 401),
            ):
                answer = client.get(url)
                assert (url, answer.status_code) == (url, status)
                assert "server" not in answer.headers
            client.headers["x-api-key"] = key
            assert client.put(f"{files}/v1/objects?id=file:one/a", content=b"1").status_code == 200
            assert client.put(f"{files}/v1/objects?id=file:two/a", content=b"2").status_code == 200
            for physical, content in (("one", b"1"), ("two", b"2")):
                names = {"names": {"file": {"mine": physical}}}
                assert client.put(f"{admin}/v1/admin/mapping", json=names).status_code == 200
                until_all_workers(client, f"{files}/v1/objects?id=file:mine/a", content)
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    told = [json.loads(line) for line in output.splitlines()]
    assert key not in output
    assert ("key:root", ["write"], ["file://one/a"], "ok") in [
        (one["identity"], one["actions"], one["targets"], one["outcome"]) for one in told
    ]


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        code, _, errors = run("--config", str(written(tmp_path, GOOD)), "--port", str(port))
    assert code == 1
    assert "can't listen" in errors
