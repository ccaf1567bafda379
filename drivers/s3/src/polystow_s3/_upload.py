"""A multipart upload: begun, completed or aborted, and nothing left behind.

S3 User Guide, "Uploading and copying objects using multipart upload". Whatever goes wrong, an
upload is aborted, shielded from cancellation and within a time limit.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from anyio import get_cancelled_exc_class, to_thread
from attrs import define, evolve, field, frozen

from polystow import (
    AlreadyExistsError,
    Attempt,
    NotFoundError,
    ObjectInfo,
    OperationTimeoutError,
    PermissionDeniedError,
    PreconditionFailedError,
    Request,
    StorageError,
    UploadNotFoundError,
    Value,
)
from polystow_s3._answers import required, unquote_etag
from polystow_s3._client import Call, Client
from polystow_s3._digests import ALGORITHMS, WholeDigest, combine
from polystow_s3._headers import part_params
from polystow_s3._integrity import Integrity, digest_params, send_checked
from polystow_s3._plan import Plan
from polystow_s3._shield import to_the_end
from polystow_s3._sweeping import remove_new

_logger = logging.getLogger("polystow.s3")
_ABORTS = 3
"""A part that is still arriving may survive an abort, so it is checked and repeated (API
reference, AbortMultipartUpload)."""


@frozen(eq=False, repr=False)
class Sent(Value):
    """A part that the service has.

    Attributes:
        number: Counted from 1.
        size: In bytes.
        digests: Of its content, by algorithm.
        etag: As the service gave it, with quotes.
        kept: Whether the service has told its digest, so that it knows such.
    """

    number: int
    size: int
    digests: Mapping[str, bytes]
    etag: str
    kept: bool


@define(eq=False)
class Upload:
    """What is known of an upload under way.

    Attributes:
        plan: The write.
        integrity: Its digests.
        upload_id: None as long as the service has not given one.
        sent: Parts that the service has.
        unsettled: Parts that were being sent when the upload failed.
        lost_ids: Whether the answer to a CreateMultipartUpload was lost, so that the service may
            keep an upload that nobody knows.
        completing: Whether the service may have been asked to make the object of the parts.
        whole: The digest of all parts together, of a kind that theirs don't give.
    """

    plan: Plan
    integrity: Integrity
    upload_id: str | None = None
    sent: list[Sent] = field(factory=list[Sent])
    unsettled: int = 0
    lost_ids: bool = False
    completing: bool = False
    whole: WholeDigest | None = None

    @property
    def params(self) -> dict[str, object]:
        """Bucket, key and upload, as parameters."""
        return {**self.plan.place, "UploadId": self.upload_id}


async def run(client: Client, upload: Upload, send: Callable[[], Awaitable[None]]) -> ObjectInfo:
    """Begin an upload, send its parts, and complete it.

    Args:
        client: What sends the requests.
        upload: What to write.
        send: Sends the parts.

    Raises:
        StorageError: It failed; nothing is left on the service, or what may be is logged.
    """
    try:
        await create(client, upload)
        await send()
        info = await complete(client, upload)
    except BaseException as error:
        await clean_up(client, upload, abort_and_sweep)
        if isinstance(error, StorageError) and not (upload.completing or upload.lost_ids):
            error.outcome = "failed"  # parts alone make no object
        raise
    if upload.lost_ids:
        await clean_up(client, upload, sweep)
    return info


async def clean_up(
    client: Client, upload: Upload, work: Callable[[Client, Upload], Awaitable[None]]
) -> None:
    """Do what a cancellation may not interrupt, within the time limit; what is left is logged."""
    limit_s = client.config.cleanup_timeout_s
    if upload.lost_ids or upload.unsettled:
        limit_s += client.opening_s  # what has to be listed is listed by aiobotocore

    def log(error: Exception) -> None:
        _log_orphan(client, upload, str(error))

    try:
        await to_the_end(lambda: work(client, upload), limit_s, log)
    except OperationTimeoutError as error:
        log(error)


async def create(client: Client, upload: Upload) -> None:
    """Begin the upload (API reference, CreateMultipartUpload)."""
    checksums: dict[str, object] = {}
    sent = upload.integrity.sent
    if sent is not None and sent != "md5":
        checksums["ChecksumAlgorithm"] = sent.upper()
        # API reference, CreateMultipartUpload, x-amz-checksum-type.
        checksums["ChecksumType"] = "FULL_OBJECT" if upload.integrity.combined else "COMPOSITE"
    await send_checked(client, lambda extra: _create_with(client, upload, extra), checksums)
    if checksums and client.refuses_checksums:
        upload.integrity = evolve(upload.integrity, sent=None)


async def _create_with(client: Client, upload: Upload, checksums: Mapping[str, object]) -> None:
    plan = upload.plan
    params: dict[str, object] = {**plan.place, **plan.content, **checksums}
    call = Call("create_multipart_upload", params, evolve(plan.subject, idempotent=True))

    async def send_once() -> None:
        answer = await client.send_once(call)
        upload.upload_id = required(answer, "UploadId")

    async def send(_: Attempt) -> None:
        # A cancellation in between would lose the id of what the service has made.
        try:
            await to_the_end(send_once, client.config.cleanup_timeout_s)
        except StorageError as error:
            upload.lost_ids = upload.lost_ids or error.outcome == "unknown"
            raise
        except get_cancelled_exc_class():
            # The request came to its end, but perhaps without an answer.
            upload.lost_ids = upload.lost_ids or upload.upload_id is None
            raise

    await client.policy(Request(plan.subject.operation, plan.to.path), send)


async def _digests_of(upload: Upload) -> Mapping[str, bytes]:
    """The digests of the whole, of those of the parts."""
    values: dict[str, bytes] = {}
    for name in upload.integrity.made:
        algorithm = ALGORITHMS[name]
        if algorithm.is_crc:
            pieces = [(sent.digests[name], sent.size) for sent in upload.sent]
            # 13 µs a part.
            values[name] = await to_thread.run_sync(combine, algorithm, pieces)
    if upload.whole is not None:
        values[upload.whole.name] = upload.whole.value
    return values


def _entry(sent: Sent, algorithm: str | None) -> dict[str, object]:
    checksum = digest_params(algorithm, sent.digests)
    return {"PartNumber": sent.number, "ETag": sent.etag, **checksum}


async def complete(client: Client, upload: Upload) -> ObjectInfo:
    """Make the object of the parts (API reference, CompleteMultipartUpload).

    If that fails it is looked whether the object is there after all.
    """
    plan, integrity = upload.plan, upload.integrity
    size = sum(sent.size for sent in upload.sent)
    whole = await _digests_of(upload)
    integrity.check(whole)
    checksum = integrity.checksum(whole)
    # A service that told no checksum of any part might not know the fields.
    told = integrity.sent if all(sent.kept for sent in upload.sent) else None
    params: dict[str, object] = {**upload.params, **plan.conditions}
    params |= part_params(plan.options.extra_headers)
    algorithm = None if told == "md5" else told
    params["MultipartUpload"] = {"Parts": [_entry(sent, algorithm) for sent in upload.sent]}
    if algorithm is not None and algorithm == integrity.combined:
        params |= {"ChecksumType": "FULL_OBJECT", **digest_params(algorithm, whole)}
    subject = evolve(plan.subject, completes=True)
    call = Call("complete_multipart_upload", params, subject, slow=True)
    upload.completing = True
    try:
        answer: Mapping[str, Any] = await client.call(call)
    except (AlreadyExistsError, PreconditionFailedError, PermissionDeniedError):
        raise
    except StorageError as error:
        found = await _completed_after_all(client, upload, size)
        if found is None:
            raise
        _logger.info("s3: %r was completed although that failed: %s", plan.to.path, error)
        return plan.info(size, checksum, found.get("ETag"), found.get("VersionId"))
    # radosgw tells none, the first time that it is asked.
    etag = answer.get("ETag") or composite_etag([sent.etag for sent in upload.sent])
    return plan.info(size, checksum, etag, answer.get("VersionId"))


async def _completed_after_all(
    client: Client, upload: Upload, size: int
) -> Mapping[str, Any] | None:
    # The answer may have been lost, or a repetition may have found the upload gone. The entity
    # tag tells whose object is there: it is made of those of the parts.
    expected = composite_etag([sent.etag for sent in upload.sent])
    if expected is None:
        return None
    subject = evolve(upload.plan.subject, create_only=False, if_match=None, idempotent=True)
    try:
        found = await client.call(Call("head_object", upload.plan.place, subject))
    except StorageError:
        return None
    matches = unquote_etag(found.get("ETag")) == expected and found.get("ContentLength") == size
    return found if matches else None


def composite_etag(etags: list[str]) -> str | None:
    """The entity tag of a completed upload: the MD5 of the parts' MD5s, and their number.

    None if the parts' tags are no MD5s, as under some kinds of encryption.
    """
    try:
        digests = [bytes.fromhex(unquote_etag(etag) or "") for etag in etags]
    except ValueError:
        return None
    if any(len(value) != 16 for value in digests):
        return None
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"


async def abort_and_sweep(client: Client, upload: Upload) -> None:
    """Drop an upload that has failed, whatever is known of it."""
    if upload.upload_id is not None:
        try:
            await abort(client, upload)
        except StorageError as error:
            _log_orphan(client, upload, str(error))
    if upload.lost_ids:
        await sweep(client, upload)


async def abort(client: Client, upload: Upload) -> None:
    """Drop the upload, and its parts for sure (API reference, AbortMultipartUpload)."""
    subject = evolve(upload.plan.subject, create_only=False, if_match=None, idempotent=True)
    for _ in range(_ABORTS):
        try:
            await client.call(Call("abort_multipart_upload", upload.params, subject))
            if not upload.unsettled:
                return
            left = await client.call(Call("list_parts", upload.params, subject))
        except (UploadNotFoundError, NotFoundError):
            # Or it was completed, and the answer to that was lost.
            await remove_new(client, "write", upload.plan.to)
            return
        if not left.get("Parts"):
            return
    _log_orphan(client, upload, f"parts were still there after {_ABORTS} aborts")


async def sweep(client: Client, upload: Upload) -> None:
    """Drop the uploads whose ids were lost, where nobody else can have one to their key."""
    if not upload.plan.to.is_new:
        # Another writer's upload to the same key looks the same: it must not be aborted.
        _log_orphan(client, upload, "the answer with the upload's id was lost")
        return
    place = upload.plan.place
    subject = evolve(upload.plan.subject, create_only=False, if_match=None, idempotent=True)
    params = {"Bucket": place["Bucket"], "Prefix": place["Key"]}
    try:
        answer = await client.call(Call("list_multipart_uploads", params, subject))
        for entry in answer.get("Uploads") or ():
            if entry["Key"] == place["Key"] and entry["UploadId"] != upload.upload_id:
                gone = {**place, "UploadId": entry["UploadId"]}
                await client.call(Call("abort_multipart_upload", gone, subject))
    except StorageError as error:
        _log_orphan(client, upload, str(error))


def _log_orphan(client: Client, upload: Upload, reason: str) -> None:
    _logger.warning(
        "s3: an unfinished multipart upload may be left at %s, bucket %r, key %r, id %r: %s",
        client.config.endpoint or "AWS",
        upload.plan.to.bucket,
        upload.plan.to.key,
        upload.upload_id,
        reason,
    )
