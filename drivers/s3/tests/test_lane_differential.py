"""Both lanes, the same calls, the same answers: on all the test servers, and on invented ones."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_raw import RawServer, Reply, Seen

from polystow import DriverContext, RequestPolicy, Secret, StorageError
from polystow_s3 import S3Config
from polystow_s3._client import Call, Client
from polystow_s3._errors import Subject
from polystow_s3._lane._operations import OPERATIONS
from polystow_testing.s3 import DiskS3Server, MotoServer, RcloneServer

UNLIKE = {"RetryAttempts", "MaxAttemptsReached", "RequestId", "HostId"}
VARYING = {"date", "x-amz-request-id", "x-amz-id-2", "x-amzn-requestid", "connection",
           "keep-alive", "transfer-encoding"}  # fmt: skip

MODEL: Any = botocore.session.get_session().get_service_model("s3")
OPERATION_NAMES = {xform_name(name): name for name in MODEL.operation_names}
WRITES = {"put_object", "upload_part", "delete_object"}


class Lanes:
    """Two clients with one configuration, but for the lane."""

    def __init__(self, endpoint: str, **options: Any) -> None:
        settings: dict[str, Any] = {
            "endpoint": endpoint,
            "region": "us-east-1",
            "access_key_id": "key",
            "secret_access_key": Secret("secret"),
        }
        settings |= options
        context = DriverContext(RequestPolicy.once())
        self.fast = Client(S3Config(**settings, lane="fast"), context)
        self.sdk = Client(S3Config(**settings, lane="sdk"), context)

    async def aclose(self) -> None:
        await self.fast.aclose()
        await self.sdk.aclose()

    async def same(self, method: str, **params: object) -> object:
        """Make a call on both, and compare what comes of it."""
        fast = await outcome(self.fast, method, params)
        assert self.fast._lane.draft(method, params) is not None, "the lane leaves it out"
        sdk = await outcome(self.sdk, method, params)
        assert fast == sdk
        return fast


@asynccontextmanager
async def lanes(endpoint: str, **options: Any) -> AsyncGenerator[Lanes]:
    both = Lanes(endpoint, **options)
    try:
        yield both
    finally:
        await both.aclose()


async def outcome(client: Client, method: str, params: Mapping[str, object]) -> object:
    """The answer, without what no two answers share; or the error, as the driver raises it."""
    subject = Subject("open_read", "bucket/k", bucket="bucket")
    try:
        answer = await client.call(Call(method, params, subject))
    except StorageError as error:
        return (type(error), error.message, error.retryable, error.outcome, error.retry_after_s)
    found: dict[str, Any] = dict(answer)
    body = found.pop("Body", None)
    if body is not None:
        pieces: list[bytes] = []
        while piece := await body.read(100_000):
            pieces.append(piece)
        found["Body"] = b"".join(pieces)
    metadata = {k: v for k, v in found["ResponseMetadata"].items() if k not in UNLIKE}
    varying = VARYING | ({"last-modified"} if method in WRITES else set())
    metadata["HTTPHeaders"] = {
        name: value for name, value in metadata["HTTPHeaders"].items() if name not in varying
    }
    found["ResponseMetadata"] = metadata
    # Older models know fewer fields.
    known = {*MODEL.operation_model(OPERATION_NAMES[method]).output_shape.members}
    known |= {"ResponseMetadata", "Body", "ExpiresString"}
    return {name: value for name, value in found.items() if name in known}


# Real servers


@pytest.fixture(scope="module", params=["moto", "rclone", "disk"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Endpoint, bucket, and options of the configuration."""
    server: Any
    options: dict[str, Any]
    if request.param == "moto":
        server, options = MotoServer(buckets=("bucket",)), {}
    elif request.param == "disk":
        server, options = DiskS3Server(buckets=("bucket",)), {}
    else:
        server = RcloneServer(buckets=("bucket",))
        options = {
            "access_key_id": server.credentials.access_key_id,
            "secret_access_key": Secret(server.credentials.secret_access_key),
        }
    with server:
        yield server.endpoint, request.param, options


def without(found: object, *names: str) -> object:
    if not isinstance(found, dict):
        return found
    return {name: value for name, value in found.items() if name not in names}


