"""URLs and forms that work without credentials: on rclone, which checks signatures."""

import base64
import hmac
import http.client
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from anyio import to_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_raw import RawServer, Reply, Seen, reverse_proxy

from polystow import (
    BytesBody,
    InvalidMetadataError,
    InvalidPathError,
    PresignMethod,
    PresignOptions,
    ResponseHeaders,
    Secret,
    StatOptions,
    WriteOptions,
    open_storage,
)
from polystow_s3 import Credentials, PostPolicy, S3Config, S3Driver
from polystow_s3._addressing import at_public_host, with_public_prefix, without_bucket
from polystow_testing.s3 import DiskS3Server, MotoServer, RcloneServer

type Open = Callable[..., AbstractAsyncContextManager[Any]]

MIB = 1_048_576
OWNER = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=k/20261127/us-east-1/s3/aws4_request, any",
    "x-amz-acl": "public-read",
}
"""For moto, which believes it."""

KEYS = [
    "a b", "a+b", "a:b", "100%", "a%20b", "what?", "a#b", "a&b=c", "ü/漢字/🎉", "it's (1)!*.txt",
    "~user/[a]", "$a@c,d;e", '"quoted"<a>', "a\\b",
]  # fmt: skip


@pytest.fixture(scope="module")
def rclone() -> Iterator[RcloneServer]:
    with RcloneServer(buckets=("bucket",)) as server:
        yield server


@pytest.fixture
def open_on(open_s3: Open) -> Open:
    """Opens a driver with the credentials of rclone's."""

    def open_driver(server: RcloneServer, **options: Any) -> AbstractAsyncContextManager[Any]:
        known = server.credentials
        keys = {
            "access_key_id": known.access_key_id,
            "secret_access_key": Secret(known.secret_access_key),
        }
        return open_s3(server, **(keys | options))

    return open_driver


@pytest.fixture
async def signer(rclone: RcloneServer, open_on: Open) -> AsyncIterator[S3Driver]:
    async with open_on(rclone) as driver:
        yield driver


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]


async def fetch(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
    *, connect_to: str | None = None,
) -> Answer:  # fmt: skip
    """Ask with a client that has no credentials; `connect_to` is for hosts that have no address."""
    parts = urlsplit(url)

    def ask() -> Answer:
        connection = http.client.HTTPConnection(connect_to or parts.netloc, timeout=10)
        try:
            named = {"Host": parts.netloc, **(headers or {})}
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body, named)
            answer = connection.getresponse()
            content = answer.read()
            return Answer(
                answer.status, content, {name.lower(): value for name, value in answer.getheaders()}
            )
        finally:
            connection.close()

    return await to_thread.run_sync(ask)


# URLs


async def test_each_method_is_signed_for_itself(signer: S3Driver) -> None:
    async def url(method: PresignMethod) -> str:
        return await signer.presign("bucket/one", PresignOptions(method))

    assert (await fetch("PUT", await url("PUT"), b"by url")).status == 200
    assert (await fetch("GET", await url("GET"))).body == b"by url"
    assert (await fetch("HEAD", await url("HEAD"))).status == 200
    assert (await fetch("DELETE", await url("GET"))).status == 403
    assert (await fetch("PUT", await url("GET"), b"other")).status == 403
    assert (await fetch("DELETE", await url("DELETE"))).status == 204
    assert (await fetch("GET", await url("GET"))).status == 404


@pytest.mark.parametrize("key", KEYS)
async def test_any_key_is_signed_as_it_is(signer: S3Driver, key: str) -> None:
    path = f"bucket/keys/{key}"
    put = await signer.presign(path, PresignOptions("PUT"))
    assert (await fetch("PUT", put, key.encode())).status == 200
    assert (await signer.stat(path, StatOptions())).size == len(key.encode())
    get = await signer.presign(path, PresignOptions())
    assert (await fetch("GET", get)).body == key.encode()


