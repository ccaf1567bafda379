"""Reading: one GetObject, resumed at its offset if it breaks off, never silently short."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, override

from anyio import ClosedResourceError, EndOfStream
from attrs import evolve

from polystow import (
    ByteRange,
    Checksum,
    ChecksumMismatchError,
    ObjectInfo,
    ObjectPath,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ReadOptions,
    ReadStream,
    Saved,
    StorageError,
    TransportError,
    WriteAt,
    crc32_of,
    in_thread,
)
from polystow_s3._answers import checksum_of, headers_of, object_info, quote_etag, unquote_etag
from polystow_s3._client import Call, Client
from polystow_s3._conditions import check_conditions, condition_params, is_conditional
from polystow_s3._digests import ALGORITHMS
from polystow_s3._encryption import read_params
from polystow_s3._errors import Subject
from polystow_s3._headers import response_params
from polystow_s3._lane._answer import Answer
from polystow_s3._lane._faults import LaneError
from polystow_s3._ranges import Slice, slice_answer

MAX_RESUMES = 5
"""Times that a stream is resumed in a row, without `_PROGRESS_BYTES` between two of them."""

_PROGRESS_BYTES = 1_048_576
_SKIP_BYTES = 262_144
_SAVE_BYTES = 1_048_576
_AT_FIRST = frozenset({"IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince"})
"""Conditions that decided whether to read at all; they do not count when a read is resumed."""
_MD5 = re.compile("[0-9A-Fa-f]{32}")


class S3ReadStream(ReadStream):
    """The body of a GetObject.

    Args:
        client: What resumes it.
        call: The request that opened it.
        answer: The answer to that; its body is taken over.
        part: What to take of the body.
        chunk_size_bytes: As in `ReadOptions`.
    """

    def __init__(
        self,
        client: Client,
        call: Call,
        answer: dict[str, Any],
        part: Slice,
        chunk_size_bytes: int,
    ) -> None:
        self.range = part.range
        self.chunk_size_bytes = chunk_size_bytes
        self._client = client
        self._call = call
        self._body: Any = answer.pop("Body")
        self._answer = answer
        self._skip = part.skip
        self._left = part.range.length
        self._resumes = 0
        self._resumed_at = part.range.length
        self._closed = False
        self._buffer: memoryview | None = None
        checksum = checksum_of(headers_of(answer))
        whole = part.range.offset == 0 and part.range.length == part.range.size
        self._expected = kept_digest(client, answer, checksum) if whole else None
        hasher = None if self._expected is None else ALGORITHMS[self._expected.algorithm].new()
        self._hasher = hasher
        self.verified = hasher is not None or checksum is None
        # What is here already needs no connection that closing would have to wait for.
        self._is_counted = not (isinstance(self._body, Answer) and self._body.body is not None)
        if self._is_counted:
            client.stream_opened(self)
        if not self._left:
            self._release()

    # It can be set like the attribute that it is, which neither checker believes.
    @cached_property
    def info(self) -> ObjectInfo:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """The object; made when somebody asks."""
        return object_info(self._call.subject.path, self._answer, self.range.size)

    @override
    async def read_all(self) -> bytes:
        body = self._body
        if self._closed or self._skip or not isinstance(body, Answer):
            return await super().read_all()
        data = body.body
        if data is None or len(data) != self._left:
            return await super().read_all()
        self._left = 0
        if self._hasher is not None:
            self._hasher.update(data)
            self._check(self._hasher.digest().hex())
        self._release()
        return data

    @override
    async def save(self, write: WriteAt, offset: int, max_bytes: int, crc32: int = 0) -> Saved:
        body = self._body
        if self._closed or self._skip or not isinstance(body, Answer) or body.body is not None:
            return await super().save(write, offset, max_bytes, crc32)
        if body.can_pull:
            saved = await self._pull(body, write, offset, max_bytes, crc32)
            if saved is not None:
                return saved
        wanted = min(max_bytes, self._left, _SAVE_BYTES)
        if self._buffer is None or len(self._buffer) < wanted:
            self._buffer = memoryview(bytearray(wanted))
        count = await self._fill(body, self._buffer[:wanted])
        if not count:  # it has ended, or was resumed, perhaps over aiobotocore
            return await super().save(write, offset, max_bytes, crc32)
        self._left -= count
        piece, hasher = self._buffer[:count], self._hasher

        def keep() -> int:
            write(piece, offset)
            if hasher is not None:
                hasher.update(piece)
            return crc32_of(piece, crc32)

        return self._saved(count, await in_thread(keep))

    async def _pull(
        self, body: Answer, write: WriteAt, offset: int, max_bytes: int, crc32: int
    ) -> Saved | None:
        """What came in a slice of time; None if nothing did, or the read had to be resumed."""
        hasher = self._hasher

        def keep(piece: memoryview) -> None:
            nonlocal crc32, offset
            write(piece, offset)
            if hasher is not None:
                hasher.update(piece)
            crc32 = crc32_of(piece, crc32)
            offset += len(piece)

        try:
            count = await body.pull(keep, min(max_bytes, self._left))
        except LaneError:
            return None  # it will be met again
        self._left -= count
        return self._saved(count, crc32) if count else None

    def _saved(self, count: int, crc32: int) -> Saved:
        if not self._left:
            if self._hasher is not None:
                self._check(self._hasher.digest().hex())
            self._release()
        return Saved(count, crc32)

    async def _fill(self, body: Answer, buffer: memoryview) -> int:
        """Receive into a buffer until it is full; what came before a connection broke counts."""
        count = 0
        while count < len(buffer):
            try:
                some = await body.read_into(buffer[count:])
                if not some:
                    raise ConnectionResetError("the body ended early")
            except Exception as error:  # noqa: BLE001 - what is no fault is raised again
                if not count:
                    await self._resume(error)
                break  # it will be met again
            count += some
        return count

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if self._closed:
            raise ClosedResourceError
        if not self._left:
            raise EndOfStream
        while True:
            if self._body is None:
                raise TransportError("the read has failed before", path=self._call.subject.path)
            try:
                chunk = await self._next_chunk(min(max_bytes, self._left))
            except Exception as error:  # noqa: BLE001 - what is not the SDK's is raised again
                await self._resume(error)
                continue
            self._left -= len(chunk)
            if self._hasher is not None:
                self._hasher.update(chunk)
                if not self._left:
                    self._check(self._hasher.digest().hex())
            if not self._left:
                self._release()
            return chunk

    async def _next_chunk(self, max_bytes: int) -> bytes:
        # aiohttp's sock_read limits each of these waits, and only while it waits for the server.
        while self._skip:
            thrown = await self._body.read(min(self._skip, _SKIP_BYTES))
            if not thrown:
                raise ConnectionResetError("the body ended early")
            self._skip -= len(thrown)
        chunk: bytes = await self._body.read(max_bytes)
        if not chunk:
            raise ConnectionResetError("the body ended early")
        return chunk

    def _check(self, found: str) -> None:
        expected = self._expected
        assert expected is not None
        if found != expected.value:
            raise ChecksumMismatchError(
                f"the bytes have the {expected.algorithm} {found}, the service keeps "
                f"{expected.value}",
                path=self._call.subject.path,
                operation="open_read",
                driver="s3",
            )

    async def _resume(self, error: Exception) -> None:
        if self._closed:
            # Closed by another task while this one was waiting.
            raise ClosedResourceError from error
        subject = self._call.subject
        if isinstance(error, ConnectionResetError):
            cause: Exception = TransportError("the connection broke while the body was read")
        else:
            cause = self._client.error(error, subject)
        if not isinstance(cause, StorageError):
            raise error
        cause.in_operation("open_read", subject.path, "s3")
        received = self.range.length - self._left
        where = f"after {received} of {self.range.length} bytes"
        if self.info.etag is None:
            raise TransportError(
                f"{cause.message} {where}; it can't be resumed: the service gives no entity tag",
                path=subject.path, operation="open_read", driver="s3",
            ) from error  # fmt: skip
        if self._resumed_at - self._left >= _PROGRESS_BYTES:
            self._resumes = 0
        if self._resumes >= MAX_RESUMES:
            raise TransportError(
                f"{cause.message} {where}; it was resumed {self._resumes} times in vain",
                path=subject.path, operation="open_read", driver="s3",
            ) from error  # fmt: skip
        self._resumes += 1
        self._resumed_at = self._left
        self._drop()
        await self._reopen(where)

    async def _reopen(self, where: str) -> None:
        etag = self.info.etag
        assert etag is not None
        first = self.range.offset + self.range.length - self._left
        rest = ByteRange(first, self.range.offset + self.range.length - 1)
        kept = {name: value for name, value in self._call.params.items() if name not in _AT_FIRST}
        call = evolve(
            self._call,
            params={**kept, "Range": str(rest), "IfMatch": quote_etag(etag)},
            subject=evolve(self._call.subject, if_match=etag),
        )
        try:
            answer = await self._client.call(call)
        except (PreconditionFailedError, RangeNotSatisfiableError) as error:
            raise self._changed(where) from error
        # Not every server honours If-Match.
        if unquote_etag(answer.get("ETag")) != etag:
            answer["Body"].close()
            raise self._changed(where)
        part = take(call, answer, rest)
        if part.range.length != self._left or part.range.offset != first:
            answer["Body"].close()
            raise self._changed(where)
        self._body = answer["Body"]
        self._skip = part.skip

    def _changed(self, where: str) -> PreconditionFailedError:
        return PreconditionFailedError(
            f"the connection broke {where}, and the object was replaced meanwhile: read it again",
            path=self._call.subject.path,
            operation="open_read",
            driver="s3",
        )

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _release(self) -> None:
        self._drop()
        if self._is_counted:
            self._client.stream_closed(self)

    @override
    async def aclose(self) -> None:
        # Nothing here waits, so a cancelled task closes as well as any other.
        self._closed = True
        self._release()


async def open_read(
    client: Client, path: str, parsed: ObjectPath, options: ReadOptions
) -> ReadStream:
    """Open an object.

    Raises:
        NotFoundError: There is none.
        RangeNotSatisfiableError: The range begins at or after its end.
        PreconditionFailedError: It is not as `if_match` or `if_unmodified_since` ask.
        NotModifiedError: It is as `if_none_match` or `if_modified_since` say.
        ValueError: A condition's time has no time zone.
    """
    params: dict[str, object] = {"Bucket": parsed.container, "Key": parsed.key}
    if options.range is not None:
        params["Range"] = str(options.range)
    conditional = is_conditional(options)
    if conditional:
        params |= condition_params(options)
    if options.response is not None:
        params |= response_params(options.response, path)
    if options.encryption is not None:
        params |= read_params(options.encryption)
    if options.version is not None:
        params["VersionId"] = options.version
    subject = Subject("open_read", path, bucket=parsed.container, if_match=options.if_match)
    call = Call("get_object", params, subject)
    answer = await client.call(call)
    part = take(call, answer, options.range)
    stream = S3ReadStream(client, call, answer, part, options.chunk_size_bytes)
    if conditional:
        try:
            check_conditions(options, stream.info)
        except StorageError:
            await stream.aclose()
            raise
    return stream


def take(call: Call, answer: Mapping[str, Any], asked: ByteRange | None) -> Slice:
    """What to take of an answer; closes its body if that fails."""
    headers = headers_of(answer)
    try:
        return slice_answer(asked, headers.get("content-range"), int(headers["content-length"]))
    except StorageError:
        answer["Body"].close()
        raise
    except (KeyError, ValueError) as error:
        answer["Body"].close()
        reason = "it has no Content-Length" if isinstance(error, KeyError) else str(error)
        raise TransportError(
            f"the answer can't be used: {reason}",
            path=call.subject.path,
            operation=call.subject.operation,
            driver="s3",
        ) from error


def kept_digest(
    client: Client, answer: Mapping[str, Any], checksum: Checksum | None
) -> Checksum | None:
    """What the bytes of an object are compared with; None if there is nothing for it.

    Args:
        client: Has the configuration.
        answer: Tells the object's entity tag.
        checksum: What it tells beside that.
    """
    if client.config.checksums == "off":
        return None
    if checksum is not None:
        return checksum if ALGORITHMS[checksum.algorithm].available else None
    if client.config.checksum_algorithm == "md5":
        return md5_of(answer, unquote_etag(answer.get("ETag")))
    return None


def md5_of(answer: Mapping[str, Any], etag: str | None) -> Checksum | None:
    """The MD5 that an entity tag is, if it is one.

    Not of an object that was sent in parts, nor of one that is encrypted with a key of KMS or
    the customer (API reference, Object, ETag).
    """
    headers = headers_of(answer)
    own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    if own_key or "kms" in headers.get("x-amz-server-side-encryption", ""):
        return None
    if etag is None or _MD5.fullmatch(etag) is None:
        return None
    return Checksum("md5", etag.lower())
