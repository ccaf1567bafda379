"""Parts, ranges and checksums, planned without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import ByteRange, ContentRange, RangeNotSatisfiableError
from polystow_s3._digests import ALGORITHMS, base64_of, combine, digest_now
from polystow_s3._parts import (
    MAX_OBJECT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MIN_PART_BYTES,
    plan_parts,
)
from polystow_s3._ranges import Slice, parse_content_range, slice_answer
from polystow_s3._upload import composite_etag

part_sizes = st.integers(MIN_PART_BYTES, MAX_PART_BYTES)


@given(size=st.integers(0, MAX_OBJECT_BYTES), part_size=part_sizes)
def test_ten_thousand_parts_always_suffice_for_a_known_size(size: int, part_size: int) -> None:
    planned = plan_parts(size, part_size).size_of(1)
    assert part_size <= planned <= MAX_PART_BYTES
    assert planned * MAX_PARTS >= size


@given(part_size=part_sizes)
def test_five_tebibytes_of_unknown_length_fit(part_size: int) -> None:
    plan = plan_parts(None, part_size)
    total, number = 0, 1
    while number <= MAX_PARTS:
        run = min(900, MAX_PARTS - number + 1)
        total += run * plan.size_of(number)
        number += run
    assert total >= 5 * 1024**4


@given(part_size=part_sizes, number=st.integers(1, MAX_PARTS - 1))
def test_parts_of_an_unknown_length_never_shrink_or_get_too_large(
    part_size: int, number: int
) -> None:
    plan = plan_parts(None, part_size)
    assert plan.size_of(number) <= plan.size_of(number + 1) <= MAX_PART_BYTES


@given(part_size=part_sizes, number=st.integers(1, MAX_PARTS), concurrency=st.integers(1, 50))
def test_growing_parts_do_not_grow_the_memory_in_flight(
    part_size: int, number: int, concurrency: int
) -> None:
    plan = plan_parts(None, part_size)
    in_flight = plan.in_flight(number, concurrency)
    assert in_flight == 1 or in_flight * plan.size_of(number) <= concurrency * part_size


def digest_of(name: str, data: bytes) -> bytes:
    return digest_now(data, frozenset({name}), signed=False).values[name]


@pytest.mark.parametrize("name", ["crc32", "crc32c", "crc64nvme"])
@given(pieces=st.lists(st.binary(max_size=300), max_size=6))
def test_combined_checksums_are_those_of_the_whole(name: str, pieces: list[bytes]) -> None:
    parts = [(digest_of(name, piece), len(piece)) for piece in pieces]
    assert combine(ALGORITHMS[name], parts) == digest_of(name, b"".join(pieces))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("crc32", "cbf43926"),
        ("crc32c", "e3069283"),
        ("crc64nvme", "ae8b14860a799888"),
        ("md5", "25f9e794323b453885f5181f1b624d0b"),
        ("sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_digests_are_those_of_the_catalogue(name: str, check: str) -> None:
    assert digest_of(name, b"123456789").hex() == check
    assert len(digest_of(name, b"")) == ALGORITHMS[name].size


def test_checksum_goes_into_a_header_most_significant_byte_first() -> None:
    # Example of the S3 User Guide's kind: CRC32 of "123456789" is cbf43926.
    assert base64_of(digest_of("crc32", b"123456789")) == "y/Q5Jg=="


def test_parts_without_md5s_give_no_composite_entity_tag() -> None:
    assert composite_etag(['"no-md5"']) is None
    assert composite_etag(['"abcd"']) is None


@given(size=st.integers(1, 10_000), first=st.integers(0, 12_000), length=st.integers(1, 12_000))
def test_a_range_gets_the_same_bytes_whether_the_server_honours_it_or_not(
    size: int, first: int, length: int
) -> None:
    asked = ByteRange(first, first + length - 1)
    if first >= size:
        with pytest.raises(RangeNotSatisfiableError):
            slice_answer(asked, None, size)
        return
    part = asked.resolve(size)
    header = f"bytes {part.offset}-{part.offset + part.length - 1}/{size}"
    assert slice_answer(asked, header, part.length) == Slice(part, 0)
    assert slice_answer(asked, None, size) == Slice(part, part.offset)


@given(size=st.integers(1, 10_000), length=st.integers(1, 12_000))
def test_a_suffix_longer_than_the_object_is_the_object(size: int, length: int) -> None:
    part = slice_answer(ByteRange.suffix(length), None, size).range
    assert part == ContentRange(max(0, size - length), min(length, size), size)


@pytest.mark.parametrize(
    ("asked", "header", "length"),
    [
        (None, "bytes 0-1/10", 2),
        (ByteRange(0, 1), "bytes 1-2/10", 2),
        (ByteRange(0, 1), "bytes 0-5/10", 6),
        (ByteRange(0, 1), "bytes 0-1/10", 10),
        (ByteRange(0, 1), "bytes 0-0/10", 1),
        (ByteRange(0, 1), "lines 0-1/10", 2),
        (ByteRange(4), "bytes 5-9/10", 5),
        (ByteRange.suffix(3), "bytes 0-9/10", 10),
        (ByteRange(3, 5), "bytes 3-9/*", 7),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    asked: ByteRange | None, header: str, length: int
) -> None:
    with pytest.raises(ValueError, match="the server"):
        slice_answer(asked, header, length)


@pytest.mark.parametrize("header", ["", "bytes */10", "bytes 5-3/10", "bytes 1-2", "bytes=1-2/3"])
def test_no_content_range_is_made_of_anything_else(header: str) -> None:
    assert parse_content_range(header) is None


def test_an_unknown_total_is_none() -> None:
    assert parse_content_range("bytes 2-5/*") == ContentRange(2, 4, None)
