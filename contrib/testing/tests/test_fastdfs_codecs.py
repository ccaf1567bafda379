import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow_testing.fastdfs import _file_ids as ids
from polystow_testing.fastdfs import _metadata as metadata
from polystow_testing.fastdfs import _wire as wire

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
stamps = st.builds(
    ids.FileStamp,
    source_ip=st.ip_addresses(v=4).map(str),
    created=uint32,
    size_field=uint64,
    crc32=uint32,
)
extensions = st.text("abcXYZ019", max_size=6)


@given(stamps)
def test_a_stamp_is_27_characters_and_reads_back(stamp: ids.FileStamp) -> None:
    text = ids.encode_stamp(stamp)
    assert len(text) == 27
    assert ids.decode_stamp(text) == stamp


@given(stamps, st.integers(0, 255), extensions, uint32)
def test_a_name_is_44_characters_and_reads_back(
    stamp: ids.FileStamp, path_index: int, extension: str, digits: int
) -> None:
    tail = ids.make_tail(extension, digits)
    name = ids.make_name(stamp, path_index=path_index, directory="0A/FF", tail=tail)
    assert len(name) == 44
    assert ids.parse_name(name) == ids.FileName(
        path_index=path_index, directory="0A/FF", stamp=stamp, tail=tail
    )
    assert ids.path_index_of(name) == path_index


@given(extensions, uint32)
def test_a_tail_is_seven_characters_of_digits_and_extension(extension: str, digits: int) -> None:
    tail = ids.make_tail(extension, digits)
    assert len(tail) == 7
    number, dot, rest = tail.partition(".")
    assert (dot + rest) == (f".{extension}" if extension else "")
    assert number == "" or number.isdigit()


@given(st.integers(0, 2**40), uint32)
def test_the_size_comes_back_from_its_field(size: int, noise: int) -> None:
    field = ids.size_field(size, noise)
    stamp = ids.FileStamp(source_ip="127.0.0.1", created=0, size_field=field, crc32=0)
    assert stamp.size_bytes == size
    assert not stamp.is_appender


@given(st.integers(0, 2**40), uint32)
def test_an_appender_has_bit_58_and_no_size(size: int, noise: int) -> None:
    field = ids.size_field(size, noise, appender=True)
    stamp = ids.FileStamp(source_ip="127.0.0.1", created=0, size_field=field, crc32=0)
    assert stamp.is_appender
    assert stamp.size_bytes is None
    assert field >> 56 == 0x84
    assert field & 0xFFFFFFFF == 0


def test_a_small_size_keeps_23_random_bits() -> None:
    assert ids.size_field(11, 0xFFFFFFFF) == 0x807FFFFF_0000000B


def test_a_name_from_a_live_cluster_reads_as_its_file() -> None:
    name = ids.parse_name("M00/00/00/fwAABGsA5SOAKV4HAAAACw1KEYU316.txt")
    assert name.stamp.source_ip == "127.0.0.4"
    assert name.stamp.created == 0x6B00E523
    assert name.stamp.size_bytes == 11
    assert name.stamp.crc32 == 0x0D4A1185
    assert name.tail == "316.txt"


@pytest.mark.parametrize("name", ["", "x" * 44, "M00/00/00/short", "M00/aa/00/" + "A" * 34])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no FastDFS file name"):
        ids.parse_name(name)


def test_27_characters_that_are_no_base64_are_refused() -> None:
    with pytest.raises(ValueError, match="base64"):
        ids.decode_stamp("!" * 27)


@pytest.mark.parametrize(
    ("tail", "prefix", "extension", "expected"),
    [
        ("316.txt", "_s", "jpg", "316_s.jpg"),
        ("316.txt", "_n", "", "316_n"),
        ("5760968", "_n", "jpg", "5760968_n.jpg"),
        (".tar.gz", "_a", "tar.gz", "_a.tar.gz"),
        (".tar.gz", "_b", "", "_b"),
    ],
)
def test_slaves_are_named_as_on_a_live_cluster(
    tail: str, prefix: str, extension: str, expected: str
) -> None:
    stem = "M00/00/00/fwAABGsA5SOAKV4HAAAACw1KEYU"
    assert ids.slave_name(stem + tail, prefix, extension) == stem + expected


