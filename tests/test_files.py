"""Archives, copies, moves and fetches across S3, FastDFS, local files and memory together."""

import asyncio
import hashlib
import io
import itertools
import json
import os
import threading
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import pytest
from anyio import to_thread
from backends import BUCKET, Backends

from polystow import (
    Checksum,
    ChecksumMismatchError,
    FetchRules,
    FileTooLargeError,
    NameHint,
    NotFoundError,
    ObjectHeaders,
    PermissionDeniedError,
    Storage,
    ZipMember,
    open_storage,
)

SCHEMES = ("s3", "fastdfs", "file", "memory")
WITH_HEADERS = ("s3", "memory")
HEADERS = ObjectHeaders(cache_control="max-age=60", content_language="de")


@pytest.fixture
async def four(backends: Backends, tmp_path: Path) -> AsyncIterator[Storage]:
    config = {
        "mounts": {
            "s3": backends.s3_mount,
            "fastdfs": backends.fastdfs_mount,
            "file": {"root": str(tmp_path / "root")},
            "memory": {},
        },
        "unprefixed": "fastdfs",
        "write_to": "fastdfs",
    }
    (tmp_path / "root").mkdir()
    async with open_storage(config) as storage:
        yield storage


async def put(storage: Storage, scheme: str, name: str, data: bytes) -> str:
    """The id of a new object."""
    if scheme == "fastdfs":
        return (await storage.upload(name, data, metadata={"author": "é"})).file_id
    target = f"{scheme}:{BUCKET}/files/{name}"
    if scheme in WITH_HEADERS:
        info = await storage.write(
            target, data, metadata={"author": "é"}, filename=name, headers=HEADERS
        )
    else:
        info = await storage.write(target, data, metadata={"author": "é"}, filename=name)
    return info.file_id


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def opened(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    return archive


# Archives


async def test_one_archive_has_members_of_all_drivers(four: Storage) -> None:
    contents = {scheme: os.urandom(300_000) for scheme in SCHEMES}
    ids = [await put(four, scheme, f"{scheme}.txt", data) for scheme, data in contents.items()]
    archive = opened(await collect(four.zip(ids)))
    assert archive.namelist() == [f"{scheme}.txt" for scheme in SCHEMES]
    assert [archive.read(name) for name in archive.namelist()] == list(contents.values())


async def test_an_archive_leaves_out_what_is_gone_from_any_driver(four: Storage) -> None:
    ids = [await put(four, scheme, f"{scheme}.txt", b"1") for scheme in SCHEMES]
    for file_id in ids[:3]:
        await four.delete(file_id)
    stream = four.zip(ids, on_error="skip")
    archive = opened(await collect(stream))
    assert archive.namelist() == ["memory.txt", "skipped.json"]
    listed = json.loads(archive.read("skipped.json"))["skipped"]
    assert [entry["id"] for entry in listed] == ids[:3]
    assert {entry["error"] for entry in listed} == {"NotFoundError"}


@pytest.mark.parametrize(("count", "size"), [(3, 1_500_000), (80, 1_000)])
async def test_an_archive_of_any_size_reaches_a_slow_reader(
    four: Storage, count: int, size: int
) -> None:
    """s3py-helper's fails past a megabyte, or 60 files."""
    ids = [
        await put(four, SCHEMES[number % 4], f"{number}.bin", bytes([number]) * size)
        for number in range(count)
    ]
    data = b""
    async for chunk in four.zip(ids, compress_level=0):
        await asyncio.sleep(0)
        data += chunk
    assert [entry.file_size for entry in opened(data).infolist()] == [size] * count


async def test_a_reader_that_goes_away_leaves_nothing_open(four: Storage) -> None:
    """s3py-helper's can wait for ever."""
    ids = [await put(four, scheme, scheme, os.urandom(3_000_000)) for scheme in SCHEMES]

    async def read_some(chunks: int, reached: asyncio.Event) -> None:
        stream = four.zip(ids)
        for _ in range(chunks):
            await anext(stream)
        reached.set()
        async for _ in stream:
            await asyncio.sleep(0)

    for chunks in (1, 2, 5, 9):
        reached = asyncio.Event()
        reader = asyncio.create_task(read_some(chunks, reached))
        await reached.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    assert await four.drain(5) == 0


async def test_names_in_an_archive_are_safe_and_differ(four: Storage) -> None:
    """s3py-helper's keeps `..\\..\\evil.exe` and gives two of one name."""
    file_id = await put(four, "s3", "x", b"1")
    names = ["..\\..\\evil.exe", "a_3.txt", "a.txt", "a.txt", "/etc/passwd", "C:\\boot.ini"]
    members = [ZipMember(file_id, name) for name in names]
    assert opened(await collect(four.zip(members))).namelist() == [
        "evil.exe",
        "a_3.txt",
        "a.txt",
        "a_1.txt",
        "etc/passwd",
        "boot.ini",
    ]


async def test_a_failed_archive_can_not_be_opened(four: Storage) -> None:
    """s3py-helper's can, with an empty member."""
    ids = [await put(four, "s3", "x", b"1" * 100_000), f"s3:{BUCKET}/none"]
    file = io.BytesIO()
    with pytest.raises(NotFoundError):
        await four.zip(ids).save(file)
    assert file.tell()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(file)


async def test_an_archive_goes_from_three_drivers_into_the_fourth(four: Storage) -> None:
    ids = [await put(four, scheme, scheme, b"1") for scheme in SCHEMES[1:]]
    info = await four.write(f"s3:{BUCKET}/all.zip", four.zip(ids))
    assert info.content_type == "application/zip"
    assert opened(await four.read_bytes(info.uri)).namelist() == list(SCHEMES[1:])


# Copies and moves


@pytest.mark.parametrize(("source", "target"), list(itertools.product(SCHEMES, SCHEMES)))
@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_an_object_goes_from_any_driver_to_any(
    four: Storage, source: str, target: str, operation: str
) -> None:
    data = os.urandom(200_000)
    file_id = await put(four, source, "photo.jpg", data)
    act = four.copy if operation == "copy" else four.move
    name = NameHint("photo.jpg") if target == "fastdfs" else f"{target}:{BUCKET}/to/photo.jpg"
    info = await act(file_id, name)
    assert info.uri.startswith(f"{target}://")
    assert await four.read_bytes(info.uri) == data
    found = await four.stat(info.uri)
    assert found.metadata == {"author": "é"}
    if target != "fastdfs":
        assert (found.content_type, found.filename) == ("image/jpeg", "photo.jpg")
    if source in WITH_HEADERS and target in WITH_HEADERS:
        assert found.headers == HEADERS
    assert await four.exists(file_id) == (operation == "copy")
    await four.delete(info.uri)


# Digests


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_driver_makes_a_digest_while_it_writes(four: Storage, scheme: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(10):
            yield bytes([number]) * 100_000

    target = NameHint("x.bin") if scheme == "fastdfs" else f"{scheme}:{BUCKET}/x.bin"
    info = await four.write(target, pieces())
    expected = zlib.crc32(b"".join(bytes([number]) * 100_000 for number in range(10)))
    assert info.checksum == Checksum("crc32", f"{expected:08x}")


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "crc32"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_digest_that_the_caller_has_is_compared_by_every_driver(
    four: Storage, scheme: str, algorithm: str
) -> None:
    async def pieces(last: bytes) -> AsyncIterator[bytes]:
        yield b"a" * 300_000
        yield last

    data = b"a" * 300_000 + b"end"
    value = (
        f"{zlib.crc32(data):08x}"
        if algorithm == "crc32"
        else hashlib.new(algorithm, data).hexdigest()
    )
    key = f"{scheme}:{BUCKET}/digest-{algorithm}"
    target = NameHint("x.bin") if scheme == "fastdfs" else key
    info = await four.write(target, pieces(b"end"), checksum=Checksum(algorithm, value))
    assert info.size == len(data)
    await four.delete(info.uri)
    with pytest.raises(ChecksumMismatchError):
        await four.write(target, pieces(b"eND"), checksum=Checksum(algorithm, value))
    if scheme != "fastdfs":
        assert not await four.exists(key)


async def test_a_file_changed_in_place_is_never_copied_moved_or_zipped(
    four: Storage, tmp_path: Path
) -> None:
    file_id = await put(four, "file", "x", b"a" * 100_000)
    path = tmp_path / "root" / BUCKET / "files" / "x"
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for use in (four.copy, four.move):
        with pytest.raises(ChecksumMismatchError):
            await use(file_id, f"s3:{BUCKET}/changed")
    with pytest.raises(ChecksumMismatchError):
        await collect(four.zip([file_id]))
    assert not await four.exists(f"s3:{BUCKET}/changed")
    assert path.exists()


# From a URL


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/admin")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.end_headers()
        for number in range(10):
            self.wfile.write(bytes([number]) * 1_048_576)

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_url_of_unknown_length_goes_to_any_driver(
    four: Storage, scheme: str, web: str
) -> None:
    target = None if scheme == "fastdfs" else f"{scheme}:{BUCKET}/film.mp4"
    rules = FetchRules(allowed_networks=["127.0.0.1"], content_types=["video/*"])
    info = await four.fetch_url(f"{web}/film.mp4", target, rules=rules)
    assert info.size == 10 * 1_048_576
    data = await four.read_bytes(info.uri)
    expected = b"".join(bytes([number]) * 1_048_576 for number in range(10))
    assert await to_thread.run_sync(lambda: data == expected)


async def test_a_url_over_the_limit_leaves_no_part_behind(
    four: Storage, web: str, backends: Backends
) -> None:
    rules = FetchRules(allowed_networks=["127.0.0.1"], max_bytes=9_000_000)
    with pytest.raises(FileTooLargeError):
        await four.fetch_url(f"{web}/film.mp4", f"s3:{BUCKET}/large", rules=rules)
    assert not await four.exists(f"s3:{BUCKET}/large")
    assert [upload async for upload in four.list_multiparts(f"s3:{BUCKET}")] == []


async def test_no_redirect_leads_into_this_machine(four: Storage, web: str) -> None:
    """RefStore's `upload_from_url` follows it."""
    with pytest.raises(PermissionDeniedError):
        await four.fetch_url(f"{web}/film.mp4")
    rules = FetchRules(allowed_networks=["127.0.0.1/32"], max_redirects=0)
    with pytest.raises(Exception, match="redirects more than 0 times"):
        await four.fetch_url(f"{web}/loop", rules=rules)
