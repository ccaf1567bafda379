"""The in-process server beside a real cluster, request by request: `POLYSTOW_FASTDFS_TRACKERS`.

Each script runs against both, on a group with one storage server, and what comes back has to be
the same: statuses, bodies where they are not random, and whether the connection stays open.
"""

import base64
import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from polystow_testing.fastdfs import FastdfsServer

TRACKERS = [text for text in os.environ.get("POLYSTOW_FASTDFS_TRACKERS", "").split(",") if text]
GROUP = os.environ.get("POLYSTOW_FASTDFS_SINGLE_GROUP", "group2")

pytestmark = pytest.mark.skipif(not TRACKERS, reason="POLYSTOW_FASTDFS_TRACKERS is not set")

G = GROUP.encode().ljust(16, b"\0")
L = struct.Struct(">q").pack
ID = re.compile(rb"M[0-9A-F]{2}/[0-9A-F]{2}/[0-9A-F]{2}/([A-Za-z0-9_-]{27})([0-9.A-Za-z_-]*)")
TRUNK = 1 << 59
MISSING = b"M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
MISSING_APPENDER = b"M00/00/00/fwAADWsJvCGEFMpqAAAAAKaEx8Y888.txt"


class Session:
    """Requests to one cluster, each on a connection of its own."""

    def __init__(self, dial: Callable[[str], Any], tracker: str) -> None:
        self._dial = dial
        self.tracker = tracker
        body = self._dial(tracker).call(104, G).body
        host = body[16:31].rstrip(b"\0").decode()
        self.storage = f"{host}:{struct.unpack('>q', body[31:39])[0]}"
        self.seen: list[tuple[Any, ...]] = []
        self.trunk = False

    def ask(
        self, address: str, command: int, body: bytes, flags: int = 0, *, lengths: bool = False
    ) -> bytes:
        """Note what comes back, without what is random (or its length only); return the body."""
        wire = self._dial(address)
        try:
            answer = wire.call(command, body, flags)
        except (ConnectionError, TimeoutError) as error:
            self.seen.append((command, type(error).__name__))
            return b""
        noted = len(answer.body) if lengths else normal(answer.body)
        self.seen.append((command, answer.status, noted, wire.is_closed()))
        wire.socket.close()
        return bytes(answer.body)

    def upload(self, data: bytes, ext: bytes = b"txt", *, command: int = 11) -> bytes:
        """Store a file; return its name."""
        body = b"\xff" + L(len(data)) + ext.ljust(6, b"\0") + data
        name = self.ask(self.storage, command, body)[16:]
        self.trunk = self.trunk or in_trunk(name)
        return name

    def slave(self, master: bytes, prefix: bytes, ext: bytes, data: bytes = b"slave") -> bytes:
        body = L(len(master)) + L(len(data)) + prefix.ljust(16, b"\0") + ext.ljust(6, b"\0")
        return self.ask(self.storage, 21, body + master + data)[16:]

    def append(self, name: bytes, data: bytes) -> None:
        self.ask(self.storage, 24, L(len(name)) + L(len(data)) + name + data)

    def modify(self, name: bytes, offset: int, data: bytes) -> None:
        self.ask(self.storage, 34, L(len(name)) + L(offset) + L(len(data)) + name + data)

    def truncate(self, name: bytes, size: int) -> None:
        self.ask(self.storage, 36, L(len(name)) + L(size) + name)

    def info(self, name: bytes, flags: int = 0) -> None:
        """Note size and checksum."""
        body = self.ask(self.storage, 22, G + name, flags)
        if body:
            self.seen[-1] = (22, struct.unpack(">qqq", body[:24])[::2], len(body))

    def download(self, name: bytes, offset: int = 0, length: int = 0) -> None:
        self.ask(self.storage, 14, L(offset) + L(length) + G + name)

    def metadata(self, name: bytes, flag: bytes, block: bytes) -> None:
        self.ask(self.storage, 13, L(len(name)) + L(len(block)) + flag + G + name + block)
        self.ask(self.storage, 15, G + name)


def normal(body: bytes) -> bytes:
    """A body with the random part of each id taken out of it, and the place in a trunk file."""

    def shorten(found: re.Match[bytes]) -> bytes:
        rest = found[2][16:] if in_trunk(found[0]) else found[2]
        return b"ID" + re.sub(rb"[0-9]", b"9", rest)

    return ID.sub(shorten, body)


def in_trunk(name: bytes) -> bool:
    """Whether a file shares a trunk file with others."""
    found = ID.match(name)
    if found is None:
        return False
    (size,) = struct.unpack_from(">Q", base64.urlsafe_b64decode(found[1] + b"="), 8)
    return bool(size & TRUNK)


def uploads(session: Session) -> None:
    for ext in (
        b"",
        b"a",
        b"txt",
        b"tar.gz",
        b"JPG",
        b"b-c_d",
        b"a/b",
        b"a b",
        b".gz",
        b"\xc3\xa9",
    ):
        for command in (11, 23):
            session.upload(b"hello", ext, command=command)
    session.upload(b"")
    for path, size in ((0, 5), (9, 5), (254, 5), (255, 4), (255, 6), (255, -1)):
        body = bytes([path]) + L(size) + b"txt\0\0\0" + b"hello"
        session.ask(session.storage, 11, body)
    session.ask(session.storage, 11, b"\xff" + L(0))


