"""The fault battery on moto, on rclone, and on the server of `POLYSTOW_S3_ENDPOINT`.

What breaks is the wire; these servers can't be told to answer wrongly. A few of the cases, all
of them with `--polystow-faults=all`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self, override
from urllib.parse import urlsplit

import pytest

from polystow import (
    DriverContext,
    RequestPolicy,
    RequestPolicyConfig,
    Secret,
    Storage,
)
from polystow import StorageDriver as Driver
from polystow_s3 import SPEC, S3Config
from polystow_testing.faults import FaultBattery, FaultTarget
from polystow_testing.s3 import Credentials, MotoProcess, RcloneServer

_MIB = 1_048_576
BUCKET = os.environ.get("POLYSTOW_S3_BUCKET", "polystow-faults")
ENDPOINT = os.environ.get("POLYSTOW_S3_ENDPOINT")


class ServerTarget(FaultTarget):
    """A server that is asked for what it keeps through a driver of its own."""

    roles = ("service",)
    body_bytes = 11 * _MIB
    piece_bytes = 2 * _MIB
    time_limit_s = 20.0

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._endpoint = ""
        self._keys: Credentials | None = None

    def start(self) -> tuple[str, Credentials]:
        """Start the server: its URL, and what to sign with."""
        raise NotImplementedError

    @override
    def __enter__(self) -> Self:
        self._endpoint, self._keys = self.start()
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    @override
    def addresses(self) -> Mapping[str, str]:
        return {"service": urlsplit(self._endpoint).netloc}

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[Driver]:
        assert self._keys is not None
        config = S3Config(
            endpoint=f"http://{addresses['service']}",
            region="us-east-1",
            default_bucket=BUCKET,
            access_key_id=self._keys.access_key_id,
            secret_access_key=Secret(self._keys.secret_access_key),
            max_pool_connections=self.connections,
            connect_timeout_s=1.0,
            read_timeout_s=1.0,
            pool_timeout_s=2.0,
            cleanup_timeout_s=3.0,
            part_size_bytes=5 * _MIB,
            multipart_threshold_bytes=5 * _MIB,
            upload_concurrency=2,
        )
        policy = RequestPolicyConfig(attempts=2, base_delay_s=0.001)
        return SPEC.open(config, DriverContext(RequestPolicy(policy), close_timeout_s=1.0))

    @override
    def put(self, name: str, data: bytes) -> str:
        path = f"{BUCKET}/{name}"
        self._ask(lambda storage: storage.write(f"s3://{path}", data))
        return path

    @override
    def get(self, path: str) -> bytes | None:
        async def read(storage: Storage) -> bytes | None:
            uri = f"s3://{path}"
            return await storage.read_bytes(uri) if await storage.exists(uri) else None

        return self._ask(read)

    @override
    def inventory(self) -> frozenset[str]:
        async def look(storage: Storage) -> frozenset[str]:
            prefix = f"s3://{BUCKET}/"
            objects = {item.uri.removeprefix("s3://") async for item in storage.list(prefix)}
            uploads = {f"upload of {item.path}" async for item in storage.list_multiparts(prefix)}
            return frozenset(objects | uploads)

        return self._ask(look)

    @override
    def clear(self) -> None:
        async def remove(storage: Storage) -> None:
            prefix = f"s3://{BUCKET}/"
            await storage.delete_many([item.uri async for item in storage.list(prefix)])
            # What is left where the log says so.
            await storage.sweep_multiparts(prefix, timedelta(0))

        self._ask(remove)

    def _ask[T](self, question: Callable[[Storage], Awaitable[T]]) -> T:
        async def ask() -> T:
            async with self.open(self.addresses) as driver:
                return await question(Storage(driver))

        # The battery may be in an event loop already.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, ask()).result()


class MotoTarget(ServerTarget):
    name = "s3 on moto"

    @override
    def start(self) -> tuple[str, Credentials]:
        server = self._stack.enter_context(MotoProcess({"owner": ["s3:*"]}, buckets=(BUCKET,)))
        return server.endpoint, server.credentials("owner")


class RcloneTarget(ServerTarget):
    name = "s3 on rclone"

    @override
    def start(self) -> tuple[str, Credentials]:
        server = self._stack.enter_context(RcloneServer(buckets=(BUCKET,)))
        return server.endpoint, server.credentials


class EndpointTarget(ServerTarget):
    name = "s3 on the endpoint"

    @override
    def start(self) -> tuple[str, Credentials]:
        assert ENDPOINT is not None
        keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return ENDPOINT, keys

    @override
    def __enter__(self) -> Self:
        super().__enter__()
        self._ask(lambda storage: storage.create_container(f"s3://{BUCKET}", exist_ok=True))
        return self


class TestFaultsOnMoto(FaultBattery):
    target = MotoTarget
    sampled = 60


class TestFaultsOnRclone(FaultBattery):
    target = RcloneTarget
    sampled = 60


@pytest.mark.skipif(
    ENDPOINT is None or not ENDPOINT.startswith("http://"),
    reason="POLYSTOW_S3_ENDPOINT is not set to a server without TLS",
)
class TestFaultsOnEndpoint(FaultBattery):
    target = EndpointTarget
    sampled = 6
