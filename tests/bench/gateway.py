"""The gateway before an S3 server: rate, memory, and what others wait for."""

import asyncio
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from web import (
    GIB,
    KEY,
    UPLOADS,
    download,
    driver_alone,
    fill,
    goal,
    memory_mib,
    ping_once,
    upload_all,
    uvicorn,
)

from polystow import open_storage
from polystow_testing.s3 import S3Process

_CONFIG = """
write_to = "s3"

[storage.mounts.s3]
endpoint = "{endpoint}"
access_key_id = "key"
secret_access_key = "secret"
default_bucket = "bench"

[limits]
requests_per_s = 1e6
burst = 1000000
max_transfers_per_key = 256

[anonymous]
grants = [{{ prefixes = ["*"], actions = ["read", "write"] }}]

[server]
port = 0
"""
_CONTENT = f"/v1/objects?id={KEY}"
_LIVE = "/health/live"


@contextmanager
def _gateway(endpoint: str) -> Generator[tuple[int, int]]:
    """Port and process id of a gateway."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.toml"
        config.write_text(_CONFIG.format(endpoint=endpoint))
        application = ("--factory", "polystow_gateway.server:app_from_environment")
        with uvicorn(*application, POLYSTOW_GATEWAY_CONFIG=str(config)) as served:
            yield served


async def _driver_through(port: int) -> float:
    """Seconds that the object takes through the driver `gateway`."""
    config = {"url": f"http://127.0.0.1:{port}", "mount": "s3"}
    async with open_storage({"mounts": {"gateway": config}}) as storage:
        start = time.perf_counter()
        async with storage.open_read(KEY.replace("s3:", "gateway:")) as stream:
            async for _ in stream:
                pass
        return time.perf_counter() - start


def gateway() -> None:
    """Print each goal with its figure."""
    with S3Process(buckets=("bench",)) as s3:
        asyncio.run(fill(s3.endpoint))
        with _gateway(s3.endpoint) as (port, pid):
            ping_once(port, _LIVE)
            idle = memory_mib(pid, "VmRSS")
            alone = min(asyncio.run(driver_alone(s3.endpoint)) for _ in range(2))
            seconds, received = min(download(port, _CONTENT) for _ in range(2))
            assert received == GIB
            through = min(asyncio.run(_driver_through(port)) for _ in range(2))
            peak = memory_mib(pid, "VmHWM")
            print(f"1 GiB: driver alone {GIB / alone / 1e6:.0f} MB/s, "
                  f"through the gateway {GIB / seconds / 1e6:.0f} MB/s over plain HTTP, "
                  f"{GIB / through / 1e6:.0f} MB/s by the driver `gateway`")  # fmt: skip
            goal("download of 1 GiB, rate over the driver's own", alone / seconds, "", 0.5,
                 least=True)  # fmt: skip
            goal("download of 1 GiB, memory above idle", peak - idle, "MiB", 100)
        with _gateway(s3.endpoint) as (port, pid):
            ping_once(port, _LIVE)
            idle = memory_mib(pid, "VmRSS")
            target = "POST /v1/objects?filename=upload.bin"
            seconds, waits = upload_all(port, target, _LIVE)
            print(f"{UPLOADS} uploads of 16 MB at once: {UPLOADS * 16 / seconds:.0f} MB/s, "
                  f"memory {memory_mib(pid, 'VmHWM') - idle:.0f} MiB above idle, "
                  f"{len(waits)} other requests")  # fmt: skip
            goal("other requests meanwhile, p99", waits[int(len(waits) * 0.99)] * 1000, "ms", 100)


if __name__ == "__main__":
    gateway()
