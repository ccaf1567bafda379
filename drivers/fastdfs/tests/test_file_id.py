"""Ids: what has the form of one, and what it tells."""

from __future__ import annotations

import base64
import struct

import pytest
from aiofdfs import async_fdfs_protol as fdfs
from hypothesis import given
from hypothesis import strategies as st

from polystow_fastdfs import FileId, _file_id, accepts, parse_file_id

REAL = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"  # FastDFS 6.15.5
SMALL, APPENDER, TRUNK = 1 << 63, 1 << 58, 1 << 59


def name(size: int, *, tail: str = "1234567", source: bytes = b"\x7f\x00\x00\x05") -> str:
    raw = struct.pack(">4sIQI", source, 1_700_000_000, size, 0xDEADBEEF)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=") + tail


def parse(base: str) -> FileId:
    file = parse_file_id(f"group1/M00/00/00/{base}")
    assert file is not None
    return file


def test_real_id_is_taken_apart() -> None:
    assert parse_file_id(REAL) == FileId(
        "group1",
        "M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG",
        0,
        source="127.0.0.5",
        created_s=1_795_220_038,
        size=5,
        crc32=907_060_870,
    )


def test_lengths_are_those_of_aiofdfs() -> None:
    assert fdfs.FDFS_FILENAME_BASE64_LENGTH == _file_id._BASE64_CHARS
    assert fdfs.FDFS_TRUNK_FILE_INFO_LEN == _file_id._TRUNK_CHARS
    assert fdfs.FDFS_FILE_EXT_NAME_MAX_LEN + 1 == _file_id._TAIL_CHARS


@given(size=st.integers(0, 2**32 - 1), noise=st.integers(0, 2**23 - 1))
def test_size_below_4_gib(size: int, noise: int) -> None:
    assert parse(name(SMALL | noise << 32 | size)).size == size


@given(size=st.integers(2**32, 2**50))
def test_size_from_4_gib_on(size: int) -> None:
    file = parse(name(size))
    assert (file.size, file.appender, file.trunk) == (size, False, False)


@given(noise=st.integers(0, 2**23 - 1))
def test_appender_file_tells_neither_size_nor_checksum(noise: int) -> None:
    file = parse(name(SMALL | APPENDER | noise << 32))
    assert (file.appender, file.size, file.crc32) == (True, None, None)
    assert file.created_s == 1_700_000_000


@given(size=st.integers(0, 2**26))
def test_trunk_file_has_16_more_characters(size: int) -> None:
    base = name(SMALL | TRUNK | size, tail="A" * 16 + "123.jpg")
    file = parse(base)
    assert (file.trunk, file.slave, file.size, file.crc32) == (True, False, size, 0xDEADBEEF)


@pytest.mark.parametrize("tail", ["1234567", "123.jpg", ".abcdef", "12345.c", "1234.gz"])
def test_tails_of_files_of_their_own(tail: str) -> None:
    assert not parse(name(SMALL | 5, tail=tail)).slave


@pytest.mark.parametrize(
    "tail", ["123-m.jpg", "_sm.jpg", "1234567_1", "-m.abcdef", "123_100x100.jpg"]
)
def test_slave_files_tell_neither_size_nor_checksum(tail: str) -> None:
    file = parse(name(SMALL | 5, tail=tail))
    assert (file.slave, file.size, file.crc32) == (True, None, None)


@pytest.mark.parametrize(
    ("source", "text"),
    [(b"\x7f\x00\x00\x05", "127.0.0.5"), (b"\xa1\x86\x01\x00", "100001")],
)
def test_source_is_an_address_or_a_server_id(source: bytes, text: str) -> None:
    assert parse(name(SMALL, source=source)).source == text


def test_name_that_does_not_decode_tells_its_place_only() -> None:
    file = parse("!" * 34)
    assert file == FileId("group1", "M00/00/00/" + "!" * 34, 0)


@pytest.mark.parametrize(
    "path",
    [
        REAL,
        "G_-9/MFF/FF/FF/" + "x" * 12,
        "g/M00/00/00/" + "x" * 117,
    ],
)
def test_ids_are_accepted(path: str) -> None:
    assert accepts(path)
    file = parse_file_id(path)
    assert file is not None
    assert file.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "group1",
        "/" + REAL,
        REAL + "/",
        REAL + "\n",
        REAL.replace("M00", "m00"),
        REAL.replace("M00", "M0G"),
        REAL.replace("M00/00", "M00"),
        REAL.replace("group1", ""),
        REAL.replace("group1", "g" * 17),
        REAL.replace("group1", "gröup"),
        REAL.replace("JPG", "ÄPG"),
        REAL.replace("JPG", "J G"),
        "g/M00/00/00/" + "x" * 11,
        "g/M00/00/00/" + "x" * 118,
        "s3://" + REAL,
        "bucket/M00/report.pdf",
    ],
)
def test_what_has_another_form_is_not_accepted(path: str) -> None:
    assert not accepts(path)
    assert parse_file_id(path) is None


@given(
    path=st.text() | st.from_regex(r"[a-z0-9]{1,16}/M[0-9A-F]{2}/[0-9A-F]{2}/[0-9A-F]{2}/.{1,60}")
)
def test_no_text_breaks_the_grammar(path: str) -> None:
    assert accepts(path) is (parse_file_id(path) is not None)


@given(
    group=st.from_regex(r"[A-Za-z0-9_-]{1,16}", fullmatch=True),
    index=st.integers(0, 255),
    source=st.binary(min_size=4, max_size=4),
    size=st.integers(0, 2**40),
)
def test_every_id_of_a_server_is_accepted(group: str, index: int, source: bytes, size: int) -> None:
    base = name(size | SMALL if size < 2**32 else size, source=source)
    path = f"{group}/M{index:02X}/00/FF/{base}"
    file = parse_file_id(path)
    assert file is not None
    assert (file.path, file.path_index, file.size) == (path, index, size)
