"""Files over HTTP, as the FastDFS module of nginx serves them, with its check of tokens.

What it refuses, and with which status, is by the module's source (1.27) and that of the server
(6.16.1), `fdfs_http_check_token`. It shares no code with any client.
"""

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import override
from urllib.parse import unquote_to_bytes

from polystow_testing._context import ServerContext
from polystow_testing.fastdfs._server import FastdfsServer

MIN_NAME_BYTES = 22
TOKEN_CHARS = 32
MAX_PARAMETERS = 32
MAX_ATTACHMENT_BYTES = 232
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class FastdfsHttpServer(ServerContext):
    """The files of a `FastdfsServer` over HTTP on loopback: `with`, and `async with`.

    Args:
        server: Whose files; it has to run.
        secret: `http.anti_steal.secret_key`; None serves without tokens.
        token_ttl_s: `http.anti_steal.token_ttl`, in seconds.
        url_have_group_name: Whether the group stands in URLs; if not, they are of `group`.
        group: See there.
        token_check_fail: What to send in place of an error when a token is wrong
            (`http.anti_steal.token_check_fail`); None answers 400.
        clock: Gives the Unix time in seconds.

    Example:
        >>> with FastdfsServer() as server, FastdfsHttpServer(server, secret="s") as http:
        ...     http.base_url("group1")
        'http://127.0.0.1:…/group1'
    """

    def __init__(
        self,
        server: FastdfsServer,
        *,
        secret: str | None = None,
        token_ttl_s: int = 900,
        url_have_group_name: bool = True,
        group: str = "group1",
        token_check_fail: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.server = server
        self.secret = secret
        self.token_ttl_s = token_ttl_s
        self.url_have_group_name = url_have_group_name
        self.group = group
        self.token_check_fail = token_check_fail
        self.clock = clock
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def base_url(self, group: str) -> str:
        """What goes before `M00/…` in the URLs of a group.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._http is None:
            message = "this FastdfsHttpServer is not running: use it in a with statement"
            raise RuntimeError(message)
        url = f"http://127.0.0.1:{self._http.server_port}"
        return f"{url}/{group}" if self.url_have_group_name else url

    @override
    def start(self) -> None:
        front = self

        class Handler(_Handler):
            http = front

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.01,), name="polystow-fastdfs-http", daemon=True
        )
        self._thread.start()

    @override
    def stop(self) -> None:
        http, thread = self._http, self._thread
        self._http = self._thread = None
        if http is not None and thread is not None:
            http.shutdown()
            thread.join()
            http.server_close()

    def token_is_right(self, name: str, parameters: dict[str, str]) -> bool:
        """Check `token` and `ts` of a URL, as the server's `fdfs_http_check_token` does."""
        token, timestamp = parameters["token"], _atoi(parameters["ts"])
        if len(token) != TOKEN_CHARS:
            return False
        if timestamp != 0 and int(self.clock()) - timestamp > self.token_ttl_s:
            return False
        text = f"{name}{self.secret}{timestamp}".encode()
        right = hashlib.md5(text, usedforsecurity=False).hexdigest()
        return hmac.compare_digest(token.encode(), right.encode())


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    http: FastdfsHttpServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file, or why not."""
        path, parameters = _split(self.path)
        group, name = self.http.group, path
        if self.http.url_have_group_name:
            group, slash, name = path.partition("/")
            if not slash:
                self._refuse(HTTPStatus.BAD_REQUEST)
                return
        lacks_token = self.http.secret is not None and not {"token", "ts"} <= parameters.keys()
        if len(name) < MIN_NAME_BYTES or lacks_token:
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif self.http.secret is not None and not self.http.token_is_right(name, parameters):
            if self.http.token_check_fail is None:
                self._refuse(HTTPStatus.BAD_REQUEST)
            else:
                self._send(HTTPStatus.OK, self.http.token_check_fail, {})
        else:
            self._send_file(f"{group}/{name}", parameters.get("filename"))

    do_HEAD = do_GET  # noqa: N815

    def _send_file(self, file_id: str, attachment: str | None) -> None:
        try:
            content = self.http.server.get(file_id)
        except (FileNotFoundError, ValueError):
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        headers = {"Accept-Ranges": "bytes"}
        if attachment is not None:
            name = attachment.encode()[:MAX_ATTACHMENT_BYTES].decode("latin-1")
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is None:
            self._send(HTTPStatus.OK, content, headers)
            return
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        part = content[first : last + 1]
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        self._send(HTTPStatus.PARTIAL_CONTENT, part, headers)

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(status, b"", {})

    def _send(self, status: HTTPStatus, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _split(target: str) -> tuple[str, dict[str, str]]:
    """The path without its first slash, and the parameters; the first of a name counts."""
    path, _, query = target.partition("?")
    parameters: dict[str, str] = {}
    for pair in query.split("&")[:MAX_PARAMETERS]:
        name, equals, value = pair.partition("=")
        if name and equals:
            decoded = unquote_to_bytes(value.replace("+", " ")).decode("utf-8", "surrogateescape")
            parameters.setdefault(name, decoded)
    return unquote_to_bytes(path.removeprefix("/")).decode("latin-1"), parameters


def _atoi(text: str) -> int:
    digits = re.match(r"\s*([+-]?\d+)", text)
    return int(digits[1]) if digits else 0
