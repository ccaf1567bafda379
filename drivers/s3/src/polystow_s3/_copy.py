"""Copying inside the service, and changing metadata, which in S3 is copying onto itself."""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve

from polystow import (
    AlreadyExistsError,
    CopyOptions,
    MetadataOptions,
    NotFoundError,
    ObjectInfo,
    UnsupportedOperationError,
)
from polystow_s3._answers import object_info, required, unquote_etag
from polystow_s3._client import Call, Client
from polystow_s3._errors import Subject
from polystow_s3._metadata import decode_metadata, encode_metadata
from polystow_s3._names import Destination, split_path
from polystow_s3._parts import MAX_COPY_BYTES
from polystow_s3._sweeping import Swept

_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "StorageClass",
    "WebsiteRedirectLocation",
)
"""What CopyObject drops when it replaces the metadata (API reference, x-amz-metadata-directive)."""


async def copy(client: Client, source: str, to: Destination, options: CopyOptions) -> ObjectInfo:
    """Copy content, content type and metadata with one CopyObject.

    Raises:
        NotFoundError: There is no such source.
        AlreadyExistsError: The target is there, and `overwrite` is False.
        UnsupportedOperationError: It is over 5 GiB.
    """
    head = await _head(client, "copy", source)
    if to.path == source and options.overwrite:
        # S3 refuses a copy that would change nothing.
        return object_info(source, head, head.get("ContentLength"))
    _check_size(head, "read and write it instead: Storage.copy does that between drivers")
    params: dict[str, object] = {**_from(source, head), "Bucket": to.bucket, "Key": to.key}
    if to.filename is not None:
        metadata, _ = decode_metadata(head.get("Metadata") or {})
        params |= _replaced(head, encode_metadata(metadata, to.filename, to.path))
    elif head.get("StorageClass"):
        params["StorageClass"] = head["StorageClass"]
    # Errors are about the source, unless the target is what is in the way.
    bucket, etag = split_path(source).container, unquote_etag(head.get("ETag"))
    subject = Subject("copy", source, bucket, if_match=etag, changes=True)
    if not options.overwrite:
        params["IfNoneMatch"] = "*"
        subject = evolve(subject, create_only=True, idempotent=False, path=to.path)
        # Servers that know conditional writes may not know them for copies.
        await _refuse_existing(client, to)
    async with Swept(client, "copy", to):
        answer = await client.call(Call("copy_object", params, subject, slow=True))
    info = object_info(to.path, head, head.get("ContentLength"))
    result: Mapping[str, Any] = required(answer, "CopyObjectResult")
    return evolve(
        info,
        filename=to.filename or info.filename,
        etag=unquote_etag(result.get("ETag")),
        modified=result.get("LastModified"),
        version=answer.get("VersionId"),
    )


async def _refuse_existing(client: Client, to: Destination) -> None:
    place = {"Bucket": to.bucket, "Key": to.key}
    try:
        await client.call(Call("head_object", place, Subject("copy", to.path, to.bucket)))
    except NotFoundError:
        return
    raise AlreadyExistsError("the object is there already", path=to.path)


async def set_metadata(
    client: Client, path: str, metadata: Mapping[str, str], options: MetadataOptions
) -> None:
    """Replace or merge the user's metadata by copying the object onto itself.

    Content type, the other content headers, storage class, tags and the original file name stay;
    the ACL becomes the default, and a bucket with versions gets a new one. Nothing is lost if
    another client writes between: the copy is bound to the entity tag that was seen.

    Raises:
        NotFoundError: There is no such object.
        PreconditionFailedError: It was replaced meanwhile.
        UnsupportedOperationError: It is over 5 GiB.
    """
    bucket, key = split_path(path)
    head = await _head(client, "set_metadata", path)
    _check_size(head, "write it again")
    present, filename = decode_metadata(head.get("Metadata") or {})
    entries = {name.lower(): value for name, value in metadata.items()}
    if len(entries) == len(metadata) and options.mode == "merge":
        entries = {**present, **entries}
    elif len(entries) != len(metadata):
        entries = dict(metadata)  # encode_metadata words the mistake
    encoded = encode_metadata(entries, filename, path)
    params = {**_from(path, head), **_replaced(head, encoded), "Bucket": bucket, "Key": key}
    etag = unquote_etag(head.get("ETag"))
    subject = Subject("set_metadata", path, bucket, if_match=etag, changes=True)
    await client.call(Call("copy_object", params, subject, slow=True))


async def _head(
    client: Client, operation: Literal["copy", "set_metadata"], path: str
) -> Mapping[str, Any]:
    bucket, key = split_path(path)
    subject = Subject(operation, path, bucket)
    return await client.call(Call("head_object", {"Bucket": bucket, "Key": key}, subject))


def _check_size(head: Mapping[str, Any], advice: str) -> None:
    size: int = head.get("ContentLength") or 0
    if size > MAX_COPY_BYTES:
        raise UnsupportedOperationError(
            f"S3 copies objects of up to 5 GiB in one request, this one has {size:,} bytes; "
            f"{advice}"
        )


def _from(path: str, head: Mapping[str, Any]) -> dict[str, object]:
    bucket, key = split_path(path)
    params: dict[str, object] = {"CopySource": {"Bucket": bucket, "Key": key}}
    if head.get("ETag"):
        params["CopySourceIfMatch"] = head["ETag"]
    return params


def _replaced(head: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, object]:
    params: dict[str, object] = {"MetadataDirective": "REPLACE", "Metadata": metadata}
    params |= {name: head[name] for name in _KEPT if head.get(name)}
    return params
