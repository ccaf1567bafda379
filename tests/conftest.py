from collections.abc import AsyncIterator, Iterator

import pytest
from backends import BUCKET, Backends

from polystow import Storage, open_storage
from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import MotoServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"  # both SDKs are asyncio's


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    with MotoServer(buckets=(BUCKET,)) as s3, FastdfsServer() as fastdfs:
        yield Backends(s3, fastdfs)


@pytest.fixture
async def hybrid(backends: Backends) -> AsyncIterator[Storage]:
    async with open_storage(backends.hybrid) as storage:
        yield storage
