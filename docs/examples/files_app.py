"""s3py-helper's FastAPI example on Polystow: old files in FastDFS, new ones in S3.

Run it with `S3_ENDPOINT=… FASTDFS_TRACKERS=… uvicorn files_app:app`.
"""

import os

from fastapi import FastAPI

from polystow import StorageSource
from polystow_fastapi import StorageDependency, UploadLimits, add_exception_handlers
from polystow_fastapi.router import files_router


def configuration() -> StorageSource:
    """Both backends; new files go to S3, and bare ids to FastDFS."""
    return {
        "mounts": {
            "s3": {"endpoint": os.environ["S3_ENDPOINT"], "default_bucket": "my-bucket"},
            "fastdfs": {"trackers": os.environ["FASTDFS_TRACKERS"].split(",")},
        },
        "unprefixed": "fastdfs",
        "write_to": "s3",
    }


files = StorageDependency(configuration)
app = FastAPI(title="Files", lifespan=files.lifespan)
add_exception_handlers(app)
app.include_router(files_router(files, limits=UploadLimits(max_size_bytes=100_000_000)))
