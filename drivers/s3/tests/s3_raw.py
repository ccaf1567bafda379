"""Servers that answer as a test says, and a proxy that removes a path prefix."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from attrs import field, frozen


@frozen
class Seen:
    """A request.

    Attributes:
        method: The HTTP method.
        target: Path and query, or the whole URL if the client takes this for its proxy.
        headers: Names in lower case.
        body: The bytes.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@frozen
class Reply:
    """An answer; Content-Length is added unless it is given."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict[str, str])


def error_xml(code: str, more: str = "") -> bytes:
    """An error as S3 words it."""
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + f"<Error><Code>{code}</Code><Message>said so</Message>{more}</Error>".encode()


class RawServer:
    """An HTTP server whose answers are a function of the requests.

    Args:
        answer: What answers; called in the server's threads.

    Attributes:
        seen: All requests.
    """

    def __init__(self, answer: Callable[[Seen], Reply]) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.serve
                raise AttributeError(name)

            def serve(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                seen = Seen(self.command, self.path, headers, body)
                server.seen.append(seen)
                reply = server.answer(seen)
                self.send_response_only(reply.status)
                names = {name.lower() for name in reply.headers}
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if names.isdisjoint({"content-length", "transfer-encoding"}):
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    # A client that has read enough hangs up.
                    with contextlib.suppress(ConnectionError):
                        self.wfile.write(reply.body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def netloc(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.netloc}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def reverse_proxy(backend: str, prefix: str = "") -> RawServer:
    """A proxy in front of a server: passes Host on, and removes `prefix` from the path."""
    netloc = urlsplit(backend).netloc

    def forward(seen: Seen) -> Reply:
        if not seen.target.startswith(f"{prefix}/"):
            return Reply(404, b"<html>no such site</html>", {"Content-Type": "text/html"})
        connection = http.client.HTTPConnection(netloc, timeout=10)
        try:
            target = seen.target.removeprefix(prefix)
            connection.putrequest(seen.method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in seen.headers.items():
                connection.putheader(name, value)
            connection.endheaders(seen.body)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}
        }
        return Reply(answer.status, body, headers)

    return RawServer(forward)
