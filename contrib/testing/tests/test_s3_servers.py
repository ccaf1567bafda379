"""The S3 servers, spoken to in plain HTTP and, for agreement with a real SDK, through botocore."""

import hashlib
import http.client
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from polystow_testing.s3 import (
    AnswerBytes,
    AnswerRange,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    Credentials,
    DiskS3Server,
    EmptyPage,
    ErrorIn200,
    Fault,
    MotoServer,
    S3Process,
    Stall,
    StopReading,
)

MIB = 1024**2
PART = 5 * MIB


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(server: DiskS3Server, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())
    finally:
        connection.close()


def client(endpoint: str, **options: Any) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(
            retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options
        ),
    )  # fmt: skip


@pytest.fixture
def disk() -> Iterator[DiskS3Server]:
    with DiskS3Server(buckets=("b",)) as server:
        yield server


@pytest.fixture
def sdk(disk: DiskS3Server) -> Iterator[Any]:
    made = client(disk.endpoint)
    yield made
    made.close()


def test_what_is_put_is_got(sdk: Any) -> None:
    sdk.put_object(Bucket="b", Key="ü/ b+c", Body=b"hello", ContentType="x/y", Metadata={"a": "1"})
    found = sdk.get_object(Bucket="b", Key="ü/ b+c")
    assert found["Body"].read() == b"hello"
    assert (found["ContentType"], found["Metadata"]) == ("x/y", {"a": "1"})
    assert found["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    head = sdk.head_object(Bucket="b", Key="ü/ b+c")
    assert (head["ContentLength"], head["LastModified"]) == (5, found["LastModified"])
    sdk.delete_object(Bucket="b", Key="ü/ b+c")
    with pytest.raises(ClientError, match="404"):
        sdk.head_object(Bucket="b", Key="ü/ b+c")


@pytest.mark.parametrize(
    ("header", "status", "body"),
    [
        ("bytes=0-0", 206, b"0"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-99", 206, b"56789"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_ranges(disk: DiskS3Server, header: str, status: int, body: bytes | None) -> None:
    ask(disk, "PUT", "/b/k", b"0123456789")
    reply = ask(disk, "GET", "/b/k", Range=header)
    assert reply.status == status
    if body is not None:
        assert reply.body == body


def test_conditional_writes(disk: DiskS3Server) -> None:
    assert ask(disk, "PUT", "/b/k", b"1", If_None_Match="*").status == 200
    assert ask(disk, "PUT", "/b/k", b"2", If_None_Match="*").status == 412
    etag = ask(disk, "HEAD", "/b/k").headers["etag"]
    assert ask(disk, "PUT", "/b/k", b"3", If_Match=etag).status == 200
    assert ask(disk, "PUT", "/b/k", b"4", If_Match=etag).status == 412
    assert ask(disk, "GET", "/b/k", If_Match=etag).status == 412
    assert ask(disk, "PUT", "/b/none", b"5", If_Match=etag).status == 404


def test_a_multipart_upload_is_joined(sdk: Any, disk: DiskS3Server) -> None:
    upload = sdk.create_multipart_upload(Bucket="b", Key="k", ContentType="x/y")["UploadId"]
    place = {"Bucket": "b", "Key": "k", "UploadId": upload}
    contents = [os.urandom(PART), b"end"]
    parts = [
        {"PartNumber": n, "ETag": sdk.upload_part(**place, PartNumber=n, Body=data)["ETag"]}
        for n, data in enumerate(contents, 1)
    ]
    assert [part["Size"] for part in sdk.list_parts(**place)["Parts"]] == [PART, 3]
    assert disk.uploads[0].parts == (1, 2)
    etag = sdk.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})["ETag"]
    joined = b"".join(hashlib.md5(data).digest() for data in contents)
    assert etag == f'"{hashlib.md5(joined).hexdigest()}-2"'
    assert sdk.get_object(Bucket="b", Key="k")["Body"].read() == b"".join(contents)
    ranged = sdk.get_object(Bucket="b", Key="k", Range=f"bytes={PART - 2}-{PART + 1}")
    assert ranged["Body"].read() == contents[0][-2:] + b"en"
    assert disk.uploads == ()


def test_wrong_completions_are_refused(sdk: Any) -> None:
    upload = sdk.create_multipart_upload(Bucket="b", Key="k")["UploadId"]
    place = {"Bucket": "b", "Key": "k", "UploadId": upload}
    etags = [sdk.upload_part(**place, PartNumber=n, Body=b"x")["ETag"] for n in (1, 2)]
    one, two = ({"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1))

    def refused(parts: Sequence[Mapping[str, object]]) -> str:
        with pytest.raises(ClientError) as caught:
            sdk.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        return str(caught.value.response["Error"]["Code"])

    assert refused([one, two]) == "EntityTooSmall"
    assert refused([two, one]) == "InvalidPartOrder"
    assert refused([one, {"PartNumber": 3, "ETag": etags[0]}]) == "InvalidPart"
    assert refused([]) == "MalformedXML"
    sdk.abort_multipart_upload(**place)
    assert refused([one]) == "NoSuchUpload"


def test_listing_with_pages_agrees_with_moto(sdk: Any) -> None:
    keys = ["a", "b/1", "b/2", "b/c/3", "b+d", "d e", "ü"]
    with MotoServer(buckets=("bucket",)) as moto:
        other = client(moto.endpoint)
        sdk.create_bucket(Bucket="bucket")
        for key in keys:
            for made in (sdk, other):
                made.put_object(Bucket="bucket", Key=key, Body=b"1")
        for options in ({}, {"Prefix": "b/"}, {"Delimiter": "/"}, {"StartAfter": "b/1"},
                        {"Prefix": "b", "Delimiter": "/"}):  # fmt: skip
            for size in (1, 2, 1000):
                pages = {"PaginationConfig": {"PageSize": size}}
                found, expected = (
                    [
                        (entry.get("Key"), entry.get("Prefix"))
                        for page in made.get_paginator("list_objects_v2").paginate(
                            Bucket="bucket", **options, **pages
                        )
                        for entry in [*page.get("Contents", ()), *page.get("CommonPrefixes", ())]
                    ]
                    for made in (sdk, other)
                )
                assert sorted(map(str, found)) == sorted(map(str, expected)), (options, size)
        other.close()


def test_many_are_deleted_in_one_request(sdk: Any, disk: DiskS3Server) -> None:
    for key in ("a", "b&c", "d"):
        sdk.put_object(Bucket="b", Key=key, Body=b"")
    objects = [{"Key": key} for key in ("a", "b&c", "none")]
    deleted = sdk.delete_objects(Bucket="b", Delete={"Objects": objects})["Deleted"]
    assert [entry["Key"] for entry in deleted] == ["a", "b&c", "none"]
    assert disk.keys("b") == ("d",)


def test_a_copy_outlives_its_source(sdk: Any) -> None:
    sdk.put_object(Bucket="b", Key="a", Body=b"data", Metadata={"x": "y"})
    sdk.copy_object(Bucket="b", Key="c", CopySource={"Bucket": "b", "Key": "a"})
    sdk.delete_object(Bucket="b", Key="a")
    found = sdk.get_object(Bucket="b", Key="c")
    assert (found["Body"].read(), found["Metadata"]) == (b"data", {"x": "y"})


def test_files_go_with_their_objects(tmp_path: Path) -> None:
    with DiskS3Server(tmp_path, buckets=("b",)) as server:
        ask(server, "PUT", "/b/k", b"1")
        ask(server, "PUT", "/b/k", b"2")
        assert len(list(tmp_path.iterdir())) == 1
        ask(server, "DELETE", "/b/k")
        assert list(tmp_path.iterdir()) == []


def test_bodies_in_aws_chunks_are_decoded(disk: DiskS3Server) -> None:
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    reply = ask(
        disk, "PUT", "/b/k", body, Content_Encoding="aws-chunked",
        X_Amz_Decoded_Content_Length="5", X_Amz_Content_Sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    )  # fmt: skip
    assert reply.status == 200
    found = ask(disk, "GET", "/b/k", X_Amz_Checksum_Mode="ENABLED")
    assert (found.body, found.headers["x-amz-checksum-crc32"]) == (b"hello", "NhCmhg==")


def test_bodies_of_another_digest_are_refused(disk: DiskS3Server) -> None:
    assert ask(disk, "PUT", "/b/k", b"x", X_Amz_Content_Sha256="0" * 64).status == 400
    assert ask(disk, "PUT", "/b/k", b"x", Content_Md5="AAAAAAAAAAAAAAAAAAAAAA==").status == 400
    assert disk.keys("b") == ()


@pytest.mark.parametrize("version", ["s3v4"])
@pytest.mark.parametrize(
    ("secret", "key", "code"),
    [("secret", "key", None), ("other", "key", "SignatureDoesNotMatch"),
     ("secret", "other", "InvalidAccessKeyId")],
)  # fmt: skip
def test_signatures_are_verified(version: str, secret: str, key: str, code: str | None) -> None:
    with DiskS3Server(buckets=("b",), credentials=Credentials(key, secret)) as server:
        made = client(server.endpoint, signature_version=version)
        if code is None:
            made.put_object(Bucket="b", Key="ü b+c?d", Body=b"x")
            assert made.list_objects_v2(Bucket="b", Prefix="ü ")["KeyCount"] == 1
            url = made.generate_presigned_url("get_object", {"Bucket": "b", "Key": "ü b+c?d"})
            path = url.removeprefix(server.endpoint)
            assert ask(server, "GET", path).body == b"x"
            assert ask(server, "GET", path.replace("b%2Bc", "b%2Bd")).status == 403
            assert ask(server, "GET", "/b/k").status == 403
        else:
            with pytest.raises(ClientError, match=code):
                made.put_object(Bucket="b", Key="k", Body=b"x")
        made.close()


def test_discarded_bodies_are_read_as_a_pattern() -> None:
    with DiskS3Server(buckets=("b",), discard=True) as server:
        ask(server, "PUT", "/b/k", bytes(3 * MIB))
        whole = ask(server, "GET", "/b/k").body
        assert whole == bytes(range(256)) * (3 * MIB // 256)
        assert ask(server, "GET", "/b/k", Range="bytes=1000-1299").body == whole[1000:1300]


@pytest.mark.parametrize(
    ("action", "status"),
    [(AnswerStatus(503, "SlowDown", headers={"Retry-After": "7"}), 503), (AnswerBytes(b"x"), 200),
     (ErrorIn200(), 200)],
)  # fmt: skip
def test_faults_that_answer(disk: DiskS3Server, action: Any, status: int) -> None:
    fault = disk.add_fault(Fault("PutObject", action=action, key="k"))
    assert ask(disk, "PUT", "/b/other", b"1").status == 200
    reply = ask(disk, "PUT", "/b/k", bytes(MIB))
    assert reply.status == status
    assert disk.faults.fired(fault) == 1
    assert disk.keys("b") == ("other",)
    if status == 503:
        assert reply.headers["retry-after"] == "7"
        assert b"<Code>SlowDown</Code>" in reply.body
    assert ask(disk, "PUT", "/b/k", b"1").status == 200


def test_an_error_in_200_can_be_a_lie(disk: DiskS3Server) -> None:
    disk.add_fault(Fault(action=ErrorIn200("X", carry_out=True)))
    assert b"<Code>X</Code>" in ask(disk, "PUT", "/b/k", b"1").body
    assert disk.keys("b") == ("k",)


@pytest.mark.parametrize("reset", [False, True])
def test_connections_close_before_the_answer_or_within_it(disk: DiskS3Server, reset: bool) -> None:
    ask(disk, "PUT", "/b/k", bytes(MIB))
    disk.add_fault(Fault("GetObject", action=CloseConnection(reset=reset)))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(disk, "GET", "/b/k")
    disk.add_fault(Fault("GetObject", action=CloseConnection(1000, reset=reset)))
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(disk, "GET", "/b/k")


def test_connections_close_while_the_request_arrives(disk: DiskS3Server) -> None:
    disk.add_fault(Fault("PutObject", action=CloseDuringRequest(1000)))
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(disk, "PUT", "/b/k", bytes(8 * MIB))
    assert disk.keys("b") == ()


@pytest.mark.parametrize("action", [Stall(), StopReading(10)])
def test_a_stall_ends_when_the_client_goes(disk: DiskS3Server, action: Any) -> None:
    disk.add_fault(Fault("PutObject", action=action))
    connection = http.client.HTTPConnection("127.0.0.1", disk.port, timeout=5)
    connection.request("PUT", "/b/k", b"x" * 100)
    disk.wait_until(lambda: disk.running == {"PutObject": 1})
    connection.close()
    disk.wait_until(lambda: disk.running == {} and disk.open_connections == 0)


def test_stopping_ends_a_stall(disk: DiskS3Server) -> None:
    disk.add_fault(Fault(action=Stall()))
    connection = http.client.HTTPConnection("127.0.0.1", disk.port, timeout=5)
    connection.request("GET", "/b/k")
    disk.wait_until(lambda: disk.running == {"GetObject": 1})
    began = time.monotonic()
    disk.stop()
    assert time.monotonic() - began < 2
    connection.close()


@pytest.mark.parametrize(("style", "status"), [("200", 200), ("ignored", 200)])
def test_ranges_can_be_answered_as_others_do(disk: DiskS3Server, style: Any, status: int) -> None:
    ask(disk, "PUT", "/b/k", b"0123456789")
    disk.add_fault(Fault(action=AnswerRange(style)))
    reply = ask(disk, "GET", "/b/k", Range="bytes=2-3")
    assert reply.status == status
    assert reply.body == (b"23" if style == "200" else b"0123456789")
    assert ("content-range" in reply.headers) is (style == "200")


def test_an_empty_page_is_followed_by_the_others(sdk: Any, disk: DiskS3Server) -> None:
    sdk.put_object(Bucket="b", Key="k", Body=b"")
    disk.add_fault(Fault("ListObjectsV2", action=EmptyPage()))
    pages = list(sdk.get_paginator("list_objects_v2").paginate(Bucket="b"))
    assert [page["KeyCount"] for page in pages] == [0, 1]


def test_faults_skip_and_end(disk: DiskS3Server) -> None:
    fault = disk.add_fault(Fault("HeadBucket", action=AnswerStatus(500), skip=1, times=2))
    assert [ask(disk, "HEAD", "/b").status for _ in range(4)] == [200, 500, 500, 200]
    assert disk.faults.fired(fault) == 2


@pytest.mark.parametrize("options", [{"times": 0}, {"skip": -1}])
def test_faults_that_cannot_be(options: Any) -> None:
    with pytest.raises(ValueError, match="0"):
        Fault(**options)


def test_requests_are_counted(disk: DiskS3Server) -> None:
    ask(disk, "PUT", "/b/k", b"1")
    ask(disk, "GET", "/b/k")
    ask(disk, "GET", "/b/none")
    assert disk.requests == {"PutObject": 1, "GetObject": 2}
    assert disk.peak["GetObject"] == 1
    disk.reset()
    assert (disk.requests, disk.keys("b")) == ({}, ())


def test_keys_are_taken_byte_for_byte(disk: DiskS3Server) -> None:
    for path in ("/b/../up", "/b/a//b", "/b/%2e%2e/x", "/b//lead", "/b/a%2Fb"):
        assert ask(disk, "PUT", path, b"1").status == 200
    assert disk.keys("b") == ("../up", "../x", "/lead", "a//b", "a/b")


def test_what_is_not_there_and_what_is_not_done(disk: DiskS3Server) -> None:
    assert b"NoSuchBucket" in ask(disk, "GET", "/none/k").body
    assert b"NoSuchKey" in ask(disk, "GET", "/b/k").body
    assert ask(disk, "POST", "/b/k").status == 501
    assert ask(disk, "PUT", "/b/%FF", b"").status == 400


def test_starting_takes_milliseconds() -> None:
    began = time.monotonic()
    with DiskS3Server():
        assert time.monotonic() - began < 0.5


async def test_the_servers_are_async_context_managers() -> None:
    async with DiskS3Server(buckets=("b",)) as disk, MotoServer(buckets=("bucket",)) as moto:
        assert disk.endpoint != moto.endpoint


def test_a_stopped_server_says_so() -> None:
    server = DiskS3Server()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.uploads
    server.stop()


def test_moto_can_be_reset() -> None:
    with MotoServer(buckets=("bucket",)) as server:
        made = client(server.endpoint)
        made.put_object(Bucket="bucket", Key="k", Body=b"x")
        server.reset()
        assert made.list_objects_v2(Bucket="bucket")["KeyCount"] == 0
        server.create_bucket("other")
        assert len(made.list_buckets()["Buckets"]) == 2
        made.close()


def test_a_process_serves_until_it_is_left(tmp_path: Path) -> None:
    with S3Process(tmp_path, buckets=("b",), digests=True) as process:
        made = client(process.endpoint)
        made.put_object(Bucket="b", Key="k", Body=b"x")
        assert made.get_object(Bucket="b", Key="k")["Body"].read() == b"x"
        made.close()
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="is not running"):
        _ = process.pid