async def test_a_content_type_that_is_signed_has_to_be_sent(signer: S3Driver) -> None:
    options = PresignOptions("PUT", content_type="text/x-signed")
    url = await signer.presign("bucket/typed", options)
    assert (await fetch("PUT", url, b"x", {"Content-Type": "text/plain"})).status == 403
    assert (await fetch("PUT", url, b"x", {"Content-Type": "text/x-signed"})).status == 200
    info = await signer.stat("bucket/typed", StatOptions())
    assert info.content_type == "text/x-signed"


async def test_an_answer_carries_the_headers_that_were_signed(
    moto: MotoServer, open_s3: Open
) -> None:
    response = ResponseHeaders(
        content_type="text/x-other",
        content_disposition='attachment; filename="a b.txt"',
        cache_control="no-store",
        content_language="de",
        content_encoding="identity",
        expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    async with open_s3(moto) as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions(content_type="text/plain"))
        answers = [
            await fetch(
                method, await driver.presign("bucket/k", PresignOptions(method, response=response))
            )
            for method in ("GET", "HEAD")
        ]
    for answer in answers:
        assert answer.status == 200
    headers = answers[0].headers
    assert headers["content-type"].startswith("text/x-other")
    assert headers["content-disposition"] == 'attachment; filename="a b.txt"'
    assert headers["cache-control"] == "no-store"
    assert headers["content-language"] == "de"
    assert headers["expires"] == "Wed, 02 Jan 2030 03:04:05 GMT"


async def test_the_signature_covers_the_headers_of_the_answer(signer: S3Driver) -> None:
    await signer.write("bucket/k", BytesBody(b"x"), WriteOptions())
    options = PresignOptions(response=ResponseHeaders(content_type="text/x-other"))
    url = await signer.presign("bucket/k", options)
    assert (await fetch("GET", url)).status == 200
    assert (await fetch("GET", url.replace("x-other", "html"))).status == 403
    bad = PresignOptions(response=ResponseHeaders(content_disposition="a\r\nSet-Cookie: b"))
    with pytest.raises(InvalidMetadataError, match="headers are printable ASCII"):
        await signer.presign("bucket/k", bad)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_version_is_part_of_the_url(signer: S3Driver, method: PresignMethod) -> None:
    url = await signer.presign("bucket/k", PresignOptions(method, version="v+1"))
    assert parse_qs(urlsplit(url).query)["versionId"] == ["v+1"]


async def test_a_changed_url_is_refused(signer: S3Driver) -> None:
    await signer.write("bucket/changed", BytesBody(b"x"), WriteOptions())
    url = await signer.presign("bucket/changed", PresignOptions())
    assert (await fetch("GET", url)).status == 200
    assert (await fetch("GET", url.replace("/changed?", "/other?"))).status == 403
    assert (await fetch("GET", url.replace("Expires=3600", "Expires=3601"))).status == 403


async def test_a_url_expires(signer: S3Driver) -> None:
    await signer.write("bucket/expiring", BytesBody(b"x"), WriteOptions())
    options = PresignOptions(expires=timedelta(seconds=7200))
    assert "X-Amz-Expires=7200" in await signer.presign("bucket/expiring", options)
    assert "X-Amz-Expires=3600" in await signer.presign("bucket/expiring", PresignOptions())


@pytest.mark.parametrize("seconds", [0, -1, 604_801, 10**9])
async def test_an_expiry_that_s3_does_not_know_is_refused(signer: S3Driver, seconds: int) -> None:
    expires = timedelta(seconds=seconds)
    with pytest.raises(ValueError, match="1 s to 7 days"):
        await signer.presign("bucket/k", PresignOptions(expires=expires))
    with pytest.raises(ValueError, match="1 s to 7 days"):
        await signer.presign_part("bucket/k", "u", 1, expires=expires)
    with pytest.raises(ValueError, match="1 s to 7 days"):
        await signer.presign_post("bucket/k", PostPolicy(expires=expires))


