import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from core_doubles import read_all
from hypothesis import given
from hypothesis import strategies as st

from polystow import Body, BytesBody, StorageError, StreamBody, TruncatedBodyError, make_body
from polystow._peeking import peeked


class Pieces:
    """An async iterator of pieces, which remembers that it was closed, and may fail at its end."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.error = error
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


@given(st.lists(st.binary(max_size=9), max_size=5), st.integers(1, 20), st.booleans())
async def test_a_body_that_was_looked_at_is_the_same_body(
    pieces: list[bytes], length: int, sized: bool
) -> None:
    data = b"".join(pieces)
    bodies: list[Body] = [
        BytesBody(data),
        BytesBody(memoryview(data)),
        await make_body(io.BytesIO(data)),
        StreamBody(Pieces(*pieces), len(data) if sized else None),
    ]
    for body in bodies:
        size, replayable = body.size, body.replayable
        async with peeked(body, length) as (head, seen):
            assert head == data[:length]
            assert (seen.size, seen.replayable) == (size, replayable)
            assert await read_all(await seen.open()) == data


async def test_a_stream_that_nobody_took_over_is_closed() -> None:
    pieces = Pieces(b"abc")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with peeked(StreamBody(pieces), 2) as (head, _):
            assert head == b"ab"
            raise ZeroDivisionError
    assert pieces.closed


async def test_a_stream_that_was_taken_over_is_its_taker_s_to_close() -> None:
    pieces = Pieces(b"abc")
    async with peeked(StreamBody(pieces), 2) as (_, body):
        stream = await body.open()
    assert not pieces.closed
    await stream.aclose()
    assert pieces.closed


async def test_a_stream_is_taken_over_once() -> None:
    async with peeked(StreamBody(Pieces(b"abc")), 2) as (_, body):
        await read_all(await body.open())
        with pytest.raises(StorageError, match="read already"):
            await body.open()


async def test_a_stream_that_fails_while_it_is_looked_at_fails_where_it_is_read() -> None:
    pieces = Pieces(b"ab", error=ZeroDivisionError())
    async with peeked(StreamBody(pieces), 9) as (head, body):
        assert head == b"ab"
        with pytest.raises(ZeroDivisionError):
            await read_all(await body.open())
    short = StreamBody(Pieces(b"ab"), 3)
    async with peeked(short, 9) as (head, body):
        with pytest.raises(TruncatedBodyError):
            await read_all(await body.open())


async def test_a_file_that_went_away_fails_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(100_000))  # smaller ones are read at once
    body = await make_body(path)
    path.unlink()
    async with peeked(body, 9) as (head, seen):
        assert head == b""
        with pytest.raises(StorageError, match="gone"):
            await seen.open()
