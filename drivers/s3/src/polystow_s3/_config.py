"""The driver's configuration."""

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen

from polystow import ConfigError, InvalidPathError, Secret, Value
from polystow_s3._credentials import Credentials, SdkClient, SdkSession
from polystow_s3._digests import ALGORITHMS, CRT_ADVICE
from polystow_s3._names import check_bucket
from polystow_s3._narrowing import NARROWABLE
from polystow_s3._parts import MAX_COPY_BYTES, MAX_PART_BYTES, MIN_PART_BYTES
from polystow_s3._url import url_options

_MIB = 1_048_576
MAX_PRESIGN_S = 604_800
"""Seven days (API reference, "Authenticating Requests: Using Query Parameters")."""

_KEYS = ("access_key_id", "secret_access_key", "session_token")
_SOURCES = frozenset(
    {*_KEYS, "credentials", "profile", "credentials_file", "config_file", "anonymous", "session",
     "client"}
)  # fmt: skip

_REGION = re.compile(r"(?!\d+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")

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
    if "@" in value:
        # Before it is taken apart: without a scheme, its credentials would be taken for a path.
        raise ValueError(
            f"{attribute.name} has credentials in it; give access_key_id and secret_access_key"
        )
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{attribute.name} is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{attribute.name} is {value!r}; write http://host:port or https://host")
    if parts.query or parts.fragment:
        raise ValueError(f"{attribute.name} has a query or a fragment; leave them out")


def _is_proxy(_: object, attribute: "Attribute[Any]", value: Secret | None) -> None:
    if value is None:
        return
    try:
        parts = urlsplit(value.reveal())
        _ = parts.port
    except ValueError:
        raise ValueError(f"{attribute.name} is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{attribute.name} is no URL: write http://host:port")


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


def _can_be_left_out(_: object, attribute: "Attribute[Any]", value: tuple[str, ...]) -> None:
    if unknown := sorted(set(value) - NARROWABLE):
        raise ValueError(
            f"{attribute.name} has {', '.join(map(repr, unknown))}; possible are "
            f"{', '.join(sorted(NARROWABLE))}"
        )


