"""Every Python block of the README and the docs runs, against real servers; TOML blocks parse."""

import ast
import asyncio
import inspect
import re
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import pytest
import uvicorn
from shelf import NAME, shelf_module

from polystow import Secret
from polystow_gateway.server import GatewayConfig, create_app
from polystow_gateway.server._access_config import (
    GrantConfig,
    KeyConfig,
    MappingConfig,
    SigningConfig,
)
from polystow_gateway.server._keys import new_key
from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import MotoServer

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("*/*/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(
        match[1],
        match[2],
        id=f"{page.relative_to(ROOT)}:{page.read_text()[: match.start()].count(chr(10)) + 1}",
    )
    for page in PAGES
    for match in BLOCK.finditer(page.read_text())
]


GIF = b"GIF89a" + bytes(100_000)


class Picture(BaseHTTPRequestHandler):
    """A web server with a picture."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/gif")
        self.send_header("Content-Length", str(len(GIF)))
        self.end_headers()
        self.wfile.write(GIF)

    @override
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def picture() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Picture) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/dog.gif"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway() -> Iterator[dict[str, str]]:
    """A gateway in front of memory, with a key that may do everything."""
    text, hash_ = new_key("docs")
    everything = GrantConfig(("*",), ("read", "write", "delete", "list", "presign", "admin"))
    config = GatewayConfig(
        {"mounts": {"s3": {"driver": "memory", "default_container": "my-project"}}},
        keys={"docs": KeyConfig(hash_, grants=(everything,))},
        signing=SigningConfig({"one": Secret("s" * 32)}, "one"),
        mapping=MappingConfig("s3:gateway/mapping.json"),
    )
    server = uvicorn.Server(
        uvicorn.Config(create_app(config), "127.0.0.1", 0, ws="none", log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)  # the server tells nobody
    port = server.servers[0].sockets[0].getsockname()[1]
    yield {"GATEWAY_URL": f"http://127.0.0.1:{port}", "GATEWAY_KEY": text}
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def servers(
    picture: str, gateway: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    dump = tmp_path_factory.mktemp("examples") / "dump.bin"
    dump.write_bytes(bytes(11_000_000))
    with FastdfsServer() as fastdfs, MotoServer(buckets=("my-bucket",)) as s3:
        yield {
            **gateway,
            "EXAMPLE_URL": picture,
            "EXAMPLE_FILE": str(dump),
            "S3_ENDPOINT": s3.endpoint,
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example-secret",
            "FASTDFS_TRACKERS": ",".join(fastdfs.trackers),
            "LEGACY_FILE_ID": fastdfs.put(b"written years ago", ext="txt"),
        }


@pytest.mark.parametrize(("language", "code"), BLOCKS)
def test_example_runs(
    language: str,
    code: str,
    servers: dict[str, str],
    fastdfs_server: FastdfsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What the application has that an example stands in.
    names: dict[str, object] = {
        "server": fastdfs_server,
        "connect": print,
        "measure": print,
        "path": tmp_path,
        "content": b"content",
    }
    for name, value in servers.items():
        monkeypatch.setenv(name, value)
    if NAME in code:  # what the page's other blocks make
        monkeypatch.setitem(sys.modules, NAME, shelf_module())
    if language == "toml":
        assert tomllib.loads(code)
    else:
        # Blocks may await at their top level, as in `python -m asyncio`.
        compiled = compile(code, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(compiled, {"__name__": "__main__", **names})
        if inspect.iscoroutine(result):
            asyncio.run(result)
