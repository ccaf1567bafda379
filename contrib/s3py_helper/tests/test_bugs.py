"""What s3py-helper 0.0.17 gets wrong, and this does not."""

import asyncio
import io
import os
import re
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import UploadFile

from polystow_s3py_helper.storage import (
    DeleteNotSupportedException,
    FastdfsConfig,
    FileDownload,
    FileNotFoundException,
    FileTypeConfig,
    FileValidatorImpl,
    FusionConfig,
    InvalidArgumentException,
    InvalidFileTypeException,
    RouteNotSupportedException,
    S3Config,
    StorageManager,
    StorageMode,
    StorageModeConfig,
    StorageOperationException,
)
from polystow_s3py_helper.storage.config.models import S3PerfConfig
from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient
from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.model import REAL_FILE_NAME_KEY
from polystow_s3py_helper.storage.s3raw.s3multipart import CompletedPart, S3MultipartUploadImpl
from polystow_s3py_helper.storage.s3raw.service.download_service import (
    AsyncQueueWriter,
    S3RawDownloadServiceImpl,
)
from polystow_s3py_helper.storage.s3raw.service.info_service import S3RawInfoServiceImpl
from polystow_s3py_helper.storage.s3raw.service.upload_service import S3RawUploadServiceImpl
from polystow_s3py_helper.storage.utils.file_utils import (
    generate_object_key,
    parse_s3_file_id,
)
from polystow_testing.fastdfs import FastdfsServer

MISSING = "group1/M00/00/00/fwAAAWsA62CAMzaRAACAAC4KhlE049.pdf"


@pytest.fixture
async def manager(
    s3_config: S3Config, fastdfs_config: FastdfsConfig
) -> AsyncIterator[StorageManager]:
    async with StorageManager(StorageModeConfig(), s3_config, fastdfs_config) as opened:
        yield opened


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * size


def uploaded(content: bytes, name: str | None = "a.txt", size: int | None = None) -> UploadFile:
    return UploadFile(io.BytesIO(content), size=size, filename=name)


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# Archives


@pytest.mark.parametrize(("count", "size"), [(1, 2_000_000), (40, 1000)])
async def test_an_archive_of_any_size_reaches_a_slow_reader(
    manager: StorageManager, fastdfs: FastdfsServer, count: int, size: int
) -> None:
    content = os.urandom(size)
    s3 = (await manager.upload_service.upload_bytes("a.bin", content)).file_id
    legacy = fastdfs.put(content, ext="bin")
    files = [FileDownload(file_id=file_id) for _ in range(count) for file_id in (s3, legacy)]
    data = b""
    async for chunk in manager.download_service.stream_zip(files):
        await asyncio.sleep(0)
        data += chunk
    assert list(unzipped(data).values()) == [content] * (2 * count)


async def test_a_reader_that_goes_away_hangs_nothing(manager: StorageManager) -> None:
    content = os.urandom(5_000_000)
    file_id = (await manager.upload_service.upload_bytes("a.bin", content)).file_id

    async def read_some(chunks: int, reached: asyncio.Event) -> None:
        async for _ in manager.download_service.stream_zip([FileDownload(file_id=file_id)] * 5):
            chunks -= 1
            if not chunks:
                reached.set()
            await asyncio.sleep(0)

    for chunks in (1, 3, 10):
        reached = asyncio.Event()
        reader = asyncio.create_task(read_some(chunks, reached))
        await reached.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_names_in_an_archive_are_safe_and_differ(manager: StorageManager) -> None:
    file_id = (await manager.upload_service.upload_bytes("a.txt", b"1")).file_id
    names = ["..\\..\\evil.exe", "a_3.txt", "a.txt", "a.txt"]
    out = io.BytesIO()
    await manager.download_service.download_files_as_zip(
        [FileDownload(file_id=file_id, file_name=name) for name in names], out
    )
    assert list(unzipped(out.getvalue())) == ["evil.exe", "a_3.txt", "a.txt", "a_1.txt"]
    unnamed = S3RawDownloadServiceImpl.safe_zip_entry_name
    assert unnamed(FileDownload(file_id="b/c", file_name="..\\..\\evil.exe")) == "evil.exe"
    assert unnamed(FileDownload(file_id="b/c/d.txt")) == "d.txt"
    assert unnamed(FileDownload(file_id="b/c", file_name="..")) == "unknown"


