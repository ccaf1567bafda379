"""Who asks: from the credentials of a request to an identity with its rights."""

import ipaddress
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import evolve, frozen
from starlette.requests import Request

from polystow import ConfigError, ConfigProblem, PermissionDeniedError
from polystow_fastapi import UploadLimits
from polystow_gateway.server._access_config import AllowanceConfig, GrantConfig
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._keys import matches, parse_key
from polystow_gateway.server._rights import EVERYTHING, Action, Grant
from polystow_gateway.server._signed_urls import PATH, SIGNATURE, SignedUrl, verify
from polystow_gateway.server._tokens import Tokens

_BEARER = "bearer "
_KEY_PREFIX = "polystow_"
_ANONYMOUS = "anonymous"


class Unauthenticated(PermissionDeniedError):
    """No credentials, or none that are valid."""


@frozen
class Identity:
    """Who asks.

    Attributes:
        name: For the log: `key:reports`, `token:<subject>`, `anonymous`; of a signed URL that of
            its signer.
        upload_limits: What an upload of theirs may take.
        grants: What they may do.
        counted_as: Whose requests and transfers theirs count among.
        requests_per_s: How many they may make a second on average.
        burst: How many at once.
        max_transfers: How many transfers they may have under way.
        expires: When their credentials end to be valid, in seconds since 1970; None for never.
        url: The signed URL that they came with, which is then all that they may do.
    """

    name: str
    upload_limits: UploadLimits
    grants: tuple[Grant, ...]
    counted_as: str
    requests_per_s: float
    burst: int
    max_transfers: int
    expires: float | None = None
    url: SignedUrl | None = None

    @property
    def signed(self) -> bool:
        """Whether they came with a signed URL."""
        return self.url is not None


class Identities:
    """Knows who may come.

    Args:
        config: The configuration.

    Raises:
        ConfigError: It names roles or signing keys that are not there, or a key that can't be
            used.
    """

    def __init__(self, config: GatewayConfig) -> None:
        problems = [*_unknown_roles(config), *_unknown_signing_key(config)]
        self._tokens: Tokens | None = None
        try:
            self._tokens = None if config.tokens is None else Tokens(config.tokens)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError.of(problems)
        self._config = config
        self._roles = {name: _grants(role.grants) for name, role in config.roles.items()}
        self._keys = {
            name: self._identity(
                f"key:{name}", key.roles, key.grants, key.allowance, _seconds(key.expires)
            )
            for name, key in config.keys.items()
        }
        role = config.anonymous
        self._anonymous = None if role is None else self._identity(_ANONYMOUS, (), role.grants)

    def of(self, request: Request) -> Identity:
        """Who makes a request.

        Raises:
            Unauthenticated: Nobody that is known: no credentials, wrong or expired ones, or
                several.
        """
        bearers = request.headers.getlist("authorization")
        keys = request.headers.getlist("x-api-key")
        signatures = request.query_params.getlist(SIGNATURE)
        if len(bearers) + len(keys) + len(signatures) > 1:
            raise Unauthenticated("the request has several credentials; give one")
        if signatures:
            found = self._of_url(request)
        elif keys:
            found = self._of_key(keys[0])
        elif bearers:
            found = self._of_bearer(bearers[0])
        else:
            found = self._of_nobody(request)
        if found is None or _has_expired(found):
            # Why is not said: it would help to guess.
            raise Unauthenticated("there are no valid credentials: give an API key or a token")
        return found

    def signer(self, url: SignedUrl) -> Identity | None:
        """Whose rights a signed URL needs; None if nobody has any.

        A token's holder is not known any more: what they might do was seen when they signed, and
        the URL ends with the token.
        """
        kind, _, name = url.signer.partition(":")
        if kind == "key":
            identity = self._keys.get(name)
            return None if identity is None or _has_expired(identity) else identity
        if kind == "token" and self._config.tokens is not None:
            identity = self._identity(url.signer, (), (), self._config.tokens.allowance)
            return evolve(identity, grants=(Grant(frozenset(Action), (EVERYTHING,)),))
        return self._anonymous if url.signer == _ANONYMOUS else None

    def _of_bearer(self, header: str) -> Identity | None:
        if header[: len(_BEARER)].lower() != _BEARER:
            return None
        text = header[len(_BEARER) :].strip()
        return self._of_key(text) if text.startswith(_KEY_PREFIX) else self._of_token(text)

    def _of_key(self, text: str) -> Identity | None:
        key = parse_key(text)
        if key is None:
            return None
        kept = self._config.keys.get(key.name)
        return self._keys[key.name] if matches(key, None if kept is None else kept.hash) else None

    def _of_token(self, text: str) -> Identity | None:
        config = self._config.tokens
        token = None if self._tokens is None else self._tokens.verify(text)
        if token is None or config is None:
            return None
        # Roles that are not ours may stand beside them.
        roles = [role for role in token.roles if role in self._roles]
        name = f"token:{token.subject}"
        return self._identity(name, roles, (), config.allowance, token.expires)

    def _of_url(self, request: Request) -> Identity | None:
        signing = self._config.signing
        if signing is None or route_path(request) != PATH:
            return None
        base = self._config.signed_base
        url = verify(request.query_params.multi_items(), base, signing.keys)
        if url is None or url.expires <= time.time() or not url.allows(request.method):
            return None
        if url.ip is not None and not same_address(url.ip, client_of(request)):
            return None
        signer = self.signer(url)
        if signer is None:
            return None
        address = client_network(request)
        return evolve(signer, url=url, counted_as=f"url {url.signer} {address}")

    def _of_nobody(self, request: Request) -> Identity | None:
        if self._anonymous is None:
            return None
        address = client_network(request)
        return evolve(self._anonymous, counted_as=f"{_ANONYMOUS} {address}")

    def _identity(
        self,
        name: str,
        roles: Iterable[str],
        grants: tuple[GrantConfig, ...],
        allowance: AllowanceConfig | None = None,
        expires: float | None = None,
    ) -> Identity:
        limits = self._config.limits
        allowance = allowance or AllowanceConfig()
        return Identity(
            name,
            UploadLimits(allowance.max_size_bytes or limits.max_size_bytes, limits.idle_timeout_s),
            tuple(grant for role in roles for grant in self._roles[role]) + _grants(grants),
            name,
            allowance.requests_per_s or limits.requests_per_s,
            allowance.burst or limits.burst,
            allowance.max_transfers or limits.max_transfers_per_key,
            expires,
        )


