"""Answers as they are read and parsed: bounded, without a DTD, and told from a proxy's pages."""

# mypy: disable-error-code="import-untyped,misc"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from typing import Any, override

import aiohttp
from aiobotocore.parsers import AioResponseParserFactory, AioRestXMLParser
from botocore.parsers import ResponseParserError

from polystow_s3._documents import document_type

MAX_ANSWER_BYTES = 16 * 1_048_576
"""The most that is read of an answer that is no object. A thousand keys of 1024 bytes, each
escaped, are about 7 MiB."""

FOREIGN = "PolystowForeign"
"""In a parsed error: its body is none of S3's."""


class AnswerTooLongError(Exception):
    """An answer has more bytes than any of S3's."""


class ProxyRefusedError(Exception):
    """The proxy opened no way to the service; in place of aiohttp's, which shows its password."""


class CappedResponse(aiohttp.ClientResponse):
    """Reads no more of a whole body than S3 can have sent; object bodies are streamed instead."""

    @override
    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._read_capped()
            except BaseException:
                self.close()
                raise
        return self._body

    async def _read_capped(self) -> bytes:
        if self.method != "HEAD" and (self.content_length or 0) > MAX_ANSWER_BYTES:
            raise AnswerTooLongError(f"it says to have {self.content_length} bytes")
        chunks: list[bytes] = []
        left = MAX_ANSWER_BYTES
        while chunk := await self.content.readany():
            left -= len(chunk)
            if left < 0:
                raise AnswerTooLongError(f"it has more than {MAX_ANSWER_BYTES} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


class _Parser(AioRestXMLParser):
    @override
    async def parse(self, response: Any, shape: Any) -> Any:
        try:
            parsed: Any = await super().parse(response, shape)
        except ResponseParserError:
            raise
        except _NOT_AS_PROMISED as error:
            # botocore takes it for granted that numbers are numbers.
            name = type(error).__name__
            raise ResponseParserError(f"it is not what the API promises ({name})") from None
        body, status = response["body"], response["status_code"]
        if status >= 300 and isinstance(body, bytes) and body.strip():
            described: Any = parsed.get("Error")
            if described is not None and described.get("Code") in {str(status), "", None}:
                described[FOREIGN] = True
        return parsed


_NOT_AS_PROMISED = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


def refuse_dtd(response_dict: dict[str, Any], **_: object) -> None:
    """For `before-parse`: whatever parses it must not meet a document type.

    Raises:
        ResponseParserError: An answer that says that all went well has one.
    """
    body: object = response_dict["body"]
    kind = document_type(body) if isinstance(body, bytes) else None
    if kind is None:
        return
    if response_dict["status_code"] < 300:
        raise ResponseParserError(f"it is {kind}")
    response_dict["body"] = b"no XML of S3's"


def stop_asking(
    request_dict: dict[str, Any], response: tuple[object, dict[str, Any]] | None, **_: object
) -> None:
    """For `needs-retry` of HeadBucket: where the answer tells no region, no other will.

    aiobotocore asks HeadBucket for the region of a bucket that it is redirected from, also when it
    was HeadBucket that was redirected, without end.
    """
    if response is None:
        return
    headers: dict[str, str] = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if "x-amz-bucket-region" not in headers:
        request_dict["context"].setdefault("s3_redirect", {})["redirected"] = True


class ParserFactory(AioResponseParserFactory):
    """Gives the parser above for S3; for the others, such as STS, aiobotocore's."""

    @override
    def create_parser(self, protocol_name: str) -> Any:
        if protocol_name == "rest-xml":
            defaults: dict[str, Any] = self._defaults
            return _Parser(**defaults)
        return super().create_parser(protocol_name)
