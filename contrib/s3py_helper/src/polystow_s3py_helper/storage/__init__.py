"""The 28 names of s3py-helper."""

from polystow_s3py_helper.storage.config.models import (
    FastdfsConfig,
    FileTypeConfig,
    FusionConfig,
    S3Config,
    StorageMode,
    StorageModeConfig,
)
from polystow_s3py_helper.storage.exceptions.storage_exceptions import (
    DeleteNotSupportedException,
    FileNotFoundException,
    InvalidArgumentException,
    InvalidFileTypeException,
    RouteNotSupportedException,
    StorageException,
    StorageOperationException,
)
from polystow_s3py_helper.storage.fusion.router.file_id_router import (
    FileIdRouterImpl,
)
from polystow_s3py_helper.storage.fusion.service.delete_service import (
    FusionDeleteServiceImpl,
)
from polystow_s3py_helper.storage.fusion.service.download_service import (
    FusionDownloadServiceImpl,
)
from polystow_s3py_helper.storage.fusion.service.info_service import (
    FusionInfoServiceImpl,
)
from polystow_s3py_helper.storage.fusion.service.protocols import (
    FusionDeleteService,
    FusionDownloadService,
    FusionInfoService,
    FusionUploadService,
)
from polystow_s3py_helper.storage.fusion.service.upload_service import (
    FusionUploadServiceImpl,
)
from polystow_s3py_helper.storage.manager import (
    StorageManager,
)
from polystow_s3py_helper.storage.model.entities import (
    FileAttach,
    FileBasicInfo,
    FileDownload,
    FileType,
)
from polystow_s3py_helper.storage.validator.file_validator import (
    FileValidatorImpl,
)

__all__ = [
    "DeleteNotSupportedException",
    "FastdfsConfig",
    "FileAttach",
    "FileBasicInfo",
    "FileDownload",
    "FileIdRouterImpl",
    "FileNotFoundException",
    "FileType",
    "FileTypeConfig",
    "FileValidatorImpl",
    "FusionConfig",
    "FusionDeleteService",
    "FusionDeleteServiceImpl",
    "FusionDownloadService",
    "FusionDownloadServiceImpl",
    "FusionInfoService",
    "FusionInfoServiceImpl",
    "FusionUploadService",
    "FusionUploadServiceImpl",
    "InvalidArgumentException",
    "InvalidFileTypeException",
    "RouteNotSupportedException",
    "S3Config",
    "StorageException",
    "StorageManager",
    "StorageMode",
    "StorageModeConfig",
    "StorageOperationException",
]