def downloads(session: Session) -> None:
    name, empty = session.upload(b"0123456789"), session.upload(b"")
    for offset, length in ((0, 0), (0, 3), (9, 0), (9, 5), (3, 100), (10, 0), (11, 1), (-1, 0)):
        session.download(name, offset, length)
    session.download(name, 0, -1)
    session.download(empty)
    for other in (MISSING, b"M00/00/00/x", b"M77" + MISSING[3:], b"m00" + MISSING[3:], b"x" * 44):
        session.download(other)
    session.ask(session.storage, 14, L(0) + L(0) + b"nope".ljust(16, b"\0") + name)


def changes(session: Session) -> None:
    name, plain = session.upload(b"0123456789", command=23), session.upload(b"0123456789")
    session.append(name, b"ab")
    session.append(name, b"")
    session.modify(name, 11, b"XYZ")
    session.modify(name, 14, b"!")
    session.modify(name, 99, b"!")
    session.modify(name, 3, b"")
    session.modify(name, -1, b"!")
    session.download(name)
    session.info(name)
    session.info(name, 1)
    for size in (20, 20, 4, 0, -1):
        session.truncate(name, size)
        session.info(name)
    # Real servers do not find what lies in a trunk file; the in-process one has none.
    normal_files = () if session.trunk else (plain,)
    for other in (*normal_files, MISSING, MISSING_APPENDER, b"M00/00/00/x"):
        session.append(other, b"ab")
        session.modify(other, 0, b"ab")
        session.truncate(other, 1)
        session.ask(session.storage, 38, other)


def slaves(session: Session) -> None:
    master, appender = session.upload(b"master"), session.upload(b"master", command=23)
    for prefix, ext in (
        (b"_s", b"png"),
        (b"_s", b"png"),
        (b"_long", b""),
        (b"_t", b""),
        (b"x" * 16, b"abcdef"),
        (b"a..b", b"png"),
        (b"a/b", b"png"),
        (b"", b"png"),
        (b"-m", b""),
        (b"-m", b"txt"),
    ):
        name = session.slave(master, prefix, ext)
        if name:
            session.info(name)
            session.info(name, 1)
            session.download(name)
    session.slave(MISSING, b"_s", b"png")
    slave = session.slave(appender, b"_slave", b"txt")
    session.append(slave, b"!")
    session.download(slave)
    again = session.slave(slave, b"_of_slave", b"png", b"")
    session.info(again)
    session.ask(session.storage, 12, G + master)
    session.slave(master, b"_u", b"png")


def metadata(session: Session) -> None:
    name = session.upload(b"x")
    session.ask(session.storage, 15, G + name)
    for flag, block in (
        (b"O", b"b\x022\x01a\x021"),
        (b"M", b"c\x023\x01a\x029"),
        (b"M", b""),
        (b"O", b"\xc3\xa9\x02\xff"),
        (b"O", b"x" * 64 + b"\x02" + b"y" * 256),
        (b"O", b"x\x02" + b"y" * 300),
        (b"O", b"a\x02b\x01"),
        (b"O", b"a\x01b\x02c"),
        (b"O", b""),
        (b"M", b"d\x024"),
        (b"X", b"a\x02b"),
    ):
        session.metadata(name, flag, block)
    session.metadata(MISSING, b"O", b"a\x02b")
    session.metadata(name, b"O", b"a\x02b")
    session.ask(session.storage, 12, G + name)
    session.ask(session.storage, 12, G + name)
    session.ask(session.storage, 15, G + name)


def regenerating(session: Session) -> None:
    for content, ext in ((b"hello", b"txt"), (b"", b"txt"), (b"hello", b"tar.gz"), (b"x", b"")):
        old = session.upload(content, ext, command=23)
        session.metadata(old, b"O", b"a\x02b")
        new = session.ask(session.storage, 38, old)[16:]
        session.info(old)
        session.info(new)
        session.download(new)
        session.ask(session.storage, 15, G + new)
        session.ask(session.storage, 38, new)


def queries(session: Session) -> None:
    """Of the tracker; addresses differ, so only lengths are compared."""
    name = session.upload(b"x")
    for command, body in (
        (101, b""),
        (101, b"x"),
        (104, G),
        (104, b"nope".ljust(16, b"\0")),
        (104, G[:-1]),
        (106, b"x"),
        (107, G),
        (102, G + name),
        (103, G + name),
        (105, G + name),
        (102, G + MISSING),
        (102, G + b"x" * 21),
        (102, G + b"x" * 127),
        (102, G + b"x" * 128),
        (102, b"nope".ljust(16, b"\0") + MISSING),
        (90, G),
        (90, b"nope".ljust(16, b"\0")),
        (91, b"x"),
        (92, G),
        (92, G + b"9.9.9.9"),
        (92, b"nope".ljust(16, b"\0")),
        (95, b"x"),
        (111, b""),
        (200, b""),
    ):
        session.ask(session.tracker, command, body, lengths=True)


@pytest.fixture
def pair(dial: Any) -> Iterator[tuple[Session, Session]]:
    with FastdfsServer({GROUP: 1}) as server:
        yield Session(dial, server.trackers[0]), Session(dial, TRACKERS[0])


@pytest.mark.parametrize(
    "script", [uploads, downloads, changes, slaves, metadata, regenerating, queries]
)
def test_both_answer_the_same(
    pair: tuple[Session, Session], script: Callable[[Session], None]
) -> None:
    ours, real = pair
    script(real)
    ours.trunk = real.trunk
    script(ours)
    assert len(ours.seen) == len(real.seen)
    for mine, theirs in zip(ours.seen, real.seen, strict=True):
        assert mine == theirs
