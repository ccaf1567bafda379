"""From answers to what botocore makes of them, in a few microseconds: pure.

Listings and errors are read with expat; a document type declaration is refused, as no answer of
S3 has one and entities could make a small answer large.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, overload, override
from urllib.parse import unquote_plus
from xml.parsers import expat

from polystow_s3._documents import document_type
from polystow_s3._errors import Fault
from polystow_s3._lane._faults import LaneError, broken
from polystow_s3._lane._operations import Operation
from polystow_s3._times import parse_http_date, parse_retry_after, read_time

MAX_XML_BYTES = 16_777_216
"""A page of a thousand keys of 1,024 characters, each percent-encoded, has 10 MB."""

_MESSAGE_CHARACTERS = 300
_META = "x-amz-meta-"


def fields_of(operation: Operation, status: int, headers: dict[str, str]) -> dict[str, Any]:
    """An answer's headers, as the parsed answer of botocore has them.

    Raises:
        LaneError: A number or a time is none.
    """
    parsed: dict[str, Any] = {
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers, "RetryAttempts": 0}
    }
    fields = operation.fields
    metadata: dict[str, str] = {}
    for header, value in headers.items():
        found = fields.get(header)
        if found is None:
            if header.startswith(_META):
                metadata[header[len(_META) :]] = value
            continue
        field, convert = found
        if convert is None:
            parsed[field] = value
            continue
        try:
            parsed[field] = convert(value)
        except ValueError:
            if field != "Expires":  # which may be any text
                raise broken("garbled", f"{header} is {value[:80]!r}") from None
    if "expires" in headers and "expires" in fields:
        parsed["ExpiresString"] = headers["expires"]
    if operation.has_metadata:
        parsed["Metadata"] = metadata
    return parsed


def fault_of(status: int, headers: dict[str, str], body: bytes) -> Fault:
    """What an answer says that is an error (API reference, "REST error responses")."""
    from http.client import responses  # 5 ms of imports, for errors alone

    code, message = str(status), responses.get(status, "")
    stripped = body.strip()
    if stripped and not (status >= 500 and stripped.startswith(b"<html>")):
        document = None if document_type(body) else _read_document(body)
        if document is not None:
            fields = document.fields
            code, message = fields.get("Code", ""), fields.get("Message", "")
    return Fault(
        "answer",
        code=code,
        status=status,
        message=message[:_MESSAGE_CHARACTERS],
        retry_after_s=parse_retry_after(headers.get("retry-after")),
        server_time=parse_http_date(headers.get("date", "")),
        foreign=bool(stripped) and code in {"", str(status)},
    )


def is_error(body: bytes) -> bool:
    """Whether what came with a status of success is an error after all, or broke off."""
    if not body:
        return False
    document = _read_document(body)
    return document is None or document.root == "Error"


def document_of(body: bytes, fields: frozenset[str]) -> dict[str, Any]:
    """The fields of a small document.

    Raises:
        LaneError: It describes an error, or broke off.
    """
    document = _read_document(body) if body else None
    if body and (document is None or document.root == "Error"):
        raise LaneError(fault_of(500, {}, body))
    found = {} if document is None else document.children
    return {name: text for name, text in found.items() if name in fields}


class _Document(NamedTuple):
    root: str
    children: dict[str, str]  # of the root
    fields: dict[str, str]  # of the element Error


def _read_document(body: bytes) -> _Document | None:
    # None for what is no XML.
    found: dict[str, str] = {}
    children: dict[str, str] = {}
    path: list[str] = []
    root: list[str] = []
    text: list[str] = []

    def start(name: str, _: dict[str, str]) -> None:
        path.append(name.rpartition(":")[2])
        if not root:
            root.append(path[0])
        text.clear()

    def end(_: str) -> None:
        if 2 <= len(path) <= 3 and path[-2] == "Error":
            found.setdefault(path[-1], "".join(text))
        if len(path) == 2:
            children[path[-1]] = "".join(text)
        path.pop()
        text.clear()

    try:
        _parse(body, start, end, text.append)
    except expat.ExpatError:
        return None
    return _Document(root[0], children, found)


_PAGE_NUMBERS = frozenset({"KeyCount", "MaxKeys"})
_PAGE_TEXTS = frozenset({"Name", "Prefix", "Delimiter", "EncodingType", "ContinuationToken",
                         "NextContinuationToken", "StartAfter"})  # fmt: skip
_ENCODED = ("Delimiter", "Prefix", "StartAfter")


def page_of(body: bytes) -> dict[str, Any]:
    """A page of ListObjectsV2, keys decoded.

    Raises:
        LaneError: It is no XML, or what it says is no page.
    """
    if kind := document_type(body):
        raise broken("garbled", f"it is {kind}")
    reader = _PageReader()
    try:
        rest = reader.take_usual_entries(body)
        if body:
            _parse(rest, reader.start, reader.end, reader.text)
    except expat.ExpatError:
        # It broke off, as botocore sees it.
        raise LaneError(fault_of(500, {}, body)) from None
    except ValueError as error:
        raise broken("garbled", f"the page can't be read: {error}") from None
    if reader.root == "Error":
        raise LaneError(fault_of(500, {}, body))
    return reader.page()


_USUAL_ENTRY = re.compile(
    r"<Contents><Key>([^<&]*)</Key><LastModified>([^<&]*(?:Z|[+-][0-9:]{5}))</LastModified>"
    r"<ETag>(?:&quot;|\")([^<&\"]*)(?:&quot;|\")</ETag>"
    r"<Size>([0-9]+)</Size><StorageClass>([A-Z_]*)</StorageClass></Contents>"
)
_USUAL_TAGS = 12


class UsualEntries(Sequence[dict[str, Any]]):
    """Entries of a page that all have the usual form; each is made when somebody asks for it.

    Args:
        rows: Key, time, entity tag without quotes, size and storage class of each.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: list[tuple[str, datetime, str, int, str]]) -> None:
        self.rows = rows

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    @override
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        key, modified, etag, size, storage_class = self.rows[index]
        return {
            "Key": key,
            "LastModified": modified,
            "ETag": f'"{etag}"',
            "Size": size,
            "StorageClass": storage_class,
        }

    @override
    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, UsualEntries) else other)

    __hash__ = None  # type: ignore[assignment]

    @override
    def __repr__(self) -> str:
        return repr(list(self))


