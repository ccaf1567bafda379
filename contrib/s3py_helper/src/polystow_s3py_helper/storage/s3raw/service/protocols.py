"""The protocols of the services of S3."""

from typing import Protocol

from polystow_s3py_helper._protocols import (
    DeleteService,
    DownloadService,
    InfoService,
    UploadService,
)


class S3RawUploadService(UploadService, Protocol):
    """Uploads files of S3."""


class S3RawDownloadService(DownloadService, Protocol):
    """Downloads files of S3."""


class S3RawDeleteService(DeleteService, Protocol):
    """Deletes files of S3."""


class S3RawInfoService(InfoService, Protocol):
    """Tells of files of S3."""
