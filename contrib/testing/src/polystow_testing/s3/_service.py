"""The HTTP side of a `DiskS3Server`: one handler that streams both ways and obeys the faults."""

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256

import attrs
from aiohttp import web

from polystow_testing.s3._checksums import PREFIX, Summing, sent_checksum
from polystow_testing.s3._chunked import AwsChunkedDecoder, AwsChunkedError
from polystow_testing.s3._faults import (
    Action,
    AnswerBytes,
    AnswerRange,
    AnswerStatus,
    CloseConnection,
    CloseDuringRequest,
    DelayReply,
    EmptyPage,
    ErrorIn200,
    Faults,
    Stall,
    StopReading,
)
from polystow_testing.s3._operations import (
    OPERATIONS,
    check_read,
    check_write,
    find_bucket,
    find_object,
    find_upload,
    kept_headers,
    object_headers,
    resolve_range,
)
from polystow_testing.s3._requests import (
    Answer,
    S3Error,
    S3Request,
    error_answer,
    parse_request,
    xml_answer,
)
from polystow_testing.s3._signatures import Credentials, check_signature
from polystow_testing.s3._store import Content, Store, StoredObject, read_blocks
from polystow_testing.s3._upload_operations import UPLOAD_OPERATIONS

_BLOCK_BYTES = 262_144
_STALL_CHECK_S = 0.02
_FUNCTIONS = {**OPERATIONS, **UPLOAD_OPERATIONS}
_STREAMED = frozenset({"PutObject", "UploadPart"})


@attrs.define
class Counters:
    """What a server has seen.

    Attributes:
        requests: How many of each operation have begun.
        answered: How many of each operation have ended.
        running: How many of each operation are under way.
        peak: The most of each operation that were under way at once.
    """

    requests: Counter[str] = attrs.field(factory=Counter[str])
    answered: Counter[str] = attrs.field(factory=Counter[str])
    running: Counter[str] = attrs.field(factory=Counter[str])
    peak: Counter[str] = attrs.field(factory=Counter[str])

    def begin(self, operation: str) -> None:
        """A request has come."""
        self.requests[operation] += 1
        self.running[operation] += 1
        self.peak[operation] = max(self.peak[operation], self.running[operation])

    def end(self, operation: str) -> None:
        """It is done with."""
        self.running[operation] -= 1
        self.answered[operation] += 1


class _Gone(Exception):
    """The connection was closed, by a fault or by the client."""