@pytest.mark.parametrize("path", ["bucket", "bucket/", "/k", "bu cket/k", "bucket/" + "k" * 1025])
async def test_a_path_that_can_not_be_is_refused(signer: S3Driver, path: str) -> None:
    with pytest.raises(InvalidPathError):
        await signer.presign(path, PresignOptions())
    with pytest.raises(InvalidPathError):
        await signer.presign_post(path, PostPolicy())
    with pytest.raises(InvalidPathError):
        await signer.object_url(path)


async def test_a_session_token_is_part_of_the_url(disk: DiskS3Server, open_s3: Open) -> None:
    async with open_s3(disk, session_token=Secret("the/token+")) as driver:
        query = parse_qs(urlsplit(await driver.presign("bucket/k", PresignOptions())).query)
        post = await driver.presign_post("bucket/k", PostPolicy())
    assert query["X-Amz-Security-Token"] == ["the/token+"]
    assert post.fields["x-amz-security-token"] == "the/token+"
    assert "the/token+" not in repr(post)


async def test_a_url_that_outlives_its_credentials_is_warned_of(
    disk: DiskS3Server, open_s3: Open, caplog: pytest.LogCaptureFixture
) -> None:
    made = Credentials(
        access_key_id="key",
        secret_access_key=Secret("secret"),
        expires=datetime.now(UTC) + timedelta(minutes=30),
    )
    none = {"access_key_id": None, "secret_access_key": None}
    async with open_s3(disk, **none, credentials=made) as driver:
        await driver.presign("bucket/k", PresignOptions(expires=timedelta(minutes=20)))
        assert not caplog.records
        await driver.presign("bucket/k", PresignOptions(expires=timedelta(hours=1)))
    assert "its credentials expire then" in caplog.text


async def test_signing_asks_nobody(disk: DiskS3Server, open_s3: Open) -> None:
    async with open_s3(disk) as driver:
        await driver.presign("bucket/k", PresignOptions())
        await driver.presign_part("bucket/k", "u", 1)
        await driver.presign_post("bucket/k", PostPolicy())
        await driver.object_url("bucket/k")
    assert disk.requests == {}
    assert disk.open_connections == 0


async def test_a_storage_gives_the_driver_that_signs_forms(moto: MotoServer) -> None:
    config = S3Config(
        endpoint=moto.endpoint, access_key_id="key", secret_access_key=Secret("secret")
    )
    async with open_storage({"mounts": {"s3": config}}) as storage:
        driver, path = storage.native("s3:bucket/form.png", S3Driver)
        post = await driver.presign_post(path, PostPolicy())
        body, headers = form(post.fields, b"the picture")
        assert (await fetch("POST", post.url, body, headers)).status == 204
        assert await storage.read_bytes("s3:bucket/form.png") == b"the picture"


# Parts


async def test_parts_are_sent_to_signed_urls(moto: MotoServer, open_s3: Open) -> None:
    async with open_s3(moto) as driver:
        began = await fetch("POST", f"{moto.endpoint}/bucket/parts?uploads=")
        upload_id = began.body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
        etags: list[str] = []
        for number, data in enumerate((bytes(5 * MIB), b"end"), 1):
            url = await driver.presign_part("bucket/parts", upload_id, number)
            answer = await fetch("PUT", url, data)
            assert answer.status == 200
            etags.append(answer.headers["etag"])
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        done = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        url = f"{moto.endpoint}/bucket/parts?uploadId={upload_id}"
        assert (await fetch("POST", url, done)).status == 200
        assert (await driver.stat("bucket/parts", StatOptions())).size == 5 * MIB + 3


async def test_the_signature_of_a_part_covers_its_number(signer: S3Driver) -> None:
    url = await signer.presign_part("bucket/k", "upload", 7)
    assert "partNumber=7" in url
    assert (await fetch("PUT", url.replace("partNumber=7", "partNumber=8"), b"x")).status == 403


