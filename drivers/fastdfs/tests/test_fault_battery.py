"""The fault battery of polystow-testing, on a cluster of one tracker and one storage server."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, ClassVar, Self, override

from polystow import DriverContext, RequestPolicy, RequestPolicyConfig, StorageDriver
from polystow_fastdfs import FastdfsConfig
from polystow_fastdfs.spec import FASTDFS
from polystow_testing.fastdfs import Action as ServerAction
from polystow_testing.fastdfs import (
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    FastdfsServer,
    Fault,
    Stall,
)
from polystow_testing.faults import CancellationBattery, FaultBattery, FaultTarget, StreamingBattery

ANSWERS: dict[str, ServerAction] = {
    "answer EBUSY": AnswerStatus(16),
    "answer EIO": AnswerStatus(5),
    "answer garbage": AnswerBytes.garbage(),
    "answer length -1": AnswerBytes.header(-1),
    "answer cut in header": CloseConnection(after_bytes=5),
    "answer stalled in header": Stall(after_bytes=5),
}


class FastdfsTarget(FaultTarget):
    """An in-process cluster, with short time limits."""

    limits: ClassVar[Mapping[str, Any]] = {
        "connect_timeout_s": 0.3, "network_timeout_s": 0.3, "pool_timeout_s": 1.0,
    }  # fmt: skip
    name = "fastdfs"
    roles = ("tracker", "storage")
    answers = tuple(ANSWERS)
    leaves_out = frozenset({"list", "copy", "overwrite"})
    # An id has the crc32 of its content, which uploads and whole reads are checked against.
    detects_flips = frozenset({("read", "down"), ("write_small", "up"), ("write_large", "up")})

    def __init__(self) -> None:
        self._directory = TemporaryDirectory(prefix="polystow-fastdfs-")
        self._server = FastdfsServer(storage_dir=self._directory.name)
        self._faults: list[Fault] = []

    @override
    def __enter__(self) -> Self:
        self._server.start()
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._directory.cleanup()

    @property
    @override
    def addresses(self) -> Mapping[str, str]:
        return {"tracker": self._server.trackers[0], "storage": self._server.storages()[0]}

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        self._server.advertise(self._server.storages()[0], addresses["storage"])
        config = FastdfsConfig(
            trackers=(addresses["tracker"],),
            max_connections_per_server=self.connections,
            append_size_bytes=200_000,
            **self.limits,
        )
        policy = RequestPolicyConfig(attempts=2, base_delay_s=0.001)
        return FASTDFS.open(config, DriverContext(RequestPolicy(policy), close_timeout_s=1.0))

    @override
    def put(self, name: str, data: bytes) -> str:
        return self._server.put(data, ext=name.rpartition(".")[2])

    @override
    def put_appendable(self, name: str, data: bytes) -> str:
        return self._server.put(data, ext=name.rpartition(".")[2], appender=True)

    @override
    def get(self, path: str) -> bytes | None:
        try:
            return self._server.get(path)
        except FileNotFoundError:
            return None

    @override
    def inventory(self) -> frozenset[str]:
        return frozenset(file.file_id for file in self._server.files())

    @override
    def clear(self) -> None:
        for file in self._server.files():
            self._server.delete(file.file_id)

    @property
    @override
    def requests(self) -> int:
        return self._server.request_count()

    @override
    def answer(self, name: str, *, skip: int, times: int | None) -> None:
        fault = Fault(action=ANSWERS[name], skip=skip, times=times)
        self._faults = [self._server.faults.add(fault)]

    @override
    def answer_rightly(self) -> int:
        fired = sum(self._server.faults.fired(fault) for fault in self._faults)
        self._server.faults.clear()
        return fired


class PatientTarget(FastdfsTarget):
    """Nothing fails but the operations that are cancelled: a busy machine is no fault."""

    limits: ClassVar[Mapping[str, Any]] = {}
    time_limit_s = 60.0


class TestFaults(FaultBattery):
    target = FastdfsTarget


class TestCancellation(CancellationBattery):
    target = PatientTarget


class TestStreaming(StreamingBattery):
    target = PatientTarget
