"""Who asks, and what they may do."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request

from polystow import (
    ConfigError,
    ConfigProblem,
    PermissionDeniedError,
    PresignMethod,
    Storage,
    StorageError,
    UnsupportedOperationError,
)
from polystow_gateway.server._audit import exchange_of
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._identity import (
    Identities,
    Identity,
    Unauthenticated,
    client_network,
    same_address,
)
from polystow_gateway.server._mapping import reserved_place
from polystow_gateway.server._places import place_of, shown
from polystow_gateway.server._rates import Rates, Transfers
from polystow_gateway.server._rights import (
    EVERYTHING,
    Action,
    Place,
    covers,
    covers_listing,
)
from polystow_gateway.server._signed_urls import SignedUrl, sign

_OF_METHOD: Mapping[str, Action] = {
    "GET": Action.READ,
    "HEAD": Action.READ,
    "PUT": Action.WRITE,
    "DELETE": Action.DELETE,
}
_IDENTITY = "gateway_identity"


class Access:
    """Decides; one for each worker process.

    Args:
        config: The configuration.
        storage: What is served.

    Raises:
        ConfigError: With all that is wrong of keys, roles and rights.
    """

    def __init__(self, config: GatewayConfig, storage: Storage) -> None:
        self._config = config
        self._storage = storage
        self._rates = Rates(time.monotonic)
        self._transfers = Transfers(config.limits.max_transfers)
        problems = _unknown_places(config, storage)
        self._reserved: Place | None = None
        try:
            if config.mapping is not None:
                self._reserved = reserved_place(config.mapping, storage)
        except ConfigError as error:
            problems += error.problems
        try:
            self._identities = Identities(config)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError.of(problems)

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: GatewayConfig, storage: Storage) -> AsyncGenerator["Access"]:
        """In the application's lifespan."""
        yield cls(config, storage)

    async def identify(self, request: Request) -> Identity:
        """Who asks, within their rate; asked again for one request, it answers the same.

        Raises:
            Unauthenticated: Nobody that is known.
            RateLimitedError: They ask too often.
        """
        known = getattr(request.state, _IDENTITY, None)
        if isinstance(known, Identity):
            return known
        exchange = exchange_of(request.scope)
        try:
            identity = self._identities.of(request)
        except Unauthenticated:
            limits = self._config.limits
            self._rates.take(
                f"unknown {client_network(request)}", limits.requests_per_s, limits.burst
            )
            raise
        exchange.identity = identity.name
        exchange.signed = identity.url is not None
        self._rates.take(identity.counted_as, identity.requests_per_s, identity.burst)
        exchange.max_size_bytes = identity.upload_limits.max_size_bytes
        setattr(request.state, _IDENTITY, identity)
        return identity

    async def allow(self, request: Request, action: Action, *targets: str) -> Identity:
        """Let a request act on targets, all of them, or refuse it.

        Args:
            request: The request.
            action: What it does.
            *targets: Ids; for `LIST` the prefix that is listed; for a new object whose key the
                storage makes, the prefix where it goes. None at all for what concerns the whole
                gateway.

        Raises:
            Unauthenticated: See `identify`.
            RateLimitedError: See `identify`.
            PermissionDeniedError: It may not.
        """
        identity = await self.identify(request)
        exchange = exchange_of(request.scope)
        exchange.about(action, targets)
        if identity.url is not None:
            self._require_signed(identity, identity.url, action, targets)
        if not targets:
            self._require_everywhere(identity, action)
        for target in targets:
            if not self._is_allowed(identity, action, target):
                raise self._denied(action, target)
        return identity

    def require_somewhere(self, identity: Identity, action: Action) -> None:
        """Refuse who may do this nowhere, before it is known where they want to.

        Raises:
            PermissionDeniedError: They may not.
        """
        if not any(action in grant.actions for grant in identity.grants):
            raise PermissionDeniedError(f"the right {action.value!r} is needed here")

    @asynccontextmanager
    async def transfer(self, identity: Identity) -> AsyncGenerator[None]:
        """Around the transfer of a body.

        Raises:
            RateLimitedError: They have too many under way.
            BackendUnavailableError: All together have too many.
        """
        self._transfers.begin(identity.counted_as, identity.max_transfers)
        try:
            yield
        finally:
            self._transfers.end(identity.counted_as)

    def sign(
        self,
        request: Request,
        identity: Identity,
        method: PresignMethod,
        target: str,
        expires: timedelta | None,
        *,
        ip: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> str:
        """A URL of the gateway that needs no credentials.

        Args:
            request: Who asks for it; `allow` was asked before.
            identity: Who they are.
            method: GET (HEAD too), HEAD, PUT or DELETE.
            target: The id.
            expires: How long it works; None for the default. It never works longer than the
                credentials of who asks.
            ip: The only address that may use it; None for any.
            params: More parameters of the endpoint, which can't be changed then.

        Raises:
            HTTPException: `expires` or `ip` can't be used (400).
            UnsupportedOperationError: The gateway has no key to sign with.
        """
        signing = self._config.signing
        if signing is None:
            raise UnsupportedOperationError(
                "this gateway signs no URLs: its configuration has no [signing]", path=target
            )
        seconds = signing.expires_s if expires is None else expires.total_seconds()
        if not 0 < seconds <= signing.max_expires_s:
            raise HTTPException(400, f"a URL may work for 1 to {signing.max_expires_s:.0f} seconds")
        if ip is not None and not same_address(ip, ip):
            raise HTTPException(400, "ip is no IP address")
        until = time.time() + seconds
        if identity.expires is not None:
            until = min(until, identity.expires)
        url = SignedUrl(
            method,
            target,
            int(until),
            identity.name,
            ip,
            tuple((params or {}).items()),
        )
        base = self._config.signed_base
        text = sign(url, base, signing.current, signing.keys[signing.current])
        return text if base else str(request.base_url).rstrip("/") + text

    def note(self, request: Request, **facts: str) -> None:
        """Tell the audit log more of a request."""
        exchange_of(request.scope).facts.update(facts)

    def _require_signed(
        self, identity: Identity, url: SignedUrl, action: Action, targets: Sequence[str]
    ) -> None:
        wanted = place_of(self._storage, url.target)
        if (
            action is not _OF_METHOD[url.method]
            or len(targets) != 1
            or place_of(self._storage, targets[0]) != wanted
        ):
            raise PermissionDeniedError("the signed URL is for something else")
        if not self._is_allowed(identity, Action.PRESIGN, targets[0]):
            raise self._denied(Action.PRESIGN, targets[0])

    def _require_everywhere(self, identity: Identity, action: Action) -> None:
        if not any(
            action in grant.actions and EVERYTHING in grant.prefixes for grant in identity.grants
        ):
            raise PermissionDeniedError(f"the right {action.value!r} for everything is needed")

    def _is_allowed(self, identity: Identity, action: Action, target: str) -> bool:
        place = place_of(self._storage, target)
        if self._reserved is not None and place == self._reserved:
            return False
        return any(
            self._covers(prefix, action, place)
            for grant in identity.grants
            if action in grant.actions
            for prefix in grant.prefixes
        )

    def _covers(self, prefix: str, action: Action, place: Place) -> bool:
        if prefix == EVERYTHING:
            return True
        # Each time anew: what a logical container stands for may have changed.
        allowed = place_of(self._storage, prefix)
        return (covers_listing if action is Action.LIST else covers)(allowed, place)

    def _denied(self, action: Action, target: str) -> PermissionDeniedError:
        return PermissionDeniedError(
            f"the right {action.value!r} is needed here", path=shown(self._storage, target)
        )


def _unknown_places(config: GatewayConfig, storage: Storage) -> list[ConfigProblem]:
    sections = [
        *((f"roles.{name}", role.grants) for name, role in config.roles.items()),
        *((f"keys.{name}", key.grants) for name, key in config.keys.items()),
        *(() if config.anonymous is None else [("anonymous", config.anonymous.grants)]),
    ]
    problems: list[ConfigProblem] = []
    for where, grants in sections:
        for index, grant in enumerate(grants):
            for at, prefix in enumerate(grant.prefixes):
                if prefix == EVERYTHING:
                    continue
                try:
                    place_of(storage, prefix)
                except StorageError as error:
                    path = f"{where}.grants[{index}].prefixes[{at}]"
                    problems.append(ConfigProblem(path, f"{prefix!r}: {error.message}"))
    return problems
