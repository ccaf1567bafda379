"""S3 servers for tests, over real sockets.

`MotoServer` for fidelity, `DiskS3Server` for speed and faults, `MotoProcess` for users with few
rights, `RcloneServer` for signatures. `pip install 'polystow-testing[s3,rclone]'` brings what
they are built on.
"""

from polystow_testing.s3._disk import DiskS3Server, UploadInProgress
from polystow_testing.s3._faults import (
    Action,
    AnswerBytes,
    AnswerRange,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    DelayReply,
    EmptyPage,
    ErrorIn200,
    Fault,
    Faults,
    Stall,
    StopReading,
)
from polystow_testing.s3._moto import MotoServer
from polystow_testing.s3._moto_process import MotoProcess
from polystow_testing.s3._process import S3Process
from polystow_testing.s3._rclone import RcloneServer
from polystow_testing.s3._signatures import Credentials
from polystow_testing.s3._tls import loopback_tls

__all__ = [
    "Action",
    "AnswerBytes",
    "AnswerRange",
    "AnswerStatus",
    "CloseConnection",
    "CloseDuringRequest",
    "Credentials",
    "DelayReply",
    "DiskS3Server",
    "EmptyPage",
    "ErrorIn200",
    "Fault",
    "Faults",
    "MotoProcess",
    "MotoServer",
    "RcloneServer",
    "S3Process",
    "Stall",
    "StopReading",
    "UploadInProgress",
    "loopback_tls",
]
