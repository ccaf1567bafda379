"""Uploads, rules, downloads and checks on S3, FastDFS, local files and memory together."""

import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from anyio import to_thread
from backends import BUCKET, Backends

from polystow import (
    AlreadyExistsError,
    ByteRange,
    FileTooLargeError,
    InvalidFileTypeError,
    InvalidPathError,
    NewFile,
    NotFoundError,
    PermissionDeniedError,
    Storage,
    StorageError,
    TruncatedBodyError,
    Uri,
    open_storage,
)

SCHEMES = ("s3", "fastdfs", "file", "memory")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
NAME = "Отчёт 1% & co.png"


def config_of(backends: Backends, tmp_path: Path, scheme: str, **more: Any) -> dict[str, Any]:
    mounts: dict[str, dict[str, Any]] = {
        "s3": backends.s3_mount,
        "fastdfs": backends.fastdfs_mount,
        "file": {"root": str(tmp_path / "root")},
        "memory": {},
    }
    (tmp_path / "root").mkdir(exist_ok=True)
    return {"mounts": mounts, "unprefixed": "fastdfs", "write_to": scheme, **more}


@pytest.fixture(params=SCHEMES)
async def storage(
    request: pytest.FixtureRequest, backends: Backends, tmp_path: Path
) -> AsyncIterator[Storage]:
    async with open_storage(config_of(backends, tmp_path, request.param)) as storage:
        yield storage


