"""Copying inside the service, and changing metadata, which in S3 is copying onto itself."""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve

from polystow import (
    AlreadyExistsError,
    CopyOptions,
    Encryption,
    MetadataOptions,
    NotFoundError,
    ObjectInfo,
    PreconditionFailedError,
)
from polystow_s3._answers import object_info, required, unquote_etag
from polystow_s3._client import Call, Client
from polystow_s3._copy_parts import Origin, copy_parts, kept_of, source_params
from polystow_s3._encryption import read_params, with_headers, write_headers
from polystow_s3._encryption import source_params as encryption_of_source
from polystow_s3._errors import Subject
from polystow_s3._headers import check_value
from polystow_s3._metadata import decode_metadata, encode_metadata
from polystow_s3._names import Destination, split_path
from polystow_s3._shield import with_grace
from polystow_s3._sweeping import remove_lost


async def copy(client: Client, source: str, to: Destination, options: CopyOptions) -> ObjectInfo:
    """Copy content, content type, metadata, headers and tags, in one request or in parts.

    Raises:
        NotFoundError: There is no such source.
        PreconditionFailedError: It has another entity tag than `if_match`, or was replaced
            meanwhile.
        AlreadyExistsError: The target is there, and `overwrite` is False.
    """
    key = options.source_encryption
    head = await _head(client, "copy", source, options.version, key)
    info = object_info(to.path, head, head.get("ContentLength"))
    wanted = options.if_match
    if wanted is not None and wanted != "*" and unquote_etag(wanted) != info.etag:
        raise PreconditionFailedError(f"the source has not the entity tag {wanted!r} (any more)")
    changes = any((options.storage_class, options.version, options.encryption))
    if to.path == source and options.overwrite and not changes:
        # S3 refuses a copy that would change nothing.
        return info
    replaced: Mapping[str, str] | None = None
    if to.filename is not None:
        metadata, _ = decode_metadata(head.get("Metadata") or {})
        replaced = encode_metadata(metadata, to.filename, to.path)
        info = evolve(info, filename=to.filename)
    elif to.path == source and options.version is not None:
        # A version that is copied over its object; LocalStack refuses that if nothing changes.
        replaced = head.get("Metadata") or {}
    if options.storage_class is not None:
        check_value("storage_class", options.storage_class, to.path)
        head = {**head, "StorageClass": options.storage_class}
        info = evolve(info, storage_class=options.storage_class)
    if not options.overwrite:
        # Servers that know conditional writes may not know them for copies.
        await _refuse_existing(client, to)
    # Errors are about the source, unless the target is what is in the way.
    subject = Subject(
        "copy", source, bucket=split_path(source).container, if_match=info.etag, changes=True
    )
    origin = Origin(source_params(source, options.version, head), head, subject)
    own_key = encryption_of_source(key)
    origin = evolve(origin, params={**origin.params, **own_key})
    if (info.size or 0) > client.config.copy_threshold_bytes:
        conditions: dict[str, object] = {} if options.overwrite else {"IfNoneMatch": "*"}
        made = await copy_parts(client, origin, to, replaced, conditions, options.encryption)
        return evolve(
            info, etag=made.etag, modified=None, version=made.version, checksum=made.checksum
        )
    params: dict[str, object] = {**origin.params, "Bucket": to.bucket, "Key": to.key}
    params = with_headers(params, write_headers(options.encryption))
    if replaced is not None:
        params |= {"MetadataDirective": "REPLACE", "Metadata": replaced, **kept_of(head)}
    elif head.get("StorageClass"):
        params["StorageClass"] = head["StorageClass"]
    if not options.overwrite:
        params["IfNoneMatch"] = "*"
        subject = evolve(subject, create_only=True, idempotent=False, path=to.path)
    call = Call("copy_object", params, subject, slow=True)
    try:
        answer = await with_grace(lambda: client.call(call), client.config.cleanup_timeout_s)
    except BaseException as error:
        await remove_lost(client, "copy", to, error)
        raise
    result: Mapping[str, Any] = required(answer, "CopyObjectResult")
    return evolve(
        info,
        etag=unquote_etag(result.get("ETag")),
        modified=result.get("LastModified"),
        version=answer.get("VersionId"),
    )


async def _refuse_existing(client: Client, to: Destination) -> None:
    place = {"Bucket": to.bucket, "Key": to.key}
    try:
        await client.call(Call("head_object", place, Subject("copy", to.path, bucket=to.bucket)))
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
    """
    bucket, key = split_path(path)
    head = await _head(client, "set_metadata", path)
    present, filename = decode_metadata(head.get("Metadata") or {})
    entries = {name.lower(): value for name, value in metadata.items()}
    if len(entries) == len(metadata) and options.mode == "merge":
        entries = {**present, **entries}
    elif len(entries) != len(metadata):
        entries = dict(metadata)  # encode_metadata words the mistake
    encoded = encode_metadata(entries, filename, path)
    etag = unquote_etag(head.get("ETag"))
    subject = Subject("set_metadata", path, bucket=bucket, if_match=etag, changes=True)
    origin = Origin(source_params(path, None, head), head, subject)
    if (head.get("ContentLength") or 0) > client.config.copy_threshold_bytes:
        to = Destination(path, bucket, key, is_new=False, filename=None)
        conditions = {} if etag is None else {"IfMatch": head["ETag"]}
        await copy_parts(client, origin, to, encoded, conditions)
        return
    params: dict[str, object] = {
        **origin.params,
        **kept_of(head),
        "Bucket": bucket,
        "Key": key,
        "MetadataDirective": "REPLACE",
        "Metadata": encoded,
    }
    await client.call(Call("copy_object", params, subject, slow=True))


async def _head(
    client: Client,
    operation: Literal["copy", "set_metadata"],
    path: str,
    version: str | None = None,
    encryption: Encryption | None = None,
) -> Mapping[str, Any]:
    bucket, key = split_path(path)
    params: dict[str, object] = {
        "Bucket": bucket,
        "Key": key,
        **({} if version is None else {"VersionId": version}),
    }
    params |= read_params(encryption)
    return await client.call(Call("head_object", params, Subject(operation, path, bucket=bucket)))