@pytest.mark.parametrize(("upload_id", "number"), [("u", 0), ("u", 10_001), ("", 1)])
async def test_a_part_that_can_not_be_is_refused(
    signer: S3Driver, upload_id: str, number: int
) -> None:
    with pytest.raises(ValueError, match=r"1 to 10,000|upload_id"):
        await signer.presign_part("bucket/k", upload_id, number)


# Forms


def form(fields: Mapping[str, str], data: bytes) -> tuple[bytes, Mapping[str, str]]:
    boundary = "polystow-form"
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = "".join(lines) + (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="photo.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def policy_of(fields: Mapping[str, str]) -> Any:
    return json.loads(base64.b64decode(fields["policy"]))


def signature_is_right(fields: Mapping[str, str], secret: str) -> bool:
    """API reference, "Authenticating Requests in Browser-Based Uploads Using POST"."""
    key = f"AWS4{secret}".encode()
    for piece in fields["x-amz-credential"].split("/")[1:]:
        key = hmac.digest(key, piece.encode(), "sha256")
    expected = hmac.digest(key, fields["policy"].encode(), "sha256").hex()
    return hmac.compare_digest(expected, fields["x-amz-signature"])


async def test_a_form_uploads_a_file(moto: MotoServer, open_s3: Open) -> None:
    policy = PostPolicy(
        expires=timedelta(minutes=5),
        content_type="image/png",
        min_bytes=1,
        max_bytes=MIB,
        metadata={"Author": "ä"},
        fields={"success_action_status": "201"},
    )
    async with open_s3(moto) as driver:
        post = await driver.presign_post("bucket/form/ü +", policy)
        body, headers = form(post.fields, b"the picture")
        answer = await fetch("POST", post.url, body, headers)
        assert answer.status in {200, 201, 204}
        info = await driver.stat("bucket/form/ü +", StatOptions())
    assert (info.size, info.content_type) == (11, "image/png")
    assert info.metadata == {"author": "ä"}


async def test_the_policy_of_a_form_says_all_that_is_asked(
    disk: DiskS3Server, open_s3: Open
) -> None:
    policy = PostPolicy(
        content_type="image/", max_bytes=10, metadata={"a": "b"}, fields={"acl": "public-read"}
    )
    async with open_s3(disk) as driver:
        post = await driver.presign_post("bucket/in/${filename}", policy)
    assert post.url == f"{disk.endpoint}/bucket"
    assert post.fields["key"] == "in/${filename}"
    assert signature_is_right(post.fields, "secret")
    made = policy_of(post.fields)
    left = datetime.fromisoformat(made["expiration"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(minutes=60)
    conditions = made["conditions"]
    for wanted in (
        {"bucket": "bucket"}, ["starts-with", "$key", "in/"], {"acl": "public-read"},
        ["starts-with", "$Content-Type", "image/"], ["content-length-range", 0, 10],
        {"x-amz-meta-a": "b"},
    ):  # fmt: skip
        assert wanted in conditions
    covered = {name for each in conditions if isinstance(each, dict) for name in each}
    covered |= {"key"}  # by "starts-with"
    assert set(post.fields) - {"policy", "x-amz-signature"} <= covered


@pytest.mark.parametrize("name", ["key", "Policy", "x-amz-meta-a", "x-amz-signature", "file"])
async def test_fields_that_the_driver_makes_are_refused(signer: S3Driver, name: str) -> None:
    with pytest.raises(ValueError, match="leave it out"):
        await signer.presign_post("bucket/k", PostPolicy(fields={name: "x"}))


def test_a_form_for_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="no file has 5 to 4 bytes"):
        PostPolicy(min_bytes=5, max_bytes=4)


async def test_a_file_name_stands_at_the_end_of_a_key(signer: S3Driver) -> None:
    with pytest.raises(InvalidPathError, match="at the end"):
        await signer.presign_post("bucket/${filename}/x", PostPolicy())


# Plain URLs


@pytest.mark.parametrize("key", KEYS)
async def test_the_plain_url_of_a_public_object_works_for_everybody(
    moto: MotoServer, open_s3: Open, key: str
) -> None:
    async with open_s3(moto) as driver:
        await driver.write(f"bucket/{key}", BytesBody(key.encode()), WriteOptions())
        url = await driver.object_url(f"bucket/{key}")
    assert "?" not in url
    assert (await fetch("GET", url)).status == 403
    assert (await fetch("PUT", f"{url}?acl", b"", OWNER)).status == 200
    assert (await fetch("GET", url)).body == key.encode()


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://my-bucket.s3.eu-west-1.amazonaws.com/a%20b"),
        ({"addressing_style": "path"}, "https://s3.eu-west-1.amazonaws.com/my-bucket/a%20b"),
        ({"dual_stack": True}, "https://my-bucket.s3.dualstack.eu-west-1.amazonaws.com/a%20b"),
        ({"accelerate": True}, "https://my-bucket.s3-accelerate.amazonaws.com/a%20b"),
        ({"accelerate": True, "dual_stack": True},
         "https://my-bucket.s3-accelerate.dualstack.amazonaws.com/a%20b"),
        ({"endpoint": "https://s3.example:9000"}, "https://s3.example:9000/my-bucket/a%20b"),
        ({"endpoint": "https://s3.example", "addressing_style": "virtual"},
         "https://my-bucket.s3.example/a%20b"),
        ({"endpoint": "https://files.example", "addressing_style": "host",
          "default_bucket": "my-bucket"}, "https://files.example/a%20b"),
        ({"endpoint": "http://10.0.0.1", "public_url": "https://cdn.example/s3/"},
         "https://cdn.example/s3/my-bucket/a%20b"),
        ({"endpoint": "http://10.0.0.1", "public_url": "https://cdn.example",
          "addressing_style": "host", "default_bucket": "my-bucket"}, "https://cdn.example/a%20b"),
        ({"endpoint": "http://s3.internal", "public_url": "https://s3.example",
          "addressing_style": "virtual"}, "https://my-bucket.s3.example/a%20b"),
        ({"public_url": "https://cdn.example", "addressing_style": "path"},
         "https://cdn.example/my-bucket/a%20b"),
    ],
)  # fmt: skip
async def test_the_bucket_stands_where_the_configuration_says(
    disk: DiskS3Server, open_s3: Open, options: Mapping[str, Any], url: str
) -> None:
    settings = {"endpoint": None, "region": "eu-west-1", **options}
    async with open_s3(disk, **settings) as driver:
        assert await driver.object_url("my-bucket/a b") == url
        signed = await driver.presign("my-bucket/a b", PresignOptions())
        assert signed.partition("?")[0] == url
        post = await driver.presign_post("my-bucket/a b", PostPolicy())
        assert post.url.rstrip("/") == url.removesuffix("/a%20b")