class Service:
    """Answers requests.

    Args:
        store: What it keeps.
        faults: What goes wrong.
        credentials: What requests have to be signed with; None for anything.
    """

    def __init__(self, store: Store, faults: Faults, credentials: Credentials | None) -> None:
        self.store = store
        self.faults = faults
        self.counters = Counters()
        self.stopping = False
        self._credentials = credentials

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        headers = {name.lower(): value for name, value in http.headers.items()}
        try:
            request = parse_request(http.method, http.raw_path, headers)
        except UnicodeDecodeError:
            return web.Response(status=400)
        self.counters.begin(request.operation)
        try:
            return await self._handle(http, request, headers)
        except (_Gone, ConnectionError):
            if http.transport is not None:
                http.transport.close()
            return web.Response(status=500)
        finally:
            self.counters.end(request.operation)

    async def _handle(
        self, http: web.BaseRequest, request: S3Request, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        action = self.faults.on_request(request.operation, request.key)
        try:
            if self._credentials is not None:
                code = check_signature(http.method, http.raw_path, headers, self._credentials)
                if code is not None:
                    raise S3Error(code)
            if isinstance(action, CloseDuringRequest | StopReading):
                await self._break_request(http, action)
            if self.store.checksums == "refused" and _speaks_of_checksums(headers):
                raise S3Error("UnsupportedHeader")
            answer = await self._replacement(http, action)
            if answer is None and request.operation in {"GetObject", "HeadObject"}:
                return await self._read(http, request, headers, action)
            if answer is None:
                answer = await self._carry_out(http, request, headers)
                if isinstance(action, ErrorIn200):
                    answer = error_answer(200, action.code, "a fault of the test")
        except S3Error as error:
            answer = error.answer
        return await self._send(http, answer, action)

    async def _replacement(self, http: web.BaseRequest, action: Action | None) -> Answer | None:
        answer: Answer | None = None
        match action:
            case AnswerStatus(status=status, code=code, headers=extra):
                answer = error_answer(status, code, "a fault of the test", extra)
            case AnswerBytes(data=data):
                answer = Answer(200, data)
            case ErrorIn200(code=code, carry_out=False):
                answer = error_answer(200, code, "a fault of the test")
            case EmptyPage():
                token = dict(http.query).get("continuation-token") or "%01"
                answer = xml_answer(
                    "ListBucketResult",
                    {"KeyCount": 0, "IsTruncated": True, "NextContinuationToken": token},
                )
            case _:
                return None
        _continue(http)
        async for _ in http.content.iter_chunked(_BLOCK_BYTES):
            pass
        return answer

    async def _break_request(
        self, http: web.BaseRequest, action: CloseDuringRequest | StopReading
    ) -> None:
        await _read_some(http, action.after_bytes)
        if isinstance(action, StopReading):
            await self._stall(http)
        raise _Gone

    async def _stall(self, http: web.BaseRequest) -> None:
        # aiohttp does not tell a handler of a lost client, unless it may be cancelled by it.
        while not self.stopping and _is_connected(http):
            await asyncio.sleep(_STALL_CHECK_S)
            # On TLS a transport whose reading is paused does not see its end.
            reading = http.transport
            if isinstance(reading, asyncio.ReadTransport) and not reading.is_reading():
                reading.resume_reading()
        raise _Gone

    async def _carry_out(
        self, http: web.BaseRequest, request: S3Request, headers: Mapping[str, str]
    ) -> Answer:
        if request.operation in _STREAMED:
            return await self._receive(http, request, headers)
        function = _FUNCTIONS.get(request.operation)
        if function is None:
            raise S3Error("NotImplemented")
        body = b"".join([bytes(block) async for block in _decoded(http, headers, {})])
        return function(self.store, request, body, headers)

    async def _receive(
        self, http: web.BaseRequest, request: S3Request, headers: Mapping[str, str]
    ) -> Answer:
        if request.operation == "UploadPart":
            upload = find_upload(self.store, request)
            number = int(request.query["partNumber"])
            if not 1 <= number <= 10_000:
                raise S3Error("InvalidArgument")
            content = await self._content(http, headers)
            find_upload(self.store, request)
            upload.parts[number] = content
        else:
            find_bucket(self.store, request.bucket)
            check_write(self.store, request, headers)
            kept = kept_headers(headers)
            content = await self._content(http, headers)
            # Again: another write may have come in between.
            check_write(self.store, request, headers)
            checksum = content.checksum
            self.store.put(request.bucket, request.key, (content,), kept, checksum=checksum)
        told = {} if content.checksum is None else content.checksum.headers
        return Answer(200, headers={"ETag": f'"{content.etag}"', **told})

    async def _content(self, http: web.BaseRequest, headers: Mapping[str, str]) -> Content:
        receiver = self.store.receiver()
        given = headers.get("x-amz-content-sha256", "")
        hashing = sha256() if self.store.digests and len(given) == 64 else None
        trailers: dict[str, str] = {}
        known = self.store.checksums == "known"
        checksum = sent_checksum(headers) if known else None
        announced = headers.get("x-amz-trailer", "").removeprefix(PREFIX) if known else ""
        algorithm = announced if checksum is None else checksum.algorithm
        verified = algorithm and self.store.digests
        summing = Summing(algorithm) if verified else None
        try:
            async for block in _decoded(http, headers, trailers):
                receiver.write(block)
                for sink in (hashing, summing):
                    if sink is not None:
                        sink.update(block)
            length = headers.get("x-amz-decoded-content-length", headers.get("content-length"))
            if length is None:
                raise S3Error("MissingContentLength")
            if receiver.size != int(length):
                raise S3Error("IncompleteBody")
            if hashing is not None and hashing.hexdigest() != given:
                raise S3Error("XAmzContentSHA256Mismatch")
            md5 = headers.get("content-md5")
            if md5 and receiver.md5 is not None and base64.b64decode(md5) != receiver.md5:
                raise S3Error("BadDigest")
            if known:
                checksum = sent_checksum({**headers, **trailers})
            made = None if summing is None else summing.value
            if checksum is not None and made not in {None, checksum.value}:
                raise S3Error("BadDigest")
        except BaseException:
            receiver.discard()
            raise
        return receiver.finish(checksum)

    async def _read(
        self, http: web.BaseRequest, request: S3Request, headers: Mapping[str, str],
        action: Action | None,
    ) -> web.StreamResponse:  # fmt: skip
        style = action.style if isinstance(action, AnswerRange) else "206"
        wanted = None if style == "ignored" else headers.get("range")
        try:
            stored = find_object(self.store, request.bucket, request.key)
            check_read(stored, headers)
            asked = resolve_range(wanted, stored.size)
        except S3Error as error:
            answer = error.answer
            if request.operation == "HeadObject":
                answer = Answer(answer.status)
            return await self._send(http, answer, action)
        response = web.StreamResponse(headers=object_headers(stored, headers))
        offset, length = (0, stored.size) if asked is None else asked
        if asked is not None:
            response.set_status(206 if style == "206" else 200)
            last = offset + length - 1
            response.headers["Content-Range"] = f"bytes {offset}-{last}/{stored.size}"
        response.content_length = length
        if isinstance(action, DelayReply):
            await asyncio.sleep(action.delay_s)
        if isinstance(action, CloseConnection | Stall) and action.after_bytes is None:
            await self._break_reply(http, action)
        await response.prepare(http)
        if request.operation == "GetObject":
            await self._stream(http, response, stored, offset, length, action)
        await response.write_eof()
        return response

    async def _stream(
        self, http: web.BaseRequest, response: web.StreamResponse, stored: StoredObject,
        offset: int, length: int, action: Action | None,
    ) -> None:  # fmt: skip
        limit = length
        if isinstance(action, CloseConnection | Stall) and action.after_bytes is not None:
            limit = min(length, action.after_bytes)
        for block in read_blocks(stored, offset, limit, _BLOCK_BYTES):
            await response.write(block)
        if isinstance(action, CloseConnection | Stall):
            await self._break_reply(http, action)

    async def _send(
        self, http: web.BaseRequest, answer: Answer, action: Action | None
    ) -> web.StreamResponse:
        if isinstance(action, DelayReply):
            await asyncio.sleep(action.delay_s)
        if isinstance(action, CloseConnection | Stall):
            if action.after_bytes is None:
                await self._break_reply(http, action)
            else:
                response = web.StreamResponse(status=answer.status, headers=answer.headers)
                response.content_length = len(answer.body)
                await response.prepare(http)
                await response.write(answer.body[: action.after_bytes])
                await self._break_reply(http, action)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _break_reply(self, http: web.BaseRequest, action: CloseConnection | Stall) -> None:
        if isinstance(action, Stall):
            await self._stall(http)
        elif action.reset and http.transport is not None:
            http.transport.abort()
        raise _Gone


def _speaks_of_checksums(headers: Mapping[str, str]) -> bool:
    return any(name.startswith(PREFIX) for name in headers if name != PREFIX + "mode")


def _is_connected(http: web.BaseRequest) -> bool:
    return http.transport is not None and not http.transport.is_closing()


def _continue(http: web.BaseRequest) -> None:
    # RFC 9110, section 10.1.1: sent when the body is wanted, so not before an early error.
    if http.headers.get("Expect", "").lower() == "100-continue" and http.transport is not None:
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _read_some(http: web.BaseRequest, limit: int) -> None:
    _continue(http)
    while limit > 0:
        block = await http.content.read(min(limit, _BLOCK_BYTES))
        if not block:
            return
        limit -= len(block)


async def _decoded(
    http: web.BaseRequest, headers: Mapping[str, str], trailers: dict[str, str]
) -> AsyncIterator[bytes | memoryview]:
    _continue(http)
    chunked = "aws-chunked" in headers.get("content-encoding", "")
    if not chunked and not headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        async for block in http.content.iter_any():
            yield block
        return
    decoder = AwsChunkedDecoder()
    with contextlib.suppress(asyncio.IncompleteReadError):
        async for block in http.content.iter_any():
            try:
                pieces = decoder.feed(block)
            except AwsChunkedError:
                raise S3Error("IncompleteBody") from None
            for piece in pieces:
                yield piece
    if not decoder.finished:
        raise S3Error("IncompleteBody")
    trailers.update(decoder.trailers)
