"""A blocking client on a raw socket: it knows headers, and nothing else of FastDFS."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple, Self

import pytest

from polystow_testing.fastdfs import FastdfsServer

HEADER = struct.Struct(">qBB")


class Answer(NamedTuple):
    status: int
    body: bytes


class Wire:
    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, command: int, body: bytes = b"", flags: int = 0) -> None:
        self.socket.sendall(HEADER.pack(len(body), command, flags) + body)

    def read(self, count: int) -> bytes:
        """Return `count` bytes, or fewer when the server closes before."""
        parts: list[bytes] = []
        while count:
            try:
                part = self.socket.recv(min(count, 1 << 18))
            except ConnectionResetError:
                break
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def answer(self) -> Answer:
        header = self.read(HEADER.size)
        if len(header) < HEADER.size:
            message = f"closed after {len(header)} bytes of a header"
            raise ConnectionError(message)
        length, command, status = HEADER.unpack(header)
        assert command == 100
        body = self.read(length)
        if len(body) < length:
            message = f"closed after {len(body)} of {length} bytes of a body"
            raise ConnectionError(message)
        return Answer(status, body)

    def call(self, command: int, body: bytes = b"", flags: int = 0) -> Answer:
        self.send(command, body, flags)
        return self.answer()

    def is_closed(self) -> bool:
        """Whether the server has closed or is closing; False when it still answers."""
        try:
            self.send(111)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return self.read(HEADER.size) == b""


@pytest.fixture
def dial() -> Iterator[Callable[[str], Wire]]:
    """Connects to "host:port"; the connection is closed after the test."""
    with ExitStack() as stack:
        yield lambda address: stack.enter_context(Wire(address))


@pytest.fixture
def storage(dial: Callable[[str], Wire], fastdfs_server: FastdfsServer) -> Wire:
    """A connection to the only storage server."""
    return dial(fastdfs_server.storages()[0])


@pytest.fixture
def tracker(dial: Callable[[str], Wire], fastdfs_server: FastdfsServer) -> Wire:
    """A connection to the only tracker."""
    return dial(fastdfs_server.trackers[0])


class Bodies:
    """Bodies of requests, written down from the protocol table."""

    @staticmethod
    def group(name: str = "group1") -> bytes:
        return name.encode().ljust(16, b"\0")

    @classmethod
    def file(cls, file_id: str) -> bytes:
        group, name = file_id.split("/", 1)
        return cls.group(group) + name.encode()

    @staticmethod
    def name(file_id: str) -> bytes:
        return file_id.split("/", 1)[1].encode()

    @staticmethod
    def upload(
        data: bytes, ext: bytes = b"txt", path: int = 0xFF, size: int | None = None
    ) -> bytes:
        length = len(data) if size is None else size
        return bytes([path]) + struct.pack(">q", length) + ext.ljust(6, b"\0") + data

    @classmethod
    def slave(cls, master: str, prefix: bytes, ext: bytes, data: bytes) -> bytes:
        name = cls.name(master)
        numbers = struct.pack(">qq", len(name), len(data))
        return numbers + prefix.ljust(16, b"\0") + ext.ljust(6, b"\0") + name + data

    @classmethod
    def append(cls, file_id: str, data: bytes) -> bytes:
        name = cls.name(file_id)
        return struct.pack(">qq", len(name), len(data)) + name + data

    @classmethod
    def modify(cls, file_id: str, offset: int, data: bytes) -> bytes:
        name = cls.name(file_id)
        return struct.pack(">qqq", len(name), offset, len(data)) + name + data

    @classmethod
    def truncate(cls, file_id: str, size: int) -> bytes:
        name = cls.name(file_id)
        return struct.pack(">qq", len(name), size) + name

    @classmethod
    def download(cls, file_id: str, offset: int = 0, length: int = 0) -> bytes:
        return struct.pack(">qq", offset, length) + cls.file(file_id)

    @classmethod
    def metadata(cls, file_id: str, flag: bytes, block: bytes) -> bytes:
        numbers = struct.pack(">qq", len(cls.name(file_id)), len(block))
        return numbers + flag + cls.file(file_id) + block

    @staticmethod
    def file_id(body: bytes) -> str:
        return body[:16].rstrip(b"\0").decode() + "/" + body[16:].decode()


@pytest.fixture
def bodies() -> type[Bodies]:
    return Bodies
