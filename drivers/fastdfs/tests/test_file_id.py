"""Ids: what has the form of one, what it tells, and why the rest is refused."""

from __future__ import annotations

import base64
import string
import struct
from datetime import UTC, datetime

import pytest
from aiofdfs import async_fdfs_protol as fdfs
from hypothesis import given
from hypothesis import strategies as st

from polystow import InvalidPathError
from polystow_fastdfs import FileId, _file_id, accepts

REAL = "group1/M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG"  # FastDFS 6.15.5
SMALL, APPENDER, TRUNK = 1 << 63, 1 << 58, 1 << 59
SOURCE = b"\x7f\x00\x00\x05"


def name(
    size: int, *, tail: str = "1234567", source: bytes = SOURCE, created: int = 1_700_000_000
) -> str:
    raw = struct.pack(">4sIQI", source, created, size, 0xDEADBEEF)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=") + tail


def parse(base: str) -> FileId:
    return FileId.parse(f"group1/M00/00/00/{base}")


WORD = string.ascii_letters + string.digits + "_-"

extensions = st.text(WORD, max_size=6)
groups = st.text(WORD, min_size=1, max_size=16)


@st.composite
def tails(draw: st.DrawFn) -> str:
    """The seven characters that end the name of a file of its own."""
    extension = draw(extensions)
    digits = draw(st.text("0123456789", min_size=7, max_size=7))
    return digits[: 6 - len(extension)] + "." + extension if extension else digits


@st.composite
def ids(draw: st.DrawFn) -> str:
    """Ids as servers make them, of every kind."""
    group = draw(groups)
    path, high, low = (draw(st.integers(0, 255)) for _ in range(3))
    flags = draw(st.sampled_from([SMALL, SMALL | APPENDER, SMALL | TRUNK]))
    trunk = "A" * 16 if flags & TRUNK else ""
    base = name(
        flags | draw(st.integers(0, 2**32 - 1)),
        tail=trunk + draw(tails()),
        source=draw(st.binary(min_size=4, max_size=4)),
        created=draw(st.integers(0, 2**32 - 1)),
    )
    return f"{group}/M{path:02X}/{high:02X}/{low:02X}/{base}"


def test_real_id_is_taken_apart() -> None:
    file = FileId.parse(REAL)
    assert file == FileId(
        "group1",
        "M00/00/00/fwAABWsA4kaAdSJYAAAABTYQpoY237.JPG",
        0,
        source="127.0.0.5",
        created_s=1_795_220_038,
        size=5,
        crc32=907_060_870,
    )
    assert (file.kind, file.extension) == ("normal", "JPG")
    assert file.created == datetime.fromtimestamp(1_795_220_038, UTC)


def test_lengths_are_those_of_aiofdfs() -> None:
    assert fdfs.FDFS_FILENAME_BASE64_LENGTH == _file_id._BASE64_CHARS
    assert fdfs.FDFS_TRUNK_FILE_INFO_LEN == _file_id._TRUNK_CHARS
    assert fdfs.FDFS_FILE_EXT_NAME_MAX_LEN == _file_id.MAX_EXTENSION_BYTES
    assert fdfs.FDFS_FILE_EXT_NAME_MAX_LEN + 1 == _file_id._TAIL_CHARS
    assert fdfs.FDFS_FILE_PREFIX_MAX_LEN == _file_id.MAX_PREFIX_BYTES


# What an id tells


@given(text=ids())
def test_every_id_of_a_server_comes_back_as_it_was(text: str) -> None:
    file = FileId.parse(text)
    assert str(file) == file.path == text
    assert FileId.parse(str(file)) == file
    assert accepts(text)
    assert not file.slave


@given(
    group=groups,
    index=st.integers(0, 255),
    source=st.ip_addresses(v=4).filter(lambda address: not str(address).endswith(".0")),
    created=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**40),
    noise=st.integers(0, 2**23 - 1),
    tail=tails(),
)
def test_what_a_server_puts_into_an_id_is_read_from_it(
    group: str, index: int, source: object, created: int, size: int, noise: int, tail: str
) -> None:
    raw = bytes(map(int, str(source).split(".")))
    field = size if size >= 2**32 else SMALL | noise << 32 | size
    base = name(field, tail=tail, source=raw, created=created)
    file = FileId.parse(f"{group}/M{index:02X}/00/FF/{base}")
    assert (file.group, file.path_index, file.source) == (group, index, str(source))
    assert (file.created_s, file.size, file.crc32) == (created, size, 0xDEADBEEF)
    assert file.extension == tail.partition(".")[2]


