"""Where a bucket and a key stand in a URL: pure.

S3 User Guide, "Virtual hosting of general purpose buckets".
"""

from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def without_bucket(url: str, bucket: str) -> str:
    """The URL of a request whose host names the bucket already: its path begins with the key."""
    scheme, netloc, path, query, fragment = urlsplit(url)
    rest = path.removeprefix(f"/{bucket}")
    if rest != path and rest[:1] in {"", "/"}:
        path = rest or "/"
    return urlunsplit((scheme, netloc, path, query, fragment))


def at_public_host(url: str, public_url: str, bucket: str) -> str:
    """The same request to the public host, which is what gets signed.

    A bucket that stands in the host's name stands in the public one's too. The path prefix of
    `public_url` is not part of it: the proxy removes it before the service looks.
    """
    scheme, netloc, path, query, fragment = urlsplit(url)
    public = urlsplit(public_url)
    host = f"{bucket}.{public.netloc}" if netloc.startswith(f"{bucket}.") else public.netloc
    return urlunsplit((public.scheme or scheme, host, path, query, fragment))


def with_public_prefix(url: str, public_url: str) -> str:
    """A signed URL of the public host with the path prefix of `public_url` before its path."""
    scheme, netloc, path, query, fragment = urlsplit(url)
    prefix = urlsplit(public_url).path.rstrip("/")
    return urlunsplit((scheme, netloc, prefix + path, query, fragment))
