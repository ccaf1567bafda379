"""Deleting: one object, or a thousand in a request."""

import re
from collections.abc import Iterable, Iterator, Sequence

import anyio

from polystow import (
    BatchResult,
    DeleteOptions,
    Failure,
    NotFoundError,
    StorageError,
    UnsupportedOperationError,
)
from polystow_s3._client import Call, Client
from polystow_s3._errors import NO_OBJECT, Fault, Subject, error_of
from polystow_s3._names import split_path

MAX_KEYS = 1000
"""What one DeleteObjects takes (API reference, DeleteObjects)."""

_CONCURRENCY = 8
_NOT_XML = re.compile("[\x00-\x1f\ufffe\uffff]")


async def delete(client: Client, path: str, options: DeleteOptions) -> None:
    """Delete an object.

    S3's DeleteObject succeeds for what is not there, so `missing_ok=False` asks first; another
    client may come between.

    Raises:
        NotFoundError: There is none, and `missing_ok` is False.
    """
    bucket, key = split_path(path)
    params: dict[str, object] = {"Bucket": bucket, "Key": key}
    if options.version is not None:
        params["VersionId"] = options.version
    subject = Subject("delete", path, bucket=bucket, changes=True)
    if not options.missing_ok:
        await client.call(Call("head_object", params, Subject("delete", path, bucket=bucket)))
    try:
        await client.call(Call("delete_object", params, subject))
    except NotFoundError as error:
        # Some S3-compatible servers do tell. A missing bucket stays a mistake.
        if not options.missing_ok or error.message != NO_OBJECT:
            raise


async def delete_many(client: Client, paths: Sequence[str], options: DeleteOptions) -> BatchResult:
    """Delete many objects, a thousand in a request.

    With `missing_ok=False` each is asked for first, which takes a request for each.

    Raises:
        UnsupportedOperationError: With a `version`, which belongs to one object.
    """
    if options.version is not None:
        raise UnsupportedOperationError("a version belongs to one object: delete it with delete()")
    failed: dict[str, StorageError] = {}
    by_bucket: dict[str, dict[str, str]] = {}
    single: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            bucket, key = split_path(path)
        except StorageError as error:
            failed[path] = error.in_operation("delete_many", path, "s3")
            continue
        if not options.missing_ok or _NOT_XML.search(key):
            # XML 1.0 has no way to write most control characters.
            single.append(path)
        else:
            by_bucket.setdefault(bucket, {})[key] = path
    batches: list[tuple[str, dict[str, str]]] = [
        (bucket, dict(chunk))
        for bucket, keys in by_bucket.items()
        for chunk in _chunks(keys.items(), MAX_KEYS)
    ]
    limiter = anyio.CapacityLimiter(_CONCURRENCY)

    async def one(path: str) -> None:
        async with limiter:
            try:
                await delete(client, path, options)
            except StorageError as error:
                failed[path] = error.in_operation("delete_many", path, "s3")

    for group in _chunks(single, MAX_KEYS):
        async with anyio.create_task_group() as tasks:
            for path in group:
                tasks.start_soon(one, path)
    for bucket, keys in batches:
        failed.update(await _delete_batch(client, bucket, keys))
    return BatchResult(
        succeeded=tuple(path for path in paths if path not in failed),
        failed=tuple(Failure(path, failed[path]) for path in paths if path in failed),
    )


def _chunks[T](items: Iterable[T], size: int) -> Iterator[list[T]]:
    everything = list(items)
    for start in range(0, len(everything), size):
        yield everything[start : start + size]


async def _delete_batch(
    client: Client, bucket: str, keys: dict[str, str]
) -> dict[str, StorageError]:
    subject = Subject("delete_many", bucket, bucket=bucket, changes=True)
    objects = [{"Key": key} for key in keys]
    params = {"Bucket": bucket, "Delete": {"Objects": objects, "Quiet": True}}
    try:
        answer = await client.call(Call("delete_objects", params, subject))
    except StorageError as error:
        return {path: _like(error, path) for path in keys.values()}
    failed: dict[str, StorageError] = {}
    for entry in answer.get("Errors") or ():
        path = keys.get(entry.get("Key") or "")
        if path is None or entry.get("Code") == "NoSuchKey":
            continue
        fault = Fault(
            "answer",
            code=entry.get("Code") or "",
            status=_STATUS.get(entry.get("Code") or "", 0),
            message=entry.get("Message") or "",
        )
        failed[path] = error_of(fault, Subject("delete_many", path, bucket=bucket))
    return failed


async def delete_versions(
    client: Client, bucket: str, versions: Sequence[tuple[str, str | None]], subject: Subject
) -> None:
    """Delete versions of a bucket's objects for good; at most a thousand.

    Args:
        client: What sends the requests.
        bucket: The bucket.
        versions: Keys, each with a version; None for an object of a bucket without versions.
        subject: For errors.

    Raises:
        StorageError: One of them could not be deleted; others may be gone.
    """
    entries = [
        {"Key": key} if version is None else {"Key": key, "VersionId": version}
        for key, version in versions
    ]
    for entry in entries:
        if _NOT_XML.search(entry["Key"]):
            await client.call(Call("delete_object", {"Bucket": bucket, **entry}, subject))
    told = [entry for entry in entries if not _NOT_XML.search(entry["Key"])]
    if not told:
        return
    params = {"Bucket": bucket, "Delete": {"Objects": told, "Quiet": True}}
    answer = await client.call(Call("delete_objects", params, subject))
    for entry in answer.get("Errors") or ():
        code: str = entry.get("Code") or ""
        if code not in {"NoSuchKey", "NoSuchVersion"}:
            message = f"{entry.get('Message') or ''} ({entry.get('Key')})"
            raise error_of(Fault("answer", code, _STATUS.get(code, 0), message), subject)


_STATUS = {"AccessDenied": 403, "InternalError": 500, "ServiceUnavailable": 503}


def _like(error: StorageError, path: str) -> StorageError:
    # A fresh one for each path: composites write the mount into it.
    copy = type(error)(
        error.message,
        path=path,
        operation="delete_many",
        driver="s3",
        retryable=error.retryable,
        outcome=error.outcome,
        retry_after_s=error.retry_after_s,
    )
    copy.__cause__ = error.__cause__
    return copy
