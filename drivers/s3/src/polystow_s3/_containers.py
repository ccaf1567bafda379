"""Buckets: making, listing, emptying, deleting (User Guide, "Buckets overview")."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from polystow import (
    AlreadyExistsError,
    ContainerInfo,
    ContainerPage,
    Counter,
    CreateContainerOptions,
    DeleteContainerOptions,
    InvalidPathError,
    NotFoundError,
    UnsupportedOperationError,
    UploadNotFoundError,
    parse_container,
)
from polystow_s3._answers import headers_of
from polystow_s3._client import Call, Client
from polystow_s3._delete import delete_versions
from polystow_s3._errors import Subject
from polystow_s3._names import check_bucket

_PAGE = 1000
_HOME_REGION = "us-east-1"
"""The one region that is no location constraint (API reference, CreateBucket)."""


def bucket_of(path: str) -> str:
    """The bucket of `bucket` or `bucket/`.

    Raises:
        InvalidPathError: It names an object, or can't be a bucket.
    """
    bucket = parse_container(path)
    check_bucket(bucket, path)
    return bucket


async def create(client: Client, path: str, options: CreateContainerOptions) -> ContainerInfo:
    """Make a bucket.

    In us-east-1 S3 makes one's own bucket again without a word, so that one is asked for first.

    Raises:
        AlreadyExistsError: It is there and `exist_ok` is False, or it is another account's.
    """
    bucket = bucket_of(path)
    if not options.exist_ok:
        try:
            await stat(client, path, "create_container")
        except NotFoundError:
            pass
        else:
            raise AlreadyExistsError("the bucket is there already", path=path)
    region = options.region or await client.region()
    params: dict[str, object] = {"Bucket": bucket}
    if region != _HOME_REGION:
        params["CreateBucketConfiguration"] = {"LocationConstraint": region}
    if options.object_lock:
        params["ObjectLockEnabledForBucket"] = True
    subject = Subject(
        "create_container", path, bucket=bucket, idempotent=options.exist_ok, changes=True
    )
    try:
        await client.call(Call("create_bucket", params, subject))
    except AlreadyExistsError:
        if not options.exist_ok:
            raise
        try:
            return await stat(client, path, "create_container")
        except NotFoundError:
            raise AlreadyExistsError("the bucket is another account's", path=path) from None
    return ContainerInfo(bucket, region=region)


async def list_page(client: Client, path: str, cursor: str | None) -> ContainerPage:
    """A page of the buckets; servers that know no pages give all at once."""
    if "/" in path:
        raise InvalidPathError("a listing of buckets takes what their names begin with", path=path)
    params: dict[str, object] = {"MaxBuckets": _PAGE}
    if path:
        params["Prefix"] = path
    if cursor is not None:
        params["ContinuationToken"] = cursor
    answer = await client.call(Call("list_buckets", params, Subject("list_containers", path)))
    # Older servers don't know Prefix.
    items = [
        ContainerInfo(entry["Name"], entry.get("CreationDate"), entry.get("BucketRegion"))
        for entry in answer.get("Buckets") or ()
        if entry["Name"].startswith(path)
    ]
    return ContainerPage(items, answer.get("ContinuationToken") or None)


async def stat(client: Client, path: str, operation: str = "stat_container") -> ContainerInfo:
    """Ask with HeadBucket, which tells the region.

    Raises:
        NotFoundError: There is none.
    """
    bucket = bucket_of(path)
    subject = Subject(operation, bucket, bucket=bucket)
    answer = await client.call(Call("head_bucket", {"Bucket": bucket}, subject))
    return ContainerInfo(bucket, region=headers_of(answer).get("x-amz-bucket-region"))


async def delete(client: Client, path: str, options: DeleteContainerOptions) -> None:
    """Delete a bucket, with all that is in it if that is wanted.

    Raises:
        NotFoundError: There is none, and `missing_ok` is False.
        ContainerNotEmptyError: It has contents, and `contents` is False; or somebody wrote
            meanwhile.
    """
    bucket = bucket_of(path)
    subject = Subject("delete_container", bucket, bucket=bucket, changes=True)
    try:
        if options.contents:
            await empty(client, bucket, subject, options.progress)
        await client.call(Call("delete_bucket", {"Bucket": bucket}, subject))
    except NotFoundError:
        if not options.missing_ok:
            raise


async def empty(client: Client, bucket: str, subject: Subject, progress: Counter | None) -> None:
    """Delete all versions of all objects, delete markers and uploads under way."""
    count = 0
    async for batch in _batches(client, bucket, subject):
        await delete_versions(client, bucket, batch, subject)
        count += len(batch)
        if progress is not None:
            progress(count)
    # Where there are no uploads in parts, none is in the way; rclone says so with NoSuchUpload.
    with suppress(UnsupportedOperationError, UploadNotFoundError):
        await _abort_uploads(client, bucket, subject)


async def _batches(
    client: Client, bucket: str, subject: Subject
) -> AsyncIterator[list[tuple[str, str | None]]]:
    """Keys with versions, a page at a time; keys alone where the service has no versions."""
    if "versions" not in client.config.without:
        try:
            async for answer in _pages(
                client, "list_object_versions", bucket, subject, _VERSION_MARKERS
            ):
                entries = [*(answer.get("Versions") or ()), *(answer.get("DeleteMarkers") or ())]
                if entries:
                    yield [(entry["Key"], entry.get("VersionId")) for entry in entries]
            return
        except UnsupportedOperationError:
            pass
    async for answer in _pages(client, "list_objects_v2", bucket, subject, _TOKENS):
        if contents := answer.get("Contents"):
            yield [(entry["Key"], None) for entry in contents]


_VERSION_MARKERS = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
_UPLOAD_MARKERS = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
_TOKENS = {"ContinuationToken": "NextContinuationToken"}


async def _pages(
    client: Client, method: str, bucket: str, subject: Subject, markers: Mapping[str, str]
) -> AsyncIterator[Mapping[str, Any]]:
    params: dict[str, object] = {"Bucket": bucket}
    while True:
        answer = await client.call(Call(method, params, subject))
        yield answer
        found = {name: answer[told] for name, told in markers.items() if answer.get(told)}
        if not answer.get("IsTruncated") or not found:
            return
        params = {"Bucket": bucket, **found}


async def _abort_uploads(client: Client, bucket: str, subject: Subject) -> None:
    async for answer in _pages(client, "list_multipart_uploads", bucket, subject, _UPLOAD_MARKERS):
        for entry in answer.get("Uploads") or ():
            params = {"Bucket": bucket, "Key": entry["Key"], "UploadId": entry["UploadId"]}
            try:
                await client.call(Call("abort_multipart_upload", params, subject))
            except UploadNotFoundError:
                continue
