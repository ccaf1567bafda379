"""User metadata: what is sent, and that it comes back the same."""

import string

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from polystow import InvalidMetadataError
from polystow_s3._metadata import (
    FILENAME_KEY,
    check_content_type,
    decode_metadata,
    decode_value,
    encode_metadata,
    encode_value,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
names = st.text(string.ascii_lowercase + string.digits + "-_.", min_size=1, max_size=20).filter(
    lambda name: name != FILENAME_KEY
)


@given(value=texts)
def test_every_text_survives_a_header(value: str) -> None:
    encoded = encode_value(value, "b/k")
    assert encoded == encoded.strip()
    assert encoded.isascii()
    assert all(" " <= character <= "~" for character in encoded)
    assert decode_value(encoded) == value


@given(value=texts)
def test_encoded_words_keep_to_the_length_of_rfc_2047(value: str) -> None:
    encoded = encode_value(value, "b/k")
    if encoded != value:
        assert all(len(word) <= 75 for word in encoded.split())


@given(metadata=st.dictionaries(names, texts, max_size=3), filename=st.none() | texts)
def test_metadata_comes_back(metadata: dict[str, str], filename: str | None) -> None:
    try:
        encoded = encode_metadata(metadata, filename, "b/k")
    except InvalidMetadataError:
        reject()  # too long
    assert decode_metadata(encoded) == (metadata, filename)


def test_plain_ascii_is_sent_as_it_is() -> None:
    assert encode_metadata({"Author": "john q. public"}, None, "b/k") == {
        "author": "john q. public"
    }


def test_the_file_name_is_kept_as_s3py_helper_keeps_it() -> None:
    assert encode_metadata({}, "отчёт 1.pdf", "b/k") == {
        "--real-file-name--": "%D0%BE%D1%82%D1%87%D1%91%D1%82%201.pdf"
    }


def test_quoted_printable_words_of_others_are_decoded() -> None:
    assert decode_value("=?UTF-8?Q?=C3=BCn=C3=AF?=") == "ünï"


@pytest.mark.parametrize("value", ["=?nonsense?B?AA==?=", "=?UTF-8?B?/w==?=", "a =?UTF-8?B?YQ==?="])
def test_what_is_no_encoded_word_stays_as_it_is(value: str) -> None:
    assert decode_value(value) == value


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a b": "1"}, "HTTP header"),
        ({"": "1"}, "HTTP header"),
        ({"naïve": "1"}, "HTTP header"),
        ({"a\r\nx-evil": "1"}, "HTTP header"),
        ({"A": "1", "a": "2"}, "lower case"),
        ({FILENAME_KEY: "x"}, "taken"),
        ({"a": "\ud800"}, "UTF-8"),
        ({"a": "x" * 2048}, "at most 2048"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidMetadataError, match=message):
        encode_metadata(metadata, None, "b/k")


@pytest.mark.parametrize("content_type", ["", "text/plain\r\nx: y", " text/plain", "tëxt/plain"])
def test_content_types_that_cannot_stand_in_a_header_are_refused(content_type: str) -> None:
    with pytest.raises(InvalidMetadataError, match="content type"):
        check_content_type(content_type, "b/k")
