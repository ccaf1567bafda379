"""Which S3 operation an HTTP request is, and the answers that it can have."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

import attrs

from polystow_testing.s3._xml import Tree, document

_MESSAGES = {
    "AccessDenied": (403, "Access Denied"),
    "BadDigest": (400, "The digest did not match what was received."),
    "BucketAlreadyOwnedByYou": (409, "The bucket exists already."),
    "BucketNotEmpty": (409, "The bucket is not empty."),
    "EntityTooSmall": (400, "A part but the last is smaller than 5 MiB."),
    "IncompleteBody": (400, "The body is shorter or longer than it says."),
    "InvalidAccessKeyId": (403, "The access key does not exist."),
    "InvalidArgument": (400, "An argument is wrong."),
    "InvalidPart": (400, "A part was not found or has another entity tag."),
    "InvalidPartOrder": (400, "The parts are not in ascending order."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "The source is too large to be copied in one request."),
    "MalformedXML": (400, "The XML is not well-formed."),
    "MetadataTooLarge": (400, "The metadata is over 2 KB."),
    "MissingContentLength": (411, "Content-Length is missing."),
    "NoSuchBucket": (404, "The bucket does not exist."),
    "NoSuchKey": (404, "The key does not exist."),
    "NoSuchUpload": (404, "The upload does not exist."),
    "NotImplemented": (501, "This server does not do that."),
    "PreconditionFailed": (412, "A precondition did not hold."),
    "SignatureDoesNotMatch": (403, "The signature is not that which was calculated."),
    "UnsupportedHeader": (400, "Unsupported header x-amz-checksum received for this API call."),
    "XAmzContentSHA256Mismatch": (400, "x-amz-content-sha256 is not the body's SHA-256."),
}


class S3Error(Exception):
    """An answer with an error code.

    Args:
        code: As in the API reference, "Error responses".
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def answer(self) -> "Answer":
        """What to send."""
        status, message = _MESSAGES[self.code]
        return error_answer(status, self.code, message)


@attrs.frozen
class Answer:
    """An answer whose body is in memory.

    Attributes:
        status: The HTTP status.
        body: The whole body.
        headers: Names and values.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


def xml_answer(root: str, tree: Tree, headers: Mapping[str, str] | None = None) -> Answer:
    """200 with a document."""
    return Answer(200, document(root, tree), {"Content-Type": "application/xml", **(headers or {})})


def error_answer(
    status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """An error; without a code it has no body."""
    body = document("Error", {"Code": code, "Message": message}) if code else b""
    return Answer(status, body, {"Content-Type": "application/xml", **(headers or {})})


@attrs.frozen
class S3Request:
    """What a request asks for.

    Attributes:
        operation: As in the API reference, `"GetObject"`; `"Unknown"` for what is not done here.
        bucket: Decoded; empty for none.
        key: Decoded; empty for none.
        query: Decoded.
    """

    operation: str
    bucket: str
    key: str
    query: Mapping[str, str]


_OBJECT = {
    "GET": ((("uploadId",), "ListParts"), ((), "GetObject")),
    "HEAD": (((), "HeadObject"),),
    "PUT": ((("partNumber", "uploadId"), "UploadPart"), ((), "PutObject")),
    "POST": ((("uploads",), "CreateMultipartUpload"), (("uploadId",), "CompleteMultipartUpload")),
    "DELETE": ((("uploadId",), "AbortMultipartUpload"), ((), "DeleteObject")),
}
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
_BUCKET = {
    "GET": ((("uploads",), "ListMultipartUploads"), ((), "ListObjectsV2")),
    "HEAD": (((), "HeadBucket"),),
    "PUT": (((), "CreateBucket"),),
    "POST": ((("delete",), "DeleteObjects"),),
    "DELETE": (((), "DeleteBucket"),),
}


def parse_request(method: str, raw_path: str, headers: Mapping[str, str]) -> S3Request:
    """Find out what a request asks for; the path is taken byte by byte, never normalised."""
    path, _, raw_query = raw_path.partition("?")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    bucket, _, key = path[1:].partition("/")
    bucket, key = unquote(bucket), unquote(key, errors="strict")
    if not bucket:
        operation = "ListBuckets" if method == "GET" else "Unknown"
    else:
        table = _OBJECT if key else _BUCKET
        operation = next(
            (name for needed, name in table.get(method, ()) if all(n in query for n in needed)),
            "Unknown",
        )
    if "x-amz-copy-source" in headers:
        operation = _COPIES.get(operation, operation)
    return S3Request(operation, bucket, key, query)
