"""The protocols of the services of both backends."""

from typing import Protocol

from polystow_s3py_helper._protocols import (
    DeleteService,
    DownloadService,
    InfoService,
    UploadService,
)


class FusionUploadService(UploadService, Protocol):
    """Uploads files of both backends."""


class FusionDownloadService(DownloadService, Protocol):
    """Downloads files of both backends."""


class FusionDeleteService(DeleteService, Protocol):
    """Deletes files of both backends."""


class FusionInfoService(InfoService, Protocol):
    """Tells of files of both backends."""
