from collections.abc import Iterator

import pytest

from polystow_s3py_helper.storage import FastdfsConfig, S3Config
from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import MotoServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[MotoServer, FastdfsServer]]:
    with MotoServer(buckets=("my-bucket", "other-bucket")) as s3, FastdfsServer() as fastdfs:
        yield s3, fastdfs


@pytest.fixture
def s3_config(servers: tuple[MotoServer, FastdfsServer]) -> S3Config:
    return S3Config(
        endpoint=servers[0].endpoint,
        access_key_id="your-access-key",
        secret_access_key="your-secret-key",
        default_bucket="my-bucket",
    )


@pytest.fixture
def fastdfs_config(servers: tuple[MotoServer, FastdfsServer]) -> FastdfsConfig:
    return FastdfsConfig(tracker_servers=list(servers[1].trackers))


@pytest.fixture
def fastdfs(servers: tuple[MotoServer, FastdfsServer]) -> FastdfsServer:
    return servers[1]
