from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import FetchRules, InvalidFileTypeError, InvalidPathError
from polystow._fetch_rules import (
    check_content_type,
    filename_of,
    parse_url,
    refusal,
    told_type,
)
from polystow._naming import check_filename


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://example.org", "example.org", "/"),
        ("HTTPS://Example.org:443/a?b=c#d", "example.org", "/a?b=c"),
        ("http://example.org:8080/x y/é", "example.org:8080", "/x%20y/%C3%A9"),
        ("http://example.org/%2e%2f?q=a b&c=%20", "example.org", "/%2e%2f?q=a%20b&c=%20"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]", "/"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
        (" http://example.org/ ", "example.org", "/"),
    ],
)
def test_urls_are_taken_apart(url: str, authority: str, target: str) -> None:
    address = parse_url(url)
    assert (address.authority, address.target) == (authority, target)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "'file' can't be fetched"),
        ("ftp://example.org/", "'ftp' can't be fetched"),
        ("example.org/x", "without a scheme"),
        ("//example.org/x", "without a scheme"),
        ("http:///x", "no host"),
        ("http://user:secret@example.org/", "credentials"),
        ("http://example.org:port/", "malformed"),
        ("http://[::1/", "malformed"),
        ("http://exa\nmple.org/", "control character"),
        ("http://exam..ple/", "no name"),
        ("http://a b/", "no name"),
        ("http://[::1%25x]/", "no IPv6 address"),
    ],
)
def test_what_can_not_be_fetched_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidPathError, match=message) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_a_url_is_shown_without_its_query() -> None:
    assert parse_url("https://h.example:8443/a?signature=s").shown == "https://h.example:8443/a"


@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.org/{text}"):
        try:
            address = parse_url(url)
        except InvalidPathError:
            continue
        assert address.authority.isascii()
        assert address.target.isascii()
        assert address.target.startswith(("/", "?"))
        assert not set(address.authority + address.target) & set(" \r\n\t\0")


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1",
        "198.18.0.1", "192.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%2", "fc00::1", "fd12::1", "fec0::1", "ff02::1",
        "2001:db8::1", "100::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert refusal(ip_address(address), ()) is not None


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_a_public_address_is_not_refused(address: str) -> None:
    assert refusal(ip_address(address), ()) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.0/8"),
        ("::1", "::1"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("fe80::1%2", "fe80::/10"),
    ],
)
def test_a_network_can_be_allowed(address: str, network: str) -> None:
    allowed = (ip_network(network),)
    assert refusal(ip_address(address), allowed) is None
    assert refusal(ip_address("192.168.0.1"), allowed) is not None


@given(st.ip_addresses(v=4))
def test_an_address_inside_of_another_is_judged_like_itself(address: object) -> None:
    inner = int(ip_address(str(address)))
    plain = refusal(ip_address(str(address)), ())
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        mapped = ip_address((prefix | inner).to_bytes(16))
        assert (refusal(mapped, ()) is None) == (plain is None)


# Answers


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("image/png", ["image/*"]),
        ("IMAGE/PNG; q=1", ["image/png"]),
        ("text/html; charset=utf-8", [" Text/HTML "]),
        ("x/y", ["*/*"]),
        (None, None),
    ],
)
def test_types_that_are_allowed(kind: str | None, allowed: list[str] | None) -> None:
    check_content_type(kind, FetchRules(content_types=allowed).content_types, "http://h/")


@pytest.mark.parametrize("kind", [None, "", "text/html", "imagex/png", "image"])
def test_types_that_are_not_allowed(kind: str | None) -> None:
    rules = FetchRules(content_types=["image/*"])
    with pytest.raises(InvalidFileTypeError, match=r"allowed are image/\*"):
        check_content_type(kind, rules.content_types, "http://h/")


def test_a_type_that_says_nothing_is_none() -> None:
    assert told_type("application/octet-stream") is None
    assert told_type("text/plain; charset=utf-8") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("url", "disposition", "kind", "name"),
    [
        ("http://h/a/b.txt?x=1", None, None, "b.txt"),
        ("http://h/a/b%20c.txt", None, None, "b c.txt"),
        ("http://h/a/..%2f..%2fetc", None, None, "etc"),
        ("http://h/", None, None, "download"),
        ("http://h/photo", None, "image/png", "photo.png"),
        ("http://h/photo", None, "application/octet-stream", "photo"),
        ("http://h/x", 'attachment; filename="report.pdf"', None, "report.pdf"),
        ("http://h/x", "attachment; filename*=UTF-8''%E2%82%AC.txt", None, "€.txt"),
        ("http://h/x", 'attachment; filename="..\\\\..\\\\evil.exe"', None, "evil.exe"),
        ("http://h/x", 'attachment; filename="/etc/passwd"', None, "passwd"),
        ("http://h/x.y", "attachment", None, "x.y"),
    ],
)
def test_a_fetched_file_has_a_name(
    url: str, disposition: str | None, kind: str | None, name: str
) -> None:
    assert filename_of(parse_url(url), disposition, kind) == name


@given(st.text(), st.text(), st.sampled_from([None, "image/png", "x/y"]))
def test_any_name_of_a_fetched_file_can_be_used(path: str, given_name: str, kind: str) -> None:
    try:
        address = parse_url("http://h/" + path)
    except InvalidPathError:
        address = parse_url("http://h/")
    for disposition in (None, given_name, f'attachment; filename="{given_name}"'):
        name = filename_of(address, disposition, kind)
        check_filename(name)
        assert len(name.encode()) <= 200


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_bytes": -1}, ValueError),
        ({"timeout_s": 0}, ValueError),
        ({"max_redirects": -1}, ValueError),
        ({"allowed_networks": ["10.0.0.1/8"]}, ValueError),
        ({"content_types": "image/png"}, TypeError),
        ({"request_headers": {"X": "a\r\nY: b"}}, ValueError),
    ],
)
def test_rules_that_make_no_sense_are_refused(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        FetchRules(**arguments)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_rules_do_not_show_their_headers() -> None:
    assert "secret" not in repr(FetchRules(request_headers={"Authorization": "secret"}))