# The public host


@pytest.mark.parametrize("prefix", ["", "/s3", "/a/b"])
async def test_a_url_is_signed_for_the_public_host(
    rclone: RcloneServer, open_on: Open, prefix: str
) -> None:
    with reverse_proxy(rclone.endpoint, prefix) as proxy:
        public_url = f"http://files.example:8443{prefix}"
        async with open_on(rclone, public_url=public_url) as driver:
            await driver.write("bucket/ü +", BytesBody(b"public"), WriteOptions())
            url = await driver.presign("bucket/ü +", PresignOptions())
            assert url.startswith(f"{public_url}/bucket/")
            assert (await fetch("GET", url, connect_to=proxy.netloc)).body == b"public"
            put = await driver.presign("bucket/new", PresignOptions("PUT"))
            assert (await fetch("PUT", put, b"x", connect_to=proxy.netloc)).status == 200
            assert (await driver.stat("bucket/new", StatOptions())).size == 1
        assert {seen.headers["host"] for seen in proxy.seen} == {"files.example:8443"}
        # For another host the signature is wrong.
        other = url.replace("files.example:8443", "other.example")
        assert (await fetch("GET", other, connect_to=proxy.netloc)).status == 403


async def test_requests_of_the_driver_go_to_the_endpoint(
    rclone: RcloneServer, open_on: Open
) -> None:
    async with open_on(rclone, public_url="https://nowhere.example") as driver:
        await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())
        assert (await driver.stat("bucket/k", StatOptions())).size == 1


