"""What other servers check and moto does not: signatures, on rclone; rights, on moto's IAM."""

import http.client
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from anyio import to_thread

from polystow import (
    ByteRange,
    BytesBody,
    ChecksumMismatchError,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    MetadataOptions,
    NotFoundError,
    PermissionDeniedError,
    PresignMethod,
    PresignOptions,
    ReadOptions,
    Secret,
    StatOptions,
    StorageDriver,
    StorageError,
    StreamBody,
    WriteOptions,
)
from polystow_s3 import Credentials as S3Credentials
from polystow_testing.s3 import (
    AnswerStatus,
    Credentials,
    DiskS3Server,
    ErrorIn200,
    Fault,
    MotoProcess,
    RcloneServer,
)

MIB = 1_048_576
WRONG = "WrongSecretThatNobodyMaySee"

type Open = Callable[..., AbstractAsyncContextManager[StorageDriver]]
type Read = Callable[..., Awaitable[bytes]]
type Operation = Callable[[StorageDriver], Awaitable[object]]


@pytest.fixture(scope="module")
def rclone() -> Iterator[RcloneServer]:
    with RcloneServer(buckets=("bucket",)) as server:
        yield server


@pytest.fixture(scope="module")
def guarded() -> Iterator[MotoProcess]:
    """moto with authentication, and three users."""
    users = {"owner": ["s3:*"], "reader": ["s3:GetObject"], "nobody": []}
    with MotoProcess(users, buckets=("bucket",)) as server:
        yield server


@pytest.fixture
def open_as(open_s3: Open) -> Open:
    """Opens a driver with credentials: `open_as(server, credentials, **options)`."""

    def open_driver(
        server: Any, credentials: Credentials, **options: Any
    ) -> AbstractAsyncContextManager[StorageDriver]:
        return open_s3(
            server,
            access_key_id=credentials.access_key_id,
            secret_access_key=Secret(credentials.secret_access_key),
            **options,
        )

    return open_driver


class Answer(NamedTuple):
    status: int
    body: bytes


async def fetch(method: str, url: str, body: bytes | None = None) -> Answer:
    """Ask with a client that has no credentials."""
    parts = urlsplit(url)

    def ask() -> Answer:
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    return await to_thread.run_sync(ask)


def capability(driver: StorageDriver, name: str) -> Any:
    found = getattr(driver.capabilities, name)
    assert found is not None
    return found


async def pieces(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number]) * MIB


