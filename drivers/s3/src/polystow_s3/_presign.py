"""Presigned URLs and forms, and the plain URLs of public objects.

API reference, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" and
"Browser-Based Uploads Using POST (AWS Signature Version 4)".
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

from attrs import field, frozen

from polystow import (
    InvalidPathError,
    PresignMethod,
    PresignOptions,
    UnsupportedOperationError,
    Value,
)
from polystow_s3._addressing import with_public_prefix
from polystow_s3._client import Call, Client
from polystow_s3._config import MAX_PRESIGN_S
from polystow_s3._credentials import expires_in_s
from polystow_s3._errors import Subject
from polystow_s3._headers import response_params
from polystow_s3._metadata import check_content_type, encode_metadata
from polystow_s3._names import split_path
from polystow_s3._parts import MAX_PART_BYTES, MAX_PARTS

_logger = logging.getLogger("polystow.s3")

_METHODS: Mapping[PresignMethod, str] = {
    "GET": "get_object",
    "PUT": "put_object",
    "HEAD": "head_object",
    "DELETE": "delete_object",
}
_ANSWERED = frozenset({"GET", "HEAD"})
FILENAME = "${filename}"
"""What S3 replaces by the name of the file that the browser sends (API reference, "POST Object",
key)."""

_MADE_HERE = frozenset(
    {"key", "bucket", "file", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date",
     "x-amz-security-token", "x-amz-signature"}
)  # fmt: skip


@frozen(kw_only=True, eq=False, repr=False)
class PostPolicy(Value):
    """What a form may upload.

    Attributes:
        expires: How long it works; None for the driver's default.
        content_type: What the form's Content-Type has to be; one that ends in `/` is what it has
            to begin with, such as `image/`, and the page adds the field itself. None for any.
        min_bytes: The size of the smallest file.
        max_bytes: The size of the largest; None for no limit.
        metadata: The object's metadata.
        fields: Further fields of the form, with the one value that each may have:
            `success_action_status`, `success_action_redirect`, `Cache-Control`, `acl` …
    """

    expires: timedelta | None = None
    content_type: str | None = None
    min_bytes: int = 0
    max_bytes: int | None = None
    metadata: Mapping[str, str] = field(factory=dict[str, str])
    fields: Mapping[str, str] = field(factory=dict[str, str])

    def __attrs_post_init__(self) -> None:
        top = self.max_bytes
        if self.min_bytes < 0 or (top is not None and top < self.min_bytes):
            raise ValueError(f"no file has {self.min_bytes} to {top} bytes")


@frozen(eq=False, repr=False)
class PresignedPost(Value):
    """A form that uploads one file without credentials.

    Attributes:
        url: Where it goes, as multipart/form-data.
        fields: Its fields, which come before the last one, `file`. Not shown, since they work for
            whoever has them.
    """

    url: str
    fields: Mapping[str, str] = field(repr=False)


async def presign(client: Client, path: str, options: PresignOptions) -> str:
    """Sign a URL for one method on one object.

    Raises:
        ValueError: It would expire at once or after more than seven days.
        UnsupportedOperationError: The driver is anonymous.
    """
    bucket, key = split_path(path)
    params: dict[str, object] = {"Bucket": bucket, "Key": key}
    if options.content_type is not None and options.method == "PUT":
        check_content_type(options.content_type, path)
        params["ContentType"] = options.content_type
    if options.version is not None and options.method != "PUT":
        params["VersionId"] = options.version
    if options.method in _ANSWERED:
        params |= response_params(options.response, path)
    return await _signed(client, _METHODS[options.method], params, path, options.expires)


async def presign_part(
    client: Client, path: str, upload_id: str, number: int, expires: timedelta | None
) -> str:
    """Sign a URL to which one part of a multipart upload is sent, with PUT.

    Raises:
        ValueError: As `presign`; or the number is not 1 to 10,000.
        UnsupportedOperationError: The driver is anonymous.
    """
    bucket, key = split_path(path)
    if not 1 <= number <= MAX_PARTS:
        raise ValueError(f"the number of a part is 1 to {MAX_PARTS:,}, not {number:,}")
    if not upload_id:
        raise ValueError("upload_id is empty: it is what creating the upload gave")
    params = {"Bucket": bucket, "Key": key, "UploadId": upload_id, "PartNumber": number}
    return await _signed(client, "upload_part", params, path, expires)


async def presign_post(client: Client, path: str, policy: PostPolicy) -> PresignedPost:
    """Sign a form.

    Raises:
        ValueError: As `presign`; or a field is one that is made here.
        InvalidPathError: The path can't be used.
        UnsupportedOperationError: The driver is anonymous.
    """
    bucket, key = split_path(path)
    expires_s = await _expiry(client, policy.expires, path)
    if FILENAME in key.removesuffix(FILENAME):
        raise InvalidPathError(f"{FILENAME} can stand at the end of the key alone", path=path)
    fields = _fields(path, policy)
    conditions: list[object] = [{name: value} for name, value in fields.items()]
    if policy.content_type is not None and policy.content_type.endswith("/"):
        conditions.append(["starts-with", "$Content-Type", policy.content_type])
    if policy.min_bytes or policy.max_bytes is not None:
        top = MAX_PART_BYTES if policy.max_bytes is None else policy.max_bytes
        conditions.append(["content-length-range", policy.min_bytes, top])
    # botocore counts from this machine's time, the service from its own.
    expires_s += round(client.clock.offset_s)
    call = Call("put_object", {"Bucket": bucket}, Subject("presign_post", path, bucket=bucket))
    url, signed = await client.making(
        call, lambda sdk: sdk.presign_post(bucket, key, fields, conditions, expires_s)
    )
    return PresignedPost(_published(client, url), signed)


def _fields(path: str, policy: PostPolicy) -> dict[str, str]:
    fields = {
        f"x-amz-meta-{name}": value
        for name, value in encode_metadata(policy.metadata, None, path).items()
    }
    if policy.content_type is not None:
        check_content_type(policy.content_type, path)
        if not policy.content_type.endswith("/"):
            fields["Content-Type"] = policy.content_type
    taken = {"content-type", *_MADE_HERE} if policy.content_type else _MADE_HERE
    for name, value in policy.fields.items():
        if name.lower() in taken or name.lower().startswith("x-amz-meta-"):
            raise ValueError(f"the form's field {name!r} is made by the driver: leave it out")
        fields[name] = value
    return fields


async def object_url(client: Client, path: str, version: str | None) -> str:
    """The plain URL of an object, which works for everybody if the object is public."""
    bucket, key = split_path(path)
    params: dict[str, object] = {"Bucket": bucket, "Key": key}
    if version is not None:
        params["VersionId"] = version
    call = Call("get_object", params, Subject("object_url", path, bucket=bucket))
    url = await client.making(call, lambda sdk: sdk.presign("get_object", params, 1, signed=False))
    return _published(client, url)


async def _signed(
    client: Client,
    method: str,
    params: Mapping[str, object],
    path: str,
    expires: timedelta | None,
) -> str:
    expires_s = await _expiry(client, expires, path)
    call = Call(method, params, Subject("presign", path, bucket=path.partition("/")[0]))
    return _published(
        client, await client.making(call, lambda sdk: sdk.presign(method, params, expires_s))
    )


async def _expiry(client: Client, expires: timedelta | None, path: str) -> int:
    config = client.config
    if config.anonymous:
        raise UnsupportedOperationError(
            "an anonymous driver has nothing to sign with; object_url gives the plain URL",
            path=path,
        )
    seconds = config.presign_expires_s
    if expires is not None:
        seconds = round(expires.total_seconds())
    if not 1 <= seconds <= MAX_PRESIGN_S:
        raise ValueError(f"a presigned URL works for 1 s to 7 days, not {seconds} s")
    if client.credentials is not None:
        left = expires_in_s(await client.credentials.get(), client.clock)
        if left is not None and left < seconds:
            _logger.warning(
                "a presigned URL for %d s works for %.0f s only: its credentials expire then",
                seconds,
                left,
            )
    return seconds


def _published(client: Client, url: str) -> str:
    public_url = client.config.public_url
    return url if public_url is None else with_public_prefix(url, public_url)