def _is_region(_: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is not None and _REGION.fullmatch(value) is None:
        raise ValueError(
            f"{attribute.name} is {value[:80]!r}; a region has letters, digits and '-'"
        )


def _not_empty(_: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} is empty; leave it out instead")


@frozen(kw_only=True, eq=False, repr=False)
class S3Config(Value):
    """How to reach an S3 service and how to transfer.

    Credentials come from one of: `access_key_id` and `secret_access_key`, `credentials`,
    `session`, `client`, `anonymous`; else aiobotocore's chain finds them: environment variables,
    the shared files (keys, SSO, roles, processes, web identity), container and instance metadata.

    Attributes:
        endpoint: The service's URL; None for AWS itself.
        region: The region that requests are signed for; by default `AWS_DEFAULT_REGION`, the
            profile's, `AWS_REGION`, what the source of the credentials says, else `us-east-1`.
        default_bucket: Where new objects go whose `NameHint` names no container.
        access_key_id: With `secret_access_key`, or neither.
        secret_access_key: See there.
        session_token: For temporary credentials.
        credentials: A `Credentials`, or an async callable that gives one each time that fresh
            ones are needed. Only Python can give a callable.
        profile: A profile of the shared files, which then come before the environment.
        credentials_file: Instead of `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
        config_file: Instead of `AWS_CONFIG_FILE`, else `~/.aws/config`.
        anonymous: Requests are not signed: only what is public works, and nothing is presigned.
        session: A session of aiobotocore that makes the client. It stays the caller's.
        client: An entered S3 client of aiobotocore, used in place of one of the driver's own,
            with its settings in place of those here of connections, TLS, proxy and endpoint. It
            stays the caller's, who closes it.
        addressing_style: Whether the bucket stands in the URL's path, or before the host's name
            (`"virtual"`). `"auto"` takes the path where an `endpoint` is given, and leaves it to
            botocore on AWS. `"host"`: the endpoint's host is the `default_bucket` already, and
            no other can be reached.
        dual_stack: AWS's endpoints for IPv4 and IPv6.
        accelerate: AWS's Transfer Acceleration.
        public_url: How others reach the service: presigned and plain URLs are for this host. What
            is in front of the service has to pass the Host on and to remove the path, if this has
            one.
        proxy: The URL of an HTTP proxy, with its user and password if it wants any; by default
            those of HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
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
        client_certificate_file: What the client shows to the server, in PEM.
        client_key_file: Its private key, if that is in another file.
        max_pool_connections: How many connections there are at most. A read stream holds one
            for as long as it is open.
        connect_timeout_s: How long a TCP and TLS connection may take, in seconds.
        read_timeout_s: How long the server may be silent, or refuse to take a byte, and how long
            the source of the credentials may take, in seconds.
        pool_timeout_s: How long a request waits for a free connection, in seconds.
        cleanup_timeout_s: How long a failed or cancelled write may take to remove what it left
            on the server, in seconds.
        part_size_bytes: The size of a part of a multipart upload, 5 MiB to 5 GiB. It grows for
            objects that need more than 10,000 such parts, and is twice that where parts go from
            a file to the socket without being in memory (plain http in the fast lane; what is
            hashed is read once before that).
        multipart_threshold_bytes: Bodies of a known size up to this are sent in one request. A
            body that is not in memory already is gathered there first.
        copy_threshold_bytes: Objects over this are copied in parts, several at once; at most
            5 GiB, which is all that S3 copies in one request.
        upload_concurrency: How many parts of one object are in flight at once. A write holds
            one part more than that in memory.
        presign_expires_s: How long presigned URLs work by default, in seconds.
        without: Capabilities and options that the server claims and has not, such as
            `["versions", "acl", "if_match"]`: they are refused before anything is sent.
    """

    endpoint: str | None = field(default=None, validator=_is_endpoint)
    region: str | None = field(default=None, validator=_is_region)
    default_bucket: str | None = field(default=None, validator=_is_bucket)
    access_key_id: str | None = field(default=None, validator=_not_empty)
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    credentials: Credentials | Callable[[], Awaitable[Credentials]] | None = None
    profile: str | None = field(default=None, validator=_not_empty)
    credentials_file: Path | None = None
    config_file: Path | None = None
    anonymous: bool = False
    session: SdkSession | None = field(default=None, eq=False)
    client: SdkClient | None = field(default=None, eq=False)
    addressing_style: Literal["auto", "path", "virtual", "host"] = "auto"
    dual_stack: bool = False
    accelerate: bool = False
    public_url: str | None = field(default=None, validator=_is_endpoint)
    proxy: Secret | None = field(default=None, validator=_is_proxy)
    checksums: Literal["when_supported", "when_required", "off"] = "when_supported"
    checksum_algorithm: Literal["crc32", "crc64nvme", "sha256", "md5"] = field(
        default="crc32", validator=_is_available
    )
    lane: Literal["fast", "sdk"] = "fast"
    payload_signing: Literal["auto", "always", "never"] = "auto"
    tls_verify: bool = True
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
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
    copy_threshold_bytes: int = field(
        default=MAX_COPY_BYTES, validator=_between(0, MAX_COPY_BYTES, "bytes")
    )
    upload_concurrency: int = field(default=4, validator=_between(1, 1000, "parts"))
    presign_expires_s: int = field(default=3600, validator=_between(1, MAX_PRESIGN_S, "seconds"))
    without: tuple[str, ...] = field(default=(), validator=_can_be_left_out)

    def __attrs_post_init__(self) -> None:
        if (self.access_key_id is None) != (not self.secret_access_key):
            raise ValueError(
                "access_key_id and secret_access_key belong together: give both or neither"
            )
        if self.session_token and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key beside it")
        self._check_sources()
        self._check_addressing()
        if self.client_key_file is not None and self.client_certificate_file is None:
            raise ValueError("client_key_file needs client_certificate_file beside it")

    def _check_sources(self) -> None:
        files = self.profile or self.credentials_file or self.config_file
        given = [
            name
            for name, value in (
                ("access_key_id", self.access_key_id),
                ("credentials", self.credentials),
                ("profile, credentials_file or config_file", files),
                ("anonymous", self.anonymous or None),
                ("session", self.session),
                ("client", self.client),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise ValueError(f"credentials come from one place: leave out {' or '.join(given)}")
        if isinstance(self.credentials, Credentials) and not self.credentials.complete:
            raise ValueError("credentials has not both access_key_id and secret_access_key")

    def _check_addressing(self) -> None:
        on_aws = self.dual_stack or self.accelerate
        if on_aws and (self.endpoint is not None or self.client is not None):
            raise ValueError("dual_stack and accelerate are AWS's: leave out endpoint and client")
        if self.accelerate and self.addressing_style == "path":
            raise ValueError("accelerate needs the bucket in the host: leave out addressing_style")
        if self.addressing_style == "host" and not (self.endpoint and self.default_bucket):
            raise ValueError(
                'addressing_style = "host" needs endpoint, whose host is the bucket, and '
                "default_bucket, which it is"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **arguments: object) -> Self:
        """The configuration that environment variables give.

        `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
        `AWS_SESSION_TOKEN`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_CA_BUNDLE`. Where neither
        endpoint is set and `MINIO_SERVER_URL` is, that is it, with `MINIO_ROOT_USER` and
        `MINIO_ROOT_PASSWORD`, or without these with AWS's. Without keys, aiobotocore's chain goes
        on to search.

        Args:
            environ: The variables; by default those of the process.
            arguments: Attributes, which count more; credentials replace those of the variables
                as a whole.

        Raises:
            ConfigError: With all mistakes; it shows no secret.
        """
        found = os.environ if environ is None else environ
        endpoint = found.get("AWS_ENDPOINT_URL_S3") or found.get("AWS_ENDPOINT_URL")
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        if not endpoint and found.get("MINIO_SERVER_URL"):
            endpoint = found["MINIO_SERVER_URL"]
            if found.get("MINIO_ROOT_USER") or found.get("MINIO_ROOT_PASSWORD"):
                names = ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "")
        options = {
            "endpoint": endpoint,
            "region": found.get("AWS_REGION") or found.get("AWS_DEFAULT_REGION"),
            "ca_file": found.get("AWS_CA_BUNDLE"),
            **{key: found.get(name) for key, name in zip(_KEYS, names, strict=True)},
        }
        return cls._built({key: value for key, value in options.items() if value}, arguments)

    @classmethod
    def from_url(cls, url: str, **arguments: object) -> Self:
        """The configuration that a URL gives.

        `s3://…` as `url_options` reads it, or the service's own URL: `https://key:secret@host`,
        `https://key:secret@host/bucket`, or with the bucket in the host,
        `https://bucket.host?addressing_style=host`.

        Args:
            url: It.
            arguments: As in `from_env`.

        Raises:
            ConfigError: With all mistakes; it shows no secret.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            # Its text shows parts of the URL, which may be those of a secret.
            raise ConfigError("the URL is malformed") from None
        try:
            options = url_options(parts)
        except ValueError as error:
            raise ConfigError(f"the URL can't be used: {error}") from None
        return cls._built(options, arguments)

    @classmethod
    def _built(cls, options: Mapping[str, str], arguments: Mapping[str, object]) -> Self:
        kept = dict(options)
        if not arguments.keys().isdisjoint(_SOURCES):
            kept = {key: value for key, value in kept.items() if key not in _KEYS}
        from polystow import build_config  # cattrs, which S3Config(…) does not need

        return build_config(cls, {**kept, **arguments}, text=True)

    @property
    def signs_payload(self) -> bool:
        """Whether the signature covers bodies."""
        if self.anonymous:
            return False
        if self.payload_signing == "auto":
            return self.endpoint is not None and self.endpoint.startswith("http://")
        return self.payload_signing == "always"
