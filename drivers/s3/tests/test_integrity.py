"""Digests end to end: made, sent, verified by the service, kept, and verified when it is read."""

import hashlib
import logging
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from polystow import (
    BytesBody,
    ChecksumMismatchError,
    StatOptions,
    StreamBody,
    WriteOptions,
)
from polystow_s3 import S3Config
from polystow_s3._digests import digest_now
from polystow_testing.s3 import DiskS3Server

MIB = 1024**2
PART = 5 * MIB
DATA = bytes(range(251)) * 21_000  # two parts
ALGORITHMS = ["crc32", "crc64nvme", "sha256", "md5"]


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), MIB):
        yield data[start : start + MIB]


def hex_of(algorithm: str, data: bytes) -> str:
    return digest_now(data, frozenset({algorithm}), signed=False).values[algorithm].hex()


@pytest.fixture(params=["known", "ignored", "refused"])
def server(request: pytest.FixtureRequest) -> Iterator[DiskS3Server]:
    """What servers do with checksums: AWS, Ceph, Backblaze."""
    with DiskS3Server(buckets=("bucket",), checksums=request.param) as server:
        yield server


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("threshold", [0, 64 * MIB], ids=["parts", "whole"])
async def test_every_kind_of_server_takes_writes_with_the_default(
    server: DiskS3Server, open_s3: Any, read_all: Any, algorithm: str, threshold: int
) -> None:
    async with open_s3(
        server, checksum_algorithm=algorithm, part_size_bytes=PART,
        multipart_threshold_bytes=threshold, payload_signing="never",
    ) as driver:  # fmt: skip
        info = await driver.write("bucket/k", BytesBody(DATA), WriteOptions())
        assert info.checksum is not None
        assert info.checksum.value == hex_of(info.checksum.algorithm, DATA)
        assert await read_all(driver, "bucket/k") == DATA
    assert server.uploads == ()


@pytest.mark.parametrize("algorithm", ["crc32", "crc64nvme", "sha256"])
@pytest.mark.parametrize("threshold", [0, 64 * MIB], ids=["parts", "whole"])
async def test_the_service_keeps_the_checksum_that_the_write_shows(
    disk: DiskS3Server, open_s3: Any, algorithm: str, threshold: int
) -> None:
    async with open_s3(
        disk, checksum_algorithm=algorithm, part_size_bytes=PART,
        multipart_threshold_bytes=threshold,
    ) as driver:  # fmt: skip
        written = await driver.write(
            "bucket/k", StreamBody(pieces(DATA), len(DATA)), WriteOptions()
        )
        found = await driver.stat("bucket/k", StatOptions())
    if algorithm == "sha256" and threshold == 0:
        # The parts' own were verified; together they are no digest of the content.
        assert (written.checksum.algorithm, found.checksum) == ("crc32", None)
    else:
        assert found.checksum == written.checksum == (algorithm, hex_of(algorithm, DATA))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("threshold", [0, 64 * MIB], ids=["parts", "whole"])
async def test_a_body_that_changes_on_its_way_is_refused_by_the_service(
    disk: DiskS3Server, open_s3: Any, monkeypatch: pytest.MonkeyPatch, algorithm: str,
    threshold: int,
) -> None:  # fmt: skip
    from polystow_s3._payload import Payload

    real = Payload.chunks

    def damaged(self: Payload, transport: Any) -> Iterator[memoryview]:
        for number, chunk in enumerate(real(self, transport)):
            yield memoryview(bytes([chunk[0] ^ 1]) + bytes(chunk[1:])) if number == 1 else chunk

    monkeypatch.setattr(Payload, "chunks", damaged)
    async with open_s3(
        disk, checksum_algorithm=algorithm, part_size_bytes=PART,
        multipart_threshold_bytes=threshold, payload_signing="never", attempts=2, lane="sdk",
    ) as driver:  # fmt: skip
        with pytest.raises(ChecksumMismatchError, match="not what was sent"):
            await driver.write("bucket/k", BytesBody(DATA), WriteOptions())
    assert disk.keys("bucket") == ()
    assert disk.uploads == ()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_object_that_changes_behind_its_checksum_is_not_read_for_good(
    disk: DiskS3Server, open_s3: Any, read_all: Any, algorithm: str
) -> None:
    async with open_s3(disk, checksum_algorithm=algorithm) as driver:
        await driver.write("bucket/k", BytesBody(b"x" * 1000), WriteOptions())
        disk.corrupt("bucket", "k")
        with pytest.raises(ChecksumMismatchError, match=f"have the {algorithm}"):
            await read_all(driver, "bucket/k")


