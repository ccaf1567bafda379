"""TLS: what is verified, with what, and what the client shows."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from polystow import (
    BytesBody,
    PresignOptions,
    StorageDriver,
    StorageError,
    TransportError,
    WriteOptions,
)
from polystow_testing.s3 import DiskS3Server, loopback_tls

type Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """What a server shows, and what its clients have to trust."""
    return loopback_tls(tmp_path_factory.mktemp("server"))


@pytest.fixture
def ca_file(certificates: tuple[ssl.SSLContext, Path]) -> Path:
    return certificates[1]


@pytest.fixture
def secure(certificates: tuple[ssl.SSLContext, Path]) -> Iterator[DiskS3Server]:
    with DiskS3Server(buckets=("bucket",), tls=certificates[0]) as server:
        yield server


async def works(driver: StorageDriver, read_all: Any) -> None:
    await driver.write("bucket/k", BytesBody(bytes(300_000)), WriteOptions())
    assert len(await read_all(driver, "bucket/k")) == 300_000


async def test_the_certificates_of_ca_file_are_trusted(
    secure: DiskS3Server, open_s3: Open, ca_file: Path, read_all: Any
) -> None:
    async with open_s3(secure, ca_file=ca_file) as driver:
        await works(driver, read_all)
        assert (await driver.presign("bucket/k", PresignOptions())).startswith("https://")


async def test_the_environments_certificates_are_trusted(
    secure: DiskS3Server, open_s3: Open, ca_file: Path, read_all: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca_file))
    async with open_s3(secure) as driver:
        await works(driver, read_all)


async def test_a_server_that_nobody_vouches_for_gets_nothing(
    secure: DiskS3Server, open_s3: Open
) -> None:
    async with open_s3(secure) as driver:
        with pytest.raises(TransportError, match="see tls_verify and ca_file") as caught:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
    assert (caught.value.retryable, caught.value.outcome) == (False, "failed")
    assert secure.requests == {}


async def test_a_certificate_for_another_host_is_refused(
    certificates: tuple[ssl.SSLContext, Path], open_s3: Open
) -> None:
    tls, ca_file = certificates
    with DiskS3Server(buckets=("bucket",), host="127.0.0.2", tls=tls) as server:
        async with open_s3(server, ca_file=ca_file) as driver:
            with pytest.raises(TransportError, match="TLS failed"):
                await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        assert server.requests == {}


async def test_verification_can_be_switched_off(
    secure: DiskS3Server, open_s3: Open, read_all: Any
) -> None:
    async with open_s3(secure, tls_verify=False) as driver:
        await works(driver, read_all)


async def test_a_client_shows_its_certificate(open_s3: Open, read_all: Any, tmp_path: Path) -> None:
    folders = tmp_path / "server", tmp_path / "client"
    for folder in folders:
        folder.mkdir()
    tls, ca_file = loopback_tls(folders[0])
    _, certificate_file = loopback_tls(folders[1])
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate_file)
    shown = {
        "client_certificate_file": certificate_file,
        "client_key_file": folders[1] / "key.pem",
    }
    both = tmp_path / "both.pem"
    both.write_bytes(certificate_file.read_bytes() + shown["client_key_file"].read_bytes())
    with DiskS3Server(buckets=("bucket",), tls=tls) as server:
        for options in (shown, {"client_certificate_file": both}):
            async with open_s3(server, ca_file=ca_file, **options) as driver:
                await works(driver, read_all)
        async with open_s3(server, ca_file=ca_file, attempts=1) as driver:
            with pytest.raises(StorageError):
                await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        assert server.requests["PutObject"] == 2


async def test_plain_http_to_a_tls_server_is_an_error(secure: DiskS3Server, open_s3: Open) -> None:
    endpoint = secure.endpoint.replace("https", "http")
    async with open_s3(secure, endpoint=endpoint, attempts=1) as driver:
        with pytest.raises(StorageError):
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
