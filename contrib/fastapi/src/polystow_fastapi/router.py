"""The endpoints of s3py-helper's FastAPI example as a ready router; needs FastAPI."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated

import anyio
from fastapi import APIRouter, Body, Depends, HTTPException, Request, Response
from pydantic import BaseModel, Field

from polystow import Storage, ZipMember
from polystow_fastapi._forms import FormFiles, form_files
from polystow_fastapi._response import StorageResponse
from polystow_fastapi._uploads import UploadLimits
from polystow_fastapi._zip import ZipResponse

__all__ = ["FileDownload", "FileInfo", "StorageProvider", "StoredFile", "files_router"]

MAX_ZIP_MEMBERS = 10_000
_CLEANUP_TIMEOUT_S = 30.0
_logger = logging.getLogger("polystow.http")

type StorageProvider = Callable[..., object]
"""A FastAPI dependency that gives a `Storage`: a `StorageDependency`, or one that checks first."""


class StoredFile(BaseModel):
    """What an upload answers."""

    file_id: str
    file_name: str


class FileInfo(BaseModel):
    """What is known of a file."""

    file_id: str
    file_name: str
    file_size: int | None
    last_modify_time: datetime | None


class FileDownload(BaseModel):
    """A file for an archive."""

    file_id: str
    file_name: str | None = Field(default=None, min_length=1, max_length=1024)


def files_router(
    storage: StorageProvider,
    *,
    prefix: str = "/files",
    folder: str | None = "uploads",
    batch_folder: str | None = "batch",
    container: str | None = None,
    limits: UploadLimits = UploadLimits(),  # noqa: B008 - frozen
    max_files: int = 100,
    dependencies: Sequence[Callable[..., object]] = (),
) -> APIRouter:
    """Upload, batch upload, download, zip, delete and info, under one prefix.

    ```
    POST   /files/upload              form field `file`        {file_id, file_name}
    POST   /files/batch-upload        form fields `files`      [{file_id, file_name}]
    GET    /files/{file_id}/download  also HEAD, Range and conditions
    POST   /files/download-zip        [{file_id, file_name?}]  a zip archive
    DELETE /files/{file_id}                                    {detail}
    GET    /files/{file_id}/info                               {file_id, file_name, file_size, …}
    ```

    Uploads are not spooled: files go to the storage while they arrive. Everybody who reaches the
    router may do all this, with every id that the storage routes; protect it by `dependencies`.

    Args:
        storage: The dependency that gives the storage.
        prefix: Of the paths.
        folder: Where uploads go.
        batch_folder: Where batch uploads go.
        container: The bucket, group or directory of uploads; None for the driver's default.
        limits: What an uploaded file may take.
        max_files: How many files a batch may have.
        dependencies: What has to hold before each request: authentication, say.
    """
    router = APIRouter(
        prefix=prefix, tags=["files"], dependencies=[Depends(needed) for needed in dependencies]
    )

    @router.post("/upload", openapi_extra=_form("file", {"type": "string", "format": "binary"}))
    async def upload(  # pyright: ignore[reportUnusedFunction] - FastAPI keeps it
        request: Request, files: Annotated[Storage, Depends(storage)]
    ) -> StoredFile:
        """Store the form's `file`."""
        form = form_files(request, limits=limits, max_files=1)
        return (await _store(form, "file", files, folder, container))[0]

    @router.post(
        "/batch-upload",
        openapi_extra=_form(
            "files", {"type": "array", "items": {"type": "string", "format": "binary"}}
        ),
    )
    async def batch_upload(  # pyright: ignore[reportUnusedFunction]
        request: Request, files: Annotated[Storage, Depends(storage)]
    ) -> list[StoredFile]:
        """Store the form's `files`: all of them or none."""
        form = form_files(request, limits=limits, max_files=max_files)
        return await _store(form, "files", files, batch_folder, container)

    @router.api_route("/{file_id:path}/download", methods=["GET", "HEAD"])
    async def download(  # pyright: ignore[reportUnusedFunction]
        file_id: str, files: Annotated[Storage, Depends(storage)]
    ) -> Response:
        """Send a file."""
        return StorageResponse(files, file_id)

    @router.post("/download-zip")
    async def download_zip(  # pyright: ignore[reportUnusedFunction]
        members: Annotated[list[FileDownload], Body(max_length=MAX_ZIP_MEMBERS)],
        files: Annotated[Storage, Depends(storage)],
    ) -> Response:
        """Send files as one archive."""
        return ZipResponse(files, [ZipMember(each.file_id, each.file_name) for each in members])

    @router.delete("/{file_id:path}")
    async def delete(  # pyright: ignore[reportUnusedFunction]
        file_id: str, files: Annotated[Storage, Depends(storage)]
    ) -> dict[str, str]:
        """Delete a file; one that is not there counts as deleted."""
        await files.delete(file_id)
        return {"detail": "deleted"}

    @router.get("/{file_id:path}/info")
    async def info(  # pyright: ignore[reportUnusedFunction]
        file_id: str, files: Annotated[Storage, Depends(storage)]
    ) -> FileInfo:
        """What is known of a file."""
        found = await files.stat(file_id)
        return FileInfo(
            file_id=found.file_id,
            file_name=found.filename or found.file_id.rpartition("/")[2],
            file_size=found.size,
            last_modify_time=found.modified or found.created,
        )

    return router


async def _store(
    form: FormFiles, field: str, storage: Storage, folder: str | None, container: str | None
) -> list[StoredFile]:
    """Store the files of one field: all or none, since the client is told of none if one fails."""
    stored: list[StoredFile] = []
    try:
        async for file in form:
            if file.field == field:
                info = await storage.upload(
                    *(file.filename, file),
                    folder=folder,
                    container=container,
                    content_type=file.content_type,
                )
                stored.append(StoredFile(file_id=info.file_id, file_name=file.filename))
        if not stored:
            raise HTTPException(422, f"the form has no file in its field {field!r}")
    except BaseException:
        await _delete_all(storage, stored)
        raise
    return stored


async def _delete_all(storage: Storage, stored: Sequence[StoredFile]) -> None:
    if not stored:
        return
    with anyio.move_on_after(_CLEANUP_TIMEOUT_S, shield=True):
        failed = (await storage.delete_many([file.file_id for file in stored])).failed
        for path, error in failed:
            _logger.warning("a file of a failed batch could not be deleted: %s: %s", path, error)


def _form(field: str, schema: Mapping[str, object]) -> dict[str, object]:
    form = {"type": "object", "properties": {field: schema}, "required": [field]}
    content = {"multipart/form-data": {"schema": form}}
    return {"requestBody": {"content": content, "required": True}}
