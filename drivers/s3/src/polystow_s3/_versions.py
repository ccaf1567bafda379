"""Versions of objects (User Guide, "Retaining multiple versions of objects")."""

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from attrs import evolve

from polystow import (
    CopyOptions,
    ListOptions,
    ObjectInfo,
    ObjectVersion,
    StorageError,
    Versioning,
    VersionPage,
)
from polystow_s3._answers import listed_infos, required
from polystow_s3._client import Call, Client
from polystow_s3._containers import bucket_of
from polystow_s3._copy import copy
from polystow_s3._errors import Subject
from polystow_s3._listing import MAX_KEYS
from polystow_s3._names import destination, split_prefix

_STATES: Mapping[str, Versioning] = {"Enabled": "enabled", "Suspended": "suspended"}


async def get_state(client: Client, path: str) -> Versioning:
    """Ask with GetBucketVersioning."""
    bucket = bucket_of(path)
    subject = Subject("get_versioning", bucket, bucket=bucket)
    answer = await client.call(Call("get_bucket_versioning", {"Bucket": bucket}, subject))
    return _STATES.get(answer.get("Status") or "", "off")


async def set_state(client: Client, path: str, state: Literal["enabled", "suspended"]) -> None:
    """Switch with PutBucketVersioning."""
    bucket = bucket_of(path)
    params: dict[str, object] = {
        "Bucket": bucket,
        "VersioningConfiguration": {"Status": state.capitalize()},
    }
    subject = Subject("set_versioning", bucket, bucket=bucket, changes=True)
    await client.call(Call("put_bucket_versioning", params, subject))


async def list_page(
    client: Client, path: str, options: ListOptions, cursor: str | None
) -> VersionPage:
    """A page of ListObjectVersions.

    Raises:
        NotFoundError: There is no such bucket.
        ValueError: The cursor is none of ours.
    """
    bucket, prefix = split_prefix(path)
    params: dict[str, object] = {"Bucket": bucket, "MaxKeys": min(MAX_KEYS, options.page_size)}
    if prefix:
        params["Prefix"] = prefix
    if cursor is not None:
        params |= _markers(cursor)
    subject = Subject("list_versions", path, bucket=bucket)
    answer = await client.call(Call("list_object_versions", params, subject))
    required(answer, "IsTruncated")
    found = [
        *(_version(bucket, entry) for entry in answer.get("Versions") or ()),
        *(_version(bucket, entry, marker=True) for entry in answer.get("DeleteMarkers") or ()),
    ]
    # The service tells them in one sequence, which botocore takes apart.
    found.sort(key=_age)
    return VersionPage(found, _cursor(answer) if answer["IsTruncated"] else None)


def _version(bucket: str, entry: Mapping[str, Any], *, marker: bool = False) -> ObjectVersion:
    (listed,) = listed_infos(bucket, (entry,))
    info = evolve(listed, version=entry.get("VersionId"))
    return ObjectVersion(info, bool(entry.get("IsLatest")), marker)


def _age(version: ObjectVersion) -> tuple[bytes, bool, float]:
    modified = version.info.modified
    seconds = 0.0 if modified is None else modified.timestamp()
    return version.info.path.encode("utf-8", "surrogatepass"), not version.latest, -seconds


def _cursor(answer: Mapping[str, Any]) -> str:
    key, version = answer.get("NextKeyMarker"), answer.get("NextVersionIdMarker")
    if not key:
        raise StorageError("the service says that there is more and not how to get it")
    return json.dumps([key, version])


def _markers(cursor: str) -> dict[str, object]:
    try:
        key, version = cast("list[str | None]", json.loads(cursor))
    except (ValueError, TypeError):
        raise ValueError(f"the cursor {cursor[:80]!r} is of no listing of versions") from None
    return {"KeyMarker": key, **({"VersionIdMarker": version} if version else {})}


async def restore(client: Client, path: str, version: str) -> ObjectInfo:
    """Copy a version over its object, which makes a new one.

    Raises:
        NotFoundError: There is no such version, or it is a delete marker.
    """
    try:
        return await copy(client, path, destination(path, None), CopyOptions(version=version))
    except StorageError as error:
        error.operation = "restore_version"
        raise
