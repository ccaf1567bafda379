"""The servers of the demo: given ones, or child processes that end with it."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polystow import Secret
from polystow_testing.fastdfs import FastdfsOptions, FastdfsProcess
from polystow_testing.s3 import S3Process


@asynccontextmanager
async def mounts(
    *,
    s3_endpoint: str | None,
    s3_access_key: str | None,
    s3_secret_key: Secret | None,
    s3_region: str,
    s3_bucket: str,
    trackers: tuple[str, ...],
) -> AsyncGenerator[dict[str, dict[str, Any]]]:
    """The configuration of both mounts; what is not given is started.

    They are processes of their own, so that the demo's memory is the client's alone, and keep
    files on disk, so that large ones cost no memory at all.
    """
    async with AsyncExitStack() as stack:
        s3: dict[str, Any] = {"region": s3_region, "default_bucket": s3_bucket}
        if s3_endpoint is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="polystow-demo-s3-"))
            server = await stack.enter_async_context(S3Process(Path(folder), buckets=(s3_bucket,)))
            s3_endpoint, s3_access_key = server.endpoint, "demo"
            s3_secret_key = Secret("demo-secret")
        s3["endpoint"] = s3_endpoint
        if s3_access_key is not None and s3_secret_key is not None:
            s3 |= {"access_key_id": s3_access_key, "secret_access_key": s3_secret_key}
        if not trackers:
            folder = stack.enter_context(TemporaryDirectory(prefix="polystow-demo-fastdfs-"))
            options = FastdfsOptions(storage_dir=Path(folder))
            cluster = await stack.enter_async_context(FastdfsProcess(options))
            trackers = tuple(cluster.trackers)
        yield {"s3": s3, "fastdfs": {"trackers": list(trackers)}}
