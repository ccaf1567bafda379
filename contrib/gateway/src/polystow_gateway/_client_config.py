"""The configuration of the driver `gateway`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import Attribute, field, frozen, validators

from polystow import Secret

_positive = validators.gt(0.0)


def _check_url(_: object, __: "Attribute[Any]", url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("write the gateway's address as https://host or http://host:port/prefix")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(
            "the gateway's address is a scheme, a host and a path alone; credentials go to `key`"
        )
    _ = parts.port  # raises ValueError for what is none


@frozen
class GatewayClientConfig:
    """The configuration of the driver `gateway`.

    Attributes:
        url: The gateway's address, `https://files.example.com`, with a path where it has one.
        key: The API key, or the bearer token (JWT); None where anonymous requests are allowed.
        mount: The gateway's mount that paths here are of: with `"s3"`, `gateway:bucket/a.txt`
            here is `s3:bucket/a.txt` there. None for all its mounts: `gateway:s3://bucket/a.txt`.
        discover: Whether the gateway is asked, when the storage is opened, what it can do. Without
            that all is tried, and what its backend can't do, the gateway refuses.
        bare_ids: Whether FastDFS ids without a scheme are the gateway's.
        default_container: Where new objects go that name no container; None for the gateway's.
        connect_timeout_s: How long a connection, TLS included, may take to come about.
        read_timeout_s: How long the gateway may be silent; in copies and the like it says
            nothing while it works.
        pool_timeout_s: How long a request waits for a free connection.
        cleanup_timeout_s: How long a cancelled write may take to remove what it has made.
        max_connections: How many connections there are at most.
        ca_file: A file of certificates (PEM) to trust, instead of the system's.
        verify_tls: False trusts whoever answers; for tests alone.
    """

    url: str = field(validator=_check_url)
    key: Secret | None = None
    mount: str | None = None
    discover: bool = False
    bare_ids: bool = False
    default_container: str | None = None
    connect_timeout_s: float = field(default=10.0, validator=_positive)
    read_timeout_s: float = field(default=120.0, validator=_positive)
    pool_timeout_s: float = field(default=30.0, validator=_positive)
    cleanup_timeout_s: float = field(default=10.0, validator=_positive)
    max_connections: int = field(default=64, validator=validators.ge(1))
    ca_file: Path | None = None
    verify_tls: bool = True


def url_options(url: SplitResult) -> Mapping[str, str]:
    """The keys of `gateway://key@host:port/prefix?mount=s3`; `tls=false` speaks plain HTTP.

    Raises:
        ValueError: There is no host, or a query that is none.
    """
    if not url.hostname:
        raise ValueError("write gateway://key@host/, with the gateway's host")
    if url.fragment:
        raise ValueError("a URL's fragment means nothing here")
    options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    tls = options.pop("tls", "true")
    if tls not in {"true", "false"}:
        raise ValueError("tls is true or false")
    host = url.netloc.rpartition("@")[2]
    options["url"] = f"{'https' if tls == 'true' else 'http'}://{host}{url.path.rstrip('/')}"
    secret = url.password or url.username
    if secret:
        options["key"] = unquote(secret)
    return options
