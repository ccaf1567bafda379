"""Writing: one PutObject where the body fits, a multipart upload where it does not."""

from collections.abc import Awaitable

import anyio
from anyio import CancelScope

from polystow import Body, BytesBody, FileTooLargeError, ObjectInfo, PathBody
from polystow_s3._client import Call, Client
from polystow_s3._digests import ALGORITHMS, INLINE_BYTES, digest, digest_now
from polystow_s3._integrity import call_checked, digest_params, integrity_of
from polystow_s3._part_sources import FileParts, FileRanges, MemoryParts, StreamParts, gather
from polystow_s3._parts import MAX_OBJECT_BYTES, MAX_PART_BYTES, plan_parts
from polystow_s3._payload import body_for
from polystow_s3._plan import Plan
from polystow_s3._sweeping import remove_lost


def write(client: Client, plan: Plan, body: Body) -> Awaitable[ObjectInfo]:
    """Write an object, wholly or not at all.

    Raises:
        FileTooLargeError: No S3 object can be that large.
        TruncatedBodyError: The body has not the length that it declares.
        StorageError: The service refuses it or fails.
    """
    if isinstance(body, BytesBody) and len(body.data) <= client.config.multipart_threshold_bytes:
        return put_object(client, plan, body.data)
    return _write_larger(client, plan, body)


async def _write_larger(client: Client, plan: Plan, body: Body) -> ObjectInfo:
    from polystow_s3._multipart import write_multipart  # small objects need none of that

    config, size = client.config, body.size
    if size is not None and size > MAX_OBJECT_BYTES:
        raise FileTooLargeError(
            f"the body has {size:,} bytes; an S3 object has at most {MAX_OBJECT_BYTES:,}"
        )
    parts = plan_parts(size, config.part_size_bytes)
    if isinstance(body, BytesBody):
        return await write_multipart(client, plan, parts, MemoryParts(memoryview(body.data)))
    if isinstance(body, PathBody) and body.size:
        large = body.size > config.multipart_threshold_bytes
        if large and _stays_in_file(client, plan):
            # They take no memory, and a larger one takes less CPU time for each byte.
            larger = min(MAX_PART_BYTES, 2 * config.part_size_bytes)
            ranges = FileRanges(body)
            try:
                return await write_multipart(client, plan, plan_parts(size, larger), ranges)
            finally:
                ranges.close()
        file = FileParts(body)
        try:
            if large:
                return await write_multipart(client, plan, parts, file)
            whole = await file.take(body.size)
            assert whole is not None
            return await put_object(client, plan, whole)
        finally:
            file.close()
    stream = await body.open()
    try:
        if size is not None and size <= config.multipart_threshold_bytes:
            return await put_object(client, plan, await gather(stream, size))
        source = StreamParts(stream, size)
        if size is None:
            first = await source.take(parts.size_of(1))
            if source.ended:
                return await put_object(client, plan, first or memoryview(b""))
            source.give_back(first)
        return await write_multipart(client, plan, parts, source)
    finally:
        with CancelScope(deadline=anyio.current_time() + config.cleanup_timeout_s, shield=True):
            await stream.aclose()


def _stays_in_file(client: Client, plan: Plan) -> bool:
    # Whether it can be sent from there: what is hashed is read before that, and the service has
    # to see if the file changed in between.
    if not client.sends_files:
        return False
    integrity = integrity_of(client, plan.options.checksum, whole=False)
    if integrity.given is not None and not ALGORITHMS[integrity.given.algorithm].is_crc:
        return False  # whose digest is made of all parts in their order
    verified = client.config.signs_payload or integrity.sent is not None
    return verified or not integrity.made


async def put_object(client: Client, plan: Plan, data: bytes | memoryview) -> ObjectInfo:
    """Write with one PutObject (API reference, PutObject)."""
    integrity = integrity_of(client, plan.options.checksum, whole=True)
    signed, repeatable = client.config.signs_payload, plan.subject.idempotent
    if len(data) > INLINE_BYTES:
        digests = await digest(data, integrity.made, signed=signed)
    else:
        # What is sent as plain bytes is hashed where it is signed.
        digests = digest_now(data, integrity.made, signed=signed and not repeatable)
    made = digests.values
    integrity.check(made)
    params: dict[str, object] = {
        "Bucket": plan.to.bucket,
        "Key": plan.to.key,
        **plan.content,
        **plan.conditions,
        "ContentLength": len(data),
    }
    payload = body_for(data, digests.sha256, params, repeatable=repeatable)
    call = Call("put_object", params, plan.subject, payload)
    try:
        answer = await call_checked(client, call, digest_params(integrity.sent, made))
    except BaseException as error:
        await remove_lost(client, "write", plan.to, error)
        raise
    checksum = integrity.checksum(made) if made else None
    return plan.info(len(data), checksum, answer.get("ETag"), answer.get("VersionId"))
