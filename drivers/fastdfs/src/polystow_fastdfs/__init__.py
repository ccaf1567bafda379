"""The FastDFS driver of Polystow.

Applications need its configuration, the types that it hands out, and for what FastDFS alone can do
the driver itself (`Storage.native`); the core finds it through the entry point `polystow.drivers`.
"""

from typing import TYPE_CHECKING

from polystow_fastdfs._config import FastdfsConfig
from polystow_fastdfs._figures import (
    GroupInfo,
    StorageCounters,
    StorageInfo,
    StorageStatus,
    Tally,
)
from polystow_fastdfs._file_id import FileId, accepts
from polystow_fastdfs._info import InfoExtra
from polystow_fastdfs._pool_stats import PoolStats

if TYPE_CHECKING:
    from polystow_fastdfs._driver import FastdfsDriver

__all__ = [
    "FastdfsConfig",
    "FastdfsDriver",
    "FileId",
    "GroupInfo",
    "InfoExtra",
    "PoolStats",
    "StorageCounters",
    "StorageInfo",
    "StorageStatus",
    "Tally",
    "accepts",
]


def __getattr__(name: str) -> object:
    # The driver brings aiofdfs with it, which the entry point must not import.
    if name == "FastdfsDriver":
        from polystow_fastdfs._driver import FastdfsDriver

        return FastdfsDriver
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
