"""The application that `web.py` measures."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from polystow_fastapi import StorageDependency, StorageResponse, add_exception_handlers, upload_body

files = StorageDependency(
    {
        "mounts": {
            "s3": {
                "endpoint": os.environ["S3_ENDPOINT"],
                "access_key_id": "key",
                "secret_access_key": "secret",
                "default_bucket": "bench",
            }
        }
    }
)


async def ping(_: Request) -> Response:
    """What other requests are."""
    return PlainTextResponse("pong")


async def download(request: Request) -> Response:
    """Send an object."""
    return StorageResponse(files(request), request.path_params["file_id"])


async def upload(request: Request) -> Response:
    """Store a body."""
    info = await upload_body(request, files(request), "upload.bin")
    return PlainTextResponse(info.file_id)


app = Starlette(
    routes=[
        Route("/ping", ping),
        Route("/upload", upload, methods=["PUT"]),
        Route("/{file_id:path}", download),
    ],
    lifespan=files.lifespan,
)
add_exception_handlers(app)