@given(size=st.integers(2**32, 2**50))
def test_size_from_4_gib_on(size: int) -> None:
    file = parse(name(size))
    assert (file.size, file.appender, file.trunk) == (size, False, False)


@given(noise=st.integers(0, 2**23 - 1))
def test_appender_file_tells_neither_size_nor_checksum(noise: int) -> None:
    file = parse(name(SMALL | APPENDER | noise << 32))
    assert (file.kind, file.appender, file.size, file.crc32) == ("appender", True, None, None)
    assert file.created_s == 1_700_000_000


@given(size=st.integers(0, 2**26))
def test_trunk_file_has_16_more_characters(size: int) -> None:
    file = parse(name(SMALL | TRUNK | size, tail="A" * 16 + "123.jpg"))
    assert (file.trunk, file.slave, file.size, file.crc32) == (True, False, size, 0xDEADBEEF)


@pytest.mark.parametrize(
    "tail", ["1234567", "123.jpg", ".abcdef", "12345.c", "1234.gz", ".tar.gz", "12.a-_b"]
)
def test_tails_of_files_of_their_own(tail: str) -> None:
    assert not parse(name(SMALL | 5, tail=tail)).slave


@pytest.mark.parametrize("flags", [SMALL, SMALL | APPENDER])
@pytest.mark.parametrize(
    "tail", ["123-m.jpg", "_sm.jpg", "1234567_1", "-m.abcdef", "123_100x100.jpg"]
)
def test_slave_files_tell_neither_size_nor_checksum(tail: str, flags: int) -> None:
    file = parse(name(flags | 5, tail=tail))
    assert (file.kind, file.size, file.crc32) == ("slave", None, None)
    assert file.appender is bool(flags & APPENDER)


@pytest.mark.parametrize(
    ("source", "text"),
    [(b"\x7f\x00\x00\x05", "127.0.0.5"), (b"\xa1\x86\x01\x00", "100001")],
)
def test_source_is_an_address_or_a_server_id(source: bytes, text: str) -> None:
    assert parse(name(SMALL, source=source)).source == text


# What is no id


REFUSALS = {
    "": "it is empty",
    "group1": "1 part between slashes",
    "/" + REAL: "6 parts",
    REAL + "/": "6 parts",
    REAL + "\n": r"'\\n', and ids are printable ASCII",
    REAL.replace("M00/00", "M00"): "4 parts",
    REAL.replace("M00", "m00"): "'m00' is no store path",
    REAL.replace("M00", "M0G"): "'M0G' is no store path",
    REAL.replace("M00", "M000"): "'M000' is no store path",
    REAL.replace("00/00", "00/zz"): "'zz' is no directory",
    REAL.replace("group1", ""): "'' is no group name",
    REAL.replace("group1", "g" * 17): "1 to 16",
    REAL.replace("group1", "gröup"): "'ö'",
    REAL.replace("JPG", "ÄPG"): "'Ä'",
    REAL.replace("JPG", "J G"): "' '",
    REAL.replace("00/00", "../.."): r"contains '\.\.'",
    REAL + "..": r"contains '\.\.'",
    "../../etc/passwd": r"contains '\.\.'",
    "g/M00/00/00/" + "x" * 27: "37 characters, and it takes 38 to 127",
    "g/M00/00/00/" + "x" * 118: "128 characters",
    "g/M00/00/00/" + "!" * 34: "is not made of",
    "g/M00/00/00/" + "x" * 20 + "." + "x" * 13: "is not made of",
    "g/M00/00/00/" + name(SMALL | TRUNK, tail="123.jpg"): "16 characters more",
    "s3://" + REAL: "7 parts",
    "bucket/M00/report.pdf": "3 parts",
}