class UploadFile:
    """As Starlette's."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


async def chunks(data: bytes, size: int = 50) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def as_path(data: bytes, folder: Path) -> Path:
    (folder / "content").write_bytes(data)
    return folder / "content"


KINDS: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda data, _: data,
    "path": as_path,
    "file": lambda data, _: io.BytesIO(data),
    "async read": lambda data, _: UploadFile(data),
    "async iterable": lambda data, _: chunks(data),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_file_of_any_kind_keeps_its_name_and_metadata_on_every_driver(
    storage: Storage, kind: str, tmp_path: Path
) -> None:
    info = await storage.upload(
        NAME, KINDS[kind](PNG, tmp_path), folder="a/b", metadata={"author": "jürgen"}
    )
    stored = await storage.stat(info.file_id)
    assert await storage.read_bytes(info.file_id) == PNG
    assert (stored.filename, stored.size) == (NAME, len(PNG))
    assert stored.metadata == {"author": "jürgen"}  # no bookkeeping among it
    if storage.route(info.uri).capabilities.limits.content_type:
        assert stored.content_type == "image/png"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_whose_name_tells_no_type_has_that_of_its_first_bytes(
    storage: Storage, kind: str, tmp_path: Path
) -> None:
    info = await storage.upload("photo", KINDS[kind](PNG, tmp_path))
    assert await storage.read_bytes(info.file_id) == PNG
    if storage.route(info.uri).capabilities.limits.content_type:
        assert (await storage.stat(info.file_id)).content_type == "image/png"


async def test_files_that_s3py_helper_has_written_are_understood(
    hybrid: Storage, backends: Backends
) -> None:
    key = f"s3:{BUCKET}/reports/0123456789abcdef_{NAME}"
    headers = {
        "x-amz-meta---real-file-name--": quote(NAME),
        "x-amz-meta-author": "john",
        "Content-Type": "application/octet-stream",  # urllib's own is that of a form
    }
    url = f"{backends.s3.endpoint}/{BUCKET}/reports/0123456789abcdef_{quote(NAME)}"
    put = Request(url, PNG, headers, method="PUT")
    await to_thread.run_sync(lambda: urlopen(put, timeout=10).close())
    old = backends.fastdfs.put(
        PNG,
        ext="png",
        metadata={
            "OriginFileName": NAME,
            "OriginFileExtName": "png",
            "OriginFileSize": str(len(PNG)),
            "author": "john",
        },
    )
    for file_id in (key, old):
        info = await hybrid.stat(file_id)
        assert (info.filename, info.metadata) == (NAME, {"author": "john"})


async def test_a_key_is_made_as_the_policy_says(backends: Backends, tmp_path: Path) -> None:
    for scheme in ("s3", "file", "memory"):
        config = config_of(backends, tmp_path, scheme, key_policy="dated")
        async with open_storage(config) as storage:
            where: dict[str, Any] = {"folder": f"keys-{scheme}", "container": BUCKET}
            dated = Uri.parse((await storage.upload("a.tar.gz", b"", **where)).uri)
            assert len(dated.filename) == 36 + len(".tar.gz")
            assert len(dated.key.split("/")) == 5
            exact = await storage.upload("a.txt", b"1", key_policy="exact", **where)
            assert exact.uri == f"{scheme}://{BUCKET}/keys-{scheme}/a.txt"
            with pytest.raises(AlreadyExistsError):
                await storage.upload("a.txt", b"2", key_policy="exact", **where)
            assert await storage.read_bytes(exact.uri) == b"1"


async def test_a_batch_keeps_its_order_and_its_failures_apart(storage: Storage) -> None:
    files = [NewFile(f"{number}.txt", str(number)) for number in range(40)]
    files[7] = NewFile("../7.txt", b"")
    files[9] = NewFile("9.txt", chunks(b"123"), size=4)
    batch = await storage.upload_many(files, concurrency=8)
    assert [failure.position for failure in batch.failed] == [7, 9]
    assert isinstance(batch.failed[0].error, InvalidPathError)
    assert isinstance(batch.failed[1].error, TruncatedBodyError)
    names = [info.filename for info in batch.succeeded]
    assert names == [file.filename for file in files if file not in (files[7], files[9])]
    assert await storage.read_bytes(batch.succeeded[-1].file_id) == b"39"


# Rules


async def test_a_file_that_turns_out_too_large_leaves_nothing(
    backends: Backends, tmp_path: Path
) -> None:
    for scheme in SCHEMES:
        rules = {"max_size_bytes": 12_000_000, "extensions": ["bin"], "check_content": True}
        config = config_of(backends, tmp_path, scheme, validation=rules)
        before = [file.file_id for file in backends.fastdfs.files()]
        async with open_storage(config) as storage:
            with pytest.raises(FileTooLargeError):
                await storage.upload("a.bin", chunks(bytes(13_000_000), 1_000_000), folder="rules")
            with pytest.raises(InvalidFileTypeError):
                await storage.upload("a.exe", b"", folder="rules")
            if scheme == "s3":
                assert [item async for item in storage.list(f"s3:{BUCKET}/rules/")] == []
                assert [u async for u in storage.list_multiparts(f"s3:{BUCKET}/rules/")] == []
        assert [file.file_id for file in backends.fastdfs.files()] == before


# Downloads


DATA = os.urandom(1_000_003)


async def test_ranges_come_side_by_side_from_every_driver(storage: Storage, tmp_path: Path) -> None:
    info = await storage.upload("large.bin", DATA)
    path = tmp_path / "new" / "folder" / "large.bin"
    seen: list[tuple[int, int | None]] = []
    await storage.download(
        info.file_id,
        path,
        concurrency=4,
        part_size_bytes=100_000,
        progress=lambda done, size: seen.append((done, size)),
    )
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    await storage.download(info.file_id, path, range=ByteRange(10, 19))
    assert path.read_bytes() == DATA[10:20]
    assert list(path.parent.iterdir()) == [path]
    parts = await storage.read_ranges(info.file_id, [ByteRange.suffix(9), ByteRange(0, 4)])
    assert list(parts) == [DATA[-9:], DATA[:5]]


async def test_a_download_from_every_driver_goes_on_where_it_failed(
    storage: Storage, tmp_path: Path
) -> None:
    info = await storage.upload("large.bin", DATA)
    path = tmp_path / "large.bin"

    def fail(done: int, _: int | None) -> None:
        if done > 500_000:
            raise ZeroDivisionError

    arguments: dict[str, Any] = {"resume": True, "part_size_bytes": 100_000, "concurrency": 2}
    with pytest.raises(ZeroDivisionError):
        await storage.download(info.file_id, path, progress=fail, **arguments)
    assert not path.exists()
    seen: list[int] = []
    await storage.download(
        info.file_id, path, progress=lambda done, _: seen.append(done), **arguments
    )
    assert path.read_bytes() == DATA
    assert seen[0] > 200_000


async def test_an_empty_file_is_downloaded_from_every_driver(
    storage: Storage, tmp_path: Path
) -> None:
    info = await storage.upload("empty.bin", b"")
    for resume in (False, True):
        await storage.download(info.file_id, tmp_path / "empty", resume=resume, concurrency=4)
        assert (tmp_path / "empty").read_bytes() == b""


async def test_a_download_of_what_is_not_there_says_so_on_every_driver(
    storage: Storage, tmp_path: Path
) -> None:
    info = await storage.upload("gone.bin", b"1")
    await storage.delete(info.file_id)
    for resume in (False, True):
        with pytest.raises(FileNotFoundError) as caught:
            await storage.download(info.file_id, tmp_path / "gone", resume=resume)
        assert isinstance(caught.value, NotFoundError)
        assert caught.value.uri == info.uri
    assert not [name for name in names_in(tmp_path) if "gone" in name]


# Containers and checks


async def test_an_application_s_own_names_lead_to_buckets(backends: Backends) -> None:
    backends.s3.create_bucket("physical-user-bucket")
    mount = {**backends.s3_mount, "containers": {"user": "physical-user-bucket"}}
    async with open_storage({"mounts": {"s3": mount}}) as storage:
        info = await storage.upload("test.txt", b"Hello!", container="user", key_policy="dated")
        assert info.uri.startswith("s3://physical-user-bucket/20")
        logical = storage.with_container(info.uri, "logical")
        assert logical == info.uri.replace("physical-user-bucket", "user")
        for uri in (info.uri, logical):
            assert await storage.read_bytes(uri) == b"Hello!"
        assert [item.uri async for item in storage.list("s3:user/")] == [info.uri]
        assert "physical-user-bucket" in await storage.presign(logical)


async def test_a_check_tells_what_each_backend_lacks(backends: Backends, tmp_path: Path) -> None:
    closed = "http://127.0.0.1:1"
    quick = {"request": {"attempts": 1}}
    mounts = {
        **config_of(backends, tmp_path, "s3")["mounts"],
        "nobucket": {**backends.s3_mount, "driver": "s3", "default_bucket": "not-there"},
        "down": {**backends.s3_mount, "driver": "s3", "endpoint": closed, **quick},
        "off": {"driver": "fastdfs", "trackers": ["127.0.0.1:1"], **quick},
        "closed": {"driver": "memory", "read_only": True},
    }
    async with open_storage({"mounts": mounts, "write_to": "s3"}) as storage:
        before = [file.file_id for file in backends.fastdfs.files()]
        found = {health.scheme: health for health in await storage.check(write=True)}
        for scheme in SCHEMES:
            health = found[scheme]
            assert (health.error, health.reachable, health.credentials) == (None, True, True)
            assert (health.container, health.writable) == (True, True)
        assert [item async for item in storage.list(f"s3:{BUCKET}/") if "check" in item.uri] == []
        assert [file.file_id for file in backends.fastdfs.files()] == before
    missing, closed_mount = found["nobucket"], found["closed"]
    assert (missing.reachable, missing.credentials, missing.container) == (True, True, False)
    assert isinstance(missing.error, NotFoundError)
    assert (closed_mount.writable, closed_mount.error) == (False, None)
    for scheme in ("down", "off"):
        assert (found[scheme].reachable, found[scheme].writable) == (False, None)
        assert isinstance(found[scheme].error, StorageError)


async def test_nobody_is_asked_to_explain_an_id(backends: Backends, tmp_path: Path) -> None:
    mount = {**backends.s3_mount, "endpoint": "http://127.0.0.1:1"}
    config = {"mounts": {"s3": mount, "fastdfs": {"trackers": ["127.0.0.1:1"]}}, "write_to": "s3"}
    async with open_storage({**config, "unprefixed": "fastdfs"}) as storage:
        told = storage.explain("group1/M00/00/00/fwAAAWsA62CAMzaRAAACvC4KhlE049.jpg")
        assert (told.driver.name, told.mounts) == ("fastdfs", ("fastdfs",))
        text = str(storage.explain(f"s3:{BUCKET}/k"))
    assert "tests-secret" not in text
    assert "driver: endpoint = 'http://127.0.0.1:1'  (configuration: mounts.s3.endpoint)" in text


async def test_a_mount_that_is_closed_to_reading_serves_nothing(
    backends: Backends, tmp_path: Path
) -> None:
    old = backends.fastdfs.put(b"written years ago", ext="txt")
    config = config_of(backends, tmp_path, "s3")
    config["mounts"]["fastdfs"] = {**backends.fastdfs_mount, "allow_read": False}
    async with open_storage(config) as storage:
        with pytest.raises(PermissionDeniedError, match="allows no reading"):
            await storage.read_bytes(old)
        assert (await storage.stat(old)).size == 17
