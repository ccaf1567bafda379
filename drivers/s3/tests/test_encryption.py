"""Server-side encryption on every read, write, copy and part."""

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from polystow import Encryption, Storage, UnsupportedOperationError, open_storage
from polystow_s3 import S3Driver
from polystow_s3._encryption import read_params, source_params, with_headers, write_headers
from polystow_s3._headers import EXTRA_HEADERS
from polystow_testing.s3 import MotoServer

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))
CUSTOMER = Encryption.customer(KEY)
OTHER = Encryption.customer(bytes(32))
MIB = 1_048_576
PREFIX = "x-amz-server-side-encryption-customer"
SOURCE = "x-amz-copy-source-server-side-encryption-customer"


@pytest.fixture
async def storage(moto: MotoServer) -> AsyncIterator[Storage]:
    s3 = {
        "driver": "s3",
        "endpoint": moto.endpoint,
        "region": "us-east-1",
        "access_key_id": "key",
        "secret_access_key": "secret",
        "part_size_bytes": 5 * MIB,
        "multipart_threshold_bytes": 5 * MIB,
    }
    config = {"mounts": {"s3": s3, "memory": {"driver": "memory"}}, "write_to": "s3"}
    async with open_storage(config) as storage:
        yield storage


@pytest.fixture
async def seen(storage: Storage) -> Mapping[str, list[Mapping[str, str]]]:
    """What was sent of encryption, by operation."""
    driver, _ = storage.native("s3:", S3Driver)
    client = cast("Any", await driver.client())
    found: dict[str, list[Mapping[str, str]]] = {}

    def note(request: Any, operation_name: str, **_: object) -> None:
        told = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if "encryption" in name.lower()
        }
        found.setdefault(operation_name, []).append(told)

    client.meta.events.register("request-created.s3", note)
    return found


def test_a_customers_key_has_32_bytes_and_is_not_shown() -> None:
    with pytest.raises(ValueError, match="31 bytes; AES-256 takes 32"):
        Encryption.customer(bytes(31))
    assert base64.b64encode(KEY).decode() not in repr(CUSTOMER)


def test_what_is_said_of_each_kind() -> None:
    assert write_headers(None) == {}
    assert write_headers(Encryption.service()) == {"x-amz-server-side-encryption": "AES256"}
    said = write_headers(Encryption.kms("alias/key", {"a": "b"}))
    assert said["x-amz-server-side-encryption"] == "aws:kms"
    assert said["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/key"
    context = base64.b64decode(said["x-amz-server-side-encryption-context"])
    assert context == b'{"a": "b"}'
    assert write_headers(CUSTOMER) == {
        f"{PREFIX}-algorithm": "AES256",
        f"{PREFIX}-key": base64.b64encode(KEY).decode(),
        f"{PREFIX}-key-MD5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
    }
    assert read_params(Encryption.kms()) == {} == source_params(Encryption.service())
    assert with_headers({EXTRA_HEADERS: {"a": "b"}}, {"c": "d"}) == {
        EXTRA_HEADERS: {"a": "b", "c": "d"}
    }


@pytest.mark.parametrize("size", [10, 11 * MIB])
async def test_a_customers_key_goes_with_every_request_that_needs_it(
    storage: Storage, seen: Mapping[str, list[Mapping[str, str]]], size: int
) -> None:
    content = bytes(size)
    await storage.write("s3:bucket/key", content, encryption=CUSTOMER)
    assert await storage.read_bytes("s3:bucket/key", encryption=CUSTOMER) == content
    assert (await storage.stat("s3:bucket/key", encryption=CUSTOMER)).size == size
    await storage.copy("s3:bucket/key", "s3:bucket/copy", encryption=OTHER,
                       source_encryption=CUSTOMER)  # fmt: skip
    assert await storage.read_bytes("s3:bucket/copy", encryption=OTHER) == content
    names = {f"{PREFIX}-{part}".lower() for part in ("algorithm", "key", "key-md5")}
    needed = ["GetObject", "HeadObject", "CopyObject"]
    needed += ["PutObject"] if size == 10 else ["CreateMultipartUpload", "UploadPart",
                                                "CompleteMultipartUpload"]  # fmt: skip
    for operation in needed:
        assert names <= seen[operation][0].keys(), operation
    source = base64.b64encode(KEY).decode()
    assert seen["CopyObject"][0][f"{SOURCE}-key"] == source
    assert seen["CopyObject"][0][f"{PREFIX}-key"] != source


async def test_a_customers_key_goes_with_each_part_that_the_caller_leads(
    storage: Storage, seen: Mapping[str, list[Mapping[str, str]]]
) -> None:
    async with storage.multipart("s3:bucket/key", encryption=CUSTOMER) as upload:
        await upload.put_part(bytes(5 * MIB))
        token = upload.token
        upload.keep()
    assert base64.b64encode(KEY).decode() not in base64.b64decode(token).decode()
    async with storage.multipart(token=token, encryption=CUSTOMER) as upload:
        await upload.put_part(b"the end")
    for operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
        assert all(f"{PREFIX}-key" in told for told in seen[operation]), operation
    assert len(seen["UploadPart"]) == 2
    assert len(await storage.read_bytes("s3:bucket/key", encryption=CUSTOMER)) == 5 * MIB + 7


async def test_the_services_keys_and_kms_are_asked_for_by_writes_alone(
    storage: Storage, seen: Mapping[str, list[Mapping[str, str]]]
) -> None:
    for encryption, name in ((Encryption.service(), "AES256"), (Encryption.kms(), "aws:kms")):
        await storage.write("s3:bucket/key", b"content", encryption=encryption)
        assert await storage.read_bytes("s3:bucket/key", encryption=encryption) == b"content"
        assert seen["PutObject"][-1]["x-amz-server-side-encryption"] == name
        driver, _ = storage.native("s3:", S3Driver)
        client = cast("Any", await driver.client())
        head = await client.head_object(Bucket="bucket", Key="key")
        assert head["ServerSideEncryption"] == name


async def test_a_copy_to_another_mount_is_read_with_the_key(storage: Storage) -> None:
    await storage.write("s3:bucket/key", b"content", encryption=CUSTOMER)
    info = await storage.copy("s3:bucket/key", "memory:b/k", source_encryption=CUSTOMER)
    assert await storage.read_bytes(info.file_id) == b"content"


async def test_a_mount_that_does_not_encrypt_refuses(storage: Storage) -> None:
    with pytest.raises(UnsupportedOperationError, match="'encryption'"):
        await storage.write("memory:b/k", b"content", encryption=Encryption.service())
    with pytest.raises(UnsupportedOperationError, match="'encryption'"):
        await storage.copy("s3:bucket/key", "memory:b/k", encryption=Encryption.service())
    with pytest.raises(UnsupportedOperationError, match="'source_encryption'"):
        await storage.copy("memory:b/k", "s3:bucket/key", source_encryption=CUSTOMER)