@pytest.mark.parametrize("missing", ["s3:my-bucket/none", MISSING])
async def test_a_failed_archive_can_not_be_opened(manager: StorageManager, missing: str) -> None:
    file_id = (await manager.upload_service.upload_bytes("a.txt", b"1" * 100_000)).file_id
    out = io.BytesIO()
    files = [FileDownload(file_id=file_id), FileDownload(file_id=missing)]
    with pytest.raises(FileNotFoundException):
        await manager.download_service.download_files_as_zip(files, out)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(out)
    with pytest.raises(FileNotFoundException):
        _ = [chunk async for chunk in manager.download_service.stream_zip(files)]


async def test_a_queue_writer_refuses_nothing() -> None:
    writer = AsyncQueueWriter(maxsize=1)
    assert [writer.write(b"ab") for _ in range(20)] == [2] * 20
    await writer.close()
    got = [await writer.queue.get() for _ in range(21)]
    assert got == [b"ab"] * 20 + [None]
    with pytest.raises(RuntimeError):
        writer.write(b"")


# Uploads


@pytest.mark.parametrize("mode", [StorageMode.S3, StorageMode.FASTDFS])
@pytest.mark.parametrize("declared", [999, 1001])
@pytest.mark.parametrize("as_file", [True, False])
async def test_a_body_that_has_not_its_declared_size_is_not_stored(
    s3_config: S3Config,
    fastdfs_config: FastdfsConfig,
    mode: StorageMode,
    declared: int,
    as_file: bool,
) -> None:
    config = StorageModeConfig(mode=mode)
    async with StorageManager(config, s3_config, fastdfs_config) as manager:
        stream: Any = io.BytesIO(bytes(1000)) if as_file else pieces(10, 100)
        with pytest.raises(InvalidArgumentException):
            await manager.upload_service.upload_stream("a.txt", stream, declared)


async def test_a_cancelled_upload_leaves_no_parts(s3_config: S3Config) -> None:
    going = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for number in range(1000):
            if number == 20:
                going.set()
                await asyncio.Event().wait()
            yield bytes(1_000_000)

    async with S3Client(s3_config) as client:
        service = S3RawUploadServiceImpl(client, s3_config)
        upload = asyncio.create_task(service.upload_stream("a.bin", endless(), 1_000_000_000))
        await going.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert [item async for item in client.storage.list_multiparts("s3:my-bucket")] == []


async def test_settings_count_for_the_managers_uploads(
    s3_config: S3Config, fastdfs_config: FastdfsConfig
) -> None:
    perf = S3PerfConfig(multipart_threshold=1_048_576, download_chunk_size=4096)
    config = s3_config.model_copy(update={"perf": perf})
    async with StorageManager(StorageModeConfig(), config, fastdfs_config) as manager:
        attach = await manager.upload_service.upload_bytes("a.bin", bytes(6_000_000))
        chunks = manager.download_service.download_to_generator(attach.file_id)
        assert max([len(chunk) async for chunk in chunks]) == 4096
    async with S3Client(config) as client:
        head = await client.head_object(*parse_s3_file_id(attach.file_id.removeprefix("s3:")))
    assert head["ETag"].endswith('-2"')


async def test_the_manager_can_limit_sizes_however_they_are_told(
    s3_config: S3Config, fastdfs_config: FastdfsConfig
) -> None:
    async with StorageManager(
        StorageModeConfig(), s3_config, fastdfs_config, max_file_size=1000
    ) as manager:
        service = manager.upload_service
        for size in (None, 1001):
            with pytest.raises(InvalidArgumentException, match="exceeds maximum"):
                await service.upload_file(uploaded(bytes(1001), size=size))
        with pytest.raises(InvalidArgumentException, match="exceeds maximum"):
            await service.upload_bytes("a.txt", bytes(1001))
        attach = await service.upload_file(uploaded(bytes(1000)))
        assert (await manager.info_service.get_file_info(attach.file_id)).file_size == 1000


