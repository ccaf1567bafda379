"""The servers that the tests share, and the configurations of their mounts."""

from typing import Any

from attrs import frozen

from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import MotoServer

BUCKET = "my-bucket"


@frozen
class Backends:
    s3: MotoServer
    fastdfs: FastdfsServer

    @property
    def s3_mount(self) -> dict[str, Any]:
        return {
            "endpoint": self.s3.endpoint,
            "default_bucket": BUCKET,
            "access_key_id": "tests",
            "secret_access_key": "tests-secret",
        }

    @property
    def fastdfs_mount(self) -> dict[str, Any]:
        return {"trackers": self.fastdfs.trackers}

    @property
    def hybrid(self) -> dict[str, Any]:
        return {
            "mounts": {"s3": self.s3_mount, "fastdfs": self.fastdfs_mount},
            "unprefixed": "fastdfs",
            "write_to": "s3",
        }
