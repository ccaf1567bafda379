"""A driver on an in-process FastDFS cluster, and short forms of what tests do with it."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
from anyio import EndOfStream

from polystow import (
    Body,
    ByteRange,
    BytesBody,
    Content,
    DeleteOptions,
    DriverContext,
    MetadataOptions,
    NameHint,
    ObjectInfo,
    ReadOptions,
    ReadStream,
    RequestPolicy,
    RequestPolicyConfig,
    StatOptions,
    WriteOptions,
    make_body,
)
from polystow_fastdfs import FastdfsConfig, InfoExtra
from polystow_fastdfs._driver import FastdfsDriver
from polystow_fastdfs.spec import FASTDFS
from polystow_testing.fastdfs import FastdfsServer


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: needs a real cluster, POLYSTOW_FASTDFS_TRACKERS")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": os.environ.get("POLYSTOW_LOOP") == "uvloop"}


@attrs.frozen
class Client:
    """A driver, with short forms of its methods."""

    driver: FastdfsDriver

    async def upload(
        self,
        content: Content | Body,
        filename: str = "report.txt",
        *,
        size: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        body = BytesBody(content) if isinstance(content, bytes) else await make_body(content, size)
        options = WriteOptions(metadata=metadata or {})
        return await self.driver.write(NameHint(filename, container=group), body, options)

    async def open(self, path: str, byte_range: ByteRange | None = None) -> ReadStream:
        return await self.driver.open_read(path, ReadOptions(range=byte_range))

    async def read(self, path: str, byte_range: ByteRange | None = None) -> bytes:
        stream = await self.open(path, byte_range)
        async with stream:
            return b"".join([chunk async for chunk in stream])

    async def stat(self, path: str) -> ObjectInfo:
        return await self.driver.stat(path, StatOptions())

    async def delete(self, path: str, *, missing_ok: bool = True) -> None:
        await self.driver.delete(path, DeleteOptions(missing_ok=missing_ok))

    async def set_metadata(self, path: str, metadata: Mapping[str, str], mode: Any) -> None:
        await self.driver.set_metadata(path, metadata, MetadataOptions(mode=mode))

    @staticmethod
    def extra(info: ObjectInfo) -> InfoExtra:
        assert isinstance(info.extra, InfoExtra)
        return info.extra

    def connections(self) -> int:
        """How many connections the driver holds, idle or in use."""
        return sum(pool.used_slots for pool in self.driver.cluster.pools)

    def idle_connections(self) -> int:
        return sum(pool.idle_connections for pool in self.driver.cluster.pools)


type MakeClient = Callable[..., AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def open_client(
    trackers: list[str], policy: RequestPolicyConfig | None = None, **options: Any
) -> AsyncGenerator[Client]:
    options.setdefault("network_timeout_s", 5.0)
    config = FastdfsConfig(trackers=tuple(trackers), **options)
    policy = policy or RequestPolicyConfig(base_delay_s=0.001)
    context = DriverContext(RequestPolicy(policy), close_timeout_s=1.0)
    async with FASTDFS.open(config, context) as driver:
        assert isinstance(driver, FastdfsDriver)
        yield Client(driver)


@pytest.fixture
def make_client(fastdfs_server: FastdfsServer) -> MakeClient:
    """Opens a driver on the server, with any configuration."""

    def make(
        policy: RequestPolicyConfig | None = None,
        *,
        server: FastdfsServer | None = None,
        **options: Any,
    ) -> AbstractAsyncContextManager[Client]:
        options.setdefault("trackers", (server or fastdfs_server).trackers)
        return open_client(policy=policy, **options)

    return make


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncGenerator[Client]:
    """A driver on the server, with its defaults but for shorter timeouts."""
    async with make_client() as client:
        yield client


async def receive_all(stream: ReadStream, max_bytes: int = 65536) -> bytes:
    """All bytes, by `receive`."""
    parts: list[bytes] = []
    while True:
        try:
            parts.append(await stream.receive(max_bytes))
        except EndOfStream:
            return b"".join(parts)
