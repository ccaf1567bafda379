"""Copying in parts, for what one CopyObject does not take: over 5 GiB.

User Guide, "Copying an object using multipart upload". The service copies ranges of the source;
what CopyObject does by itself is asked for and said again: metadata, headers, tags.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlencode

import anyio
from attrs import evolve, frozen

from polystow import ByteRange, Encryption, ObjectInfo, Value, WriteOptions
from polystow_s3._answers import checksum_of, checksum_of_fields, headers_of, required
from polystow_s3._client import Call, Client
from polystow_s3._digests import ALGORITHMS
from polystow_s3._encryption import with_headers, write_headers
from polystow_s3._errors import Subject
from polystow_s3._headers import EXTRA_HEADERS, part_params
from polystow_s3._integrity import Integrity
from polystow_s3._names import Destination, split_path
from polystow_s3._parts import MIN_PART_BYTES, plan_parts
from polystow_s3._plan import Plan
from polystow_s3._upload import Sent, Upload, run

_PART_BYTES = 512 * 1024**2
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
"""What is dropped when metadata is replaced (API reference, CopyObject,
x-amz-metadata-directive), and what an upload does not take over."""

_NOTHING = Integrity(None, None, frozenset())


@frozen(eq=False, repr=False)
class Origin(Value):
    """The source of a copy.

    Attributes:
        params: That name it, and bind the copy to its entity tag.
        head: The answer to its HeadObject.
        subject: For errors about it.
    """

    params: Mapping[str, object]
    head: Mapping[str, Any]
    subject: Subject


def source_params(path: str, version: str | None, head: Mapping[str, Any]) -> dict[str, object]:
    """The parameters that name a source, bound to the entity tag that was seen."""
    bucket, key = split_path(path)
    source = {"Bucket": bucket, "Key": key}
    if version is not None:
        source["VersionId"] = version
    params: dict[str, object] = {"CopySource": source}
    if head.get("ETag"):
        params["CopySourceIfMatch"] = head["ETag"]
    return params


def kept_of(head: Mapping[str, Any]) -> dict[str, object]:
    """The headers of an object that a copy with other metadata has to be given anew."""
    return {name: head[name] for name in _KEPT if head.get(name)}


async def copy_parts(
    client: Client,
    origin: Origin,
    to: Destination,
    metadata: Mapping[str, str] | None,
    conditions: dict[str, object],
    encryption: Encryption | None = None,
) -> ObjectInfo:
    """Copy an object in parts, several at once; it is compared with the source's checksum.

    Args:
        client: What sends the requests.
        origin: The source.
        to: Where it goes.
        metadata: What is kept with the copy, as it is sent; None for that of the source.
        conditions: Parameters that decide whether the copy is completed.
        encryption: How the copy is encrypted.

    Raises:
        ChecksumMismatchError: The parts have another checksum than the source.
        StorageError: It failed; nothing is left on the service, or what may be is logged.
    """
    head, subject = origin.head, origin.subject
    headers = kept_of(head)
    if head.get("TagCount"):
        headers["Tagging"] = await _tags_of(client, origin)
    if "IfNoneMatch" in conditions:
        subject = evolve(subject, create_only=True, path=to.path, if_match=None)
    sent = write_headers(encryption)
    headers = with_headers(headers, sent)
    plan = Plan(
        to,
        WriteOptions(extra_headers=sent),
        metadata or head.get("Metadata") or {},
        headers,
        conditions,
        evolve(subject, idempotent=not conditions),
    )
    upload = Upload(plan, _integrity(client, head))
    size: int = head["ContentLength"]

    async def send() -> None:
        await _send_all(client, upload, origin, size)
        if not all(sent.kept for sent in upload.sent):
            upload.integrity = _NOTHING  # the service tells no checksums of copied parts

    return await run(client, upload, send)


def _integrity(client: Client, head: Mapping[str, Any]) -> Integrity:
    checksum = checksum_of(headers_of(head))
    if checksum is None or not ALGORITHMS[checksum.algorithm].is_crc or client.refuses_checksums:
        return _NOTHING
    return Integrity(checksum.algorithm, checksum, frozenset({checksum.algorithm}))


async def _tags_of(client: Client, origin: Origin) -> str:
    params = origin.params["CopySource"]
    assert isinstance(params, Mapping)
    call = Call("get_object_tagging", dict(params), evolve(origin.subject, changes=False))  # pyright: ignore[reportUnknownArgumentType]
    answer = await client.call(call)
    return urlencode([(tag["Key"], tag["Value"]) for tag in answer.get("TagSet") or ()])


async def _send_all(client: Client, upload: Upload, origin: Origin, size: int) -> None:
    threshold = client.config.copy_threshold_bytes
    part_bytes = plan_parts(size, min(max(threshold, MIN_PART_BYTES), _PART_BYTES)).size_of(1)
    starts = enumerate(range(0, size, part_bytes), 1)
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def work(starts: Iterator[tuple[int, int]]) -> None:
            for number, start in starts:
                part = ByteRange(start, min(start + part_bytes, size) - 1)
                upload.unsettled += 1
                try:
                    sent = await _copy_part(client, upload, origin, number, part)
                except Exception as error:  # noqa: BLE001 - raised when all tasks have ended
                    failures.append(error)
                    tasks.cancel_scope.cancel()
                    return
                upload.sent.append(sent)
                upload.unsettled -= 1

        for _ in range(client.config.upload_concurrency):
            tasks.start_soon(work, starts)
    if failures:
        raise failures[0]
    upload.sent.sort(key=lambda sent: sent.number)


async def _copy_part(
    client: Client, upload: Upload, origin: Origin, number: int, part: ByteRange
) -> Sent:
    params = {
        **upload.params,
        **origin.params,
        "PartNumber": number,
        "CopySourceRange": str(part),
    }
    own_key = part_params(upload.plan.options.extra_headers).get(EXTRA_HEADERS)
    params = with_headers(params, cast("Mapping[str, object]", own_key or {}))
    answer = await client.call(Call("upload_part_copy", params, origin.subject, slow=True))
    result: Mapping[str, Any] = required(answer, "CopyPartResult")
    checksum = checksum_of_fields(result)
    expected = upload.integrity.sent
    kept = checksum is not None and checksum.algorithm == expected
    digests = {} if checksum is None else {checksum.algorithm: bytes.fromhex(checksum.value)}
    assert part.last is not None
    return Sent(number, part.last - part.first + 1, digests, required(result, "ETag"), kept)
