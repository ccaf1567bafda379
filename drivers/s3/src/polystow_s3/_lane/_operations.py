"""The operations of the fast lane, as tables: which parameter is which header, and back.

The names are those of botocore's model of S3 (API reference, each operation's request and
response syntax). A call with a parameter that is not here goes through aiobotocore.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from attrs import frozen

from polystow import Value
from polystow_s3._times import read_time

type AnswerKind = Literal["stream", "head", "page", "document"]
type Convert = Callable[[str], object]


@frozen(eq=False, repr=False)
class Operation(Value):
    """One operation.

    Attributes:
        method: Of HTTP.
        headers: Parameter to header, in lower case.
        query: Parameter to name in the query.
        fixed_query: Pairs that are always there, encoded.
        answer: What its answer is: a body to read, headers alone, a page of a listing, or a
            document of a few fields.
        fields: Header of the answer, in lower case, to field and how to read it.
        has_metadata: Whether the answer carries the user's metadata.
        on_bucket: Whether it is about a bucket and no object.
        document: The fields of that document.
    """

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    answer: AnswerKind
    fields: Mapping[str, tuple[str, Convert | None]]
    fixed_query: tuple[str, ...] = ()
    has_metadata: bool = False
    on_bucket: bool = False
    document: frozenset[str] = frozenset()


def _is_true(text: str) -> bool:
    return text == "true"


_TEXT = None
_CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64",
              "XXHASH3", "XXHASH128")  # fmt: skip
_CHECKSUM_HEADERS = {f"Checksum{name}": f"x-amz-checksum-{name.lower()}" for name in _CHECKSUMS}
_CUSTOMER_KEY = {
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
    "SSECustomerKeyMD5": "x-amz-server-side-encryption-customer-key-md5",
}
_COMMON = {
    "RequestPayer": "x-amz-request-payer",
    "ExpectedBucketOwner": "x-amz-expected-bucket-owner",
}
_CONTENT = {
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
    "ContentType": "content-type",
    "Expires": "expires",
}
_READ_HEADERS = {
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "IfModifiedSince": "if-modified-since",
    "IfUnmodifiedSince": "if-unmodified-since",
    "Range": "range",
    "ChecksumMode": "x-amz-checksum-mode",
    **_COMMON,
}
_READ_QUERY = {
    "VersionId": "versionId",
    "PartNumber": "partNumber",
    "ResponseCacheControl": "response-cache-control",
    "ResponseContentDisposition": "response-content-disposition",
    "ResponseContentEncoding": "response-content-encoding",
    "ResponseContentLanguage": "response-content-language",
    "ResponseContentType": "response-content-type",
    "ResponseExpires": "response-expires",
}
_UPLOAD_HEADERS = {
    "ContentMD5": "content-md5",
    **_CHECKSUM_HEADERS,
    **_COMMON,
}
_WRITE_HEADERS = {
    **_UPLOAD_HEADERS,
    **_CONTENT,
    "ACL": "x-amz-acl",
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
}


def _fields(
    *tables: Mapping[str, str], **converts: Convert | None
) -> dict[str, tuple[str, Convert | None]]:
    return {
        header: (field, converts.get(field, _TEXT))
        for table in tables
        for field, header in table.items()
    }


_ENCRYPTED = {
    **_CUSTOMER_KEY,
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
}
_SAID = {
    **_CHECKSUM_HEADERS,
    **_ENCRYPTED,
    "ChecksumType": "x-amz-checksum-type",
    "ETag": "etag",
    "Expiration": "x-amz-expiration",
    "RequestCharged": "x-amz-request-charged",
    "VersionId": "x-amz-version-id",
}
_OBJECT = {
    **_SAID,
    **_CONTENT,
    "AcceptRanges": "accept-ranges",
    "ContentLength": "content-length",
    "ContentRange": "content-range",
    "DeleteMarker": "x-amz-delete-marker",
    "LastModified": "last-modified",
    "MissingMeta": "x-amz-missing-meta",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
    "PartsCount": "x-amz-mp-parts-count",
    "ReplicationStatus": "x-amz-replication-status",
    "Restore": "x-amz-restore",
    "StorageClass": "x-amz-storage-class",
    "TagCount": "x-amz-tagging-count",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
}
_CONVERTS: Mapping[str, Convert | None] = {
    "BucketKeyEnabled": _is_true,
    "ContentLength": int,
    "DeleteMarker": _is_true,
    "MissingMeta": int,
    "PartsCount": int,
    "TagCount": int,
    "Size": int,
    "LastModified": read_time,
    "ObjectLockRetainUntilDate": read_time,
    "Expires": read_time,
    "AbortDate": read_time,
}
_GET_FIELDS = _fields(_OBJECT, **_CONVERTS)
_WRITTEN = _fields(_SAID, {"Size": "x-amz-object-size"}, **_CONVERTS)
_PART = {name: header for name, header in _SAID.items()
         if name not in {"ChecksumType", "Expiration", "VersionId"}}  # fmt: skip

_CREATED = {name: header for name, header in _ENCRYPTED.items() if name != "ETag"} | {
    "AbortRuleId": "x-amz-abort-rule-id",
    "AbortDate": "x-amz-abort-date",
    "ChecksumAlgorithm": "x-amz-checksum-algorithm",
    "ChecksumType": "x-amz-checksum-type",
    "RequestCharged": "x-amz-request-charged",
}
_COMPLETED = {
    "BucketKeyEnabled": _ENCRYPTED["BucketKeyEnabled"],
    "Expiration": "x-amz-expiration",
    "RequestCharged": "x-amz-request-charged",
    "SSEKMSKeyId": _ENCRYPTED["SSEKMSKeyId"],
    "ServerSideEncryption": _ENCRYPTED["ServerSideEncryption"],
    "VersionId": "x-amz-version-id",
}

OPERATIONS: Mapping[str, Operation] = {
    "get_object": Operation(
        "GET", _READ_HEADERS, _READ_QUERY, "stream", _GET_FIELDS, has_metadata=True
    ),
    "head_object": Operation(
        "HEAD", _READ_HEADERS, _READ_QUERY, "head",
        {**_GET_FIELDS, "x-amz-archive-status": ("ArchiveStatus", _TEXT)}, has_metadata=True,
    ),
    "put_object": Operation("PUT", _WRITE_HEADERS, {}, "head", _WRITTEN),
    "upload_part": Operation(
        "PUT", _UPLOAD_HEADERS, {"PartNumber": "partNumber", "UploadId": "uploadId"}, "head",
        _fields(_PART, **_CONVERTS),
    ),
    "delete_object": Operation(
        "DELETE", {**_COMMON, "IfMatch": "if-match"}, {"VersionId": "versionId"}, "head",
        _fields(
            {"DeleteMarker": "x-amz-delete-marker", "VersionId": "x-amz-version-id",
             "RequestCharged": "x-amz-request-charged"},
            **_CONVERTS,
        ),
    ),
    "create_multipart_upload": Operation(
        "POST",
        {**{name: header for name, header in _WRITE_HEADERS.items()
            if name not in {*_UPLOAD_HEADERS, "IfMatch", "IfNoneMatch"}},
         **_COMMON, "ChecksumAlgorithm": "x-amz-checksum-algorithm",
         "ChecksumType": "x-amz-checksum-type"},
        {}, "document", _fields(_CREATED, **_CONVERTS), fixed_query=("uploads=",),
        document=frozenset({"Bucket", "Key", "UploadId"}),
    ),
    "complete_multipart_upload": Operation(
        "POST",
        {**_CHECKSUM_HEADERS, **_COMMON, "ChecksumType": "x-amz-checksum-type",
         "IfMatch": "if-match", "IfNoneMatch": "if-none-match"},
        {"UploadId": "uploadId"}, "document", _fields(_COMPLETED, **_CONVERTS),
        document=frozenset({"Location", "Bucket", "Key", "ETag", "ChecksumType",
                            *_CHECKSUM_HEADERS}),
    ),
    "abort_multipart_upload": Operation(
        "DELETE", _COMMON, {"UploadId": "uploadId"}, "head",
        _fields({"RequestCharged": "x-amz-request-charged"}),
    ),
    "list_objects_v2": Operation(
        "GET", _COMMON,
        {"Delimiter": "delimiter", "MaxKeys": "max-keys", "Prefix": "prefix",
         "ContinuationToken": "continuation-token", "StartAfter": "start-after"},
        "page", _fields({"RequestCharged": "x-amz-request-charged"}),
        fixed_query=("encoding-type=url", "list-type=2"), on_bucket=True,
    ),
}  # fmt: skip
"""By the method of botocore's client."""
