"""What the configuration says of who may do what, and how much of it."""

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, field, frozen, validators

from polystow import Secret
from polystow_gateway.server._keys import is_key_hash

type ActionName = Literal["read", "write", "delete", "list", "presign", "fetch", "admin"]
type Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip

_MIN_SECRET_CHARS = 32
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def is_name(text: str) -> bool:
    """Whether a key, role or signing key can be called so."""
    return _NAME.fullmatch(text) is not None


def are_named(_: object, __: object, value: Mapping[str, object]) -> None:
    """Refuse tables whose keys can't be names."""
    for name in value:
        if not is_name(name):
            raise ValueError(
                f"{name!r} is no name: write up to 64 of a-z, 0-9 and '-', which ends no name"
            )


def _key_hash(_: object, __: object, value: str) -> None:
    if not is_key_hash(value):
        # Not shown: it may be the key itself.
        raise ValueError(
            "it is no hash of a key: write what `polystow-gateway new-key` prints, sha256: and 64 "
            "hexadecimal digits"
        )


def _signing_keys(_: object, __: object, value: dict[str, Secret]) -> None:
    are_named(None, None, value)
    short = [name for name, secret in value.items() if len(secret.reveal()) < _MIN_SECRET_CHARS]
    if short:
        raise ValueError(
            f"{short[0]!r} is too short: write 32 bytes or more, `openssl rand -hex 32`, say"
        )


def _networks(_: object, __: object, value: tuple[str, ...]) -> None:
    for text in value:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no IP address or network: {error}") from None