@pytest.mark.parametrize("mode", [StorageMode.S3, StorageMode.FASTDFS])
async def test_an_uploaded_file_of_unknown_size_is_stored(
    s3_config: S3Config, fastdfs_config: FastdfsConfig, mode: StorageMode
) -> None:
    config = StorageModeConfig(mode=mode)
    async with StorageManager(config, s3_config, fastdfs_config) as manager:
        attach = await manager.upload_service.upload_file(uploaded(b"x" * 6_000_000, None))
        assert attach.file_name == "unknown"
        data = await manager.download_service.download_bytes(attach.file_id)
        assert data == b"x" * 6_000_000


async def test_batches_keep_their_order(manager: StorageManager) -> None:
    files = [uploaded(str(number).encode(), f"{number}.txt") for number in range(5)]
    attached = await manager.upload_service.upload_files(files, folder="batch")
    assert [attach.file_name for attach in attached] == [f"{n}.txt" for n in range(5)]


async def test_keys_have_the_form_of_the_readme_or_of_the_code(s3_config: S3Config) -> None:
    assert re.fullmatch(r"f/[0-9a-f]{16}_a b\.pdf", generate_object_key("a b.pdf", "/f/"))
    config = s3_config.model_copy(update={"key_format": "hex"})
    async with S3Client(config) as client:
        attach = await S3RawUploadServiceImpl(client, config).upload_bytes("A.PDF", b"1", "f")
        assert re.fullmatch(r"my-bucket/f/[0-9a-f]{32}\.pdf", attach.file_id)
        info = await S3RawInfoServiceImpl(client).get_file_info(attach.file_id)
        assert info.file_name == "A.PDF"


# Names and validation


async def test_original_names_come_back_decoded_and_hidden(s3_config: S3Config) -> None:
    name = "отчёт 100%.pdf"
    async with S3Client(s3_config) as client:
        attach = await S3RawUploadServiceImpl(client, s3_config).upload_bytes(
            name, b"1", metadata={"author": "john"}
        )
        head = await client.head_object(*parse_s3_file_id(attach.file_id))
        info = await S3RawInfoServiceImpl(client).get_file_info(attach.file_id)
    assert "%" in head["Metadata"][REAL_FILE_NAME_KEY]
    assert head["ContentType"] == "application/pdf"
    assert (info.file_name, info.metadata) == (name, {"author": "john"})


async def test_files_that_s3py_helper_wrote_are_understood(s3_config: S3Config) -> None:
    async with S3Client(s3_config) as client:
        metadata = {REAL_FILE_NAME_KEY: "%C3%A9%2Fb%20c.pdf", "author": "john"}
        await client.put_object("my-bucket", "old", b"1", 1, metadata)
        info = await S3RawInfoServiceImpl(client).get_file_info("my-bucket/old")
    assert (info.file_name, info.metadata) == ("é/b c.pdf", {"author": "john"})


