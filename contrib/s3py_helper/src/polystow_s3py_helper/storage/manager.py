"""One entry point: the services that a mode has, and the clients behind them."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from polystow_s3py_helper.storage.config.models import (
    FastdfsConfig,
    FileTypeConfig,
    FusionConfig,
    S3Config,
    StorageMode,
    StorageModeConfig,
)
from polystow_s3py_helper.storage.exceptions.storage_exceptions import InvalidArgumentException
from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient
from polystow_s3py_helper.storage.fastdfs.service.delete_service import FastdfsDeleteServiceImpl
from polystow_s3py_helper.storage.fastdfs.service.download_service import (
    FastdfsDownloadServiceImpl,
)
from polystow_s3py_helper.storage.fastdfs.service.info_service import FastdfsInfoServiceImpl
from polystow_s3py_helper.storage.fastdfs.service.upload_service import FastdfsUploadServiceImpl
from polystow_s3py_helper.storage.fusion.router.file_id_router import FileIdRouterImpl
from polystow_s3py_helper.storage.fusion.service.delete_service import FusionDeleteServiceImpl
from polystow_s3py_helper.storage.fusion.service.download_service import FusionDownloadServiceImpl
from polystow_s3py_helper.storage.fusion.service.info_service import FusionInfoServiceImpl
from polystow_s3py_helper.storage.fusion.service.upload_service import FusionUploadServiceImpl
from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.service.delete_service import S3RawDeleteServiceImpl
from polystow_s3py_helper.storage.s3raw.service.download_service import S3RawDownloadServiceImpl
from polystow_s3py_helper.storage.s3raw.service.info_service import S3RawInfoServiceImpl
from polystow_s3py_helper.storage.s3raw.service.upload_service import S3RawUploadServiceImpl
from polystow_s3py_helper.storage.validator.file_validator import FileValidatorImpl


class StorageManager:
    """Opens the clients of a mode, and has the services over them.

    ```python
    async with StorageManager(StorageModeConfig(), s3_config, fastdfs_config) as manager:
        attach = await manager.upload_service.upload_bytes("a.pdf", data)
    ```

    Args:
        mode_config: Which backends there are, and where new files go.
        s3_config: S3; needed in the modes `s3` and `hybrid`.
        fastdfs_config: FastDFS; needed in the modes `fastdfs` and `hybrid`.
        file_type_config: Which extensions are allowed; None for all.
        max_file_size: The largest file, in bytes; None for no limit.
        fusion_config: Whether files of FastDFS are read and deleted; None for yes.

    Raises:
        InvalidArgumentException: A configuration is missing that the mode needs.
    """

    def __init__(
        self,
        mode_config: StorageModeConfig,
        s3_config: S3Config | None = None,
        fastdfs_config: FastdfsConfig | None = None,
        file_type_config: FileTypeConfig | None = None,
        *,
        max_file_size: int | None = None,
        fusion_config: FusionConfig | None = None,
    ) -> None:
        self._mode = mode = mode_config.mode
        self._s3_config = s3_config if mode != StorageMode.FASTDFS else None
        self._fastdfs_config = fastdfs_config if mode != StorageMode.S3 else None
        if mode != StorageMode.FASTDFS and s3_config is None:
            raise InvalidArgumentException(f"S3 config is required for mode '{mode.value}'")
        if mode != StorageMode.S3 and fastdfs_config is None:
            raise InvalidArgumentException(f"FastDFS config is required for mode '{mode.value}'")
        self._validator = FileValidatorImpl(file_type_config, max_file_size)
        self._fusion_config = fusion_config or FusionConfig()
        self._stack = AsyncExitStack()
        self._services: _Services | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            s3 = fastdfs = None
            if self._s3_config is not None:
                s3 = await stack.enter_async_context(S3Client(self._s3_config))
            if self._fastdfs_config is not None:
                fastdfs = await stack.enter_async_context(FastdfsClient(self._fastdfs_config))
            self._services = _Services(
                s3, fastdfs, self._validator, self._fusion_config, self._mode
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._services = None
        await self._stack.aclose()

    def _opened(self) -> "_Services":
        if self._services is None:
            raise RuntimeError(
                "StorageManager is not initialized. Use 'async with' context manager."
            )
        return self._services

    @property
    def upload_service(self) -> FusionUploadServiceImpl:
        """Uploads; `RuntimeError` outside of the context, as for the others."""
        return self._opened().upload

    @property
    def download_service(self) -> FusionDownloadServiceImpl:
        """Downloads and archives."""
        return self._opened().download

    @property
    def delete_service(self) -> FusionDeleteServiceImpl:
        """Deletion."""
        return self._opened().delete

    @property
    def info_service(self) -> FusionInfoServiceImpl:
        """What is known of files."""
        return self._opened().info


class _Services:
    """The services over open clients."""

    def __init__(
        self,
        s3: S3Client | None,
        fastdfs: FastdfsClient | None,
        validator: FileValidatorImpl,
        config: FusionConfig,
        mode: StorageMode,
    ) -> None:
        router = FileIdRouterImpl()
        self.upload = FusionUploadServiceImpl(
            None if s3 is None else S3RawUploadServiceImpl(s3, s3.config),
            validator,
            router,
            None if fastdfs is None else FastdfsUploadServiceImpl(fastdfs),
            mode,
        )
        self.download = FusionDownloadServiceImpl(
            None if s3 is None else S3RawDownloadServiceImpl(s3),
            None if fastdfs is None else FastdfsDownloadServiceImpl(fastdfs),
            router,
            config,
        )
        self.delete = FusionDeleteServiceImpl(
            None if s3 is None else S3RawDeleteServiceImpl(s3),
            None if fastdfs is None else FastdfsDeleteServiceImpl(fastdfs),
            router,
            config,
        )
        self.info = FusionInfoServiceImpl(
            None if s3 is None else S3RawInfoServiceImpl(s3),
            None if fastdfs is None else FastdfsInfoServiceImpl(fastdfs),
            router,
        )
