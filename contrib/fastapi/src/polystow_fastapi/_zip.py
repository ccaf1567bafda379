"""A zip of stored objects as an answer, made while it is sent."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from polystow import Storage, ZipMember
from polystow_fastapi._disposition import content_disposition
from polystow_fastapi._sending import send_body


class ZipResponse(Response):
    """Sends objects of any drivers as one archive, in constant memory.

    The archive begins when its first member could be opened: an error before that is raised, for
    `add_exception_handlers` to answer. One after it breaks the connection off, so that nobody
    takes the archive for whole.

    Args:
        storage: The storage.
        members: Ids, or ids with the name that they shall have in the archive.
        filename: The name to save the archive under.
        compress_level: As in `Storage.zip`.
        on_error: As in `Storage.zip`.
        headers: More headers.
    """

    media_type = "application/zip"

    def __init__(
        self,
        storage: Storage,
        members: Iterable[str | ZipMember],
        *,
        filename: str = "files.zip",
        compress_level: int = 6,
        on_error: Literal["fail", "skip"] = "fail",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, 200, headers)
        del self.headers["content-length"]
        self.headers["content-disposition"] = content_disposition("attachment", filename)
        self.headers["x-content-type-options"] = "nosniff"
        self._archive = storage.zip(members, compress_level=compress_level, on_error=on_error)

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        archive = self._archive
        try:
            first = await anext(archive)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

            async def send_all(send_chunk: Callable[[bytes], Awaitable[None]]) -> None:
                await send_chunk(first)
                async for chunk in archive:
                    await send_chunk(chunk)

            await send_body(receive, send, send_all)
        finally:
            await archive.aclose()
        if self.background is not None:
            await self.background()
