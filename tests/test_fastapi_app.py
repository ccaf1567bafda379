"""The example application of the docs, on a real server, S3 and FastDFS."""

import asyncio
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from polystow import open_storage
from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import MotoServer

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
OLD = b"written years ago"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[MotoServer, FastdfsServer]]:
    with FastdfsServer() as fastdfs, MotoServer(buckets=("my-bucket",)) as s3:
        yield s3, fastdfs


@pytest.fixture(scope="module")
def client(servers: tuple[MotoServer, FastdfsServer]) -> Iterator[httpx.Client]:
    s3, fastdfs = servers
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "uvicorn", "--app-dir", EXAMPLES, "--port", "0",
         "--log-level", "info", "--ws", "none", "files_app:app"],
        env={
            **os.environ,
            "S3_ENDPOINT": s3.endpoint,
            "FASTDFS_TRACKERS": ",".join(fastdfs.trackers),
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example-secret",
        },
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        started: list[str] = []
        for line in process.stderr:
            started.append(line)
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail("".join(started))
        with httpx.Client(base_url=found[1], timeout=30, trust_env=False) as http:
            yield http
    finally:
        process.terminate()
        process.communicate(timeout=20)


def stored(client: httpx.Client, name: str, content: bytes) -> str:
    answer = client.post("/files/upload", files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["file_name"] == name
    return str(found["file_id"])


def test_upload_download_info_delete(client: httpx.Client) -> None:
    file_id = stored(client, "bericht ä.txt", b"new content")
    assert re.fullmatch(r"s3:my-bucket/uploads/[0-9a-f]{16}_bericht ä\.txt", file_id)
    path = f"/files/{quote(file_id)}"

    answer = client.get(f"{path}/download")
    assert answer.content == b"new content"
    assert answer.headers["content-length"] == "11"
    assert "bericht%20%C3%A4.txt" in answer.headers["content-disposition"]
    part = client.get(f"{path}/download", headers={"Range": "bytes=4-"})
    assert (part.status_code, part.content) == (206, b"content")
    same = client.get(f"{path}/download", headers={"If-None-Match": answer.headers["etag"]})
    assert same.status_code == 304

    info = client.get(f"{path}/info").json()
    assert (info["file_id"], info["file_name"], info["file_size"]) == (
        *(file_id, "bericht ä.txt"),
        11,
    )
    assert info["last_modify_time"]

    assert client.delete(path).json() == {"detail": "deleted"}
    gone = client.get(f"{path}/download")
    assert gone.status_code == 404
    assert gone.headers["content-type"] == "application/problem+json"
    assert client.get(f"{path}/info").status_code == 404


def test_batch_upload_keeps_the_order(client: httpx.Client) -> None:
    names = ["b.txt", "a.txt", "c.txt"]
    answer = client.post(
        "/files/batch-upload", files=[("files", (name, name.encode())) for name in names]
    )
    found = answer.json()
    assert [file["file_name"] for file in found] == names
    for file in found:
        content = client.get(f"/files/{quote(file['file_id'])}/download").content
        assert content == file["file_name"].encode()


def test_files_of_both_backends_come_in_one_archive(
    client: httpx.Client, servers: tuple[MotoServer, FastdfsServer]
) -> None:
    old = servers[1].put(OLD, ext="txt")
    assert client.get(f"/files/{old}/download").content == OLD
    assert client.get(f"/files/{old}/info").json()["file_size"] == len(OLD)
    new = stored(client, "new.txt", b"new")
    answer = client.post(
        "/files/download-zip",
        json=[{"file_id": new}, {"file_id": old, "file_name": "old/legacy.txt"}],
    )
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"new.txt": b"new", "old/legacy.txt": OLD}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/files/s3:my-bucket/none/info", 404),
        ("GET", "/files/group1%2FM00%2F00%2F00%2Fnot-an-id.txt/download", 403),
        ("GET", "/files/cold:my-bucket/x/download", 403),
        ("GET", "/files/s3:my-bucket/%2e%2e%2fother/download", 404),
        ("GET", "/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd/download", 403),
        ("GET", f"/files/s3:my-bucket/{'k' * 1025}/download", 400),
        ("POST", "/files/upload", 415),
    ],
)
def test_what_is_not_right_is_said(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    assert client.request(method, path).status_code == status


def test_a_form_without_the_field_is_refused(client: httpx.Client) -> None:
    answer = client.post("/files/upload", files={"other": ("a.txt", b"x")})
    assert answer.status_code == 422


def test_a_failed_batch_leaves_nothing(
    client: httpx.Client, servers: tuple[MotoServer, FastdfsServer]
) -> None:
    async def keys() -> list[str]:
        config = {"endpoint": servers[0].endpoint, "access_key_id": "a", "secret_access_key": "b"}
        async with open_storage({"mounts": {"s3": config}}) as storage:
            return [item.file_id async for item in storage.list("s3:my-bucket")]

    before = asyncio.run(keys())
    answer = client.post(
        "/files/batch-upload", files=[("files", ("good.txt", b"x")), ("files", ("..", b"y"))]
    )
    assert answer.status_code == 400
    assert asyncio.run(keys()) == before


def test_the_endpoints_are_described(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    form = paths["/files/upload"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"] == {"file": {"type": "string", "format": "binary"}}
    assert set(paths) == {
        "/files/upload",
        "/files/batch-upload",
        "/files/download-zip",
        "/files/{file_id}/download",
        "/files/{file_id}/info",
        "/files/{file_id}",
    }
