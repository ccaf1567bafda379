"""The header codecs: Content-Disposition, Range and conditions."""

import re
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import Checksum, ContentRange, ObjectInfo, RangeNotSatisfiableError
from polystow_fastapi import content_disposition
from polystow_fastapi._conditions import Verdict, entity_tag, http_date, judge, range_holds
from polystow_fastapi._ranges import MAX_RANGES, requested_ranges

MOMENT = datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC)
INFO = ObjectInfo("s3://b/k", 10, etag="abc", modified=MOMENT)


@given(st.text())
def test_a_disposition_is_one_printable_line_that_names_the_file(name: str) -> None:
    value = content_disposition("attachment", name)
    assert value.isascii()
    assert value.isprintable()
    message = Message()
    message["Content-Disposition"] = value.partition("; filename*=")[0]
    found = message.get_param("filename", header="Content-Disposition")
    assert (found is not None) == bool(name)


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), min_size=1))
def test_a_name_comes_back_whole(name: str) -> None:
    name = name.replace("/", "-").replace("\\", "-")[:255]
    value = content_disposition("inline", name)
    encoded = re.search(r"filename\*=UTF-8''(\S+)$", value)
    if encoded is None:
        assert value == f'inline; filename="{name}"'
    else:
        assert unquote(encoded[1]) == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("näme.txt", "attachment; filename=\"n_me.txt\"; filename*=UTF-8''n%C3%A4me.txt"),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a\r\nSet-Cookie: x=1", 'attachment; filename="a__Set-Cookie: x=1"'),
        ("../../etc/passwd", 'attachment; filename=".._.._etc_passwd"'),
        ("exe.\u202etxt.exe", 'attachment; filename="exe._txt.exe"'),
        (None, "attachment"),
        ("", "attachment"),
    ],
)
def test_dispositions(name: str | None, value: str) -> None:
    assert content_disposition("attachment", name) == value


def test_a_long_name_keeps_its_extension() -> None:
    value = content_disposition("attachment", "x" * 1000 + ".pdf")
    assert value.endswith('x.pdf"')
    assert len(value) < 300


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        (None, None),
        ("bytes=0-3", [(0, 4)]),
        ("bytes=5-", [(5, 5)]),
        ("bytes=-3", [(7, 3)]),
        ("bytes=-300", [(0, 10)]),
        ("bytes=8-100", [(8, 2)]),
        ("BYTES = 0-0", [(0, 1)]),
        ("bytes=0-0, 9-9", [(0, 1), (9, 1)]),
        ("bytes=4-6,0-3", [(0, 7)]),
        ("bytes=0-0,50-60", [(0, 1)]),
        ("bytes=3-1", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1-2;3-4", None),
        ("bytes=\u0661-\u0662", None),
        ("items=0-3", None),
        ("bytes=0-0,2-", [(0, 1), (2, 8)]),
    ],
)
def test_ranges(header: str | None, parts: list[tuple[int, int]] | None) -> None:
    expected = None if parts is None else [ContentRange(*part, 10) for part in parts]
    assert requested_ranges(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20,30-40", "bytes=-0"])
def test_ranges_outside_of_the_object_are_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        requested_ranges(header, 10)


def test_an_empty_object_has_no_range() -> None:
    with pytest.raises(RangeNotSatisfiableError):
        requested_ranges("bytes=0-", 0)


def test_a_thousand_ranges_that_overlap_are_one() -> None:
    overlapping = ",".join(f"{n}-{n + 5}" for n in range(1000))
    assert requested_ranges(f"bytes={overlapping}", 1000) == [ContentRange(0, 1000, 1000)]


def test_more_parts_than_the_limit_get_the_whole_object() -> None:
    apart = ",".join(f"{n * 3}-{n * 3}" for n in range(MAX_RANGES + 1))
    assert requested_ranges(f"bytes={apart}", 1000) is None
    assert requested_ranges("bytes=" + "0-0," * 5000 + "9-9", 1000) is None


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8),
    st.integers(1, 30),
)
def test_ranges_give_each_requested_byte_once(asked: list[tuple[int, int]], size: int) -> None:
    specs = [(first, first + more) for first, more in asked]
    wanted = {n for first, last in specs for n in range(first, last + 1) if n < size}
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in specs)
    try:
        parts = requested_ranges(header, size)
    except RangeNotSatisfiableError:
        assert not wanted
        return
    assert parts is not None
    given_bytes = [n for part in parts for n in range(part.offset, part.offset + part.length)]
    assert sorted(wanted) == given_bytes


@given(st.text(max_size=60))
def test_any_text_as_range_is_parts_or_none(header: str) -> None:
    try:
        parts = requested_ranges("bytes=" + header, 10)
    except RangeNotSatisfiableError:
        return
    assert parts is None or all(0 <= p.offset < p.offset + p.length <= 10 for p in parts)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, Verdict.PROCEED),
        ({"if-none-match": '"abc"'}, Verdict.NOT_MODIFIED),
        ({"if-none-match": 'W/"abc"'}, Verdict.NOT_MODIFIED),
        ({"if-none-match": '"x", "abc"'}, Verdict.NOT_MODIFIED),
        ({"if-none-match": "*"}, Verdict.NOT_MODIFIED),
        ({"if-none-match": '"x"'}, Verdict.PROCEED),
        ({"if-none-match": "abc"}, Verdict.PROCEED),
        ({"if-match": '"abc"'}, Verdict.PROCEED),
        ({"if-match": "*"}, Verdict.PROCEED),
        ({"if-match": 'W/"abc"'}, Verdict.PRECONDITION_FAILED),
        ({"if-match": '"x"'}, Verdict.PRECONDITION_FAILED),
        ({"if-modified-since": http_date(MOMENT)}, Verdict.NOT_MODIFIED),
        ({"if-modified-since": http_date(MOMENT - timedelta(seconds=2))}, Verdict.PROCEED),
        ({"if-modified-since": "yesterday"}, Verdict.PROCEED),
        ({"if-unmodified-since": http_date(MOMENT)}, Verdict.PROCEED),
        (
            {"if-unmodified-since": http_date(MOMENT - timedelta(seconds=2))},
            Verdict.PRECONDITION_FAILED,
        ),
        # The entity tag counts before the date (RFC 9110, 13.2.2).
        ({"if-none-match": '"x"', "if-modified-since": http_date(MOMENT)}, Verdict.PROCEED),
        (
            {"if-match": '"abc"', "if-unmodified-since": http_date(MOMENT - timedelta(days=1))},
            Verdict.PROCEED,
        ),
    ],
)
def test_conditions(headers: dict[str, str], verdict: Verdict) -> None:
    assert judge(headers, INFO) is verdict


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (None, True),
        ('"abc"', True),
        ('W/"abc"', False),
        ('"x"', False),
        (http_date(MOMENT), True),
        (http_date(MOMENT + timedelta(seconds=1)), False),
        ("nonsense", False),
    ],
)
def test_if_range(condition: str | None, holds: bool) -> None:
    headers = {} if condition is None else {"if-range": condition}
    assert range_holds(headers, INFO) is holds


@pytest.mark.parametrize(
    ("info", "tag"),
    [
        (INFO, '"abc"'),
        (ObjectInfo("g", 5, checksum=Checksum("crc32", "0a0b0c0d")), '"crc32-0a0b0c0d-5"'),
        (ObjectInfo("g", 5), None),
        (ObjectInfo("g", 5, etag='a"b'), None),
        (ObjectInfo("g", 5, etag="a\r\nb"), None),
    ],
)
def test_entity_tags(info: ObjectInfo, tag: str | None) -> None:
    assert entity_tag(info) == tag
