"""The examples of s3py-helper's README, unchanged but for the import.

Each is run with the names that the README's text gives it around it, and with ids of files that
are there.
"""

# ruff: noqa: E501 - as they are

import io
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, UploadFile

from polystow_s3py_helper.storage import (
    FastdfsConfig,
    S3Config,
    StorageManager,
    StorageModeConfig,
)
from polystow_testing.fastdfs import FastdfsServer

CONTENT = b"%PDF content" * 1000


async def run(example: str, /, **names: Any) -> dict[str, Any]:
    """Run an example as the body of an async function; its names afterwards."""
    source = example.replace("s3py_helper", "polystow_s3py_helper")
    body = textwrap.indent(textwrap.dedent(source), "    ")
    code = f"async def example():\n{body}\n    return locals()\n"
    namespace = dict(names)
    exec(compile(code, "<README>", "exec"), namespace)
    return await namespace["example"]()  # type: ignore[no-any-return]


IMPORTS = """
from s3py_helper.storage import (
    StorageManager, StorageModeConfig, StorageMode,
    S3Config, FastdfsConfig,
)
"""


def saved() -> bytes:
    return Path("output.pdf").read_bytes()


def upload_file(content: bytes = CONTENT, name: str = "upload.pdf") -> UploadFile:
    return UploadFile(io.BytesIO(content), size=len(content), filename=name)


async def test_configuration() -> None:
    names = await run(
        """
        from s3py_helper.storage import S3Config

        s3_config = S3Config(
            endpoint="http://192.168.30.36:9001",
            access_key_id="your-access-key",
            secret_access_key="your-secret-key",
            default_bucket="my-bucket",
            region="us-east-1",
        )
        from s3py_helper.storage import FastdfsConfig

        fastdfs_config = FastdfsConfig(
            tracker_servers=["192.168.30.36:22122"],
            connect_timeout=2,
            network_timeout=30,
        )
        from s3py_helper.storage import StorageModeConfig, StorageMode

        # Hybrid mode (default, both backends)
        mode_config = StorageModeConfig(mode=StorageMode.HYBRID)

        # S3 only mode
        mode_config = StorageModeConfig(mode=StorageMode.S3)

        # FastDFS only mode
        mode_config = StorageModeConfig(mode=StorageMode.FASTDFS)
        from s3py_helper.storage import FileTypeConfig, FileValidatorImpl

        file_type_config = FileTypeConfig(
            whitelist=["pdf", "jpg", "png", "zip"],
            blacklist=["exe", "bat"],
        )
        validator = FileValidatorImpl(file_type_config=file_type_config, max_file_size=100 * 1024 * 1024)
        """
    )
    assert names["s3_config"].region == "us-east-1"
    assert names["mode_config"].mode == "fastdfs"
    names["validator"].validate_file_type("a.PDF")


async def test_modes(s3_config: S3Config, fastdfs_config: FastdfsConfig) -> None:
    names = await run(
        IMPORTS
        + """
async with StorageManager(
    mode_config=StorageModeConfig(mode=StorageMode.HYBRID),
    s3_config=s3_config,
    fastdfs_config=fastdfs_config,
) as manager:
    # Access services via properties
    fusion_upload = manager.upload_service
    fusion_download = manager.download_service
    fusion_delete = manager.delete_service
    fusion_info = manager.info_service

# S3 only
async with StorageManager(
    mode_config=StorageModeConfig(mode=StorageMode.S3),
    s3_config=s3_config,
) as manager:
    attach = await manager.upload_service.upload_bytes("report.pdf", content)
s3_attach = attach

# FastDFS only
async with StorageManager(
    mode_config=StorageModeConfig(mode=StorageMode.FASTDFS),
    fastdfs_config=fastdfs_config,
) as manager:
    attach = await manager.upload_service.upload_bytes("report.pdf", content)
""",
        s3_config=s3_config,
        fastdfs_config=fastdfs_config,
        content=CONTENT,
    )
    assert re.fullmatch(r"s3:my-bucket/[0-9a-f]{16}_report\.pdf", names["s3_attach"].file_id)
    assert re.fullmatch(r"group1/M00/../../.+\.pdf", names["attach"].file_id)
    assert names["attach"].file_name == "report.pdf"