class _PageReader:
    """Collects a page; see `page_of`."""

    def __init__(self) -> None:
        self._page: dict[str, Any] = {}
        self._contents: list[dict[str, Any]] = []
        self._usual: UsualEntries | None = None
        self._prefixes: list[dict[str, Any]] = []
        self._owner: dict[str, Any] | None = None
        self._entry: dict[str, Any] | None = None
        self._depth = 0
        self.root = ""
        self._text: list[str] = []

    def take_usual_entries(self, body: bytes) -> bytes:
        """Take entries of the usual form out of a page, in a fifth of expat's time.

        Returns:
            What is left for expat: all of it, if anything among them is of another form.
        """
        first, last = body.find(b"<Contents>"), body.rfind(b"</Contents>") + len(b"</Contents>")
        if first < 0 or last < first:
            return body
        try:
            text = body[first:last].decode()
        except UnicodeDecodeError:
            return body
        found = _USUAL_ENTRY.findall(text)
        # No tag stands between them or within them that was not seen, nor a comment.
        if text.count("<") != _USUAL_TAGS * len(found):
            return body
        read = datetime.fromisoformat
        try:
            self._usual = UsualEntries(
                [
                    (key, read(modified), etag, int(size), storage_class)
                    for key, modified, etag, size, storage_class in found
                ]
            )
        except ValueError:
            return body
        return body[:first] + body[last:]

    def start(self, name: str, _: dict[str, str]) -> None:
        self._depth += 1
        self._text.clear()
        if self._depth == 1:
            self.root = name
        elif self._depth == 2 and name in {"Contents", "CommonPrefixes"}:
            self._entry = {}
            (self._contents if name == "Contents" else self._prefixes).append(self._entry)
        elif self._depth == 3 and name == "Owner":
            self._owner = {}

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, name: str) -> None:
        self._depth -= 1
        depth, entry = self._depth, self._entry
        if depth == 2 and entry is not None:
            self._entry_field(entry, name, "".join(self._text))
        elif depth == 3 and self._owner is not None:
            self._owner[name] = "".join(self._text)
        elif depth == 1:
            if entry is not None:
                self._entry = None
            else:
                self._page_field(name, "".join(self._text))
        self._text.clear()

    def _entry_field(self, entry: dict[str, Any], name: str, text: str) -> None:
        match name:
            case "Key" | "Prefix" | "ETag" | "StorageClass" | "ChecksumType":
                entry[name] = text
            case "Size":
                entry[name] = int(text)
            case "LastModified":
                entry[name] = read_time(text)
            case "ChecksumAlgorithm":
                entry.setdefault(name, []).append(text)
            case "Owner":
                entry[name], self._owner = self._owner, None
            case _:
                pass

    def _page_field(self, name: str, text: str) -> None:
        if name in _PAGE_TEXTS:
            self._page[name] = text
        elif name in _PAGE_NUMBERS:
            self._page[name] = int(text)
        elif name == "IsTruncated":
            self._page[name] = text == "true"

    def page(self) -> dict[str, Any]:
        """All of it."""
        if self.root != "ListBucketResult":
            return {}
        page = self._page
        if self._usual is not None:
            page["Contents"] = self._usual
        elif self._contents:
            page["Contents"] = self._contents
        if self._prefixes:
            page["CommonPrefixes"] = self._prefixes
        if page.get("EncodingType") == "url":
            for name in _ENCODED:
                if name in page:
                    page[name] = unquote_plus(page[name])
            if self._usual is not None:
                rows = self._usual.rows
                for place, row in enumerate(rows):
                    if "%" in row[0] or "+" in row[0]:
                        rows[place] = (unquote_plus(row[0]), *row[1:])
            for entries, name in ((self._contents, "Key"), (self._prefixes, "Prefix")):
                for entry in entries:
                    text = entry[name]
                    if "%" in text or "+" in text:
                        entry[name] = unquote_plus(text)
        return page


def _parse(
    body: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], object],
) -> None:
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(body, True)


def _refuse(*_: object) -> None:
    raise broken("garbled", "it is XML with a DTD")
