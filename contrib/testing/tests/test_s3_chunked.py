"""The body encoding aws-chunked."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow_testing.s3._chunked import AwsChunkedDecoder, AwsChunkedError


def encode(chunks: list[bytes], extension: str, trailers: dict[str, str]) -> bytes:
    encoded = b"".join(
        f"{len(chunk):x}{extension}\r\n".encode() + chunk + b"\r\n" for chunk in chunks if chunk
    )
    lines = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
    return encoded + f"0{extension}\r\n{lines}\r\n".encode()


@given(
    chunks=st.lists(st.binary(max_size=50), max_size=5),
    extension=st.sampled_from(["", ";chunk-signature=" + "0" * 64]),
    trailers=st.sampled_from([{}, {"x-amz-checksum-crc32": "AAAAAA=="}]),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_the_content_comes_out_however_it_is_cut(
    chunks: list[bytes], extension: str, trailers: dict[str, str], cuts: list[int]
) -> None:
    data = encode(chunks, extension, trailers)
    decoder = AwsChunkedDecoder()
    content = b""
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in pairwise(edges):
        content += b"".join(bytes(piece) for piece in decoder.feed(data[start:end]))
    assert content == b"".join(chunks)
    assert decoder.finished
    assert decoder.trailers == trailers


@pytest.mark.parametrize("data", [b"xyz\r\n", b"2\r\nabc\r\n", b"\r\n"])
def test_what_is_not_encoded_so_is_refused(data: bytes) -> None:
    with pytest.raises(AwsChunkedError):
        AwsChunkedDecoder().feed(data)


def test_a_body_that_ends_early_is_not_finished() -> None:
    decoder = AwsChunkedDecoder()
    decoder.feed(b"5\r\nabc")
    assert not decoder.finished
