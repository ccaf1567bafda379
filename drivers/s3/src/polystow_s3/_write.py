"""Writing: one PutObject where the body fits, a multipart upload where it does not."""

from collections.abc import Mapping

import anyio
from anyio import CancelScope, EndOfStream
from anyio.abc import ByteReceiveStream
from attrs import frozen

from polystow import (
    Body,
    BytesBody,
    Checksum,
    FileTooLargeError,
    ObjectInfo,
    TruncatedBodyError,
    WriteOptions,
)
from polystow_s3._answers import quote_etag, unquote_etag
from polystow_s3._client import Call, Client
from polystow_s3._digests import INLINE_BYTES, crc32_hex, digest
from polystow_s3._errors import Subject
from polystow_s3._metadata import check_content_type, decode_metadata, encode_metadata
from polystow_s3._names import Destination
from polystow_s3._parts import MAX_OBJECT_BYTES, plan_parts
from polystow_s3._payload import Payload

_RECEIVE_BYTES = 1_048_576


@frozen
class Plan:
    """A write, with everything that can be checked before the first byte is sent.

    Attributes:
        to: Where it goes.
        options: As the caller gave them.
        headers: Parameters that go with the content: type and metadata.
        conditions: Parameters that decide whether it is written at all.
        subject: For errors.
    """

    to: Destination
    options: WriteOptions
    headers: Mapping[str, object]
    conditions: Mapping[str, object]
    subject: Subject

    @property
    def place(self) -> dict[str, object]:
        """Bucket and key, as parameters."""
        return {"Bucket": self.to.bucket, "Key": self.to.key}

    def info(self, size: int, crc32: int, etag: str | None, version: str | None) -> ObjectInfo:
        """The object that was written."""
        stored = self.headers["Metadata"]
        assert isinstance(stored, Mapping)
        metadata, filename = decode_metadata(stored)  # pyright: ignore[reportUnknownArgumentType]
        return ObjectInfo(
            path=self.to.path,
            size=size,
            filename=filename,
            content_type=self.options.content_type,
            etag=unquote_etag(etag),
            checksum=Checksum("crc32", crc32_hex(crc32)),
            version=version,
            metadata=metadata,
        )


def plan_write(to: Destination, options: WriteOptions) -> Plan:
    """Check everything but the body.

    Raises:
        InvalidPathError: The content type or the metadata can't be kept.
    """
    filename = to.filename if options.filename is None else options.filename
    headers: dict[str, object] = {"Metadata": encode_metadata(options.metadata, filename, to.path)}
    if options.content_type is not None:
        check_content_type(options.content_type, to.path)
        headers["ContentType"] = options.content_type
    conditions: dict[str, object] = {}
    if not options.overwrite:
        conditions["IfNoneMatch"] = "*"
    if options.if_match is not None:
        conditions["IfMatch"] = quote_etag(options.if_match)
    subject = Subject(
        "write",
        to.path,
        to.bucket,
        create_only=not options.overwrite,
        if_match=options.if_match,
        # Repeated after it had succeeded, a conditional write would fail by its own doing.
        idempotent=not conditions,
        changes=True,
    )
    return Plan(to, options, headers, conditions, subject)


async def write(client: Client, plan: Plan, body: Body) -> ObjectInfo:
    """Write an object, wholly or not at all.

    Raises:
        FileTooLargeError: No S3 object can be that large.
        TruncatedBodyError: The body has not the length that it declares.
        StorageError: The service refuses it or fails.
    """
    from polystow_s3._multipart import MemoryParts, StreamParts, write_multipart

    config, size = client.config, body.size
    if size is not None and size > MAX_OBJECT_BYTES:
        raise FileTooLargeError(
            f"the body has {size:,} bytes; an S3 object has at most {MAX_OBJECT_BYTES:,}"
        )
    parts = plan_parts(size, config.part_size_bytes)
    if isinstance(body, BytesBody):
        data = memoryview(body.data)
        if len(data) <= config.multipart_threshold_bytes:
            return await put_object(client, plan, data)
        return await write_multipart(client, plan, parts, MemoryParts(data))
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


async def put_object(client: Client, plan: Plan, data: memoryview) -> ObjectInfo:
    """Write with one PutObject (API reference, PutObject)."""
    config = client.config
    digests = await digest(data, sha256=config.signs_payload)
    params: dict[str, object] = {**plan.place, **plan.headers, **plan.conditions}
    params["ContentLength"] = len(data)
    if config.checksums == "when_supported":
        params["ChecksumCRC32"] = digests.crc32_base64
    payload = body_for(data, digests.sha256, params, repeatable=plan.subject.idempotent)
    answer = await client.call(Call("put_object", params, plan.subject, payload))
    return plan.info(len(data), digests.crc32, answer.get("ETag"), answer.get("VersionId"))


def body_for(
    data: memoryview, sha256: str | None, params: dict[str, object], *, repeatable: bool
) -> Payload | None:
    """Put a body into a request's parameters.

    Args:
        data: The bytes.
        sha256: Their SHA-256, if the signature is to cover them.
        params: Gets `Body`.
        repeatable: Whether it does no harm if aiohttp sends it again on another connection.
    """
    if not data or (repeatable and len(data) <= INLINE_BYTES):
        # aiohttp sends plain bytes with the headers in one segment, and botocore does not ask
        # for a 100-continue first.
        params["Body"] = bytes(data)
        return None
    payload = Payload(data, sha256, repeatable=repeatable)
    params["Body"] = payload
    return payload


async def gather(stream: ByteReceiveStream, size: int) -> memoryview:
    """Read exactly `size` bytes, and the end behind them, into one buffer.

    Raises:
        TruncatedBodyError: There are fewer or more.
    """
    buffer = memoryview(bytearray(size))
    count = await fill(stream, buffer)
    await check_end(stream, size, count)
    return buffer


async def fill(stream: ByteReceiveStream, buffer: memoryview) -> int:
    """Read until a buffer is full or the stream ends; return how many bytes came."""
    count = 0
    while count < len(buffer):
        try:
            chunk = await stream.receive(min(_RECEIVE_BYTES, len(buffer) - count))
        except EndOfStream:
            break
        buffer[count : count + len(chunk)] = chunk
        count += len(chunk)
    return count


async def check_end(stream: ByteReceiveStream, size: int, count: int) -> None:
    """See that a stream that gave `count` bytes of `size` ends there.

    Raises:
        TruncatedBodyError: It is shorter or longer.
    """
    extra = 0
    if count == size:
        try:
            extra = len(await stream.receive(1))
        except EndOfStream:
            return
    word = "goes on after them" if extra else f"ended after {count}"
    raise TruncatedBodyError(
        f"the body was declared as {size} bytes and {word}; nothing was stored"
    )
