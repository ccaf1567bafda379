"""Uploads in parts that the caller makes."""

from polystow_s3py_helper.storage.s3raw.s3multipart.models import (
    CompletedPart,
    CompleteResult,
    InitiateResult,
    ListPartsResult,
    PartInfo,
)
from polystow_s3py_helper.storage.s3raw.s3multipart.protocol import IS3MultipartUpload
from polystow_s3py_helper.storage.s3raw.s3multipart.service import S3MultipartUploadImpl

__all__ = [
    "CompleteResult",
    "CompletedPart",
    "IS3MultipartUpload",
    "InitiateResult",
    "ListPartsResult",
    "PartInfo",
    "S3MultipartUploadImpl",
]