async def test_every_hot_operation_gives_the_same(
    place: tuple[str, str, dict[str, Any]],
) -> None:
    endpoint, name, options = place
    async with lanes(endpoint, **options) as both:
        for key in ("k", "a b/ü+%&=?#'.txt", "x/y/z"):
            to = {"Bucket": "bucket", "Key": key}
            written = await both.same(
                "put_object", **to, Body=b"content", ContentLength=7,
                ContentType="text/plain", Metadata={"a": "b", "words": "two words"},
                CacheControl="no-cache",
            )  # fmt: skip
            assert isinstance(written, dict)
            etag = str(written["ETag"])
            read = await both.same("get_object", **to)
            assert isinstance(read, dict)
            assert read["Body"] == b"content"
            await both.same("get_object", **to, Range="bytes=2-4")
            await both.same("get_object", **to, Range="bytes=-3")
            await both.same("get_object", **to, Range="bytes=100-")
            await both.same("get_object", **to, IfMatch=etag)
            await both.same("get_object", **to, IfMatch='"other"')
            await both.same("get_object", **to, IfNoneMatch=etag)
            await both.same("head_object", **to)
            await both.same("head_object", **to, IfMatch='"other"')
        for prefix in ("", "x/", "a b/ü+", "none/"):
            page = await both.same("list_objects_v2", Bucket="bucket", Prefix=prefix)
            assert isinstance(page, dict)
        await both.same("list_objects_v2", Bucket="bucket", Delimiter="/", MaxKeys=1000)
        await both.same("list_objects_v2", Bucket="bucket", StartAfter="k")
        missing = {"Bucket": "bucket", "Key": "missing"}
        await both.same("get_object", **missing)
        await both.same("head_object", **missing)
        await both.same("delete_object", **missing)
        nowhere = {"Bucket": "no-such-bucket", "Key": "k"}
        await both.same("get_object", **nowhere)
        await both.same("head_object", **nowhere)
        await both.same("put_object", **nowhere, Body=b"x", ContentLength=1)
        if name != "disk":  # whose answer aiobotocore 2.26 takes for another error
            await both.same("list_objects_v2", Bucket="no-such-bucket")


async def test_parts_give_the_same(place: tuple[str, str, dict[str, Any]]) -> None:
    endpoint, _, options = place
    async with lanes(endpoint, **options) as both:
        to = {"Bucket": "bucket", "Key": "parts"}
        subject = Subject("write", "bucket/parts", bucket="bucket")
        arguments = {**to, "ContentType": "text/plain", "Metadata": {"a": "b"}}
        part = bytes(100_000)
        found: list[object] = []
        # Each lane begins what the other ends.
        for one, other in ((both.fast, both.sdk), (both.sdk, both.fast)):
            begun = await one.call(Call("create_multipart_upload", arguments, subject))
            upload = {**to, "UploadId": begun["UploadId"]}
            sent = await both.same(
                "upload_part", **upload, PartNumber=1, Body=part, ContentLength=len(part)
            )
            assert isinstance(sent, dict)
            parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
            ended = await outcome(
                other, "complete_multipart_upload", {**upload, "MultipartUpload": parts}
            )
            found.append(without(ended, "ResponseMetadata", "VersionId"))
            again = await one.call(Call("create_multipart_upload", arguments, subject))
            gone = {**to, "UploadId": again["UploadId"]}
            await other.call(Call("abort_multipart_upload", gone, subject))
        assert found[0] == found[1]
        read = await both.same("get_object", **to)
        assert isinstance(read, dict)
        assert read["Body"] == part


async def test_pages_are_the_same_from_the_first_to_the_last(
    place: tuple[str, str, dict[str, Any]],
) -> None:
    endpoint, _, options = place
    async with lanes(endpoint, **options) as both:
        for number in range(7):
            await both.same(
                "put_object", Bucket="bucket", Key=f"pages/{number} ü", Body=b"", ContentLength=0
            )
        token: dict[str, Any] = {}
        seen = 0
        while True:
            at = {"Bucket": "bucket", "Prefix": "pages/", "MaxKeys": 3, **token}
            # A token need not be the same twice: each lane reads on from the other's.
            fast = await outcome(both.fast, "list_objects_v2", at)
            sdk = await outcome(both.sdk, "list_objects_v2", at)
            assert isinstance(fast, dict)
            ours, theirs = (without(page, "NextContinuationToken", "ResponseMetadata")
                            for page in (fast, sdk))  # fmt: skip
            assert ours == theirs
            seen += len(fast["Contents"])
            if not fast["IsTruncated"]:
                break
            token = {"ContinuationToken": fast["NextContinuationToken"]}
        assert seen == 7


