"""Signed URLs: what was signed comes back, and nothing else."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from polystow import Secret
from polystow_gateway.server._signed_urls import PATH, SIGNATURE, SignedUrl, sign, verify

KEYS = {"new": Secret("n" * 32), "old": Secret("o" * 32)}
BASE = "https://files.example.org/prefix"
URL = SignedUrl("GET", "s3://bucket/a key/ü?&=#.txt", 2_000_000_000, "key:reports", "192.0.2.1")

texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = texts.filter(lambda name: not name.startswith("x-polystow-") and name != "id")
urls = st.builds(
    SignedUrl,
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    texts,
    st.integers(0, 10**12 - 1),
    texts,
    st.none() | texts,
    st.dictionaries(names, texts, max_size=3).map(lambda query: tuple(query.items())),
)


def parameters_of(text: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(text).query, keep_blank_values=True, strict_parsing=True)


@given(urls, texts)
def test_what_was_signed_comes_back(url: SignedUrl, base: str) -> None:
    text = sign(url, base, "new", KEYS["new"])
    query = text.removeprefix(f"{base}{PATH}?")
    parameters = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    assert verify(parameters, base, KEYS) == url
    assert verify(parameters[::-1], base, KEYS) == evolve(url, query=url.query[::-1])


@given(urls, st.data())
def test_whatever_is_altered_makes_it_invalid(url: SignedUrl, data: st.DataObject) -> None:
    parameters = parameters_of(sign(url, "", "new", KEYS["new"]))
    index = data.draw(st.integers(0, len(parameters) - 1))
    name, value = parameters[index]
    kind = data.draw(st.sampled_from(["value", "name", "drop", "add", "repeat"]))
    if kind == "value":
        parameters[index] = (name, data.draw(texts.filter(lambda other: other != value)))
    elif kind == "name":
        parameters[index] = (data.draw(texts.filter(lambda other: other != name)), value)
    elif kind == "drop":
        del parameters[index]
    elif kind == "add":
        parameters.insert(index, (data.draw(texts), data.draw(texts)))
    else:
        parameters.append(parameters[index])
    assert verify(parameters, "", KEYS) is None


def test_bytes_can_not_be_moved_from_one_parameter_to_the_next() -> None:
    parameters = parameters_of(sign(evolve(URL, query=(("a", "bc"),)), BASE, "new", KEYS["new"]))
    moved = [("ab", "c") if pair == ("a", "bc") else pair for pair in parameters]
    assert verify(parameters, BASE, KEYS) is not None
    assert verify(moved, BASE, KEYS) is None


def test_a_url_is_for_one_gateway() -> None:
    parameters = parameters_of(sign(URL, BASE, "new", KEYS["new"]))
    assert verify(parameters, BASE, KEYS) == URL
    assert verify(parameters, "https://other.example.org", KEYS) is None


def test_the_key_is_found_by_its_name_so_that_keys_can_be_replaced() -> None:
    old = parameters_of(sign(URL, BASE, "old", KEYS["old"]))
    assert verify(old, BASE, KEYS) == URL
    assert verify(old, BASE, {"new": KEYS["new"]}) is None
    renamed = [(n, "new" if n == "x-polystow-key" else v) for n, v in old]
    assert verify(renamed, BASE, KEYS) is None


def test_a_key_that_is_not_there_is_not_an_empty_one() -> None:
    parameters = parameters_of(sign(URL, BASE, "none", Secret("")))
    assert verify(parameters, BASE, KEYS) is None


def test_get_allows_head_and_nothing_allows_more() -> None:
    assert [m for m in ("GET", "HEAD", "PUT", "DELETE", "POST") if URL.allows(m)] == ["GET", "HEAD"]
    for method in ("HEAD", "PUT", "DELETE"):
        url = evolve(URL, method=method)
        assert [m for m in ("GET", "HEAD", "PUT", "DELETE", "POST") if url.allows(m)] == [method]
    assert not evolve(URL, method="PATCH").allows("PATCH")


@pytest.mark.parametrize("name", ["id", SIGNATURE, "x-polystow-ip", "x-polystow-expires"])
def test_parameters_of_the_signature_are_not_the_callers(name: str) -> None:
    with pytest.raises(ValueError, match="own"):
        sign(evolve(URL, query=((name, "x"),)), BASE, "new", KEYS["new"])
