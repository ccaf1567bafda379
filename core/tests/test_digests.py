import hashlib
import zlib
from collections.abc import Sequence

import pytest
from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from core_doubles import read_all
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    BytesBody,
    Checksum,
    ChecksumMismatchError,
    Part,
    StreamBody,
    UnsupportedOperationError,
    combine_crc32,
)
from polystow._digests import check_parts, new_digest, update_digest, verified


@given(pieces=st.lists(st.binary(max_size=300), max_size=6))
def test_combined_checksums_are_those_of_the_whole(pieces: list[bytes]) -> None:
    combined = 0
    for piece in pieces:
        combined = combine_crc32(combined, zlib.crc32(piece), len(piece))
    assert combined == zlib.crc32(b"".join(pieces))


@pytest.mark.parametrize("size", [10, 70_000, 2_000_000])
@pytest.mark.parametrize("algorithm", ["crc32", "md5", "sha1", "sha256", "sha512"])
async def test_a_digest_made_chunk_by_chunk_is_that_of_the_whole(algorithm: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    digest = new_digest(algorithm)
    assert digest is not None
    await update_digest(digest, data)
    await update_digest(digest, memoryview(b"end"))
    assert digest.hexdigest() == digest_of(algorithm, data + b"end")


def digest_of(algorithm: str, data: bytes) -> str:
    if algorithm == "crc32":
        return f"{zlib.crc32(data):08x}"
    return hashlib.new(algorithm, data).hexdigest()


class Pieces:
    """An async iterable over pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


@pytest.mark.parametrize("max_bytes", [1, 3, 100])
@pytest.mark.parametrize("pieces", [[], [b"a"], [b"abcdef", b"g", b"hijkl"]])
async def test_a_body_with_the_right_digest_passes(pieces: list[bytes], max_bytes: int) -> None:
    data = b"".join(pieces)
    expected = Checksum("sha256", hashlib.sha256(data).hexdigest().upper())
    body = await verified(StreamBody(Pieces(pieces), len(data)), expected)
    assert (body.size, body.replayable) == (len(data), False)
    async with await body.open() as stream:
        received = b""
        while True:
            try:
                received += await stream.receive(max_bytes)
            except EndOfStream:
                break
    assert received == data


@pytest.mark.parametrize("pieces", [[], [b"a"], [b"abc", b"d"]])
async def test_a_body_with_a_wrong_digest_fails_before_its_last_chunk(pieces: list[bytes]) -> None:
    body = await verified(StreamBody(Pieces(pieces)), Checksum("md5", "0" * 32))
    received: list[bytes] = []
    async with await body.open() as stream:
        for _ in pieces[:-1]:
            received.append(await stream.receive())  # noqa: PERF401
        for _ in range(2):
            with pytest.raises(ChecksumMismatchError, match=r"0{32} was expected"):
                await stream.receive()
    assert received == pieces[:-1]


async def test_content_in_memory_is_compared_at_once_and_stays_as_it_is() -> None:
    body = BytesBody(b"data")
    assert await verified(body, Checksum("crc32", f"{zlib.crc32(b'data'):08x}")) is body
    with pytest.raises(ChecksumMismatchError):
        await verified(body, Checksum("crc32", "00000000"))


async def test_a_digest_that_can_not_be_made_here_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"'crc32c'.*give one of crc32, md5"):
        await verified(BytesBody(b""), Checksum("crc32c", "00000000"))


async def test_a_verified_body_can_be_read_again_if_it_could_before() -> None:
    class Twice:
        size = None
        replayable = True

        async def open(self) -> ByteReceiveStream:
            return await BytesBody(b"data").open()

    body = await verified(Twice(), Checksum("crc32", f"{zlib.crc32(b'data'):08x}"))
    assert body.replayable
    assert [await read_all(await body.open()) for _ in range(2)] == [b"data"] * 2


def part(number: int, data: bytes, algorithm: str = "crc32") -> Part:
    return Part(number, len(data), "etag", Checksum(algorithm, digest_of(algorithm, data)))


def test_the_digest_of_an_object_is_compared_with_those_of_its_parts() -> None:
    parts = [part(2, b"second"), part(1, b"first")]
    check_parts(parts, Checksum("crc32", digest_of("crc32", b"firstsecond").upper()))
    with pytest.raises(ChecksumMismatchError, match="nothing was stored"):
        check_parts(parts, Checksum("crc32", digest_of("crc32", b"secondfirst")))


@pytest.mark.parametrize(
    ("parts", "algorithm"),
    [
        ([part(1, b"first")], "sha256"),
        ([part(1, b"first", "sha256")], "crc32"),
        ([Part(1, 5, "etag")], "crc32"),
    ],
)
def test_a_digest_that_parts_do_not_tell_is_refused(parts: list[Part], algorithm: str) -> None:
    with pytest.raises(UnsupportedOperationError, match="leave checksum out"):
        check_parts(parts, Checksum(algorithm, digest_of(algorithm, b"first")))