@pytest.mark.parametrize(("text", "reason"), REFUSALS.items())
def test_what_has_another_form_is_refused_with_the_reason(text: str, reason: str) -> None:
    assert not accepts(text)
    with pytest.raises(InvalidPathError, match=reason):
        FileId.parse(text)


@pytest.mark.parametrize(
    "path", [REAL, "G_-9/MFF/FF/FF/" + "x" * 28, "g/M00/00/00/" + "x" * 117, REAL + "~"]
)
def test_ids_at_the_limits_are_accepted(path: str) -> None:
    assert accepts(path)
    assert FileId.parse(path).path == path


def test_endless_text_is_not_repeated_in_its_refusal() -> None:
    with pytest.raises(InvalidPathError) as caught:
        FileId.parse("x" * 10_000)
    assert len(caught.value.message) < 400


@given(
    path=st.text() | st.from_regex(r"[a-z0-9]{1,16}/M[0-9A-F]{2}/[0-9A-F]{2}/[0-9A-F]{2}/.{1,60}")
)
def test_no_text_breaks_the_grammar(path: str) -> None:
    if accepts(path):
        assert FileId.parse(path).path == path
    else:
        with pytest.raises(InvalidPathError, match="is no FastDFS id"):
            FileId.parse(path)


@given(text=ids(), at=st.integers(0, 60), char=st.characters())
def test_no_changed_character_breaks_the_grammar(text: str, at: int, char: str) -> None:
    changed = text[:at] + char + text[at + 1 :]
    if accepts(changed):
        assert FileId.parse(changed).path == changed


# Slaves


@pytest.mark.parametrize(
    ("tail", "prefix", "extension", "end"),
    [
        ("123.jpg", "_150x150", "png", "123_150x150.png"),
        ("123.jpg", "-large", "", "123-large"),
        ("1234567", "_s", "jpg", "1234567_s.jpg"),
        (".tar.gz", "-medium", "gz", "-medium.gz"),
        (".abcdef", "x" * 16, "abcdef", "x" * 16 + ".abcdef"),
    ],
)
def test_slave_has_its_master_s_name_without_extension(
    tail: str, prefix: str, extension: str, end: str
) -> None:
    slave = parse(name(SMALL | 5, tail=tail)).slave_id(prefix, extension)
    assert slave.name.endswith(name(SMALL | 5, tail=end))
    assert (slave.kind, slave.extension) == ("slave", extension)


@given(
    text=ids(),
    prefix=st.text(WORD + ".", min_size=1, max_size=16),
    extension=extensions,
)
def test_slave_id_is_an_id_of_a_slave_or_refused(text: str, prefix: str, extension: str) -> None:
    master = FileId.parse(text)
    try:
        slave = master.slave_id(prefix, extension)
    except InvalidPathError:
        return
    assert slave.slave
    assert not slave.mistakable
    assert FileId.parse(slave.path) == slave
    assert slave.source == master.source


@pytest.mark.parametrize(
    ("prefix", "extension", "reason"),
    [
        ("", "jpg", "1 to 16"),
        ("x" * 17, "jpg", "1 to 16"),
        ("a/b", "jpg", "1 to 16"),
        ("ä", "jpg", "1 to 16"),
        ("-m", "", "the master's metadata"),
        ("a..b", "jpg", r"'\.\.'"),
        ("a", "jpgjpgj", "at most 6"),
        ("a", ".jpg", "without the first dot"),
        ("a", "j g", "at most 6"),
    ],
)
def test_slave_that_servers_refuse_is_refused(prefix: str, extension: str, reason: str) -> None:
    with pytest.raises(InvalidPathError, match=reason):
        FileId.parse(REAL).slave_id(prefix, extension)


@pytest.mark.parametrize(
    ("tail", "prefix", "extension"),
    [(".abcdef", "123", "jpg"), (".abcdef", "_s", "jpg"), ("123.jpg", "_s", "")],
)
def test_slave_that_servers_would_take_for_a_file_of_its_own_is_refused(
    tail: str, prefix: str, extension: str
) -> None:
    for flags, trunk in ((SMALL, ""), (SMALL | TRUNK, "A" * 16)):
        with pytest.raises(InvalidPathError, match="longer"):
            parse(name(flags | 5, tail=trunk + tail)).slave_id(prefix, extension)
