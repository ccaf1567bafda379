"""Every example in a docstring runs, against real servers: the API reference shows them."""

import ast
import asyncio
import doctest
import inspect
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from starlette.requests import Request

import polystow
from polystow import FetchRules, Storage, open_storage
from polystow_fastdfs import FastdfsDriver
from polystow_s3 import LIFECYCLE, S3Driver
from polystow_s3py_helper import FastdfsConfig, S3Config
from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.faults import FaultTarget
from polystow_testing.s3 import MotoProcess

ROOT = Path(__file__).parent.parent
SOURCES = [
    *(ROOT / "core/src").rglob("*.py"),
    *(path for area in ("drivers", "contrib") for path in (ROOT / area).glob("*/src/**/*.py")),
]
FENCED = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
OWNER = {"owner": ["s3:*"]}
PICTURE = b"GIF89a" + bytes(100)
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\ntext\r\n--x--\r\n"
)


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")


def examples() -> Iterator[Any]:
    for path in SOURCES:
        module = module_of(path)
        if module.startswith("polystow_sqlite"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node) or ""
                blocks = FENCED.findall(doc)
                lines = [example.source for example in doctest.DocTestParser().get_examples(doc)]
                for code in [*blocks, *(["".join(lines)] if lines else [])]:
                    yield pytest.param(module, code, id=f"{module}-{getattr(node, 'name', '')}")


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def config() -> Iterator[dict[str, Any]]:
    with FastdfsServer() as fastdfs, MotoProcess(OWNER, buckets=("bucket",)) as s3:
        # In a process of its own: examples start and end servers in this one.
        owner = s3.credentials("owner")
        keys = {
            "access_key_id": owner.access_key_id,
            "secret_access_key": owner.secret_access_key,
        }
        yield {
            "mounts": {
                "s3": {"endpoint": s3.endpoint, "default_bucket": "bucket", **keys},
                "fastdfs": {"trackers": list(fastdfs.trackers)},
            },
            "unprefixed": "fastdfs",
            "write_to": "s3",
        }


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
    writer.write(head.encode() + PICTURE)
    await writer.drain()
    writer.close()


async def body() -> dict[str, Any]:
    return {"type": "http.request", "body": FORM, "more_body": False}


def test_examples_are_found() -> None:
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize(("module", "code"), EXAMPLES)
def test_example_runs(
    module: str, code: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "polystow.toml").write_text("[mounts.memory]\n")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    names: dict[str, Any] = {
        **{name: getattr(polystow, name) for name in polystow.__all__},
        **vars(import_module(module)),
        "Annotated": Annotated,
        "Depends": Depends,
        "FastAPI": FastAPI,
        "asyncio": asyncio,
        "StreamingResponse": StreamingResponse,
        "Path": Path,
        "connect": print,
        "FastdfsDriver": FastdfsDriver,
        "S3Driver": S3Driver,
        "LIFECYCLE": LIFECYCLE,
        "FetchRules": partial(FetchRules, allowed_networks=["127.0.0.0/8"]),
        "MyTarget": FaultTarget,
        "request": Request({"type": "http", "method": "POST", "headers": headers}, body),
        "s3_config": S3Config(**config["mounts"]["s3"]),
        "fastdfs_config": FastdfsConfig(tracker_servers=config["mounts"]["fastdfs"]["trackers"]),
        "data": b"data",
        "chunks": [bytes(5 * 1024**2), b"the end"],
        "paths": [tmp_path / "report.pdf"],
    }
    code = re.sub(r"^return ", "answer = ", code, flags=re.MULTILINE)
    if "sync.open_storage" in code:  # it refuses the thread of an event loop
        exec(code, names)
    else:
        asyncio.run(run(code, names, config))


@asynccontextmanager
async def opened(config: dict[str, Any]) -> AsyncGenerator[tuple[Storage, str]]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, open_storage(config) as storage:
        for key in ("key", "logo.png"):
            await storage.write(f"s3:bucket/{key}", b"content")
        yield storage, f"http://127.0.0.1:{port}/photo.gif"


async def run(code: str, names: dict[str, Any], config: dict[str, Any]) -> None:
    async with opened(config) as (storage, url):
        names["storage"] = storage
        names["ids"] = ["s3:bucket/key"]
        names["s3"] = storage.native("s3:", S3Driver)[0]
        code = code.replace("https://example.org/photo.jpg", url)
        found = eval(
            compile(code, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names
        )
        if inspect.iscoroutine(found):
            await found