def _moment(value: datetime | str | None) -> datetime | None:
    """A time with its zone, as TOML or as text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is not None and value.tzinfo is None:
        raise ValueError("it has no time zone: write 2030-01-31T00:00:00Z")
    return value


def _is_moment(_: object, __: object, value: datetime | str | None) -> None:
    _moment(value)


def _not_empty(_: object, attribute: "Attribute[Any]", value: tuple[object, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name} is empty: nothing would be allowed")


_above_zero = validators.optional(validators.gt(0))


@frozen
class GrantConfig:
    """What may be done where.

    Attributes:
        prefixes: Ids that the right is for, and all below them: `s3:bucket/reports/` is that
            folder, `s3:bucket` the bucket, `s3:` the mount, `*` everything. They end between
            slashes: `s3:bucket/foo` has nothing to do with `s3:bucket/foobar`. A logical
            container's name stands for the container that it names at that moment.
        actions: What may be done there; by default reading and listing.
    """

    prefixes: tuple[str, ...] = field(validator=_not_empty)
    actions: tuple[ActionName, ...] = field(default=("read", "list"), validator=_not_empty)


@frozen
class RoleConfig:
    """Rights under a name, for keys and tokens.

    Attributes:
        grants: What may be done where; together.
    """

    grants: tuple[GrantConfig, ...] = ()


@frozen
class AllowanceConfig:
    """How much one key may take, instead of what `limits` says; None is what `limits` says.

    Attributes:
        requests_per_s: How many requests a second, on average, in each worker.
        burst: How many at once.
        max_transfers: How many at the same time, in each worker.
        max_size_bytes: The most bytes of one body.
    """

    requests_per_s: float | None = field(default=None, validator=_above_zero)
    burst: int | None = field(default=None, validator=_above_zero)
    max_transfers: int | None = field(default=None, validator=_above_zero)
    max_size_bytes: int | None = field(default=None, validator=_above_zero)


@frozen
class KeyConfig:
    """An API key.

    Attributes:
        hash: What `polystow-gateway new-key` prints: the key itself is kept nowhere.
        roles: The roles that it has.
        grants: Rights of its own, beside them.
        expires: When it ends to work, with a time zone; None for never.
        allowance: How much it may take.
    """

    hash: str = field(validator=_key_hash)
    roles: tuple[str, ...] = ()
    grants: tuple[GrantConfig, ...] = ()
    expires: datetime | str | None = field(default=None, converter=_moment, validator=_is_moment)
    allowance: AllowanceConfig = field(factory=AllowanceConfig)


@frozen
class TokensConfig:
    """Bearer tokens of an identity provider (JWT, RFC 7519).

    Attributes:
        algorithms: Those that a token may be signed by. Either those of a shared secret (HS…)
            or those of a public key.
        audience: What its `aud` has to name.
        secret: The shared secret, for HS…; as long as the digest at least: 32 bytes for HS256.
        public_key_file: For the others the public key as PEM, or a set of them as the provider
            publishes it (JWKS), where a token names its own by `kid`. Read at the start.
        issuer: What its `iss` has to be; None takes any.
        roles_claim: The claim that names its roles: a list, or names with spaces between.
        leeway_s: How far the clocks may differ, in seconds.
        allowance: How much one subject may take.
    """

    algorithms: tuple[Algorithm, ...] = field(validator=_not_empty)
    audience: str = field(validator=validators.min_len(1))
    secret: Secret | None = None
    public_key_file: Path | None = None
    issuer: str | None = None
    roles_claim: str = "roles"
    leeway_s: float = field(default=0.0, validator=validators.ge(0))
    allowance: AllowanceConfig = field(factory=AllowanceConfig)


@frozen
class SigningConfig:
    """Signed URLs: who has one needs no key.

    Attributes:
        keys: Name to secret, of at least 32 bytes. URLs are verified by the key that they name,
            so that a new one can be added while the old one's URLs still work.
        current: The key that signs.
        expires_s: How long a URL works if nobody says, in seconds.
        max_expires_s: How long one may work at most, in seconds.
    """

    keys: dict[str, Secret] = field(validator=_signing_keys)
    current: str
    expires_s: float = field(default=3600.0, validator=validators.gt(0))
    max_expires_s: float = field(default=604_800.0, validator=validators.gt(0))


@frozen
class LimitsConfig:
    """How much may be asked of the gateway. Rates and transfers count in each worker process.

    Attributes:
        max_size_bytes: The most bytes of one request's body, whatever it declares.
        requests_per_s: How many requests a second one key, token subject, or address without
            credentials may make on average.
        burst: How many it may make at once.
        max_transfers_per_key: How many transfers it may have under way.
        max_transfers: How many all may have under way.
        idle_timeout_s: How long a client may send nothing, or take nothing, in seconds.
        min_rate_bytes_per_s: How quickly a body has to arrive on average.
        grace_s: How long a body may be slower than that at first, in seconds.
    """

    max_size_bytes: int = field(default=5_368_709_120, validator=validators.gt(0))
    requests_per_s: float = field(default=100.0, validator=validators.gt(0))
    burst: int = field(default=200, validator=validators.gt(0))
    max_transfers_per_key: int = field(default=64, validator=validators.gt(0))
    max_transfers: int = field(default=256, validator=validators.gt(0))
    idle_timeout_s: float = field(default=30.0, validator=validators.gt(0))
    min_rate_bytes_per_s: float = field(default=1024.0, validator=validators.gt(0))
    grace_s: float = field(default=10.0, validator=validators.gt(0))


@frozen
class MappingConfig:
    """Where the logical containers are kept that change while the gateway runs.

    Attributes:
        file_id: The id of the object that has them; its driver has to have conditional
            writes. Nobody reaches it through the file endpoints.
        storage: The storage that has it, as in `GatewayConfig`; None for the one that is served.
            With `mounts.file` it is a file on this machine.
        refresh_s: How often each worker looks whether it changed, in seconds.
    """

    file_id: str
    storage: object = field(default=None, repr=False)
    refresh_s: float = field(default=2.0, validator=validators.gt(0))


@frozen
class ServerConfig:
    """Where and how the command `polystow-gateway` serves.

    Attributes:
        host: The address to listen on.
        port: The port.
        workers: How many processes.
        admin_port: A port of its own for the admin endpoints, which are then nowhere else; None
            for the same port.
        admin_host: The address to listen on there.
        trusted_proxies: Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto`
            count; those of all others are ignored.
        tls_certificate: The certificate chain as PEM, to speak TLS itself; None where a proxy does.
        tls_key: Its private key.
        max_connections: How many connections a worker takes; more are answered by 503.
        graceful_timeout_s: How long transfers may go on when it is told to end, in seconds.
    """

    host: str = "127.0.0.1"
    port: int = field(default=8000, validator=[validators.ge(0), validators.le(65_535)])
    workers: int = field(default=1, validator=[validators.ge(1), validators.le(256)])
    admin_port: int | None = field(
        default=None, validator=validators.optional([validators.ge(1), validators.le(65_535)])
    )
    admin_host: str = "127.0.0.1"
    trusted_proxies: tuple[str, ...] = field(default=(), validator=_networks)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    max_connections: int | None = field(default=None, validator=_above_zero)
    graceful_timeout_s: int = field(default=30, validator=validators.gt(0))
