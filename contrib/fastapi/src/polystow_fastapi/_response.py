"""A stored object as an answer: ranges, conditions, safe types, redirection."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from anyio import EndOfStream
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from polystow import (
    ByteRange,
    ContentRange,
    ObjectHeaders,
    ObjectInfo,
    RangeNotSatisfiableError,
    ReadArguments,
    ResponseHeaders,
    Storage,
)
from polystow_fastapi._conditions import (
    Verdict,
    entity_tag,
    http_date,
    judge,
    last_modified,
    range_holds,
)
from polystow_fastapi._disposition import Disposition, content_disposition
from polystow_fastapi._problems import problem_response
from polystow_fastapi._ranges import requested_ranges
from polystow_fastapi._sending import send_body

_CHUNK_SIZE_BYTES = 1_048_576
_DEFAULT_TYPE = "application/octet-stream"
_ACTIVE_TYPES = frozenset(
    {
        *("text/html", "text/xml", "text/xsl", "text/javascript", "text/css"),
        *("image/svg+xml", "application/xml", "application/xhtml+xml", "application/javascript"),
        *("application/pdf", "application/x-shockwave-flash", "multipart/x-mixed-replace"),
    }
)


class StorageResponse(Response):
    """Sends an object, in constant memory.

    It answers HEAD, Range (several parts too), If-Range, If-Match, If-Unmodified-Since,
    If-None-Match and If-Modified-Since. What a browser would run in the site's name (HTML, SVG,
    XML, scripts) is sent as an attachment, and no type is guessed (`nosniff`), whoever uploaded
    it. An error before the first byte is raised, for `add_exception_handlers` to answer.

    Args:
        storage: The storage.
        file_id: Which object.
        disposition: `"inline"` lets the browser show it; `"attachment"` makes it save it.
        filename: The name to save it under; None for the original name.
        content_type: Instead of the one that is kept with the object.
        allow_active: Whether active types may be sent inline. Only for trusted uploads.
        cache_control: The header Cache-Control; None for the object's own, if it has one.
        version: This version of the object.
        redirect: How long a signed URL of the backend works that the client is sent to instead;
            None sends the bytes through this process. Drivers that sign no URLs send the bytes.
        headers: More headers.
    """

    def __init__(
        self,
        storage: Storage,
        file_id: str,
        *,
        disposition: Disposition = "attachment",
        filename: str | None = None,
        content_type: str | None = None,
        allow_active: bool = False,
        cache_control: str | None = None,
        version: str | None = None,
        redirect: timedelta | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, 200, headers)
        del self.headers["content-length"]
        self._storage = storage
        self._file_id = file_id
        self._disposition: Disposition = disposition
        self._filename = filename
        self._content_type = content_type
        self._allow_active = allow_active
        self._cache_control = cache_control
        self._version = version
        self._redirect = redirect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Headers(scope=scope)
        head = scope["method"] == "HEAD"
        if self._redirect is not None and self._signs():
            response = await self._redirection(head, self._redirect)
            await response(scope, receive, send)
        elif head or _needs_facts(request):
            info = await self._storage.stat(self._file_id, version=self._version)
            await self._answer(request, info, head, receive, send)
        else:
            async with self._storage.open_read(self._file_id, **self._reading(None)) as stream:
                self._describe(stream.info, stream.info.size)
                await self._start(send, 200)

                async def send_all(send_chunk: Callable[[bytes], Awaitable[None]]) -> None:
                    while True:
                        try:
                            chunk = await stream.receive(_CHUNK_SIZE_BYTES)
                        except EndOfStream:
                            return
                        await send_chunk(chunk)

                await send_body(receive, send, send_all)
        if self.background is not None:
            await self.background()

    async def _answer(
        self, request: Headers, info: ObjectInfo, head: bool, receive: Receive, send: Send
    ) -> None:
        verdict = judge(request, info)
        if verdict is not Verdict.PROCEED:
            self._describe(info, None)
            del self.headers["content-type"]
            await self._start(send, verdict.value)
            await send({"type": "http.response.body", "body": b""})
            return
        parts: Sequence[ContentRange] | None = None
        if info.size is not None and range_holds(request, info):
            try:
                parts = requested_ranges(request.get("range"), info.size)
            except RangeNotSatisfiableError as error:
                error.path = self._file_id
                await _send_unsatisfiable(error, info.size, head, send)
                return
        await self._send_parts(info, parts, head, receive, send)

    async def _send_parts(
        self,
        info: ObjectInfo,
        parts: Sequence[ContentRange] | None,
        head: bool,
        receive: Receive,
        send: Send,
    ) -> None:
        framing = _Framing(self._describe(info, None), info, parts)
        self.headers.update(framing.headers)
        await self._start(send, 200 if parts is None else 206)
        if head:
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_all(send_chunk: Callable[[bytes], Awaitable[None]]) -> None:
            for part, before in framing.pieces:
                await send_chunk(before)
                await self._send_part(part, info, send_chunk)
            await send_chunk(framing.end)

        await send_body(receive, send, send_all)

    async def _send_part(
        self,
        part: ContentRange | None,
        info: ObjectInfo,
        send_chunk: Callable[[bytes], Awaitable[None]],
    ) -> None:
        options = self._reading(part)
        if self._storage.route(self._file_id).capabilities.limits.if_match:
            options["if_match"] = info.etag
        async with self._storage.open_read(self._file_id, **options) as stream:
            while True:
                try:
                    chunk = await stream.receive(_CHUNK_SIZE_BYTES)
                except EndOfStream:
                    return
                await send_chunk(chunk)

    def _reading(self, part: ContentRange | None) -> ReadArguments:
        options = ReadArguments(version=self._version)
        if part is not None:
            options["range"] = ByteRange(part.offset, part.offset + part.length - 1)
        return options

    def _describe(self, info: ObjectInfo, length: int | None) -> str:
        """Set the headers that tell of the object; return its type."""
        kind, disposition = self._presentation(info.content_type)
        headers = self.headers
        headers["content-type"] = kind
        headers["x-content-type-options"] = "nosniff"
        headers["accept-ranges"] = "bytes"
        headers["content-disposition"] = content_disposition(
            disposition, self._filename or info.filename or info.file_id.rpartition("/")[2]
        )
        kept = info.headers or ObjectHeaders()
        for name, value in (
            ("content-encoding", kept.content_encoding),
            ("content-language", kept.content_language),
            ("cache-control", self._cache_control or kept.cache_control),
        ):
            # Whoever stored the object chose them: a line break would begin another header.
            if value is not None and value.isascii() and value.isprintable():
                headers[name] = value
        tag, modified = entity_tag(info), last_modified(info)
        if tag is not None:
            headers["etag"] = tag
        if modified is not None:
            headers["last-modified"] = http_date(modified)
        if length is not None:
            headers["content-length"] = str(length)
        return kind

    def _presentation(self, stored: str | None) -> tuple[str, Disposition]:
        kind = self._content_type or stored or _DEFAULT_TYPE
        if not kind.isascii() or not kind.isprintable():
            kind = _DEFAULT_TYPE
        media_type = kind.partition(";")[0].strip().lower()
        active = media_type in _ACTIVE_TYPES or media_type.endswith("+xml")
        if active and not self._allow_active:
            return kind, "attachment"
        return kind, self._disposition

    def _signs(self) -> bool:
        return self._storage.route(self._file_id).capabilities.presign is not None

    async def _redirection(self, head: bool, expires: timedelta) -> Response:
        limits = self._storage.route(self._file_id).capabilities.limits
        info = await self._storage.stat(self._file_id, version=self._version)
        kind = self._describe(info, None)
        override = ResponseHeaders(
            content_type=kind, content_disposition=self.headers["content-disposition"]
        )
        url = await self._storage.presign(
            self._file_id,
            "HEAD" if head else "GET",
            expires=expires,
            version=self._version,
            response=override if limits.response_headers else None,
        )
        # A stored redirect would outlive its signature.
        return RedirectResponse(url, 307, {"cache-control": "no-store"})

    async def _start(self, send: Send, status: int) -> None:
        await send({"type": "http.response.start", "status": status, "headers": self.raw_headers})


class _Framing:
    """How parts stand in a body: one as it is, several as multipart/byteranges.

    Attributes:
        headers: Content-Length where it is known, and what else the parts need.
        pieces: Each part with what stands before it; None for the whole object.
        end: What stands after the last.
    """

    def __init__(self, kind: str, info: ObjectInfo, parts: Sequence[ContentRange] | None) -> None:
        self.headers: dict[str, str] = {}
        self.pieces: list[tuple[ContentRange | None, bytes]] = []
        self.end = b""
        if parts is None:
            self.pieces.append((None, b""))
            if info.size is not None:
                self.headers["content-length"] = str(info.size)
            return
        if len(parts) == 1:
            self.pieces.append((parts[0], b""))
            self.headers["content-range"] = _content_range(parts[0])
            self.headers["content-length"] = str(parts[0].length)
            return
        boundary = secrets.token_hex(16)
        self.headers["content-type"] = f"multipart/byteranges; boundary={boundary}"
        for part in parts:
            head = (
                f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n"
                f"Content-Range: {_content_range(part)}\r\n\r\n"
            )
            self.pieces.append((part, head.encode() if self.pieces else head.lstrip().encode()))
        self.end = f"\r\n--{boundary}--\r\n".encode()
        framing = sum(len(head) for _, head in self.pieces) + len(self.end)
        length = framing + sum(part.length for part in parts)
        self.headers["content-length"] = str(length)


def _content_range(part: ContentRange) -> str:
    return f"bytes {part.offset}-{part.offset + part.length - 1}/{part.size}"


def _needs_facts(request: Headers) -> bool:
    return any(name == "range" or name.startswith("if-") for name in request)


async def _send_unsatisfiable(
    error: RangeNotSatisfiableError, size: int, head: bool, send: Send
) -> None:
    response = problem_response(error)
    headers = MutableHeaders(raw=list(response.raw_headers))
    headers["content-range"] = f"bytes */{size}"
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": headers.raw}
    )
    await send({"type": "http.response.body", "body": b"" if head else bytes(response.body)})
