"""Polystow in FastAPI and Starlette applications.

All here works on Starlette alone; `polystow_fastapi.router` needs FastAPI.
"""

from polystow_fastapi._disposition import Disposition, content_disposition
from polystow_fastapi._forms import FormFile, FormFiles, form_files
from polystow_fastapi._lifespan import LifespanHandler, StorageDependency, lifespan_of
from polystow_fastapi._problems import (
    add_exception_handlers,
    problem_response,
    status_of,
    storage_error_handler,
)
from polystow_fastapi._response import StorageResponse
from polystow_fastapi._uploads import UploadLimits, upload_body, upload_file
from polystow_fastapi._zip import ZipResponse

__all__ = [
    "Disposition",
    "FormFile",
    "FormFiles",
    "LifespanHandler",
    "StorageDependency",
    "StorageResponse",
    "UploadLimits",
    "ZipResponse",
    "add_exception_handlers",
    "content_disposition",
    "form_files",
    "lifespan_of",
    "problem_response",
    "status_of",
    "storage_error_handler",
    "upload_body",
    "upload_file",
]