# Invented answers

tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
times = st.integers(100_000, 4_000_000_000).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
codes = st.sampled_from(
    ["NoSuchKey", "NoSuchBucket", "AccessDenied", "SlowDown", "InternalError", "EntityTooLarge",
     "PreconditionFailed", "InvalidRange", "ExpiredToken", "NotImplemented", "Whatever", ""]
)  # fmt: skip
xml_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="<>&"),
    max_size=30,
)


def error_body(code: str, message: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
        f"<Message>{message}</Message><Resource>/b/k</Resource></Error>"
    ).encode()


class Invented:
    """A server that gives the reply that it was told, and both lanes on it, on a loop of their own:
    opening aiobotocore's client takes longer than all that is asked here.
    """

    def __init__(self) -> None:
        self.reply = Reply()
        self.server = RawServer(lambda _: self.reply)

    @contextmanager
    def running(self) -> Generator["Invented"]:
        with self.server, asyncio.Runner() as self._runner:
            self._lanes = Lanes(self.server.endpoint)
            yield self
            self._runner.run(self._lanes.aclose())

    def compare(self, reply: Reply, method: str, **params: object) -> object:
        self.reply = reply
        key = {} if OPERATIONS[method].on_bucket else {"Key": "k"}
        arguments = {"Bucket": "bucket"} | key | params
        return self._runner.run(self._lanes.same(method, **arguments))


@pytest.fixture(scope="module")
def invented() -> Iterator[Invented]:
    with Invented().running() as running:
        yield running


