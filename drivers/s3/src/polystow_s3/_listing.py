"""Listing: one ListObjectsV2 for each page."""

from collections.abc import Mapping
from typing import Any

from polystow import ListOptions, ListPage, StorageError, check_key
from polystow_s3._answers import listed_infos, required
from polystow_s3._client import Call, Client
from polystow_s3._errors import Subject
from polystow_s3._names import split_prefix

MAX_KEYS = 1000
"""What a page has at most (API reference, ListObjectsV2, max-keys)."""


async def list_page(
    client: Client, path: str, options: ListOptions, cursor: str | None
) -> ListPage:
    """One page.

    Raises:
        InvalidPathError: The bucket can't be used.
        NotFoundError: There is no such bucket.
    """
    bucket, prefix = split_prefix(path)
    if options.start_after is not None:
        check_key(options.start_after, path)
    if options.page_size < 1:
        raise ValueError(f"page_size is {options.page_size}; 1 is the least")
    params: dict[str, object] = {
        "Bucket": bucket,
        "MaxKeys": min(MAX_KEYS, options.page_size),
    }
    if prefix:
        params["Prefix"] = prefix
    if options.delimiter:
        params["Delimiter"] = options.delimiter
    if options.start_after is not None:
        params["StartAfter"] = options.start_after
    if cursor is not None:
        params["ContinuationToken"] = cursor
    answer = await client.call(
        Call("list_objects_v2", params, Subject("list_page", path, bucket=bucket))
    )
    return _page(bucket, answer)


def _page(bucket: str, answer: Mapping[str, Any]) -> ListPage:
    required(answer, "IsTruncated")
    items = tuple(listed_infos(bucket, answer.get("Contents") or ()))
    prefixes = tuple(f"{bucket}/{entry['Prefix']}" for entry in answer.get("CommonPrefixes") or ())
    if not answer.get("IsTruncated"):
        return ListPage(items, prefixes)
    token: str | None = answer.get("NextContinuationToken")
    if not token:
        raise StorageError(
            "the service says that there is more and not how to get it: it has no ListObjectsV2"
        )
    return ListPage(items, prefixes, token)
