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
from polystow_fastapi._sending import SendBody, send_body
from polystow_fastapi._uploads import UploadLimits, request_body, upload_body, upload_file
from polystow_fastapi._zip import ZipResponse

__all__ = [
    "Disposition",
    "FormFile",
    "FormFiles",
    "LifespanHandler",
    "SendBody",
    "StorageDependency",
    "StorageResponse",
    "UploadLimits",
    "ZipResponse",
    "add_exception_handlers",
    "content_disposition",
    "form_files",
    "lifespan_of",
    "problem_response",
    "request_body",
    "send_body",
    "status_of",
    "storage_error_handler",
    "upload_body",
    "upload_file",
]
