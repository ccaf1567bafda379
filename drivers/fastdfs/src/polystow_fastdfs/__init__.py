"""The FastDFS driver of Polystow.

Applications need only its configuration and the types that it hands out; the core finds the
driver itself through the entry point `polystow.drivers`.
"""

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

__all__ = [
    "FastdfsConfig",
    "FileId",
    "GroupInfo",
    "InfoExtra",
    "StorageCounters",
    "StorageInfo",
    "StorageStatus",
    "Tally",
    "accepts",
]
