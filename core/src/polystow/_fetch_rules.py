"""What may be fetched from a URL: pure checks of URLs, addresses and answers."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from mimetypes import guess_extension
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from attrs import field, frozen, validators

from polystow._errors import FileTooLargeError, InvalidFileTypeError, InvalidPathError
from polystow._value import Value

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"
_NAT64 = IPv6Network("64:ff9b::/96")
_MAX_FILENAME_BYTES = 200
_MAX_BYTES: int | None = 2**30
_UNTOLD = frozenset({"application/octet-stream", "binary/octet-stream"})


def _networks(given: Iterable[str | Network]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in given)


def _types(given: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(given, str):
        raise TypeError("content_types takes several types, not one text")
    return None if given is None else tuple(kind.strip().lower() for kind in given)


def _headers(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in given.items():
        if any(char < " " or char == "\x7f" for char in name + value):
            raise ValueError(f"the request header {name!r} has a control character")
    return MappingProxyType(dict(given))


_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@frozen(eq=False, repr=False)
class FetchRules(Value):
    """What `Storage.fetch_url` may fetch; a redirect is followed under the same rules.

    Attributes:
        max_bytes: The largest content, whatever length was declared; None for no limit.
        timeout_s: How long it may take from the first byte sent to the last byte received, in
            seconds.
        content_types: Media types that are allowed, `image/*` for all of a kind; what tells no
            type is refused then. None allows all.
        allowed_networks: Networks that are allowed although they are not public, such as
            `"10.0.0.0/8"` or `"127.0.0.1"`. Private, loopback, link-local, reserved and
            multicast addresses are refused otherwise.
        max_redirects: How many redirects are followed.
        request_headers: Headers to send, to the URL's own origin alone.
    """

    max_bytes: int | None = field(
        default=_MAX_BYTES, validator=validators.optional(validators.ge(0))
    )
    timeout_s: float = field(default=300.0, validator=validators.gt(0))
    content_types: Sequence[str] | None = field(default=None, converter=_types)
    allowed_networks: Sequence[str | Network] = field(default=(), converter=_networks)
    max_redirects: int = field(default=5, validator=validators.ge(0))
    request_headers: Mapping[str, str] = field(
        default=_NO_HEADERS, converter=_headers, repr=False
    )  # may hold secrets


class WebAddress(NamedTuple):
    """A URL, taken apart.

    Attributes:
        scheme: `http` or `https`.
        host: The host in ASCII, without brackets.
        port: The port.
        target: Path and query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """As in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for errors and logs: without its query, which may be a signature."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"


def parse_url(url: str) -> WebAddress:
    """Take a URL apart.

    Raises:
        InvalidPathError: It is none of http or https, has no host or credentials in it.
    """
    if any(char < " " or char == "\x7f" for char in url):
        raise _bad("the URL has a control character")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise _bad("the URL is malformed") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise _bad(f"{scheme or 'a URL without a scheme'!r} can't be fetched; http and https can")
    if parts.username is not None or parts.password is not None:
        raise _bad("a URL with credentials ends up in logs: give them as request_headers")
    if not parts.hostname:
        raise _bad("the URL has no host")
    target = quote(parts.path or "/", safe=_PATH_SAFE, errors="replace")
    if parts.query:
        target += "?" + quote(parts.query, safe=_QUERY_SAFE, errors="replace")
    return WebAddress(
        scheme,
        _ascii_host(parts.hostname),
        _DEFAULT_PORTS[scheme] if port is None else port,
        target,
    )


def _ascii_host(host: str) -> str:
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise _bad("the URL's host is no IPv6 address")
        return str(address)
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if _HOST.fullmatch(name) is None:
        raise _bad("the URL's host is no name")
    return name


def _bad(message: str) -> InvalidPathError:
    return InvalidPathError(message, operation="fetch_url").settled()


def refusal(address: Address, allowed: Iterable[Network]) -> str | None:
    """Why an address may not be connected to, or None.

    IPv4 addresses inside of IPv6 ones (mapped, 6to4, Teredo, NAT64) are judged as what they lead
    to.

    Args:
        address: The one that is to be connected to.
        allowed: Networks that are allowed whatever they are.
    """
    inner = _inner(address)
    if any(one in network for network in allowed for one in (address, inner)):
        return None
    for one in (address, inner):
        kind = _kind(one)
        # An address that carries another one is of no kind of its own.
        if kind is not None and (one is inner or inner is address):
            return f"{address} is {kind}"
    return None


def _inner(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _kind(address: Address) -> str | None:
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified:
        return "no address of a host"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, IPv6Address) and address.is_site_local:
        return "a private address"
    if address.is_private:
        return "a private address"
    if address.is_reserved or not address.is_global:
        return "a reserved address"
    return None


def check_content_type(content_type: str | None, allowed: Sequence[str] | None, url: str) -> None:
    """Refuse an answer whose type is not allowed.

    Raises:
        InvalidFileTypeError: It is not.
    """
    if allowed is None:
        return
    kind = (content_type or "").partition(";")[0].strip().lower()
    major, slash, _ = kind.partition("/")
    if not slash or not {kind, f"{major}/*", "*/*"}.intersection(allowed):
        raise InvalidFileTypeError(
            f"the answer has the type {kind or 'none'!r}; allowed are {', '.join(allowed)}",
            path=url,
            operation="fetch_url",
        ).settled()


def too_large(size: int, limit: int, url: str) -> FileTooLargeError:
    """The error for a content over its limit."""
    return FileTooLargeError(
        f"the content has {size} bytes or more; at most {limit} are allowed: raise max_bytes",
        path=url,
        operation="fetch_url",
    ).settled()


def told_type(content_type: str | None) -> str | None:
    """The media type of an answer; None if it only says that it is bytes."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return None if not kind or kind in _UNTOLD else content_type


def filename_of(address: WebAddress, disposition: str | None, content_type: str | None) -> str:
    """The name of a fetched file: the answer's, else the end of the URL's path.

    It is made safe, has an extension where the type tells one, and is at most 200 bytes long.
    """
    name = _disposition_name(disposition)
    if not name:
        path = address.target.partition("?")[0]
        name = unquote(path.rstrip("/").rpartition("/")[2], errors="replace")
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if char.isprintable())
    name = name.encode("utf-8", "replace").decode().strip(" .") or "download"
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem = name
        kind = (content_type or "").partition(";")[0].strip().lower()
        extension = ((told_type(kind) and guess_extension(kind)) or "").lstrip(".")
        dot = "." if extension else ""
    ending = f"{dot}{extension}"
    if len(ending.encode()) > _MAX_FILENAME_BYTES // 2:
        stem, ending = name, ""
    room = _MAX_FILENAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore") + ending


def _disposition_name(disposition: str | None) -> str | None:
    if disposition is None:
        return None
    from email.message import Message  # 15 ms of imports that `import polystow` need not pay for

    message = Message()
    message["content-disposition"] = disposition.replace("\r", " ").replace("\n", " ")
    try:
        return message.get_filename()
    except (ValueError, LookupError):
        return None
