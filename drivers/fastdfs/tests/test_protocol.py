"""The codecs: frames byte for byte, and answers of any content, cut anywhere."""

from __future__ import annotations

import contextlib
import itertools
import struct
from typing import Any

import pytest
from aiofdfs import async_fdfs_protol as fdfs
from hypothesis import assume, given
from hypothesis import strategies as st

from polystow_fastdfs import _protocol as protocol
from polystow_fastdfs._answer import MAX_MESSAGE_BYTES, Answer, State
from polystow_fastdfs._metadata import decode_metadata, encode_metadata, find_metadata_mistake
from polystow_fastdfs._protocol import FrameError

NAME = b"M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"
G = b"group1".ljust(16, b"\x00")
L = struct.Struct(">Q").pack

FRAMES = [
    (protocol.active_test(), 111, b""),
    (protocol.quit_frame(), 82, b""),
    (protocol.query_store(None), 101, b""),
    (protocol.query_store("group1"), 104, G),
    (protocol.query_fetch("group1", NAME), 102, G + NAME),
    (protocol.query_update("group1", NAME), 103, G + NAME),
    (protocol.list_group("group1"), 90, G),
    (protocol.append(NAME, 0), 24, L(44) + L(0) + NAME),
    (protocol.modify(NAME, 7, 0), 34, L(44) + L(7) + L(0) + NAME),
    (protocol.truncate(NAME, 2**40), 36, L(44) + L(2**40) + NAME),
    (protocol.regenerate(NAME), 38, NAME),
    (
        protocol.upload_slave(master=NAME, prefix=b"_s", extension=b"png", size=0),
        21,
        L(44) + L(0) + b"_s".ljust(16, b"\x00") + b"png\x00\x00\x00" + NAME,
    ),
    (protocol.delete("group1", NAME), 12, G + NAME),
    (protocol.download("group1", NAME, 5, 2**40), 14, L(5) + L(2**40) + G + NAME),
    (protocol.get_metadata("group1", NAME), 15, G + NAME),
    (protocol.file_info("group1", NAME, crc32=True), 22, G + NAME),
    (
        protocol.set_metadata("group1", NAME, b"a\x02b", "merge"),
        13,
        L(44) + L(3) + b"M" + G + NAME + b"a\x02b",
    ),
    (
        protocol.set_metadata("group1", NAME, b"", "overwrite"),
        13,
        L(44) + L(0) + b"O" + G + NAME,
    ),
    (
        protocol.upload(size=0, extension=b"JPG", path_index=3, appender=False),
        11,
        b"\x03" + L(0) + b"JPG\x00\x00\x00",
    ),
    (
        protocol.upload(size=0, extension=b"", path_index=255, appender=True),
        23,
        b"\xff" + L(0) + bytes(6),
    ),
]


@pytest.mark.parametrize(("frame", "command", "body"), FRAMES)
def test_frames_follow_the_protocol_table(frame: bytes, command: int, body: bytes) -> None:
    assert frame == struct.pack(">QBB", len(body), command, 0) + body


def test_frames_before_a_body_count_it() -> None:
    head = protocol.upload(size=2**33, extension=b"", path_index=0, appender=False)
    assert struct.unpack(">Q", head[:8])[0] == len(head) - 10 + 2**33
    for head in (
        protocol.append(NAME, 2**33),
        protocol.modify(NAME, 2**34, 2**33),
        protocol.upload_slave(master=NAME, prefix=b"_s", extension=b"", size=2**33),
    ):
        assert struct.unpack(">Q", head[:8])[0] == len(head) - 10 + 2**33


def test_checksum_of_file_info_can_be_skipped() -> None:
    assert protocol.file_info("g", NAME, crc32=False)[9] == 1


def test_header_is_that_of_aiofdfs() -> None:
    header: Any = fdfs.Tracker_header
    assert header()._pack(7, 8, 9) == protocol.HEADER.pack(7, 8, 9)


@given(data=st.binary(max_size=120))
def test_no_answer_breaks_a_parser(data: bytes) -> None:
    for parse in (
        protocol.parse_store_address,
        protocol.parse_fetch_address,
        protocol.parse_file_info,
        protocol.parse_new_id,
    ):
        with contextlib.suppress(FrameError):
            parse(data)
    decode_metadata(data)


@pytest.mark.parametrize("width", [15, 45])
@given(host=st.ip_addresses(), port=st.integers(1, 65535), path_index=st.integers(0, 255))
def test_addresses_of_both_widths(width: int, host: object, port: int, path_index: int) -> None:
    assume(len(str(host)) <= width)
    body = G + str(host).encode().ljust(width, b"\x00") + L(port)
    expected = protocol.StorageAddress("group1", str(host), port)
    assert protocol.parse_fetch_address(body) == expected
    stored = protocol.parse_store_address(body + bytes([path_index]))
    assert (stored.host, stored.port, stored.path_index) == (str(host), port, path_index)


