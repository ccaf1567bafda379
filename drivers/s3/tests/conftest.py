"""Drivers that are opened on a server of the test, over real sockets."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from polystow import (
    DriverContext,
    ReadOptions,
    RequestPolicy,
    RequestPolicyConfig,
    Secret,
    StorageDriver,
)
from polystow_s3 import SPEC, S3Config
from polystow_testing.s3 import DiskS3Server, MotoServer

# The tests share `s3_raw`; pytest's importlib mode puts no directory on the path.
sys.path.insert(0, str(Path(__file__).parent))

BUCKET = "bucket"

# Whole modules run on both lanes, the others on the default one; nox runs all on both.
BOTH_LANES = {"test_client", "test_reads", "test_lost_answers"}

type OpenS3 = Callable[..., AbstractAsyncContextManager[StorageDriver]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": os.environ.get("POLYSTOW_LOOP") == "uvloop"}


@pytest.fixture(scope="session")
def moto_session() -> Iterator[MotoServer]:
    with MotoServer(buckets=(BUCKET,)) as server:
        yield server


@pytest.fixture
def moto(moto_session: MotoServer) -> MotoServer:
    moto_session.reset()
    return moto_session


@pytest.fixture
def disk() -> Iterator[DiskS3Server]:
    with DiskS3Server(buckets=(BUCKET,)) as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = any("lane" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "lane" in metafunc.fixturenames and not own:
        lanes = [os.environ.get("POLYSTOW_S3_LANE", "fast")]
        if metafunc.definition.path.stem in BOTH_LANES:
            lanes = ["fast", "sdk"]
        metafunc.parametrize("lane", lanes)


@pytest.fixture
def open_s3(lane: str) -> OpenS3:
    """Opens a driver: `open_s3(server, read_timeout_s=1.0)`; pauses between attempts are short."""

    def open_driver(
        server: DiskS3Server | MotoServer, *, close_timeout_s: float = 5.0, attempts: int = 3,
        attempt_timeout_s: float | None = None, max_concurrency: int | None = None, **options: Any,
    ) -> AbstractAsyncContextManager[StorageDriver]:  # fmt: skip
        limits = RequestPolicyConfig(
            attempts=attempts,
            base_delay_s=0.001,
            attempt_timeout_s=attempt_timeout_s,
            max_concurrency=max_concurrency,
        )
        settings: dict[str, Any] = {
            "endpoint": server.endpoint,
            "region": "us-east-1",
            "default_bucket": BUCKET,
            "access_key_id": "key",
            "secret_access_key": Secret("secret"),
            "lane": lane,
        }
        config = S3Config(**(settings | options))
        context = DriverContext(RequestPolicy(limits), close_timeout_s=close_timeout_s)
        return SPEC.open(config, context)

    return open_driver


@pytest.fixture
async def s3(moto: MotoServer, open_s3: OpenS3) -> AsyncIterator[StorageDriver]:
    """A driver on moto."""
    async with open_s3(moto) as driver:
        yield driver


@pytest.fixture
async def on_disk(disk: DiskS3Server, open_s3: OpenS3) -> AsyncIterator[StorageDriver]:
    """A driver on the server with faults."""
    async with open_s3(disk) as driver:
        yield driver


@pytest.fixture
def read_all() -> Callable[..., Any]:
    """Reads an object to its end."""

    async def read(driver: StorageDriver, path: str, options: ReadOptions | None = None) -> bytes:
        stream = await driver.open_read(path, options or ReadOptions())
        try:
            return b"".join([chunk async for chunk in stream])
        finally:
            await stream.aclose()

    return read