OPERATIONS: Mapping[str, Operation] = {
    "open_read": lambda driver: driver.open_read("bucket/k", ReadOptions()),
    "write": lambda driver: driver.write("bucket/new", BytesBody(b"x"), WriteOptions()),
    "multipart": lambda driver: driver.write("bucket/new", StreamBody(pieces(6)), WriteOptions()),
    "stat": lambda driver: driver.stat("bucket/k", StatOptions()),
    "delete": lambda driver: driver.delete("bucket/k", DeleteOptions()),
    "list_page": lambda driver: capability(driver, "list").list_page("bucket", ListOptions(), None),
    "copy": lambda driver: capability(driver, "copy").copy("bucket/k", "bucket/new", CopyOptions()),
    "set_metadata": lambda driver: capability(driver, "set_metadata").set_metadata(
        "bucket/k", {"a": "b"}, MetadataOptions()
    ),
    "check": lambda driver: capability(driver, "check").check("bucket"),
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


# Signatures, which rclone checks


async def test_the_right_secret_opens_every_operation(
    rclone: RcloneServer, open_as: Open, read_all: Read
) -> None:
    options = {"part_size_bytes": 5 * MIB, "multipart_threshold_bytes": 5 * MIB}
    async with open_as(rclone, rclone.credentials, **options) as driver:
        info = await driver.write("bucket/all/k", BytesBody(b"content"), WriteOptions())
        part = ReadOptions(range=ByteRange(2, 4))
        assert await read_all(driver, info.path) == b"content"
        assert await read_all(driver, info.path, part) == b"nte"
        large = await driver.write("bucket/all/large", StreamBody(pieces(6)), WriteOptions())
        assert (await driver.stat(large.path, StatOptions())).size == 6 * MIB
        await capability(driver, "copy").copy(info.path, "bucket/all/copy", CopyOptions())
        setter = capability(driver, "set_metadata")
        await setter.set_metadata(info.path, {"a": "ä"}, MetadataOptions())
        assert (await driver.stat(info.path, StatOptions())).metadata == {"a": "ä"}
        page = await capability(driver, "list").list_page("bucket/all/", ListOptions(), None)
        paths = [item.path for item in page.items]
        assert paths == ["bucket/all/copy", "bucket/all/k", "bucket/all/large"]
        await capability(driver, "check").check("bucket")
        await driver.delete(info.path, DeleteOptions(missing_ok=False))
        result = await capability(driver, "delete_many").delete_many(tuple(paths), DeleteOptions())
        assert not result.failed


@pytest.mark.parametrize("payload_signing", ["always", "never"])
async def test_bodies_arrive_with_and_without_a_signature_of_their_own(
    rclone: RcloneServer, open_as: Open, read_all: Read, payload_signing: str
) -> None:
    options = {"payload_signing": payload_signing}
    async with open_as(rclone, rclone.credentials, **options) as driver:
        info = await driver.write("bucket/body", BytesBody(b"content"), WriteOptions())
        assert await read_all(driver, info.path) == b"content"


@pytest.mark.parametrize(
    "key",
    [
        "a b", "a+b", "100%", "a%20b%2Fc", "what?", "a?versionId=1&acl", "a#b", "a&b=c;d,e",
        "ü/漢字/🎉", "it's (1)!*.txt", "~user/[a]{b}|^`", "$a:b@c", '"quoted"<a>', "a\\b", " a ",
    ],
)  # fmt: skip
async def test_odd_keys_are_signed_as_they_are_sent(
    rclone: RcloneServer, open_as: Open, read_all: Read, key: str
) -> None:
    async with open_as(rclone, rclone.credentials) as driver:
        info = await driver.write(f"bucket/odd/{key}", BytesBody(b"odd"), WriteOptions())
        assert await read_all(driver, info.path) == b"odd"
        signer = capability(driver, "presign")
        assert await fetch("GET", await signer.presign(info.path, PresignOptions())) == (
            200,
            b"odd",
        )
        listed = await capability(driver, "list").list_page(info.path, ListOptions(), None)
        assert [item.path for item in listed.items] == [info.path]
        await driver.delete(info.path, DeleteOptions(missing_ok=False))


async def test_presigned_urls_open_one_method_each(
    rclone: RcloneServer, open_as: Open, read_all: Read
) -> None:
    async with open_as(rclone, rclone.credentials) as driver:
        signer = capability(driver, "presign")

        async def signed(method: PresignMethod) -> str:
            url: str = await signer.presign("bucket/signed", PresignOptions(method))
            return url

        assert (await fetch("PUT", await signed("PUT"), b"by url")).status == 200
        assert await read_all(driver, "bucket/signed") == b"by url"
        assert (await fetch("GET", await signed("GET"))).body == b"by url"
        assert (await fetch("HEAD", await signed("HEAD"))).status == 200
        assert (await fetch("DELETE", await signed("GET"))).status == 403
        assert (await fetch("DELETE", await signed("DELETE"))).status == 204
        with pytest.raises(NotFoundError):
            await driver.stat("bucket/signed", StatOptions())


async def test_the_server_refuses_what_is_not_signed(rclone: RcloneServer, open_as: Open) -> None:
    async with open_as(rclone, rclone.credentials) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        url = await capability(driver, "presign").presign("bucket/k", PresignOptions())
    assert (await fetch("GET", url)).status == 200
    assert (await fetch("GET", url.replace("/bucket/k?", "/bucket/other?"))).status == 403
    assert (await fetch("GET", url.partition("?")[0])).status != 200


@every_operation
async def test_a_wrong_secret_is_refused_and_not_shown(
    rclone: RcloneServer, open_as: Open, name: str
) -> None:
    wrong = Credentials(rclone.credentials.access_key_id, WRONG)
    async with open_as(rclone, wrong) as driver:
        await is_denied(OPERATIONS[name](driver), "secret_access_key does not belong", name)


@every_operation
async def test_an_unknown_key_is_refused(rclone: RcloneServer, open_as: Open, name: str) -> None:
    async with open_as(rclone, Credentials("NoSuchKey", WRONG)) as driver:
        await is_denied(OPERATIONS[name](driver), "does not know access_key_id", name)


# Rights, which moto's IAM gives


@every_operation
async def test_a_user_without_rights_may_do_nothing(
    guarded: MotoProcess, open_as: Open, name: str
) -> None:
    async with open_as(guarded, guarded.credentials("nobody")) as driver:
        await is_denied(OPERATIONS[name](driver), "the service refuses it", name)


async def test_credentials_of_a_callable_have_the_rights_of_their_user(
    guarded: MotoProcess, open_s3: Open, read_all: Read
) -> None:
    user = "nobody"

    async def ask() -> S3Credentials:
        found = guarded.credentials(user)
        secret = Secret(found.secret_access_key)
        return S3Credentials(access_key_id=found.access_key_id, secret_access_key=secret)

    options = {"access_key_id": None, "secret_access_key": None, "credentials": ask}
    async with open_s3(guarded, **options) as driver:
        await is_denied(OPERATIONS["write"](driver), "the service refuses it", "write")
    user = "owner"
    async with open_s3(guarded, **options) as driver:
        info = await driver.write("bucket/callable", BytesBody(b"x"), WriteOptions())
        assert await read_all(driver, info.path) == b"x"


@every_operation
async def test_a_key_that_iam_does_not_know_is_refused(
    guarded: MotoProcess, open_as: Open, name: str
) -> None:
    async with open_as(guarded, Credentials("AKIANOSUCHKEY", WRONG)) as driver:
        await is_denied(OPERATIONS[name](driver), "does not know access_key_id", name)


@every_operation
async def test_a_secret_of_another_key_is_refused_by_iam(
    guarded: MotoProcess, open_as: Open, name: str
) -> None:
    wrong = Credentials(guarded.credentials("owner").access_key_id, WRONG)
    async with open_as(guarded, wrong) as driver:
        await is_denied(OPERATIONS[name](driver), "secret_access_key does not belong", name)


async def test_a_reader_reads_and_its_writes_leave_nothing(
    guarded: MotoProcess, open_as: Open, read_all: Read
) -> None:
    async with (
        open_as(guarded, guarded.credentials("owner")) as owner,
        open_as(guarded, guarded.credentials("reader")) as reader,
    ):
        kept = await owner.write("bucket/kept", BytesBody(b"kept"), WriteOptions())
        assert await read_all(reader, kept.path) == b"kept"
        with pytest.raises(PermissionDeniedError):
            await reader.delete(kept.path, DeleteOptions())
        with pytest.raises(PermissionDeniedError):
            await reader.write("bucket/denied", BytesBody(b"x"), WriteOptions())
        assert await read_all(owner, kept.path) == b"kept"
        with pytest.raises(NotFoundError):
            await owner.stat("bucket/denied", StatOptions())


async def is_denied(call: Awaitable[object], advice: str, name: str) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        await call
    error = caught.value
    # HeadObject and HeadBucket answer without a body, and so without a reason.
    if name not in {"stat", "check", "copy", "set_metadata"}:
        assert advice in error.message
    assert (error.retryable, error.outcome) == (False, "failed")
    cause: BaseException | None = error
    while cause is not None:
        assert WRONG not in f"{cause} {cause!r}"
        cause = cause.__cause__ or cause.__context__


# What none of them does


async def test_a_body_that_arrived_damaged_is_sent_again(
    on_disk: StorageDriver, disk: DiskS3Server, read_all: Read
) -> None:
    fault = disk.add_fault(Fault("PutObject", action=AnswerStatus(400, "BadDigest"), times=2))
    info = await on_disk.write("bucket/k", BytesBody(b"content"), WriteOptions())
    assert disk.faults.fired(fault) == 2
    assert await read_all(on_disk, info.path) == b"content"


async def test_a_body_that_always_arrives_damaged_is_a_checksum_mismatch(
    on_disk: StorageDriver, disk: DiskS3Server
) -> None:
    disk.add_fault(Fault("PutObject", action=AnswerStatus(400, "BadDigest"), times=None))
    with pytest.raises(ChecksumMismatchError) as caught:
        await on_disk.write("bucket/k", BytesBody(b"content"), WriteOptions())
    assert caught.value.outcome == "failed"
    assert disk.keys("bucket") == ()


async def test_a_refused_order_of_parts_leaves_nothing(disk: DiskS3Server, open_s3: Open) -> None:
    action = AnswerStatus(400, "InvalidPartOrder")
    disk.add_fault(Fault("CompleteMultipartUpload", action=action, times=None))
    async with open_s3(disk, part_size_bytes=5 * MIB) as driver:
        with pytest.raises(StorageError, match="InvalidPartOrder") as caught:
            await driver.write("bucket/k", StreamBody(pieces(6)), WriteOptions())
    assert not caught.value.retryable
    assert (disk.keys("bucket"), disk.uploads) == ((), ())


async def test_a_copy_that_fails_inside_a_200_is_repeated(
    on_disk: StorageDriver, disk: DiskS3Server, read_all: Read
) -> None:
    await on_disk.write("bucket/k", BytesBody(b"content"), WriteOptions())
    fault = disk.add_fault(Fault("CopyObject", action=ErrorIn200("SlowDown")))
    await capability(on_disk, "copy").copy("bucket/k", "bucket/copy", CopyOptions())
    assert disk.faults.fired(fault) == 1
    assert await read_all(on_disk, "bucket/copy") == b"content"
