"""What the first requests have to import: it decides how long a short program takes."""

import subprocess
import sys

import pytest

from polystow_testing.s3 import DiskS3Server

FIRST_REQUESTS = """
import asyncio, sys

async def main():
    from polystow import open_storage

    options = {{
        "endpoint": {endpoint!r}, "region": "us-east-1",
        "access_key_id": "key", "secret_access_key": "secret",
    }}
    async with open_storage({{"mounts": {{"s3": options}}}}) as storage:
        await storage.write("s3:bucket/k", b"content", content_type="text/plain")
        assert await storage.read_bytes("s3:bucket/k") == b"content"
        print(*sys.modules)

asyncio.run(main())
"""

IN_CODE = """
import asyncio, sys

async def main():
    from polystow import CompositeDriver, DriverContext, Mount, Secret, open_storage
    from polystow_s3 import SPEC, S3Config

    config = S3Config(
        endpoint={endpoint!r}, region="us-east-1",
        access_key_id="key", secret_access_key=Secret("secret"),
    )
    async with SPEC.open(config, DriverContext()) as driver:
        async with open_storage(CompositeDriver({{"s3": Mount(driver)}})) as storage:
            await storage.write("s3:bucket/k", b"content", content_type="text/plain")
            assert await storage.read_bytes("s3:bucket/k") == b"content"
            print(*sys.modules)

asyncio.run(main())
"""

SDK = {"aiobotocore", "aiohttp", "boto3", "botocore", "dateutil", "jmespath", "s3transfer"}
RARE = {
    *("anyio._backends._asyncio", "anyio.lowlevel"),
    *("awscrt", "email.header", "http.client", "mimetypes", "tomllib"),
    *("polystow._admin_values", "polystow._copying", "polystow._download", "polystow._fetch_rules"),
    *("polystow._memory", "polystow._multipart", "polystow._write_stream", "polystow._zip"),
    *("polystow_s3._copy", "polystow_s3._multipart", "polystow_s3._presign", "polystow_s3._sdk"),
    *("polystow_s3._setting_values", "polystow_s3._upload", "polystow_s3._uploads"),
}


def modules_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def modules() -> set[str]:
    with DiskS3Server(buckets=("bucket",)) as server:
        return modules_after(FIRST_REQUESTS.format(endpoint=server.endpoint))


def test_first_requests_with_keys_and_an_endpoint_bring_no_sdk(modules: set[str]) -> None:
    assert "polystow_s3._driver" in modules
    assert not {name for name in modules if name.partition(".")[0] in SDK}


def test_first_requests_import_nothing_that_they_do_not_need(modules: set[str]) -> None:
    # Python 3.12 needs email for what finds the drivers, and older anyios import all of themselves.
    finding = modules_after("import sys, anyio, importlib.metadata; print(*sys.modules)")
    assert not modules & RARE - finding


def test_a_driver_that_is_opened_in_code_is_not_looked_for() -> None:
    with DiskS3Server(buckets=("bucket",)) as server:
        modules = modules_after(IN_CODE.format(endpoint=server.endpoint))
    assert not modules & {"cattrs", "importlib.metadata", "polystow._plan", "polystow._validation"}
    assert not modules & RARE - modules_after("import sys, anyio; print(*sys.modules)")


def test_importing_the_driver_brings_no_part_of_it_but_its_configuration() -> None:
    modules = modules_after("import sys, polystow_s3; print(*sys.modules)")
    assert not modules & {"polystow_s3._driver", "polystow._storage", "httptools"}