@given(
    size=st.integers(0, 2**63 - 1),
    timestamp=st.integers(0, 2**32),
    crc32=st.integers(0, 2**32 - 1),
    width=st.sampled_from([16, 46]),
)
def test_file_info_masks_the_checksum(size: int, timestamp: int, crc32: int, width: int) -> None:
    signed = crc32 - 2**32 if crc32 >= 2**31 else crc32
    body = struct.pack(">QQq", size, timestamp, signed) + b"127.0.0.1".ljust(width, b"\x00")
    assert protocol.parse_file_info(body) == protocol.FileFacts(size, timestamp, crc32, "127.0.0.1")


@pytest.mark.parametrize("timestamp", [-1, 2**40, 2**62])
def test_file_info_with_a_time_in_no_calendar_is_refused(timestamp: int) -> None:
    body = struct.pack(">QqQ", 5, timestamp, 0) + b"127.0.0.1".ljust(16, b"\x00")
    with pytest.raises(protocol.FrameError, match="calendar"):
        protocol.parse_file_info(body)


# Metadata

texts = st.text(st.characters(exclude_characters="\x00\x01\x02", exclude_categories=["Cs"]))


@given(metadata=st.dictionaries(texts.filter(bool), texts))
def test_metadata_comes_back_as_it_was(metadata: dict[str, str]) -> None:
    given_items = list(metadata.items())
    encoded = encode_metadata(metadata)
    assert decode_metadata(encoded) == metadata
    assert list(metadata.items()) == given_items
    if metadata:
        pack: Any = fdfs.fdfs_pack_metadata
        assert encoded == pack(metadata).encode()


@given(metadata=st.dictionaries(st.text(), st.text(), max_size=3))
def test_metadata_without_a_mistake_fits_byte_for_byte(metadata: dict[str, str]) -> None:
    if find_metadata_mistake(metadata) is None:
        assert decode_metadata(encode_metadata(metadata)) == metadata
        for name, value in metadata.items():
            assert 0 < len(name.encode()) <= 64
            assert len(value.encode()) <= 256


def test_metadata_of_other_clients_is_read() -> None:
    assert decode_metadata(b"") == {}
    assert decode_metadata(b"a\x02b\x01\x00") == {"a": "b"}
    assert decode_metadata(b"a\x01b\x02\xff") == {"a": "", "b": "\udcff"}
    assert decode_metadata(b"a\x02b\x02c") == {"a": "b\x02c"}


# Answers that arrive in pieces


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(
    body=st.binary(max_size=300),
    status=st.sampled_from([0, 2, 22]),
    cuts=st.lists(st.integers(0, 1000), max_size=8),
)
def test_short_answer_is_whole_however_it_is_cut(body: bytes, status: int, cuts: list[int]) -> None:
    answer = Answer()
    answer.expect(stream=False)
    for piece in pieces_of(protocol.HEADER.pack(len(body), 100, status) + body, cuts):
        assert answer.state is State.MESSAGE
        answer.feed(piece)
    assert answer.state is State.DONE
    assert (answer.take_message(), answer.status) == (body, status)
    assert answer.state is (State.SPOILT if status == 22 else State.IDLE)


@given(
    body=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 1000), max_size=8),
    max_bytes=st.integers(1, 100),
)
def test_stream_is_whole_however_it_is_cut(body: bytes, cuts: list[int], max_bytes: int) -> None:
    answer = Answer()
    answer.expect(stream=True)
    taken: list[bytes] = []
    for piece in pieces_of(protocol.HEADER.pack(len(body), 100, 0) + body, cuts):
        answer.feed(piece)
        while answer.buffered:
            taken.append(answer.take_chunk(max_bytes))
    assert b"".join(taken) == body
    assert all(0 < len(chunk) <= max_bytes for chunk in taken)
    assert (answer.state, answer.left) == (State.IDLE, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        protocol.HEADER.pack(0, 101, 0),
        protocol.HEADER.pack(2**63, 100, 0),
        protocol.HEADER.pack(3, 100, 0) + b"abcd",
    ],
)
def test_what_is_no_answer_is_an_error(*, stream: bool, data: bytes) -> None:
    answer = Answer()
    answer.expect(stream=stream)
    with pytest.raises(FrameError):
        answer.feed(data)
    assert answer.state is not State.IDLE


def test_what_follows_a_refusal_is_dropped_and_spoils_the_connection() -> None:
    answer = Answer()
    answer.expect(stream=False)
    refusal = protocol.HEADER.pack(0, 100, 2)
    answer.feed(refusal + protocol.HEADER.pack(0, 100, 22))
    assert (answer.take_message(), answer.status) == (b"", 2)
    assert answer.state is State.SPOILT


def test_unasked_bytes_and_endless_messages_are_errors() -> None:
    with pytest.raises(FrameError, match="nobody asked for"):
        Answer().feed(b"x")
    answer = Answer()
    answer.expect(stream=False)
    with pytest.raises(FrameError, match="a short one belongs"):
        answer.feed(protocol.HEADER.pack(MAX_MESSAGE_BYTES + 1, 100, 0))
