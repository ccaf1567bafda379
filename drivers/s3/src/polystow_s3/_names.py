"""Buckets and keys, checked before anything is sent."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from polystow import (
    ConfigError,
    InvalidPathError,
    NameHint,
    ObjectPath,
    Target,
    check_key,
    is_new_key,
    new_key,
    parse_object_path,
)

_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")

_NEW_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OLD_BUCKET = re.compile(r"(?=.*[A-Z_]|.{64})[A-Za-z0-9._-]{3,255}")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


class Destination(NamedTuple):
    """Where a write goes.

    Attributes:
        path: `bucket/key`.
        bucket: The bucket.
        key: The key.
        is_new: Whether the key was made for this write, so that nobody else uses it.
        filename: The file's original name, from the hint.
    """

    path: str
    bucket: str
    key: str
    is_new: bool
    filename: str | None


class Place(NamedTuple):
    """An object or a bucket, for requests that both have.

    Attributes:
        kind: Which of them; also part of the names of botocore's methods.
        bucket: The bucket.
        params: The parameters that name it.
    """

    kind: Literal["object", "bucket"]
    bucket: str
    params: Mapping[str, object]


def place_of(path: str, version: str | None = None) -> Place:
    """What `bucket` or `bucket/key` names.

    Raises:
        InvalidPathError: It can't be used.
        ValueError: A version of a bucket, which has none.
    """
    bucket, key = split_prefix(path)
    if not key:
        if version is not None:
            raise ValueError("a bucket has no versions: name an object")
        return Place("bucket", bucket, {"Bucket": bucket})
    params = {"Bucket": bucket, "Key": key}
    if version is not None:
        params["VersionId"] = version
    return Place("object", bucket, params)


def check_bucket(bucket: str, path: str) -> None:
    """Check a bucket's name, as leniently as the S3-compatible servers are.

    Args:
        bucket: The name.
        path: What the error shows.

    Raises:
        InvalidPathError: It is not 1 to 255 of letters, digits, `.`, `_` and `-`.
    """
    if not _is_bucket(bucket):
        raise InvalidPathError(
            f"{bucket[:80]!r} can't be a bucket: buckets are 1 to 255 of a-z, A-Z, 0-9, '.', '_' "
            "and '-'",
            path=path,
        )


@lru_cache(256)
def _is_bucket(name: str) -> bool:
    return _BUCKET.fullmatch(name) is not None and name not in {".", ".."}


def check_aws_bucket(bucket: str, path: str) -> None:
    """Check a bucket's name by AWS's own rules (User Guide, "General purpose bucket naming rules").

    Capital letters, underscores and up to 255 characters are left to those that were made in
    us-east-1 before 2018.

    Raises:
        InvalidPathError: S3 has no bucket of that name.
    """
    old = _OLD_BUCKET.fullmatch(bucket) is not None
    if (old or _NEW_BUCKET.fullmatch(bucket) is not None) and _IPV4.fullmatch(bucket) is None:
        return
    raise InvalidPathError(
        f"S3 has no bucket {bucket[:80]!r}: buckets are 3 to 63 of a-z, 0-9, '.' and '-', begin "
        "and end with a letter or a digit, have no two dots side by side, and are no IP address",
        path=path,
    )


def split_path(path: str) -> ObjectPath:
    """Take `bucket/key` apart.

    Raises:
        InvalidPathError: It has no bucket or no key, or they can't be used.
    """
    parsed = parse_object_path(path)
    check_bucket(parsed.container, path)
    return parsed


def split_prefix(path: str) -> tuple[str, str]:
    """Take `bucket`, `bucket/` or `bucket/prefix` apart.

    Raises:
        InvalidPathError: The bucket can't be used.
    """
    bucket, _, prefix = path.partition("/")
    check_bucket(bucket, path)
    check_key(prefix, path)
    return bucket, prefix


def destination(target: Target, default_bucket: str | None) -> Destination:
    """Where a write or a copy goes.

    Args:
        target: An exact path, or a name that gets a new key.
        default_bucket: For a name without a container.

    Raises:
        InvalidPathError: The path or name can't be used.
        ConfigError: The name has no container and there is no default bucket.
    """
    if not isinstance(target, NameHint):
        parsed = split_path(target)
        return Destination(target, parsed.container, parsed.key, is_new=False, filename=None)
    bucket = target.container or default_bucket
    if bucket is None:
        raise ConfigError(
            f"no bucket for {str(target)!r}: set default_bucket, or name the container"
        )
    check_bucket(bucket, str(target))
    key = new_key(target)
    return Destination(
        f"{bucket}/{key}", bucket, key, is_new=is_new_key(target), filename=target.filename
    )