fuzz = settings(
    max_examples=25, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


@fuzz
@given(
    st.sampled_from([400, 401, 403, 404, 405, 409, 411, 412, 413, 416, 429, 500, 501, 502, 503]),
    codes,
    xml_texts,
    st.sampled_from(["xml", "empty", "html", "text", "cut", "other"]),
    st.sampled_from(["get_object", "head_object", "put_object", "delete_object"]),
    st.none() | st.integers(0, 100),
)
def test_errors_are_the_same(
    invented: Invented, status: int, code: str, message: str, kind: str,
    method: str, retry_after: int | None,
) -> None:  # fmt: skip
    body = {
        "xml": error_body(code, message),
        "empty": b"",
        "html": b"<html><body>Service Unavailable</body></html>",
        "text": b"no idea",
        "cut": error_body(code, message)[:-9],
        "other": b"<Other><Code>x</Code></Other>",
    }[kind]
    if method == "head_object":
        body = b""
    headers = {"Content-Type": "application/xml"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    params: dict[str, object] = {}
    if method == "put_object":
        params = {"Body": b"x", "ContentLength": 1}
    found = invented.compare(Reply(status, body, headers), method, **params)
    assert isinstance(found, tuple)


@fuzz
@given(
    st.dictionaries(
        st.sampled_from(
            [header for header in OPERATIONS["get_object"].fields
             if header not in {"content-length", "content-range", "last-modified", "expires",
                               "x-amz-object-lock-retain-until-date", "x-amz-mp-parts-count",
                               "x-amz-tagging-count", "x-amz-missing-meta",
                               "content-encoding"}]
        ),
        tokens,
    ),
    st.dictionaries(st.from_regex(r"[a-z0-9-]{1,10}", fullmatch=True), tokens, max_size=4),
    times,
    st.sampled_from(["x-amz-mp-parts-count", "x-amz-tagging-count", "x-amz-missing-meta"]),
    st.integers(0, 10_000),
    st.sampled_from(["get_object", "head_object"]),
)  # fmt: skip
def test_headers_are_the_same(
    invented: Invented, said: dict[str, str], metadata: dict[str, str],
    modified: datetime, counted: str, number: int, method: str,
) -> None:  # fmt: skip
    headers = {
        **said,
        **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
        "Last-Modified": modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Expires": modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        counted: str(number),
    }
    body = b"" if method == "head_object" else b"content"
    found = invented.compare(Reply(200, body, headers), method)
    assert isinstance(found, dict)
    assert found["LastModified"] == modified
    assert found["Metadata"] == metadata


@fuzz
@given(
    st.lists(st.tuples(xml_texts.filter(bool), st.integers(0, 2**50), times, tokens), max_size=5),
    st.lists(
        st.tuples(
            st.sampled_from(["", "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>", "<!-- x -->"]),
            st.sampled_from(["", "<Owner><ID>i</ID><DisplayName>n</DisplayName></Owner>", "\n"]),
        ),
        max_size=2,
    ),
    st.lists(xml_texts.filter(bool), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_pages_are_the_same(
    invented: Invented,
    entries: list[tuple[str, int, datetime, str]], extras: list[tuple[str, str]],
    prefixes: list[str],
    encoded: bool, truncated: bool,
) -> None:  # fmt: skip
    from urllib.parse import quote
    from xml.sax.saxutils import escape

    def text(key: str) -> str:
        return quote(key) if encoded else escape(key)

    quote_sign = '"' if truncated else "&quot;"
    contents = "".join(
        f"<Contents><Key>{text(key)}</Key><LastModified>{when.isoformat()}</LastModified>"
        f"<ETag>{quote_sign}{escape(etag)}{quote_sign}</ETag>{more[0]}<Size>{size}</Size>{more[1]}"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for (key, size, when, etag), more in zip(entries, [*extras, *[("", "")] * 9], strict=False)
    )
    folded = "".join(
        f"<CommonPrefixes><Prefix>{text(prefix)}</Prefix></CommonPrefixes>" for prefix in prefixes
    )
    page = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>bucket</Name><Prefix/><Delimiter>/</Delimiter><KeyCount>{len(entries)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>{str(truncated).lower()}</IsTruncated>"
        f"{'<EncodingType>url</EncodingType>' if encoded else ''}"
        f"<NextContinuationToken>t</NextContinuationToken>{contents}{folded}</ListBucketResult>"
    )
    headers = {"Content-Type": "application/xml"}
    found = invented.compare(Reply(200, page.encode(), headers), "list_objects_v2")
    assert isinstance(found, dict)
    assert len(found.get("Contents", ())) == len(entries)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (200, b"<Error><Code>SlowDown</Code></Error>"), (200, b"<ListBucketRes"),
     (200, b""), (200, b"<Other/>")],
    ids=["html", "error", "cut", "empty", "other"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["list_objects_v2", "put_object", "delete_object"])
def test_what_is_wrong_inside_of_a_200_is_the_same(
    invented: Invented, status: int, body: bytes, method: str
) -> None:
    params: dict[str, object] = {}
    if method == "put_object":
        params = {"Body": b"x", "ContentLength": 1}
    invented.compare(Reply(status, body, {}), method, **params)


# Requests

keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20)


@fuzz
@given(
    keys,
    st.dictionaries(
        st.sampled_from(["Range", "IfMatch", "IfNoneMatch", "VersionId", "ResponseContentType",
                         "ResponseContentDisposition", "RequestPayer"]),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20),
        max_size=4,
    ),
    st.none() | times,
    st.sampled_from(["get_object", "head_object"]),
    st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=9),
)  # fmt: skip
def test_requests_ask_for_the_same(
    invented: Invented, key: str, params: dict[str, object],
    since: datetime | None, method: str, prefix: str | None,
) -> None:  # fmt: skip
    server = invented.server
    if since is not None:
        params["IfModifiedSince"] = since
    del server.seen[:]
    if prefix is None:
        invented.compare(Reply(404, b"", {}), method, Key=key, **params)
    else:
        invented.compare(Reply(404, b"", {}), "list_objects_v2", Prefix=prefix, MaxKeys=7)
    ours, theirs = server.seen
    assert (ours.method, sorted_query(ours.target)) == (theirs.method, sorted_query(theirs.target))
    assert asked(ours) == asked(theirs)


def sorted_query(target: str) -> str:
    path, _, query = target.partition("?")
    return f"{path}?{'&'.join(sorted(query.split('&')))}"


_OWN = {"user-agent", "authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request",
        "x-amz-content-sha256", "accept", "accept-encoding", "connection",
        "content-length"}  # fmt: skip


def asked(seen: Seen) -> dict[str, str]:
    return {name.lower(): value for name, value in seen.headers.items()
            if name.lower() not in _OWN}  # fmt: skip