async def test_a_server_that_refuses_checksums_is_asked_once(
    open_s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with DiskS3Server(buckets=("bucket",), checksums="refused") as server:
        async with open_s3(server) as driver:
            with caplog.at_level(logging.WARNING, "polystow.s3"):
                for _ in range(3):
                    await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        assert server.requests == {"PutObject": 4}
    assert caplog.text.count("refuses checksums") == 1


async def test_a_refusal_for_another_reason_does_not_switch_checksums_off(
    disk: DiskS3Server, open_s3: Any
) -> None:
    from polystow import UnsupportedOperationError
    from polystow_testing.s3 import AnswerStatus, Fault

    async with open_s3(disk) as driver:
        disk.add_fault(Fault("PutObject", action=AnswerStatus(501, "NotImplemented"), times=2))
        with pytest.raises(UnsupportedOperationError):
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        found = await driver.stat("bucket/k", StatOptions())
    assert found.checksum is not None


@pytest.mark.parametrize("mode", ["when_required", "off"])
@pytest.mark.parametrize("threshold", [0, 64 * MIB], ids=["parts", "whole"])
async def test_no_checksum_is_sent_where_none_is_wanted(
    disk: DiskS3Server, open_s3: Any, mode: str, threshold: int
) -> None:
    async with open_s3(
        disk, checksums=mode, part_size_bytes=PART, multipart_threshold_bytes=threshold
    ) as driver:
        info = await driver.write("bucket/k", BytesBody(DATA), WriteOptions())
        made = ("crc32", f"{zlib.crc32(DATA):08x}")
        assert info.checksum == (made if mode == "when_required" else None)
    async with open_s3(disk) as driver:
        assert (await driver.stat("bucket/k", StatOptions())).checksum is None


async def test_switched_off_nothing_is_verified(
    disk: DiskS3Server, open_s3: Any, read_all: Any
) -> None:
    async with open_s3(disk) as driver:
        await driver.write("bucket/k", BytesBody(b"data"), WriteOptions())
    disk.corrupt("bucket", "k")
    async with open_s3(disk, checksums="off") as driver:
        assert await read_all(driver, "bucket/k") != b"data"


async def test_batch_deletion_carries_a_digest_that_every_server_takes(
    server: DiskS3Server, open_s3: Any
) -> None:
    from polystow import DeleteOptions

    for mode in ("when_supported", "when_required", "off"):
        async with open_s3(server, checksums=mode) as driver:
            await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
            result = await driver.capabilities.delete_many.delete_many(
                ("bucket/k",), DeleteOptions()
            )
            assert not result.failed
            assert server.keys("bucket") == ()


async def test_entity_tags_that_are_no_md5_are_not_taken_for_one(
    disk: DiskS3Server, open_s3: Any, read_all: Any
) -> None:
    from polystow_s3._read import md5_of

    md5 = hashlib.md5(b"x").hexdigest()
    answer: dict[str, Any] = {"ResponseMetadata": {"HTTPHeaders": {}}}
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert md5_of(answer, md5) == ("md5", md5)
    assert md5_of(answer, f"{md5}-2") is None
    assert md5_of(answer, None) is None
    headers["x-amz-server-side-encryption"] = "aws:kms"
    assert md5_of(answer, md5) is None
    headers["x-amz-server-side-encryption"] = "AES256"
    assert md5_of(answer, md5) is not None
    headers["x-amz-server-side-encryption-customer-algorithm"] = "AES256"
    assert md5_of(answer, md5) is None


def test_an_algorithm_that_cannot_be_made_here_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polystow_s3._digests._has_crt", lambda: False)
    with pytest.raises(ValueError, match=r"install polystow-s3\[crt\]"):
        S3Config(checksum_algorithm="crc64nvme")


async def test_what_cannot_be_verified_here_is_read_all_the_same(
    disk: DiskS3Server, open_s3: Any, read_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_s3(disk, checksum_algorithm="crc64nvme") as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
    monkeypatch.setattr("polystow_s3._digests._has_crt", lambda: False)
    async with open_s3(disk) as driver:
        assert await read_all(driver, "bucket/k") == b"x"
