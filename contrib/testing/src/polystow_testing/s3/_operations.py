"""What each operation does to the store, for those that need no streaming."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote, unquote

from polystow_testing.s3._requests import Answer, S3Error, S3Request, xml_answer
from polystow_testing.s3._store import (
    Content,
    Store,
    StoredObject,
    Upload,
)
from polystow_testing.s3._xml import Tree, children

_KEPT = ("content-type", "cache-control", "content-disposition", "content-language", "expires")
_MAX_METADATA_BYTES = 2048
MAX_COPY_BYTES = 5 * 1024**3
_METADATA = "x-amz-meta-"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are kept with an object.

    Raises:
        S3Error: MetadataTooLarge.
    """
    kept = {name: value for name, value in headers.items() if name.startswith(_METADATA)}
    size = sum(len(name) - len(_METADATA) + len(value) for name, value in kept.items())
    if size > _MAX_METADATA_BYTES:
        raise S3Error("MetadataTooLarge")
    kept |= {name: headers[name] for name in _KEPT if name in headers}
    encoding = headers.get("content-encoding", "").removeprefix("aws-chunked").lstrip(", ")
    if encoding:
        kept["content-encoding"] = encoding
    kept.setdefault("content-type", "binary/octet-stream")
    return kept


def object_headers(stored: StoredObject, request_headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that tell of an object."""
    headers = dict(stored.headers)
    headers["ETag"] = f'"{stored.etag}"'
    headers["Last-Modified"] = http_date(stored.modified)
    headers["Accept-Ranges"] = "bytes"
    if stored.checksum is not None and request_headers.get("x-amz-checksum-mode") == "ENABLED":
        headers |= stored.checksum.headers
    return headers


def http_date(when: datetime) -> str:
    """As in Last-Modified."""
    return when.strftime("%a, %d %b %Y %H:%M:%S GMT")


def find_bucket(store: Store, bucket: str) -> dict[str, StoredObject]:
    """A bucket's objects.

    Raises:
        S3Error: NoSuchBucket.
    """
    try:
        return store.buckets[bucket]
    except KeyError:
        raise S3Error("NoSuchBucket") from None


def find_object(store: Store, bucket: str, key: str) -> StoredObject:
    """An object.

    Raises:
        S3Error: NoSuchBucket or NoSuchKey.
    """
    try:
        return find_bucket(store, bucket)[key]
    except KeyError:
        raise S3Error("NoSuchKey") from None


def find_upload(store: Store, request: S3Request) -> Upload:
    """The upload that a request names.

    Raises:
        S3Error: NoSuchUpload.
    """
    upload = store.uploads.get(request.query.get("uploadId", ""))
    if upload is None or (upload.bucket, upload.key) != (request.bucket, request.key):
        raise S3Error("NoSuchUpload")
    return upload


def check_write(store: Store, request: S3Request, headers: Mapping[str, str]) -> None:
    """Check the conditions of a write.

    Raises:
        S3Error: PreconditionFailed or NoSuchKey.
    """
    present = find_bucket(store, request.bucket).get(request.key)
    if headers.get("if-none-match") == "*" and present is not None:
        raise S3Error("PreconditionFailed")
    wanted = headers.get("if-match")
    if wanted is not None:
        if present is None:
            raise S3Error("NoSuchKey")
        if wanted not in {"*", f'"{present.etag}"'}:
            raise S3Error("PreconditionFailed")


def check_read(stored: StoredObject, headers: Mapping[str, str]) -> None:
    """Check the conditions of a read.

    Raises:
        S3Error: PreconditionFailed.
    """
    wanted = headers.get("if-match")
    if wanted is not None and wanted not in {"*", f'"{stored.etag}"'}:
        raise S3Error("PreconditionFailed")


def resolve_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Offset and length that a Range asks for; None for the whole object.

    Raises:
        S3Error: InvalidRange.
    """
    match = None if header is None else _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if not length:
            raise S3Error("InvalidRange")
        return size - length, length
    first = int(match[1])
    last = min(int(match[2]) if match[2] else size - 1, size - 1)
    if first >= size or last < first:
        raise S3Error("InvalidRange")
    return first, last - first + 1


def list_buckets(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del request, body, headers
    entries: list[Tree] = [{"Name": name} for name in sorted(store.buckets)]
    return xml_answer("ListAllMyBucketsResult", {"Buckets": {"Bucket": entries}})


def create_bucket(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    if request.bucket in store.buckets:
        raise S3Error("BucketAlreadyOwnedByYou")
    store.buckets[request.bucket] = {}
    return Answer(200, headers={"Location": f"/{request.bucket}"})


def delete_bucket(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    if find_bucket(store, request.bucket):
        raise S3Error("BucketNotEmpty")
    del store.buckets[request.bucket]
    return Answer(204)


def head_bucket(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    find_bucket(store, request.bucket)
    return Answer(200)


def delete_object(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    find_bucket(store, request.bucket).pop(request.key, None)
    return Answer(204)


def delete_objects(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    if not any(name in headers for name in ("content-md5", "x-amz-checksum-crc32")):
        raise S3Error("InvalidArgument")
    objects = find_bucket(store, request.bucket)
    try:
        keys = [entry["Key"] for entry in children(body, "Object")]
    except (ValueError, KeyError):
        raise S3Error("MalformedXML") from None
    if len(keys) > 1000:
        raise S3Error("MalformedXML")
    for key in keys:
        objects.pop(key, None)
    deleted: list[Tree] = [{"Key": key} for key in keys]
    quiet = b"<Quiet>true</Quiet>" in body
    return xml_answer("DeleteResult", {} if quiet else {"Deleted": deleted})


def list_objects(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    query = request.query
    objects = find_bucket(store, request.bucket)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = unquote(query.get("continuation-token", "")) or query.get("start-after", "")
    limit = min(1000, int(query.get("max-keys", "1000")))
    encode: Callable[[str], str] = quote if query.get("encoding-type") == "url" else str
    contents: list[Tree] = []
    prefixes: list[Tree] = []
    last, truncated = "", False
    for key in sorted(objects, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        rest = key[len(prefix) :]
        folded = prefix + rest.partition(delimiter)[0] + delimiter if delimiter else ""
        is_prefix = bool(delimiter) and delimiter in rest
        if is_prefix and folded == last:
            continue
        if len(contents) + len(prefixes) >= limit:
            truncated = True
            break
        last = folded if is_prefix else key
        if is_prefix:
            prefixes.append({"Prefix": encode(folded)})
        else:
            contents.append(_listed(encode(key), objects[key]))
    # After a prefix the token has to sort after everything that the prefix stands for.
    token = f"{last}\U0010ffff" if delimiter and last.endswith(delimiter) else last
    return xml_answer(
        "ListBucketResult",
        {
            "Name": request.bucket,
            "Prefix": encode(prefix),
            "KeyCount": len(contents) + len(prefixes),
            "MaxKeys": limit,
            "EncodingType": query.get("encoding-type"),
            "IsTruncated": truncated,
            "NextContinuationToken": quote(token) if truncated else None,
            "Contents": contents,
            "CommonPrefixes": prefixes,
        },
    )


def _listed(key: str, stored: StoredObject) -> Tree:
    return {
        "Key": key,
        "LastModified": stored.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "ETag": f'"{stored.etag}"',
        "Size": stored.size,
        "StorageClass": "STANDARD",
    }


def copy_object(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body
    source = copy_source(store, headers)
    check_write(store, request, headers)
    if source.size > MAX_COPY_BYTES:
        raise S3Error("InvalidRequest")
    replace = headers.get("x-amz-metadata-directive") == "REPLACE"
    kept = kept_headers(headers) if replace else source.headers
    contents = tuple(Content(segment, source.etag) for segment in source.segments)
    copied = store.put(request.bucket, request.key, contents, kept, checksum=source.checksum)
    return xml_answer("CopyObjectResult", copy_result(copied.etag, copied.modified))


def copy_source(store: Store, headers: Mapping[str, str]) -> StoredObject:
    bucket, _, key = unquote(headers["x-amz-copy-source"]).lstrip("/").partition("/")
    source = find_object(store, bucket, key)
    wanted = headers.get("x-amz-copy-source-if-match")
    if wanted is not None and wanted != f'"{source.etag}"':
        raise S3Error("PreconditionFailed")
    return source


def copy_result(etag: str, modified: datetime) -> Tree:
    return {"ETag": f'"{etag}"', "LastModified": modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")}


type Handler = Callable[[Store, S3Request, bytes, Mapping[str, str]], Answer]

OPERATIONS: Mapping[str, Handler] = {
    "ListBuckets": list_buckets,
    "CreateBucket": create_bucket,
    "DeleteBucket": delete_bucket,
    "HeadBucket": head_bucket,
    "DeleteObject": delete_object,
    "DeleteObjects": delete_objects,
    "ListObjectsV2": list_objects,
    "CopyObject": copy_object,
}
"""Operation to function; GetObject, HeadObject, PutObject and UploadPart stream, elsewhere."""
