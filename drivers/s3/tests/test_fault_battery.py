"""The fault battery of polystow-testing, on the small S3 server that can be told to fail."""

import base64
import http.client
import os
import shutil
import ssl
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, override

from polystow import DriverContext, RequestPolicy, RequestPolicyConfig, Secret, StorageDriver
from polystow_s3 import SPEC, S3Config
from polystow_testing.faults import CancellationBattery, FaultBattery, FaultTarget, StreamingBattery
from polystow_testing.s3 import Action as ServerAction
from polystow_testing.s3 import (
    AnswerBytes,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    DiskS3Server,
    Fault,
    Stall,
    loopback_tls,
)

BUCKET = "bucket"
LANE: Literal["fast", "sdk"] = "sdk" if os.environ.get("POLYSTOW_S3_LANE") == "sdk" else "fast"
_MIB = 1_048_576

ANSWERS: dict[str, ServerAction] = {
    "answer 500": AnswerStatus(500),
    "answer 503": AnswerStatus(503, "SlowDown", headers={"Retry-After": "0"}),
    "answer 429": AnswerStatus(429, "TooManyRequests"),
    "answer garbage": AnswerBytes(b"<html>"),
    "close before header": CloseConnection(),
    "close after header": CloseConnection(after_bytes=0),
    "close in request": CloseDuringRequest(after_bytes=100),
    "stall after header": Stall(after_bytes=0),
}


class S3Target(FaultTarget):
    """`DiskS3Server`, with short time limits and checksums."""

    name = "s3"
    roles = ("service",)
    answers = tuple(ANSWERS)
    # The service checks what it gets, and the driver what it reads to the end. Of a small write
    # most is headers, whose signature this server does not check.
    detects_flips = frozenset(
        {
            ("read", "down"),
            ("write_large", "up"),
            ("write_stream", "up"),
            ("write_unknown", "up"),
        }
    )
    # A body without an entity tag and a checksum may be the object.
    undetectable = frozenset(
        (name, "answer garbage") for name in ("read", "read_range", "stat", "copy", "set_metadata")
    )
    body_bytes = 11 * _MIB
    piece_bytes = 2 * _MIB

    tls = False
    options: ClassVar[Mapping[str, Any]] = {
        "connect_timeout_s": 0.3, "read_timeout_s": 0.3, "pool_timeout_s": 1.0,
    }  # fmt: skip

    def __init__(self) -> None:
        self._ca_file: Path | None = None
        tls: ssl.SSLContext | None = None
        if self.tls:
            tls, self._ca_file = loopback_tls(Path(tempfile.mkdtemp(prefix="polystow-tls-")))
        self._server = DiskS3Server(buckets=(BUCKET,), tls=tls)
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
        if self._ca_file is not None:
            shutil.rmtree(self._ca_file.parent)

    @property
    @override
    def addresses(self) -> Mapping[str, str]:
        return {"service": f"127.0.0.1:{self._server.port}"}

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        config = S3Config(
            endpoint=f"{'https' if self.tls else 'http'}://{addresses['service']}",
            ca_file=self._ca_file,
            lane=LANE,
            region="us-east-1",
            default_bucket=BUCKET,
            access_key_id="key",
            secret_access_key=Secret("secret"),
            checksums="when_supported",
            max_pool_connections=self.connections,
            cleanup_timeout_s=1.0,
            part_size_bytes=5 * _MIB,
            multipart_threshold_bytes=5 * _MIB,
            upload_concurrency=2,
            **self.options,
        )
        policy = RequestPolicyConfig(attempts=2, base_delay_s=0.001)
        return SPEC.open(config, DriverContext(RequestPolicy(policy), close_timeout_s=1.0))

    @override
    def put(self, name: str, data: bytes) -> str:
        self._ask("PUT", name, data)
        return f"{BUCKET}/{name}"

    @override
    def get(self, path: str) -> bytes | None:
        return self._ask("GET", path.partition("/")[2])

    @override
    def inventory(self) -> frozenset[str]:
        objects = {f"{BUCKET}/{key}" for key in self._server.keys(BUCKET)}
        return frozenset(objects | {f"upload of /{upload.key}" for upload in self._server.uploads})

    @override
    def clear(self) -> None:
        self._server.reset()

    @property
    @override
    def requests(self) -> int:
        return sum(self._server.requests.values())

    @override
    def answer(self, name: str, *, skip: int, times: int | None) -> None:
        fault = Fault(action=ANSWERS[name], skip=skip, times=times)
        self._faults = [self._server.faults.add(fault)]

    @override
    def answer_rightly(self) -> int:
        fired = sum(self._server.faults.fired(fault) for fault in self._faults)
        self._server.faults.clear()
        return fired

    def _ask(self, method: str, key: str, body: bytes | None = None) -> bytes | None:
        headers: dict[str, str] = {}
        if body is not None:
            crc32 = base64.b64encode(zlib.crc32(body).to_bytes(4))
            headers["x-amz-checksum-crc32"] = crc32.decode()
        connection = self._connection()
        try:
            connection.request(method, f"/{BUCKET}/{key}", body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        return data if answer.status == 200 else None

    def _connection(self) -> http.client.HTTPConnection:
        host, port = "127.0.0.1", self._server.port
        if not self.tls:
            return http.client.HTTPConnection(host, port, timeout=10)
        context = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(host, port, timeout=10, context=context)


class TlsTarget(S3Target):
    """The same over TLS, where bodies are not signed."""

    name = "s3 over TLS"
    tls = True
    # A handshake takes its time.
    options: ClassVar[Mapping[str, Any]] = {
        "connect_timeout_s": 1.0, "read_timeout_s": 1.0, "pool_timeout_s": 2.0,
    }  # fmt: skip


class PatientTarget(S3Target):
    """Nothing fails but the operations that are cancelled: a busy machine is no fault."""

    options: ClassVar[Mapping[str, Any]] = {}
    time_limit_s = 60.0


class TestFaults(FaultBattery):
    target = S3Target


class TestFaultsOnTls(FaultBattery):
    target = TlsTarget
    sampled = 12


class TestCancellation(CancellationBattery):
    target = PatientTarget


class TestStreaming(StreamingBattery):
    target = PatientTarget
    streamed_bytes = 96 * _MIB
    memory_bytes = 48 * _MIB  # two parts in flight, one read ahead, and what the server holds