async def test_uploads_downloads_and_the_rest(
    s3_config: S3Config, fastdfs_config: FastdfsConfig, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    async with StorageManager(StorageModeConfig(), s3_config, fastdfs_config) as manager:
        services = {
            "fusion_upload": manager.upload_service,
            "fusion_download": manager.download_service,
            "fusion_delete": manager.delete_service,
            "fusion_info": manager.info_service,
        }
        names = await run(
            """
            # Upload byte data
            attach = await fusion_upload.upload_bytes("report.pdf", content, folder="reports")
            first = attach

            # Upload FastAPI UploadFile (streaming)
            attach = await fusion_upload.upload_file(upload_file, folder="uploads")
            second = attach

            # Upload custom stream
            import io
            stream = io.BytesIO(content)
            attach = await fusion_upload.upload_stream("data.csv", stream, len(content), folder="data")
            third = attach

            # Upload with custom metadata
            attach = await fusion_upload.upload_bytes(
                "report.pdf", content, folder="reports",
                metadata={"author": "john", "category": "finance"},
            )
            """,
            content=CONTENT,
            upload_file=upload_file(),
            **services,
        )
        assert names["first"].file_id.startswith("s3:my-bucket/reports/")
        assert names["second"].file_name == "upload.pdf"
        assert names["third"].file_id.startswith("s3:my-bucket/data/")
        some_file_id = names["attach"].file_id

        got: list[bytes] = []
        names = await run(
            """
            # Download as byte data
            data = await fusion_download.download_bytes("s3:my-bucket/reports/uuid_report.pdf")

            # Download to output stream
            with open("output.pdf", "wb") as f:
                await fusion_download.download_to_stream("s3:my-bucket/reports/uuid_report.pdf", f)

            # Streaming download (async iterator)
            async for chunk in fusion_download.download_to_generator(some_file_id):
                process(chunk)
            """.replace("s3:my-bucket/reports/uuid_report.pdf", some_file_id),
            some_file_id=some_file_id,
            process=got.append,
            **services,
        )
        assert names["data"] == b"".join(got) == saved() == CONTENT

        names = await run(
            """
            info = await fusion_info.get_file_info("s3:my-bucket/reports/uuid_report.pdf")
            print(info.file_name)    # File name
            print(info.file_size)    # File size (bytes)
            print(info.last_modify_time)  # Last modification time (S3)
            print(info.storage_class)     # Storage class (S3)
            print(info.metadata)          # Custom metadata (S3)
            """.replace("s3:my-bucket/reports/uuid_report.pdf", some_file_id),
            **services,
        )
        info = names["info"]
        assert (info.file_id, info.file_name, info.file_size) == (
            some_file_id,
            "report.pdf",
            len(CONTENT),
        )
        assert info.metadata == {"author": "john", "category": "finance"}
        assert info.storage_class == "STANDARD"


async def test_archives_and_deletion(
    s3_config: S3Config, fastdfs_config: FastdfsConfig, fastdfs: FastdfsServer
) -> None:
    legacy = fastdfs.put(b"old contract", ext="pdf")
    async with StorageManager(StorageModeConfig(), s3_config, fastdfs_config) as manager:
        new = (await manager.upload_service.upload_bytes("doc.pdf", CONTENT)).file_id
        replaced = {
            "s3:my-bucket/reports/uuid_report.pdf": new,
            "s3:my-bucket/doc.pdf": new,
            "group1/M00/00/00/old_contract.pdf": legacy,
            "group1/M00/00/00/some_file.pdf": legacy,
        }
        services = {
            "fusion_download": manager.download_service,
            "fusion_delete": manager.delete_service,
        }
        names = await run(
            substituted(
                """
                from s3py_helper.storage import FileDownload
                import io

                files = [
                    FileDownload(file_id="s3:my-bucket/reports/uuid_report.pdf", file_name="report.pdf"),
                    FileDownload(file_id="group1/M00/00/00/old_contract.pdf", file_name="contract.pdf"),
                ]
                buf = io.BytesIO()
                await fusion_download.download_files_as_zip(files, buf)
                from starlette.responses import StreamingResponse

                async def download_zip(request):
                    files = [FileDownload(file_id="s3:my-bucket/doc.pdf", file_name="doc.pdf")]
                    return StreamingResponse(
                        fusion_download.stream_zip(files),
                        media_type="application/zip",
                        headers={"Content-Disposition": "attachment; filename=files.zip"},
                    )
                """,
                replaced,
            ),
            **services,
        )
        assert unzipped(names["buf"].getvalue()) == {
            "report.pdf": CONTENT,
            "contract.pdf": b"old contract",
        }
        response = await names["download_zip"](None)
        data = b"".join([chunk async for chunk in response.body_iterator])
        assert unzipped(data) == {"doc.pdf": CONTENT}
        await run(
            substituted(
                """
                # Delete S3 file
                await fusion_delete.delete_file("s3:my-bucket/reports/uuid_report.pdf")

                # Delete FastDFS file (hybrid/fastdfs mode only)
                await fusion_delete.delete_file("group1/M00/00/00/some_file.pdf")
                """,
                replaced,
            ),
            **services,
        )


def substituted(example: str, names: dict[str, str]) -> str:
    for name, real in names.items():
        example = example.replace(name, real)
    return example


def unzipped(data: bytes) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


async def test_raw_services(s3_config: S3Config, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    got: list[bytes] = []
    names = await run(
        """
        from s3py_helper.storage.s3raw.client.s3_client import S3Client
        from s3py_helper.storage.s3raw.service.upload_service import S3RawUploadServiceImpl
        from s3py_helper.storage.s3raw.service.download_service import S3RawDownloadServiceImpl
        from s3py_helper.storage.s3raw.service.delete_service import S3RawDeleteServiceImpl
        from s3py_helper.storage.s3raw.service.info_service import S3RawInfoServiceImpl

        async with S3Client(s3_config) as s3:
            upload_svc = S3RawUploadServiceImpl(s3, s3_config)
            download_svc = S3RawDownloadServiceImpl(s3)
            delete_svc = S3RawDeleteServiceImpl(s3)
            info_svc = S3RawInfoServiceImpl(s3)
            # Byte upload
            attach = await upload_svc.upload_bytes("report.pdf", content, folder="reports")
            # attach.file_id → "my-bucket/reports/a1b2c3d4e5f6g7h8_report.pdf"
            file_id = attach.file_id

            # Stream upload
            import io
            attach = await upload_svc.upload_stream("data.bin", io.BytesIO(content), len(content))

            # UploadFile upload (streaming, does not load entire file into memory)
            attach = await upload_svc.upload_file(upload_file, bucket="other-bucket")
            other = attach
            # Download as bytes
            data = await download_svc.download_bytes(file_id)

            # Download to file
            with open("output.pdf", "wb") as f:
                await download_svc.download_to_stream(file_id, f)

            # Streaming read
            async for chunk in download_svc.download_to_generator(file_id):
                process(chunk)
            from s3py_helper.storage import FileDownload

            # Write to buffer
            files = [
                FileDownload(file_id=file_id, file_name="Document A.pdf"),
                FileDownload(file_id=other.file_id, file_name="Document B.pdf"),
            ]
            buf = io.BytesIO()
            await download_svc.download_files_as_zip(files, buf)
            info = await info_svc.get_file_info(file_id)
            print(info.file_size)         # File size (bytes)
            print(info.last_modify_time)  # Last modification time
            print(info.storage_class)     # Storage class
            print(info.metadata)          # Custom metadata dictionary
            await delete_svc.delete_file(file_id)
        """,
        s3_config=s3_config,
        content=CONTENT,
        upload_file=upload_file(),
        process=got.append,
    )
    assert re.fullmatch(r"my-bucket/reports/[0-9a-f]{16}_report\.pdf", names["file_id"])
    assert names["other"].file_id.startswith("other-bucket/")
    assert names["data"] == b"".join(got) == saved() == CONTENT
    assert list(unzipped(names["buf"].getvalue())) == ["Document A.pdf", "Document B.pdf"]
    assert names["info"].metadata == {}


async def test_multipart_upload(s3_config: S3Config) -> None:
    def read_chunks(_: str, size: int) -> list[bytes]:
        return [b"a" * size, b"b" * 10]

    await run(
        """
        from s3py_helper.storage.s3raw.client.s3_client import S3Client

        async with S3Client(s3_config) as s3:
            # Initiate multipart upload
            result = await s3.create_multipart_upload("my-bucket", "large-file.bin")
            upload_id = result["UploadId"]

            # Upload parts
            parts = []
            for part_num, chunk in enumerate(read_chunks("large-file.bin", 8 * 1024 * 1024), start=1):
                result = await s3.upload_part("my-bucket", "large-file.bin", upload_id, part_num, chunk)
                parts.append({"PartNumber": part_num, "ETag": result["ETag"]})

            # Complete assembly
            await s3.complete_multipart_upload("my-bucket", "large-file.bin", upload_id, parts)
            head = await s3.head_object("my-bucket", "large-file.bin")
            assert head["ContentLength"] == 8 * 1024 * 1024 + 10
        """,
        s3_config=s3_config,
        read_chunks=read_chunks,
    )


APPLICATION = """
from contextlib import asynccontextmanager
from fastapi import FastAPI, Depends, UploadFile, File
from starlette.responses import StreamingResponse

from s3py_helper.storage import (
    StorageManager, StorageModeConfig, StorageMode,
    S3Config, FastdfsConfig, FileTypeConfig,
    FileDownload,
)

# ---- StorageManager Lifecycle ----

_manager: StorageManager | None = None

@asynccontextmanager
async def lifespan(app: FastAPI):
    '''Create StorageManager on application startup, release on shutdown.'''
    global _manager
    _manager = StorageManager(
        mode_config=StorageModeConfig(mode=StorageMode.HYBRID),
        s3_config=s3_config,
        fastdfs_config=fastdfs_config,
    )
    async with _manager:
        yield

app = FastAPI(lifespan=lifespan)

# ---- Access Services ----

def get_manager() -> StorageManager:
    return _manager


@app.post("/files/upload")
async def upload_file(file: UploadFile = File(...)):
    attach = await get_manager().upload_service.upload_file(file, folder="uploads")
    return {"file_id": attach.file_id, "file_name": attach.file_name}


@app.post("/files/batch-upload")
async def batch_upload(files: list[UploadFile] = File(...)):
    results = await get_manager().upload_service.upload_files(files, folder="batch")
    return [{"file_id": r.file_id, "file_name": r.file_name} for r in results]


from starlette.responses import Response

@app.get("/files/{file_id:path}/download")
async def download_file(file_id: str):
    data = await get_manager().download_service.download_bytes(file_id)
    return Response(content=data, media_type="application/octet-stream")


@app.post("/files/download-zip")
async def download_zip(body: list[FileDownload]):
    return StreamingResponse(
        get_manager().download_service.stream_zip(body),
        media_type="application/zip",
        headers={"Content-Disposition": "attachment; filename=files.zip"},
    )


@app.delete("/files/{file_id:path}")
async def delete_file(file_id: str):
    await get_manager().delete_service.delete_file(file_id)
    return {"detail": "deleted"}


@app.get("/files/{file_id:path}/info")
async def get_file_info(file_id: str):
    info = await get_manager().info_service.get_file_info(file_id)
    return {
        "file_id": info.file_id,
        "file_name": info.file_name,
        "file_size": info.file_size,
        "last_modify_time": info.last_modify_time.isoformat() if info.last_modify_time else None,
    }


from fastapi.responses import JSONResponse
from s3py_helper.storage import (
    StorageException, FileNotFoundException,
    InvalidArgumentException, InvalidFileTypeException,
    DeleteNotSupportedException, RouteNotSupportedException,
)

@app.exception_handler(FileNotFoundException)
async def not_found_handler(request, exc):
    return JSONResponse(status_code=404, content={"detail": str(exc)})

@app.exception_handler(InvalidArgumentException)
@app.exception_handler(InvalidFileTypeException)
async def bad_request_handler(request, exc):
    return JSONResponse(status_code=400, content={"detail": str(exc)})

@app.exception_handler(DeleteNotSupportedException)
@app.exception_handler(RouteNotSupportedException)
async def forbidden_handler(request, exc):
    return JSONResponse(status_code=403, content={"detail": str(exc)})

@app.exception_handler(StorageException)
async def storage_error_handler(request, exc):
    return JSONResponse(status_code=500, content={"detail": str(exc)})
"""


async def test_an_application(s3_config: S3Config, fastdfs_config: FastdfsConfig) -> None:
    namespace: dict[str, Any] = {"s3_config": s3_config, "fastdfs_config": fastdfs_config}
    source = APPLICATION.replace("s3py_helper", "polystow_s3py_helper")
    exec(compile(source, "<README>", "exec"), namespace)
    app: FastAPI = namespace["app"]
    lifespan: Callable[[FastAPI], Any] = namespace["lifespan"]
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as web,
    ):
        answer = await web.post("/files/upload", files={"file": ("é.pdf", CONTENT)})
        file_id = answer.json()["file_id"]
        assert answer.json()["file_name"] == "é.pdf"
        answer = await web.post(
            "/files/batch-upload", files=[("files", ("a.txt", b"a")), ("files", ("b.txt", b"b"))]
        )
        assert [entry["file_name"] for entry in answer.json()] == ["a.txt", "b.txt"]
        assert (await web.get(f"/files/{file_id}/download")).content == CONTENT
        info = (await web.get(f"/files/{file_id}/info")).json()
        assert (info["file_id"], info["file_name"], info["file_size"]) == (
            file_id,
            "é.pdf",
            len(CONTENT),
        )
        answer = await web.post("/files/download-zip", json=[{"file_id": file_id}])
        assert list(unzipped(answer.content).values()) == [CONTENT]
        assert (await web.delete(f"/files/{file_id}")).json() == {"detail": "deleted"}
        assert (await web.get(f"/files/{file_id}/download")).status_code == 404
        answer = await web.post("/files/upload", files={"file": ("a..pdf", b"")})
        assert answer.status_code == 400
