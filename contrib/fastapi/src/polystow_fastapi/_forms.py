"""Forms with files (multipart/form-data, RFC 7578), parsed while they arrive."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from enum import Enum

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from polystow_fastapi._uploads import UploadLimits, body_chunks, limited

_MAX_HEADERS_BYTES = 16_384
_MAX_FIELDS_BYTES = 1_048_576


class FormFile:
    """A file of a form, for `async for`: `await storage.upload(file.filename, file)`.

    It is read while it arrives, so before the next file is asked for.

    Attributes:
        field: The form field's name.
        filename: The file's name, without folders; `"unknown"` where the client gives none.
        content_type: The media type that the client says; None if it says none.
    """

    def __init__(
        self, field: str, filename: str, content_type: str | None, chunks: AsyncIterator[bytes]
    ) -> None:
        self.field = field
        self.filename = filename
        self.content_type = content_type
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


class FormFiles:
    """The files of a form, in the order that they arrive; `form_files` makes it.

    Attributes:
        fields: The text fields that have arrived so far; of equal names the last.
    """

    def __init__(self, request: Request, limits: UploadLimits, max_files: int) -> None:
        self.fields: dict[str, str] = {}
        self._limits = limits
        self._max_files = max_files
        self._parts = _Parts(_boundary(request))
        self._chunks = body_chunks(request, limits)
        self._fields_bytes = 0

    async def __aiter__(self) -> AsyncGenerator[FormFile]:
        files = 0
        while (headers := await self._next_headers()) is not None:
            _, options = parse_options_header(headers.get(b"content-disposition"))
            field = _text(options.get(b"name", b""))
            if b"filename" not in options:
                self.fields[field] = await self._read_field()
                continue
            files += 1
            if files > self._max_files:
                raise HTTPException(413, f"the form has more than {self._max_files} files")
            content_type = headers.get(b"content-type")
            yield FormFile(
                field,
                _text(options[b"filename"]).replace("\\", "/").rpartition("/")[2] or "unknown",
                None if content_type is None else content_type.decode("latin-1"),
                limited(self._content(), self._limits),
            )
            while self._parts.reading:  # what the caller left unread
                async for _ in self._content():
                    pass

    async def _read_field(self) -> str:
        value = bytearray()
        async for chunk in self._content():
            value += chunk
            self._fields_bytes += len(chunk)
            if self._fields_bytes > _MAX_FIELDS_BYTES:
                raise HTTPException(413, "the form's text fields are too long")
        return _text(bytes(value))

    async def _next_headers(self) -> Mapping[bytes, bytes] | None:
        event = await self._next_event()
        assert not isinstance(event, bytes)
        return None if isinstance(event, _End) else event

    async def _content(self) -> AsyncGenerator[bytes]:
        while self._parts.reading:
            event = await self._next_event()
            if isinstance(event, bytes):
                yield event
            else:
                assert event is _End.PART
                self._parts.reading = False

    async def _next_event(self) -> "_Event":
        events = self._parts.events
        while not events:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise HTTPException(400, "the form ends before its last boundary")
            self._parts.feed(chunk)
        event = events.popleft()
        if isinstance(event, dict):
            self._parts.reading = True
        return event


def form_files(
    request: Request,
    *,
    limits: UploadLimits = UploadLimits(),  # noqa: B008 - frozen
    max_files: int = 100,
) -> FormFiles:
    """The files of a form, read while they arrive: nothing is spooled to memory or disk.

    ```python
    form = form_files(request)
    async for file in form:
        info = await storage.upload(file.filename, file, content_type=file.content_type)
    ```

    Args:
        request: With the content type multipart/form-data.
        limits: What each file may take.
        max_files: How many there may be.

    Raises:
        HTTPException: It is no such form or a malformed one (400, 415), the client was idle for
            too long (408), or there is too much (413); the last three while it is read.
        FileTooLargeError: While it is read: a file is over the size limit.
    """
    return FormFiles(request, limits, max_files)


class _End(Enum):
    PART = "part"
    FORM = "form"


type _Event = dict[bytes, bytes] | bytes | _End


class _Parts:
    """What the parser tells, in order: headers of a part, its content, its end.

    Attributes:
        events: What was told and not taken yet; bounded by one chunk of the request.
        reading: Whether the content of a part is being taken.
    """

    def __init__(self, boundary: bytes) -> None:
        self.events: deque[_Event] = deque()
        self.reading = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._headers_bytes = 0
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_to_name,
                    "on_header_value": self._add_to_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": lambda: self.events.append(self._headers),
                    "on_part_data": self._add_content,
                    "on_part_end": lambda: self.events.append(_End.PART),
                    "on_end": lambda: self.events.append(_End.FORM),
                },
            )
        except FormParserError as error:
            raise HTTPException(400, "the form's boundary is too long") from error

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise HTTPException(400, f"the form is malformed: {error}") from error

    def _begin(self) -> None:
        self._headers, self._headers_bytes = {}, 0

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, length: int) -> None:
        self._headers_bytes += length
        if self._headers_bytes > _MAX_HEADERS_BYTES:
            raise HTTPException(400, "the headers of a part of the form are too long")

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self.events.append(data[start:end])


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise HTTPException(415, "send a form: the content type is not multipart/form-data")
    boundary = options.get(b"boundary")
    if not boundary:
        raise HTTPException(400, "the content type multipart/form-data has no boundary")
    return boundary


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
