"""The driver's configuration, and the URL that it can be written as."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import Attribute, field, frozen

from polystow import InvalidPathError, Secret
from polystow_s3._digests import ALGORITHMS, CRT_ADVICE
from polystow_s3._names import check_bucket
from polystow_s3._parts import MAX_PART_BYTES, MIN_PART_BYTES

_MIB = 1_048_576
MAX_PRESIGN_S = 604_800
"""Seven days (API reference, "Authenticating Requests: Using Query Parameters")."""

type _Validator = Callable[[Any, "Attribute[Any]", Any], None]


def _between(low: float, high: float, unit: str) -> _Validator:
    def check(_: object, attribute: "Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            message = f"{attribute.name} is {value:,} {unit}; possible are {low:,} to {high:,}"
            raise ValueError(message)

    return check


def _above_zero(_: object, attribute: "Attribute[Any]", value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is {value}; it has to be above 0")


def _is_endpoint(_: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is None:
        return
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{attribute.name} is no URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"{attribute.name} has credentials in it; give access_key_id and secret_access_key"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{attribute.name} is {value!r}; write http://host:port or https://host")
    if parts.query or parts.fragment:
        raise ValueError(f"{attribute.name} has a query or a fragment; leave them out")


def _is_bucket(_: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is None:
        return
    try:
        check_bucket(value, value)
    except InvalidPathError as error:
        raise ValueError(f"{attribute.name}: {error.message}") from None


def _is_available(_: object, attribute: "Attribute[Any]", value: str) -> None:
    algorithm = ALGORITHMS.get(value)
    if algorithm is not None and not algorithm.available:
        raise ValueError(f"{attribute.name} is {value!r}: {CRT_ADVICE}")


def _not_empty(_: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} is empty; leave it out instead")


@frozen(kw_only=True)
class S3Config:
    """How to reach an S3 service and how to transfer.

    Without `access_key_id` botocore's chain finds the credentials: environment variables, the
    shared files, container and instance roles.

    Attributes:
        endpoint: The service's URL; None for AWS itself.
        region: The region that requests are signed for; by default what botocore's own
            configuration says, else `us-east-1`.
        default_bucket: Where new objects go whose `NameHint` names no container.
        access_key_id: With `secret_access_key`, or neither.
        secret_access_key: See there.
        session_token: For temporary credentials.
        addressing_style: Whether the bucket stands in the URL's path or in the host's name.
            `"auto"` takes the path where an `endpoint` is given, and leaves it to botocore on AWS.
        checksums: `"when_supported"` sends a checksum with each body, so that the server
            verifies and keeps it, asks for checksums when it reads, and verifies whole reads.
            Servers that know none ignore it; from one that refuses it the driver learns to send
            none. `"when_required"` sends one only where S3 demands it or the caller gives it.
            `"off"` makes none either, so that `ObjectInfo.checksum` is unknown.
        checksum_algorithm: `"crc32"`, or `"crc64nvme"` (needs the extra `polystow-s3[crt]`), of
            the whole object however it is sent; `"sha256"`, of each part where it is sent in
            parts; `"md5"` is sent as Content-MD5, which all servers know, and whole reads are
            compared with the entity tag where that is an MD5.
        lane: `"fast"` sends reads, writes, parts, deletions and listings through the driver's own
            HTTP client, and everything else through aiobotocore; `"sdk"` sends all through
            aiobotocore. Each has `max_pool_connections` of its own.
        payload_signing: Whether the signature covers the body, which costs its SHA-256 (0.6 s of
            CPU per GiB, in a worker thread). `"auto"` signs it over http and not over https,
            where TLS protects it.
        tls_verify: Whether the server's certificate is verified.
        ca_file: The certificates to trust, in PEM; by default those of the system or botocore.
        max_pool_connections: How many connections there are at most. A read stream holds one
            for as long as it is open.
        connect_timeout_s: How long a TCP and TLS connection may take, in seconds.
        read_timeout_s: How long the server may be silent, or refuse to take a byte, in seconds.
        pool_timeout_s: How long a request waits for a free connection, in seconds.
        cleanup_timeout_s: How long a failed or cancelled write may take to remove what it left
            on the server, in seconds.
        part_size_bytes: The size of a part of a multipart upload, 5 MiB to 5 GiB. It grows for
            objects that need more than 10,000 such parts.
        multipart_threshold_bytes: Bodies of a known size up to this are sent in one request. A
            body that is not in memory already is gathered there first.
        upload_concurrency: How many parts of one object are in flight at once. A write holds
            one part more than that in memory.
        presign_expires_s: How long presigned URLs work by default, in seconds.
    """

    endpoint: str | None = field(default=None, validator=_is_endpoint)
    region: str | None = field(default=None, validator=_not_empty)
    default_bucket: str | None = field(default=None, validator=_is_bucket)
    access_key_id: str | None = field(default=None, validator=_not_empty)
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    checksums: Literal["when_supported", "when_required", "off"] = "when_supported"
    checksum_algorithm: Literal["crc32", "crc64nvme", "sha256", "md5"] = field(
        default="crc32", validator=_is_available
    )
    lane: Literal["fast", "sdk"] = "sdk"
    payload_signing: Literal["auto", "always", "never"] = "auto"
    tls_verify: bool = True
    ca_file: Path | None = None
    max_pool_connections: int = field(default=50, validator=_between(1, 10_000, "connections"))
    connect_timeout_s: float = field(default=10.0, validator=_above_zero)
    read_timeout_s: float = field(default=60.0, validator=_above_zero)
    pool_timeout_s: float = field(default=30.0, validator=_above_zero)
    cleanup_timeout_s: float = field(default=10.0, validator=_above_zero)
    part_size_bytes: int = field(
        default=8 * _MIB, validator=_between(MIN_PART_BYTES, MAX_PART_BYTES, "bytes")
    )
    multipart_threshold_bytes: int = field(
        default=8 * _MIB, validator=_between(0, MAX_PART_BYTES, "bytes")
    )
    upload_concurrency: int = field(default=4, validator=_between(1, 1000, "parts"))
    presign_expires_s: int = field(default=3600, validator=_between(1, MAX_PRESIGN_S, "seconds"))

    def __attrs_post_init__(self) -> None:
        if (self.access_key_id is None) != (not self.secret_access_key):
            raise ValueError(
                "access_key_id and secret_access_key belong together: give both or neither"
            )
        if self.session_token and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key beside it")

    @property
    def signs_payload(self) -> bool:
        """Whether the signature covers bodies."""
        if self.payload_signing == "auto":
            return self.endpoint is not None and self.endpoint.startswith("http://")
        return self.payload_signing == "always"


def url_options(url: SplitResult) -> Mapping[str, str]:
    """The config's keys, all text, from `s3://key:secret@host:port/bucket?region=x&tls=false`.

    Key and secret are percent-decoded; without a host (`s3:///bucket`) it is AWS. Each key of
    the query is one of `S3Config`, or `tls`, which is `true` by default and needs a host.

    Raises:
        ValueError: It has another form; the message shows no secret.
    """
    options: dict[str, str] = {}
    for key, value in parse_qsl(url.query, keep_blank_values=True):
        if key in options:
            raise ValueError(f"the URL gives {key!r} twice")
        options[key] = value
    tls = options.pop("tls", None)
    if tls is not None and tls.lower() not in {"true", "false"}:
        raise ValueError("tls in the URL is true or false")
    if "@" in url.path or url.fragment:
        raise ValueError("write '/', '#' and '@' in the URL's key and secret as %2F, %23 and %40")
    try:
        port = url.port
    except ValueError:
        # The text may be part of a secret with a slash in it: it must not show.
        raise ValueError("the URL's port is no number; write '/' in the secret as %2F") from None
    if url.hostname:
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        scheme = "http" if tls is not None and tls.lower() == "false" else "https"
        _put(options, "endpoint", f"{scheme}://{host}" + (f":{port}" if port else ""))
    elif tls is not None or port is not None:
        raise ValueError("tls and a port in the URL need a host: s3://host:port/bucket?tls=false")
    if url.username:
        _put(options, "access_key_id", unquote(url.username))
    if url.password:
        _put(options, "secret_access_key", unquote(url.password))
    bucket = url.path.strip("/")
    if "/" in bucket:
        raise ValueError("the URL's path is one bucket: s3://host:port/bucket")
    if bucket:
        _put(options, "default_bucket", unquote(bucket))
    return options


def _put(options: dict[str, str], key: str, value: str) -> None:
    if key in options:
        raise ValueError(f"the URL gives {key!r} twice")
    options[key] = value
