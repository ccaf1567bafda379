"""How a server answers one request: as a generator that asks for bytes and returns a reply.

Servers are written without sockets: a `Conversation` yields what it needs next, is resumed with
it, and returns its `Reply`. `_connection` does the I/O.
"""

import enum
from collections.abc import Generator

import attrs

from polystow_testing.fastdfs._contents import Buffer, FileSlice, Spool
from polystow_testing.fastdfs._wire import Status, encode_response

FIRST_BUFFER_BYTES = 256 * 1024
"""What the real server reads of a body before it looks at it (its `buff_size`)."""


@attrs.define
class Payload:
    """A wish for `length` bytes that go to `sink` as they come; None drops them."""

    sink: Spool | None
    length: int


class Pause(enum.Enum):
    """A wish never to be resumed."""

    FOREVER = enum.auto()


@attrs.define
class Reply:
    """What goes back to the client.

    Attributes:
        status: Zero or an errno.
        body: After the header; a slice of a file is streamed.
        close: Whether the server closes the connection afterwards.
        raw: Sent in place of header and body; empty bytes mean that nothing is sent.
    """

    status: int = 0
    body: Buffer | FileSlice = b""
    close: bool = False
    raw: bytes | None = None

    @property
    def body_length(self) -> int:
        """Bytes of the body."""
        return self.body.length if isinstance(self.body, FileSlice) else len(self.body)

    def head(self) -> bytes:
        """Return what goes before the body."""
        if self.raw is not None:
            return self.raw
        return encode_response(self.status, self.body_length)


type Conversation = Generator[int | Payload | Pause, bytes, Reply]


class Refusal(Exception):
    """The request gets an error status.

    Attributes:
        status: An errno.
        close: Whether the connection is closed too.
    """

    def __init__(self, status: int, *, close: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.close = close


def not_found() -> Refusal:
    """Return the refusal for a missing file, group or metadata: 2, the connection stays open."""
    return Refusal(Status.NOT_FOUND)


def invalid() -> Refusal:
    """Return a storage server's refusal of a malformed request: 22, and it closes."""
    return Refusal(Status.INVALID, close=True)