segment = st.text(alphabet="abcXYZ019-_.~%", min_size=1)
path = st.lists(segment, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(path=path, prefix=st.one_of(st.just(""), path), query=st.sampled_from(["", "?a=b%2Fc&d="]))
@settings(max_examples=50)
def test_a_proxy_that_removes_the_prefix_sees_what_was_signed(
    path: str, prefix: str, query: str
) -> None:
    public = f"https://files.example{prefix}"
    signed = at_public_host(f"http://s3.internal:9000{path}{query}", public, "bucket")
    assert signed == f"https://files.example{path}{query}"
    assert with_public_prefix(signed, public) == f"https://files.example{prefix}{path}{query}"


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("https://h/b/k?x", "https://h/k?x"),
        ("https://h/b?x", "https://h/?x"),
        ("https://h/b//k", "https://h//k"),
        ("https://h/bb/k", "https://h/bb/k"),
        ("https://h/b/b/k", "https://h/b/k"),
    ],
)
def test_a_bucket_is_taken_out_of_the_path(url: str, without: str) -> None:
    assert without_bucket(url, "b") == without


# The clock and the region


async def test_urls_are_signed_with_the_services_time(open_s3: Open) -> None:
    ahead = timedelta(hours=2)

    def answer(seen: Seen) -> Reply:
        now = (datetime.now(UTC) + ahead).strftime("%a, %d %b %Y %H:%M:%S GMT")
        signed = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        late = datetime.now(UTC) + ahead - signed
        if late > timedelta(minutes=15):
            return Reply(403, b"", {"Date": now})
        return Reply(200, b"", {"Date": now, "ETag": '"e"'})

    with RawServer(answer) as server:
        async with open_s3(server) as driver:
            await driver.stat("bucket/k", StatOptions())
            url = await driver.presign("bucket/k", PresignOptions())
            post = await driver.presign_post("bucket/k", PostPolicy())
    date = parse_qs(urlsplit(url).query)["X-Amz-Date"][0]
    signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert timedelta(minutes=119) < signed - datetime.now(UTC) < timedelta(minutes=121)
    until = datetime.fromisoformat(policy_of(post.fields)["expiration"])
    assert timedelta(minutes=178) < until - datetime.now(UTC) < timedelta(minutes=182)
    assert [seen.method for seen in server.seen] == ["HEAD", "HEAD"]


async def test_urls_are_signed_for_the_region_that_was_learned(open_s3: Open) -> None:
    def answer(seen: Seen) -> Reply:
        if "/eu-west-1/s3/" in seen.headers["authorization"]:
            return Reply(200, b"", {"ETag": '"e"'})
        return Reply(301, b"", {"x-amz-bucket-region": "eu-west-1"})

    with RawServer(answer) as server:
        async with open_s3(server) as driver:
            await driver.stat("bucket/k", StatOptions())
            assert "eu-west-1" in await driver.presign("bucket/k", PresignOptions())
            assert "us-east-1" in await driver.presign("other/k", PresignOptions())
            before = len(server.seen)
            await driver.stat("bucket/k", StatOptions())
    assert len(server.seen) == before + 1  # the second time it is known