def client_of(request: Request) -> str:
    """The client's address, as the server tells it; empty if it tells none."""
    return "" if request.client is None else request.client.host


def route_path(request: Request) -> str:
    """The path of a request inside the application."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))


def same_address(one: str, other: str) -> bool:
    """Whether two texts are the same IP address, in whatever form."""
    try:
        return _address(one) == _address(other)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_network(request: Request) -> str:
    """What one user is likely to have of addresses: a single one of IPv4, 2^64 of IPv6."""
    try:
        address = _address(client_of(request))
    except ValueError:
        return "unknown"
    length = 64 if isinstance(address, ipaddress.IPv6Address) else 32
    return str(ipaddress.ip_network((address, length), strict=False))


def _has_expired(identity: Identity) -> bool:
    return identity.expires is not None and identity.expires <= time.time()


def _grants(configs: Iterable[GrantConfig]) -> tuple[Grant, ...]:
    return tuple(
        Grant(frozenset(map(Action, config.actions)), config.prefixes) for config in configs
    )


def _seconds(moment: datetime | str | None) -> float | None:
    return moment.astimezone(UTC).timestamp() if isinstance(moment, datetime) else None


def _unknown_roles(config: GatewayConfig) -> Iterable[ConfigProblem]:
    known = ", ".join(sorted(config.roles)) or "none"
    for name, key in config.keys.items():
        for index, role in enumerate(key.roles):
            if role not in config.roles:
                yield ConfigProblem(
                    f"keys.{name}.roles[{index}]", f"there is no role {role!r}; there are {known}"
                )


def _unknown_signing_key(config: GatewayConfig) -> Iterable[ConfigProblem]:
    signing = config.signing
    if signing is not None and signing.current not in signing.keys:
        known = ", ".join(sorted(signing.keys)) or "none"
        yield ConfigProblem(
            "signing.current", f"there is no key {signing.current!r} in signing.keys: {known}"
        )
