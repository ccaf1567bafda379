"""Answers: values as JSON, and objects' contents for the client's driver."""

from collections.abc import Awaitable, Callable, Mapping

from anyio import EndOfStream
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from polystow import ReadOptions, Storage
from polystow_fastapi import send_body
from polystow_gateway._wire import INFO_HEADER, RANGE_HEADER, dumps
from polystow_gateway.server._access import Access
from polystow_gateway.server._identity import Identity

_CHUNK_SIZE_BYTES = 1_048_576

SAFE_HEADERS: Mapping[str, str] = {
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
"""What keeps stored content from running in the gateway's name, wherever it is shown."""


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A value of the wire as JSON; private, since it depends on who asks."""
    return Response(
        dumps(value), status, {"cache-control": "no-store", **(headers or {})}, "application/json"
    )


class ContentResponse(Response):
    """Sends an object, or a part of it, to the client's driver: one read, with all its options.

    Args:
        storage: The storage.
        file_id: Which object.
        options: How to read.
    """

    def __init__(self, storage: Storage, file_id: str, options: ReadOptions) -> None:
        super().__init__(None, 200, {"cache-control": "no-store", **SAFE_HEADERS})
        self._storage = storage
        self._file_id = file_id
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; an error before the first byte is raised."""
        del scope
        options = self._options
        async with self._storage.open_read(
            self._file_id,
            range=options.range,
            if_match=options.if_match,
            version=options.version,
            if_none_match=options.if_none_match,
            if_modified_since=options.if_modified_since,
            if_unmodified_since=options.if_unmodified_since,
            response=options.response,
            encryption=options.encryption,
        ) as stream:
            offset, length, size = stream.range
            self.headers["content-type"] = "application/octet-stream"
            self.headers["content-length"] = str(length)
            self.headers[RANGE_HEADER] = f"{offset} {length} {'*' if size is None else size}"
            self.headers[INFO_HEADER] = dumps(stream.info)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

            async def send_all(send_chunk: Callable[[bytes], Awaitable[None]]) -> None:
                while True:
                    try:
                        chunk = await stream.receive(_CHUNK_SIZE_BYTES)
                    except EndOfStream:
                        return
                    await send_chunk(chunk)

            await send_body(receive, send, send_all)


class Transfer(Response):
    """An answer that counts among the concurrent transfers of who asked while it is sent."""

    def __init__(self, answer: Response, access: Access, identity: Identity) -> None:
        super().__init__()
        self._answer = answer
        self._access = access
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            RateLimitedError: There are too many already.
        """
        async with self._access.transfer(self._identity):
            await self._answer(scope, receive, send)
