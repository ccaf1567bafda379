"""Uploads, validated, to the backend that the mode says."""

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from polystow_s3py_helper._files import UploadContent, limited
from polystow_s3py_helper.storage.config.models import StorageMode
from polystow_s3py_helper.storage.exceptions.storage_exceptions import RouteNotSupportedException
from polystow_s3py_helper.storage.fastdfs.service.upload_service import FastdfsUploadServiceImpl
from polystow_s3py_helper.storage.fusion.router.file_id_router import FileIdRouterImpl
from polystow_s3py_helper.storage.model.entities import FileAttach, UploadFile
from polystow_s3py_helper.storage.s3raw.service.upload_service import S3RawUploadServiceImpl
from polystow_s3py_helper.storage.validator.file_validator import FileValidatorImpl


class FusionUploadServiceImpl:
    """Uploads to S3, or in the mode `fastdfs` to FastDFS, which has no folders and buckets.

    Args:
        s3_upload_service: S3's uploads; None if there are none.
        validator: What files are allowed.
        router: Makes the ids.
        fdfs_upload_service: FastDFS's uploads; None if there are none.
        mode: Where new files go.
    """

    def __init__(
        self,
        s3_upload_service: S3RawUploadServiceImpl | None,
        validator: FileValidatorImpl,
        router: FileIdRouterImpl,
        fdfs_upload_service: FastdfsUploadServiceImpl | None = None,
        mode: StorageMode = StorageMode.HYBRID,
    ) -> None:
        self._s3_upload = s3_upload_service
        self._fdfs_upload = fdfs_upload_service
        self._validator = validator
        self._router = router
        self._mode = mode

    async def upload_stream(
        self,
        file_name: str,
        stream: BinaryIO | AsyncIterator[bytes],
        file_size: int,
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload a file object, which is read in worker threads, or an async iterator.

        Raises:
            InvalidArgumentException: Its name or size is not allowed, or it has not `file_size`
                bytes; nothing was stored.
            InvalidFileTypeException: Its type is not allowed.
        """
        self._validate(file_name)
        self._validator.validate_file_size(file_size)
        return await self._upload(file_name, stream, file_size, folder, bucket, metadata)

    async def upload_bytes(
        self,
        file_name: str,
        content: bytes,
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload bytes; errors as in `upload_stream`."""
        self._validate(file_name)
        self._validator.validate_file_size(len(content))
        return await self._upload(file_name, content, len(content), folder, bucket, metadata)

    async def upload_file(
        self,
        file: UploadFile,
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> FileAttach:
        """Upload an uploaded file, as it comes; its size is checked as it is read."""
        name = file.filename or "unknown"
        self._validate(name)
        if file.size is not None:
            self._validator.validate_file_size(file.size)
        content = limited(file, self._validator.validate_file_size)
        return await self._upload(name, content, file.size, folder, bucket, metadata)

    async def upload_files(
        self,
        files: Sequence[UploadFile],
        folder: str | None = None,
        bucket: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> list[FileAttach]:
        """Upload one after the other; the first that fails ends it."""
        return [await self.upload_file(file, folder, bucket, metadata) for file in files]

    def _validate(self, file_name: str) -> None:
        self._validator.validate_file_name(file_name)
        self._validator.validate_file_type(file_name)

    async def _upload(
        self,
        file_name: str,
        content: UploadContent,
        size: int | None,
        folder: str | None,
        bucket: str | None,
        metadata: dict[str, str] | None,
    ) -> FileAttach:
        if self._mode == StorageMode.FASTDFS:
            if self._fdfs_upload is None:
                raise RouteNotSupportedException("FastDFS backend is not available.")
            return await self._fdfs_upload.upload(file_name, content, size, metadata)
        if self._s3_upload is None:
            raise RouteNotSupportedException("S3 backend is not available.")
        raw = await self._s3_upload.upload(file_name, content, size, folder, bucket, metadata)
        return FileAttach(file_id=self._router.add_s3_prefix(raw.file_id), file_name=file_name)
