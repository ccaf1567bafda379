"""A FastDFS cluster for tests: the real wire protocol over loopback, with fault injection.

Example:
    >>> from polystow_testing.fastdfs import FastdfsServer
    >>> with FastdfsServer() as server:
    ...     file_id = server.put(b"hello", ext="txt")
    ...     server.get(file_id)
    b'hello'
"""

from polystow_testing.fastdfs._faults import (
    Action,
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    CloseOnConnect,
    DelayAccept,
    DelayReply,
    Fault,
    Faults,
    SplitReply,
    Stall,
    StopReading,
)
from polystow_testing.fastdfs._files import StoredFile
from polystow_testing.fastdfs._http import FastdfsHttpServer
from polystow_testing.fastdfs._node import NodeStats
from polystow_testing.fastdfs._options import FastdfsOptions
from polystow_testing.fastdfs._process import FastdfsProcess
from polystow_testing.fastdfs._server import FastdfsServer
from polystow_testing.fastdfs._wire import Command, Status

__all__ = [  # noqa: RUF022 - grouped by use
    # servers
    "FastdfsHttpServer",
    "FastdfsOptions",
    "FastdfsProcess",
    "FastdfsServer",
    "NodeStats",
    "StoredFile",
    # faults
    "Action",
    "AnswerBytes",
    "AnswerStatus",
    "CloseConnection",
    "CloseDuringRequest",
    "CloseOnConnect",
    "DelayAccept",
    "DelayReply",
    "Fault",
    "Faults",
    "SplitReply",
    "Stall",
    "StopReading",
    # the protocol's numbers
    "Command",
    "Status",
]