@pytest.mark.parametrize("text", ["", "group1", "group1/", "/M00"])
def test_an_id_without_group_or_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no FastDFS file id"):
        ids.split_file_id(text)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 255), st.integers(0, 255))
def test_a_header_reads_back(length: int, command: int, status: int) -> None:
    header = wire.Header(length, command, status)
    data = wire.encode_header(header)
    assert len(data) == wire.HEADER_BYTES
    assert wire.decode_header(data) == header


@given(uint32)
def test_crc32_is_sign_extended_and_comes_back_when_masked(crc32: int) -> None:
    (value,) = struct.unpack(">Q", wire.encode_int(wire.signed(crc32)))
    assert value & 0xFFFFFFFF == crc32
    assert value >> 32 == (0xFFFFFFFF if crc32 >> 31 else 0)


@given(st.binary(max_size=40), st.integers(1, 50))
def test_padding_has_the_width_asked_for(data: bytes, width: Any) -> None:
    assert len(wire.pad(data, width)) == width


@given(st.lists(st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535)), min_size=1))
def test_answers_have_the_lengths_of_the_table(addresses: list[tuple[str, int]]) -> None:
    endpoints = [wire.Endpoint(*address) for address in addresses]
    count = len(endpoints)
    assert len(wire.encode_store("group1", endpoints, 0)) == 17 + 23 * count
    assert len(wire.encode_store("group1", endpoints, 0, wire.IPV6_WIDTHS)) == 17 + 53 * count
    assert len(wire.encode_fetch("group1", endpoints)) == 16 + 23 * count
    assert len(wire.encode_fetch("group1", endpoints, every_port=False)) == 24 + 15 * count
    assert len(wire.encode_file_info(1, 2, 3, "127.0.0.1")) == 40
    assert len(wire.encode_file_info(1, 2, 3, "127.0.0.1", wire.IPV6_WIDTHS)) == 70


clean = st.binary(max_size=64).filter(lambda data: not {0, 1, 2} & set(data))


@given(st.dictionaries(clean, clean, min_size=1))
def test_clean_metadata_is_stored_sorted_and_reads_back(pairs: dict[bytes, bytes]) -> None:
    stored = metadata.overwrite(metadata.format_block(list(pairs.items())))
    assert stored is not None
    assert metadata.parse_block(stored) == sorted(pairs.items())


@given(st.dictionaries(clean, clean, min_size=1), st.dictionaries(clean, clean, min_size=1))
def test_merging_clean_metadata_is_merging_mappings(
    old: dict[bytes, bytes], new: dict[bytes, bytes]
) -> None:
    stored = metadata.overwrite(metadata.format_block(list(old.items())))
    merged = metadata.merge(stored, metadata.format_block(list(new.items())))
    assert merged is not None
    assert dict(metadata.parse_block(merged)) == old | new


@given(st.binary(min_size=1, max_size=400))
def test_an_overwritten_block_keeps_its_length_whatever_is_in_it(block: bytes) -> None:
    stored = metadata.overwrite(block)
    assert stored is not None
    assert len(stored) == len(block)


@pytest.mark.parametrize(
    ("block", "stored"),
    [
        (b"b\x021\x01a\x022", b"a\x022\x01b\x021"),
        (b"k\x02v\x01", b"k\x02v\x00"),
        (b"novalue", b"novalue"),
        (b"a\x02b\x02c", b"a\x02b\x02c"),
        (b"a\x021\x01a\x022\x01A\x023", b"A\x023\x01a\x021\x01a\x022"),
        (b"a\x02b\x01novalue", b"a\x02b\x00novalue"),
        (b"n" * 70 + b"\x02v", b"n" * 64 + b"\x02v\x00nnn\x02v"),
        (b"\x01", b"\x00"),
        (b"\x01a\x02b", b"a\x02b\x00"),
        (b"a\0b\x02c\0d", b"a\0b\x02c\0d"),
        (b"", None),
    ],
)
def test_odd_metadata_is_stored_as_on_a_live_cluster(block: bytes, stored: bytes | None) -> None:
    assert metadata.overwrite(block) == stored


@pytest.mark.parametrize("pair", [("n" * 65, "v"), ("n", "v" * 257), ("a\x01", "v"), ("a", "\0")])
def test_metadata_that_cannot_be_stored_is_refused_when_seeding(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        metadata.from_mapping(dict([pair]))
