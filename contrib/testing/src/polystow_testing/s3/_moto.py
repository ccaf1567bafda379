"""`MotoServer`: moto's S3 in this process, over real sockets, for fidelity to AWS."""

import http.client
from typing import TYPE_CHECKING, Any

from polystow_testing._context import ServerContext

if TYPE_CHECKING:
    from moto.server import ThreadedMotoServer

_HOST = "127.0.0.1"


class MotoServer(ServerContext):
    """moto's server on loopback, in a thread of this process.

    It checks no signatures: any credentials do. All of moto's state belongs to the process, so
    two of these share their buckets.

    Args:
        buckets: Buckets that are there from the start and after each `reset`.

    Example:
        >>> with MotoServer(buckets=("bucket",)) as server:  # doctest: +SKIP
        ...     server.endpoint
        'http://127.0.0.1:43211'
    """

    def __init__(self, *, buckets: tuple[str, ...] = ()) -> None:
        self._buckets = buckets
        self._server: ThreadedMotoServer | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """Its URL, `http://127.0.0.1:port`."""
        return f"http://{_HOST}:{self._port}"

    def start(self) -> None:
        """Start serving, with the buckets and nothing else."""
        from moto.server import ThreadedMotoServer  # 0.6 s, which the others need not pay for

        server = ThreadedMotoServer(ip_address=_HOST, port=0, verbose=False)
        server.start()
        self._server = server
        self._port = server.get_host_and_port()[1]
        try:
            self.reset()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop; harmless when it does not run."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def reset(self) -> None:
        """Drop everything, and make the buckets anew."""
        self._request("POST", "/moto-api/reset")
        for bucket in self._buckets:
            self.create_bucket(bucket)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket."""
        self._request("PUT", f"/{bucket}")

    def _request(self, method: str, path: str) -> None:
        connection = http.client.HTTPConnection(_HOST, self._port, timeout=10)
        headers: dict[str, Any] = {"Content-Length": "0"}
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"moto answers {method} {path} with {answer.status}")
