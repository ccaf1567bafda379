"""uvicorn's HTTP protocol, with limits on the head of a request, which it does not have itself."""

import asyncio
from typing import override

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class LimitedHttpProtocol(HttpToolsProtocol):
    """Drops connections whose next request does not come to the end of its head.

    Attributes:
        head_timeout_s: How long a head may take, from the connection or from its first byte on,
            in seconds. Between two requests uvicorn's own time limit counts.
        max_head_bytes: The most bytes of one head.
    """

    head_timeout_s = 10.0
    max_head_bytes = 65_536

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    @override
    def connection_made(  # type: ignore[override]  # as the base has it
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._begin()

    @override
    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._timer is not None and self._head_bytes > self.max_head_bytes:
            self._refuse(b"431 Request Header Fields Too Large")

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._timer is None:
            self._begin()

    @override
    def on_headers_complete(self) -> None:
        self._end()
        super().on_headers_complete()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._timer = self.loop.call_later(
            self.head_timeout_s, self._refuse, b"408 Request Timeout"
        )

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: bytes) -> None:
        self._end()
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status
            )
            self.transport.close()
