"""The body encoding `aws-chunked`, signed or not, with or without trailers.

API reference, "Signature Calculations for the Authorization Header: Transferring Payload in
Multiple Chunks".
"""


class AwsChunkedError(ValueError):
    """The body is not encoded so."""


class AwsChunkedDecoder:
    """Takes a body as it arrives and gives its content."""

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
        self.finished = False
        self._line = b""
        self._left = 0
        self._state = "size"

    def feed(self, data: bytes) -> list[memoryview]:
        """The pieces of content in what has arrived.

        Raises:
            AwsChunkedError: It is not encoded so.
        """
        pieces: list[memoryview] = []
        view = memoryview(data)
        while view and not self.finished:
            if self._state == "data":
                piece = view[: self._left]
                pieces.append(piece)
                self._left -= len(piece)
                view = view[len(piece) :]
                if not self._left:
                    self._state = "end of data"
                continue
            end = bytes(view).find(b"\n")
            if end < 0:
                self._line += bytes(view)
                break
            line = (self._line + bytes(view[:end])).rstrip(b"\r")
            self._line = b""
            view = view[end + 1 :]
            self._take_line(line)
        return pieces

    def _take_line(self, line: bytes) -> None:
        if self._state == "end of data":
            if line:
                raise AwsChunkedError("a chunk is longer than it says")
            self._state = "size"
        elif self._state == "size":
            try:
                self._left = int(line.split(b";")[0], 16)
            except ValueError:
                raise AwsChunkedError(f"{line[:40]!r} is no size of a chunk") from None
            self._state = "data" if self._left else "trailers"
        elif line:
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        else:
            self.finished = True
