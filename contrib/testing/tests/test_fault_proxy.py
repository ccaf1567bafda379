"""`FaultProxy` itself: what it lets through, and what it leaves behind."""

import gc
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from polystow_testing.faults import FaultProxy, Refuse, WireFault

OUTAGES = 60


@pytest.fixture
def server() -> Iterator[str]:
    """Accepts, and closes at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                accepted.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_connections_that_come_about_in_an_outage_leave_no_socket(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []

    def note(what: Any) -> None:
        left.append(str(what.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", note)
    ended = threading.Event()

    def connect(host: str, port: int) -> None:
        while not ended.is_set():
            try:
                socket.create_connection((host, port), timeout=1.0).close()
            except OSError:
                time.sleep(0.0005)

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with FaultProxy(server) as proxy:
            host, _, port = proxy.address.partition(":")
            clients = [threading.Thread(target=connect, args=(host, int(port))) for _ in range(3)]
            for client in clients:
                client.start()
            for _ in range(OUTAGES):
                proxy.arm(WireFault(Refuse(for_s=0.002), direction="connect"))
                time.sleep(0.006)
                proxy.heal()
            ended.set()
            for client in clients:
                client.join()
        gc.collect()
    assert left == []
