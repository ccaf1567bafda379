"""Uploads: a request's body goes to the storage as it arrives, and is spooled nowhere."""

from collections.abc import AsyncIterator
from typing import Any, Unpack

import anyio
from attrs import Attribute, field, frozen
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from polystow import FileTooLargeError, ObjectInfo, Storage, StreamBody, UploadArguments


def _above_zero(_: object, attribute: "Attribute[Any]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} is {value}; it has to be above 0, or None")


@frozen
class UploadLimits:
    """What an upload may take.

    Attributes:
        max_size_bytes: The most bytes of one file, whatever was declared
            (`FileTooLargeError`, status 413); None for no limit.
        idle_timeout_s: How long the client may send nothing, in seconds (status 408); None for
            no limit.
    """

    max_size_bytes: int | None = field(default=None, validator=_above_zero)
    idle_timeout_s: float | None = field(default=60.0, validator=_above_zero)

    def check_size(self, size_bytes: int | None) -> None:
        """Refuse a size that is known to be over the limit.

        Raises:
            FileTooLargeError: It is.
        """
        limit = self.max_size_bytes
        if limit is not None and size_bytes is not None and size_bytes > limit:
            raise FileTooLargeError(f"the file is larger than {limit} bytes", operation="upload")


async def body_chunks(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    """The body of a request as it arrives, within the time limit.

    Raises:
        ClientDisconnect: The client went away.
        HTTPException: It was idle for too long (status 408).
    """
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(limits.idle_timeout_s):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise HTTPException(408, "the request's body stopped arriving") from error
        if chunk is None:
            return
        if chunk:
            yield chunk


async def limited(chunks: AsyncIterator[bytes], limits: UploadLimits) -> AsyncIterator[bytes]:
    """Chunks of one file, within its size limit.

    Raises:
        FileTooLargeError: There are more.
    """
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        limits.check_size(received)
        yield chunk


def request_body(request: Request, limits: UploadLimits = UploadLimits()) -> StreamBody:
    """The body of a request as content for any write; it is read as it arrives.

    Args:
        request: Its Content-Length is the body's size; a body of another length is refused.
        limits: What the body may take.

    Raises:
        FileTooLargeError: Over the size limit; also while it is read.
        HTTPException: Content-Length is none (400); while it is read, the client was idle for
            too long (408).
    """
    size = _content_length(request)
    limits.check_size(size)
    return StreamBody(limited(body_chunks(request, limits), limits), size)


async def upload_body(
    request: Request,
    storage: Storage,
    filename: str,
    *,
    folder: str | None = None,
    container: str | None = None,
    limits: UploadLimits = UploadLimits(),
    **arguments: Unpack[UploadArguments],
) -> ObjectInfo:
    """Store the body of a request as a new object.

    Args:
        request: Its Content-Length is the object's size; a body of another length is refused.
            Its Content-Type is kept, unless the arguments have one.
        storage: The storage.
        filename: The original name.
        folder: As in `Storage.upload`, as are the other arguments.
        container: As in `Storage.upload`.
        limits: What the upload may take.
        **arguments: As in `Storage.upload`.

    Returns:
        The object. A request that fails or is cancelled leaves nothing behind.

    Raises:
        FileTooLargeError: Over the size limit.
        TruncatedBodyError: The body has not the declared length.
        HTTPException: The client was idle for too long (408), or Content-Length is none (400).
        ClientDisconnect: The client went away.
    """
    body = request_body(request, limits)
    arguments.setdefault("content_type", request.headers.get("content-type"))
    return await storage.upload(filename, body, folder=folder, container=container, **arguments)


async def upload_file(
    storage: Storage,
    file: UploadFile,
    *,
    folder: str | None = None,
    container: str | None = None,
    limits: UploadLimits = UploadLimits(),
    **arguments: Unpack[UploadArguments],
) -> ObjectInfo:
    """Store an `UploadFile` as a new object.

    Starlette has it in memory, or from 1 MiB on in a temporary file; it is read from there, and
    read again where a request to the backend is repeated. `form_files` needs no such file.

    Args:
        storage: The storage.
        file: The file; it is not closed.
        folder: As in `Storage.upload`, as are the other arguments.
        container: As in `Storage.upload`.
        limits: What the upload may take.
        **arguments: As in `Storage.upload`; the content type is the file's own by default.

    Raises:
        FileTooLargeError: Over the size limit.
    """
    limits.check_size(file.size)
    arguments.setdefault("content_type", file.content_type)
    return await storage.upload(
        file.filename or "unknown", file.file, folder=folder, container=container, **arguments
    )


def _content_length(request: Request) -> int | None:
    value = request.headers.get("content-length")
    if value is None or "transfer-encoding" in request.headers:
        return None
    if not (value.isascii() and value.isdigit()):
        raise HTTPException(400, "Content-Length is no number")
    return int(value)
