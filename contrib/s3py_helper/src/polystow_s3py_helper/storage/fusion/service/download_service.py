"""Downloads and archives, each file from the backend that its id says."""

from collections.abc import AsyncGenerator
from typing import BinaryIO

from polystow import CompositeDriver, Storage, StorageDriver
from polystow_s3py_helper._files import Files
from polystow_s3py_helper.storage.config.models import FusionConfig
from polystow_s3py_helper.storage.exceptions.storage_exceptions import RouteNotSupportedException
from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import fastdfs_uri
from polystow_s3py_helper.storage.fastdfs.service.download_service import (
    FastdfsDownloadServiceImpl,
)
from polystow_s3py_helper.storage.fusion.router.file_id_router import FileIdRouterImpl
from polystow_s3py_helper.storage.model.entities import FileDownload
from polystow_s3py_helper.storage.s3raw.service._files import s3_uri
from polystow_s3py_helper.storage.s3raw.service.download_service import (
    BinaryWriteable,
    S3RawDownloadServiceImpl,
)

_CHUNK_SIZE_BYTES = 65_536


class FusionDownloadServiceImpl:
    """Downloads from both backends.

    Args:
        s3_download_service: S3's downloads; None if there are none.
        fdfs_download_service: FastDFS's downloads; None if there are none.
        router: Says which backend an id belongs to.
        config: Whether files of FastDFS are read; None for yes.
    """

    def __init__(
        self,
        s3_download_service: S3RawDownloadServiceImpl | None,
        fdfs_download_service: FastdfsDownloadServiceImpl | None,
        router: FileIdRouterImpl,
        config: FusionConfig | None = None,
    ) -> None:
        self._s3_download = s3_download_service
        self._fdfs_download = fdfs_download_service
        self._router = router
        self._config = config

    async def download_bytes(self, file_id: str) -> bytes:
        """Read all.

        Raises:
            FileNotFoundException: There is no such file.
            RouteNotSupportedException: Its backend is not there, or switched off.
        """
        service, raw_id = self._find(file_id)
        return await service.download_bytes(raw_id)

    async def download_to_stream(self, file_id: str, out: BinaryIO) -> None:
        """Write a file into `out`, in worker threads; errors as in `download_bytes`."""
        service, raw_id = self._find(file_id)
        await service.download_to_stream(raw_id, out)

    async def download_to_generator(self, file_id: str) -> AsyncGenerator[bytes]:
        """Give a file as it comes; errors as in `download_bytes`."""
        service, raw_id = self._find(file_id)
        async for chunk in service.download_to_generator(raw_id):
            yield chunk

    async def download_files_as_zip(self, files: list[FileDownload], out: BinaryWriteable) -> None:
        """Write an archive of files of both backends into `out`; without its end if one fails."""
        await self._files().zip_to(files, out)

    async def stream_zip(self, files: list[FileDownload]) -> AsyncGenerator[bytes]:
        """An archive of files of both backends, made while it is read, for a streaming response."""
        async for chunk in self._files().zip_chunks(files):
            yield chunk

    def _find(
        self, file_id: str
    ) -> tuple[S3RawDownloadServiceImpl | FastdfsDownloadServiceImpl, str]:
        if self._router.is_s3_file(file_id):
            if self._s3_download is None:
                raise RouteNotSupportedException(
                    f"S3 backend is not available. Cannot download file: {file_id}"
                )
            return self._s3_download, self._router.strip_s3_prefix(file_id)
        if self._fdfs_download is None:
            raise RouteNotSupportedException(
                f"FastDFS backend is not available. Cannot download file: {file_id}"
            )
        if self._config is not None and not self._config.enable_fastdfs_download:
            raise RouteNotSupportedException(
                f"FastDFS download is disabled. Cannot download file: {file_id}"
            )
        return self._fdfs_download, file_id

    def _uri(self, file_id: str) -> str:
        service, raw_id = self._find(file_id)
        return s3_uri(raw_id) if service is self._s3_download else fastdfs_uri(raw_id)

    def _files(self) -> Files:
        """The files of both, behind one storage."""
        from polystow_fastdfs import FastdfsDriver  # with their SDKs
        from polystow_s3 import S3Driver

        mounts: dict[str, StorageDriver] = {}
        if self._s3_download is not None:
            mounts["s3"], _ = self._s3_download.client.storage.native("s3:", S3Driver)
        if self._fdfs_download is not None:
            storage = self._fdfs_download.client.storage
            mounts["fastdfs"], _ = storage.native("fastdfs:", FastdfsDriver)
        return Files(Storage(CompositeDriver(mounts)), self._uri, _CHUNK_SIZE_BYTES)