@pytest.mark.parametrize("name", ["", "  ", "a..b", "a/b", "a\\b", "a\0.txt", "a\n.txt"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentException):
        FileValidatorImpl().validate_file_name(name)


def test_types_are_compared_with_both_lists() -> None:
    validator = FileValidatorImpl(FileTypeConfig(whitelist=["PDF", ".jpg"], blacklist=["exe"]))
    validator.validate_file_type("a.pdf")
    validator.validate_file_type("a.JPG")
    for name in ("a.txt", "a.exe", "a"):
        with pytest.raises(InvalidFileTypeException):
            validator.validate_file_type(name)
    everything = FileValidatorImpl(FileTypeConfig(blacklist=["exe"]))
    everything.validate_file_type("Makefile")
    with pytest.raises(InvalidFileTypeException):
        everything.validate_file_type("a.EXE")


def test_sizes_are_compared_with_the_limit() -> None:
    validator = FileValidatorImpl(max_file_size=10)
    validator.validate_file_size(10)
    for size in (-1, 11):
        with pytest.raises(InvalidArgumentException):
            validator.validate_file_size(size)


# Errors and routes


async def test_what_is_not_there_is_always_file_not_found(manager: StorageManager) -> None:
    for file_id in ("s3:my-bucket/none", MISSING):
        with pytest.raises(FileNotFoundException):
            await manager.download_service.download_bytes(file_id)
        with pytest.raises(FileNotFoundException):
            await manager.download_service.download_to_stream(file_id, io.BytesIO())
        with pytest.raises(FileNotFoundException):
            _ = [c async for c in manager.download_service.download_to_generator(file_id)]
        with pytest.raises(FileNotFoundException):
            await manager.info_service.get_file_info(file_id)
    await manager.delete_service.delete_file("s3:my-bucket/none")
    with pytest.raises(FileNotFoundException):
        await manager.delete_service.delete_file(MISSING)


@pytest.mark.parametrize("file_id", ["s3:", "s3:bucket", "s3:bucket/", "s3:/key"])
async def test_an_id_that_is_none_is_an_invalid_argument(
    manager: StorageManager, file_id: str
) -> None:
    with pytest.raises(InvalidArgumentException, match="Expected 'bucket/key'"):
        await manager.download_service.download_bytes(file_id)


async def test_no_error_of_an_sdk_leaks_out_of_a_service(s3_config: S3Config) -> None:
    nowhere = s3_config.model_copy(
        update={"endpoint": "http://127.0.0.1:9", "perf": S3PerfConfig(max_retries=0)}
    )
    async with StorageManager(StorageModeConfig(mode=StorageMode.S3), nowhere) as manager:
        with pytest.raises(StorageOperationException):
            await manager.upload_service.upload_bytes("a.txt", b"1")
        with pytest.raises(StorageOperationException):
            await manager.download_service.download_bytes("s3:b/k")
        with pytest.raises(StorageOperationException):
            await manager.delete_service.delete_file("s3:b/k")


async def test_a_mode_serves_its_own_ids_alone(
    s3_config: S3Config, fastdfs_config: FastdfsConfig
) -> None:
    for mode, foreign in ((StorageMode.S3, MISSING), (StorageMode.FASTDFS, "s3:b/k")):
        config = StorageModeConfig(mode=mode)
        async with StorageManager(config, s3_config, fastdfs_config) as manager:
            with pytest.raises(RouteNotSupportedException):
                await manager.download_service.download_bytes(foreign)
            with pytest.raises(RouteNotSupportedException):
                await manager.info_service.get_file_info(foreign)
            with pytest.raises(RouteNotSupportedException):
                await manager.delete_service.delete_file(foreign)
            with pytest.raises(RouteNotSupportedException):
                await manager.download_service.download_files_as_zip(
                    [FileDownload(file_id=foreign)], io.BytesIO()
                )


async def test_files_of_fastdfs_can_be_switched_off(
    s3_config: S3Config, fastdfs_config: FastdfsConfig
) -> None:
    off = FusionConfig(enable_fastdfs_download=False, enable_fastdfs_delete=False)
    async with StorageManager(
        StorageModeConfig(), s3_config, fastdfs_config, fusion_config=off
    ) as manager:
        with pytest.raises(RouteNotSupportedException):
            await manager.download_service.download_bytes(MISSING)
        with pytest.raises(DeleteNotSupportedException):
            await manager.delete_service.delete_file(MISSING)


async def test_a_mode_without_its_configuration_is_refused(s3_config: S3Config) -> None:
    with pytest.raises(InvalidArgumentException, match="FastDFS config is required"):
        StorageManager(StorageModeConfig(), s3_config)
    with pytest.raises(InvalidArgumentException, match="S3 config is required"):
        StorageManager(StorageModeConfig(mode=StorageMode.S3))
    manager = StorageManager(StorageModeConfig(mode=StorageMode.S3), s3_config)
    with pytest.raises(RuntimeError, match="async with"):
        _ = manager.upload_service
    bad = s3_config.model_copy(update={"endpoint": "nonsense"})
    with pytest.raises(InvalidArgumentException):
        await StorageManager(StorageModeConfig(mode=StorageMode.S3), bad).__aenter__()


def test_no_secret_is_shown(s3_config: S3Config) -> None:
    assert "your-secret-key" not in repr(s3_config)


# Clients


async def test_parts_can_be_listed_and_completed_in_any_order(s3_config: S3Config) -> None:
    async with S3Client(s3_config) as client:
        service = S3MultipartUploadImpl(client)
        begun = await service.initiate_multipart_upload("my-bucket", "parts", "é.bin", {"a": "b"})
        parts: list[CompletedPart] = []
        for number, data in ((2, b"end"), (1, bytes(5_242_880))):
            parts.append(
                await service.upload_part(
                    "my-bucket", "parts", begun.upload_id, number, data, len(data)
                )
            )
        listed = await service.list_parts("my-bucket", "parts", begun.upload_id)
        assert [(part.part_number, part.size) for part in listed.parts] == [(1, 5_242_880), (2, 3)]
        done = await service.complete_multipart_upload("my-bucket", "parts", begun.upload_id, parts)
        assert (done.bucket, done.key) == ("my-bucket", "parts")
        info = await S3RawInfoServiceImpl(client).get_file_info("my-bucket/parts")
        assert (info.file_name, info.file_size) == ("é.bin", 5_242_883)
        begun = await service.initiate_multipart_upload("my-bucket", "dropped", "x")
        await service.abort_multipart_upload("my-bucket", "dropped", begun.upload_id)
        answer = await client.get_object("my-bucket", "parts")
        async with answer["Body"] as body:
            assert len(await body.read()) == 5_242_883
        assert (await client.delete_object("my-bucket", "parts"))["ResponseMetadata"]


async def test_the_fastdfs_client_gives_what_aiofdfs_gives(
    fastdfs_config: FastdfsConfig, tmp_path: Any
) -> None:
    async with FastdfsClient(fastdfs_config) as client:
        added = await client.upload_by_buffer(b"x" * 2048, "txt", {"author": "john"})
        assert set(added) == {"group_name", "file_id", "file_name", "file_size", "storage_ip"}
        assert (added["group_name"], added["file_size"]) == ("group1", "2.00KB")
        file_id = added["file_id"]
        assert file_id.endswith(".txt")
        facts = await client.query_file_info(file_id)
        assert set(facts) == {"file_id", "file_size", "create_timestamp", "crc32", "source_ip"}
        assert facts["file_size"] == 2048
        assert (await client.get_meta_data(file_id))["author"] == "john"
        target = tmp_path / "saved.txt"
        await client.download_to_file(str(target), file_id)
        again = await client.upload_by_filename(str(target))
        assert (await client.get_meta_data(again["file_id"]))["OriginFileName"] == "saved.txt"
        third = await client.upload_by_upload_file(uploaded(b"1", "é.pdf", 1))
        assert (third["file_name"], third["file_size"]) == ("é.pdf", "1B")
        chunks = client.download_to_generator(file_id)
        assert b"".join([chunk async for chunk in chunks]) == b"x" * 2048
        assert (await client.delete_file(file_id))[0] == "Delete file successed."
        inner: Any = client.inner
        meta = await inner.get_meta_data(again["file_id"])
        assert meta["OriginFileName"] == "saved.txt"
    with pytest.raises(RuntimeError):
        _ = client.inner


async def test_leaving_closes_the_connections_to_fastdfs(
    fastdfs_config: FastdfsConfig, fastdfs: FastdfsServer
) -> None:
    config = StorageModeConfig(mode=StorageMode.FASTDFS)
    before = fastdfs.opened_connections()
    async with StorageManager(config, fastdfs_config=fastdfs_config) as manager:
        await manager.upload_service.upload_bytes("a.txt", b"1")
        assert fastdfs.opened_connections() > before
    await fastdfs.wait_until_async(lambda nodes: not any(node.connections_open for node in nodes))
