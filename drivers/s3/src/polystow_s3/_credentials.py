"""Where credentials come from, and how they are kept fresh. Knows no SDK.

A source is a `Credentials` or an async callable that gives one; the driver asks it when it needs
credentials, again before they expire, and once more when the service says that they have.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast, runtime_checkable
from urllib.parse import unquote, urlsplit

from anyio import move_on_after, to_thread
from attrs import evolve, field, frozen

from polystow import (
    OperationTimeoutError,
    PermissionDeniedError,
    Secret,
    StorageError,
    TransportError,
    Value,
)
from polystow_s3._clock import Clock

_logger = logging.getLogger("polystow.s3")

_REFRESH_BEFORE_S = 300.0
_PAUSE_S = 10.0
_ADVICE = "set access_key_id and secret_access_key, or anonymous"


def _is_aware(_: object, __: object, value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        raise ValueError("expires has no time zone: write datetime(…, tzinfo=UTC)")


@frozen(kw_only=True, eq=False, repr=False)
class Credentials(Value):
    """What requests are signed with; possibly a part of it, for `merge_credentials`.

    Attributes:
        access_key_id: The key.
        secret_access_key: Its secret.
        session_token: For temporary credentials.
        region: The region that belongs to them, where the source knows one; it counts if the
            configuration names none.
        expires: When they stop working; the source is asked again before. None for never.
    """

    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    region: str | None = None
    expires: datetime | None = field(default=None, validator=_is_aware)

    @property
    def complete(self) -> bool:
        """Whether requests can be signed with them."""
        return bool(self.access_key_id and self.secret_access_key)


type CredentialsProvider = Callable[[], Awaitable[Credentials]]
"""An async callable that gives fresh credentials each time that it is asked."""

type CredentialsSource = Credentials | CredentialsProvider
"""Where credentials come from."""


@runtime_checkable
class SdkSession(Protocol):
    """A session of aiobotocore, which the caller owns."""

    def create_client(self, service_name: str, /) -> object:
        """Make a client."""
        ...


@runtime_checkable
class SdkClient(Protocol):
    """An entered S3 client of aiobotocore, which the caller owns."""

    @property
    def meta(self) -> object:
        """What it is."""
        ...


def credentials_from_url(url: str) -> Credentials:
    """Key and secret from `https://key:secret@host`, percent-decoded.

    Raises:
        ValueError: It is no URL; the message shows nothing of it.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "the URL is malformed; write '/', '#' and '@' in key and secret as %2F, %23 and %40"
        ) from None
    if "@" in parts.path or "@" in parts.query or parts.fragment:
        raise ValueError("write '/', '#' and '@' in the URL's key and secret as %2F, %23 and %40")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("the URL has one of key and secret: write https://key:secret@host")
    secret = unquote(parts.password) if parts.password else None
    return Credentials(
        access_key_id=unquote(parts.username) if parts.username else None,
        secret_access_key=Secret(secret) if secret else None,
    )


def credentials_from_env(environ: Mapping[str, str] | None = None) -> Credentials:
    """What `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` and
    `AWS_DEFAULT_REGION` say; possibly nothing.

    Args:
        environ: The variables; by default those of the process.
    """  # noqa: D205
    found = os.environ if environ is None else environ
    secret, token = found.get("AWS_SECRET_ACCESS_KEY"), found.get("AWS_SESSION_TOKEN")
    return Credentials(
        access_key_id=found.get("AWS_ACCESS_KEY_ID") or None,
        secret_access_key=Secret(secret) if secret else None,
        session_token=Secret(token) if token else None,
        region=found.get("AWS_REGION") or found.get("AWS_DEFAULT_REGION") or None,
    )


async def environment_credentials() -> Credentials:
    """`credentials_from_env` of the process, read each time that it is asked."""
    return credentials_from_env()


@frozen(eq=False, repr=False)
class ProfileCredentials(Value):
    """A profile of the shared files, by aiobotocore: keys, SSO, roles, processes, web identity.

    Attributes:
        profile: Its name; by default `AWS_PROFILE`, else `default`.
        credentials_file: Instead of `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
        config_file: Instead of `AWS_CONFIG_FILE`, else `~/.aws/config`.
        region: Where roles are asked for, if the profile names none; by default `us-east-1`.
    """

    profile: str | None = None
    credentials_file: Path | None = None
    config_file: Path | None = None
    region: str | None = None

    async def __call__(self) -> Credentials:
        """Read the files, and ask whom they name.

        Raises:
            Exception: As aiobotocore raises it; the driver makes a `StorageError` of it.
        """
        sources = await to_thread.run_sync(_import_sources)
        return await sources.load_profile(self)


@frozen(eq=False, repr=False)
class MetadataCredentials(Value):
    """The role of the container, else of the instance, by their metadata services.

    A service that does not answer is given up after a second or so (`AWS_METADATA_SERVICE_TIMEOUT`,
    `AWS_METADATA_SERVICE_NUM_ATTEMPTS`).
    """

    async def __call__(self) -> Credentials:
        """Ask the service."""
        sources = await to_thread.run_sync(_import_sources)
        return await sources.load_metadata()


@frozen(eq=False, repr=False)
class ChainCredentials(Value):
    """aiobotocore's chain: environment, shared files, container and instance metadata.

    Attributes:
        profile: A profile of the shared files, which then comes before the environment.
        credentials_file: As in `ProfileCredentials`.
        config_file: See there.
        region: See there.
    """

    profile: str | None = None
    credentials_file: Path | None = None
    config_file: Path | None = None
    region: str | None = None

    async def __call__(self) -> Credentials:
        """Ask the sources in their order, anew each time: files may have changed."""
        sources = await to_thread.run_sync(_import_sources)
        return await sources.load_chain(self)


class _Sources(Protocol):
    async def load_profile(self, source: ProfileCredentials) -> Credentials: ...
    async def load_chain(self, source: ChainCredentials) -> Credentials: ...
    async def load_metadata(self) -> Credentials: ...


def _import_sources() -> _Sources:
    from polystow_s3 import _sdk_credentials

    # Checked by name: with the sources beside it, pyright sees this module twice.
    return cast("_Sources", _sdk_credentials)


def merge_credentials(*sources: CredentialsSource) -> CredentialsProvider:
    """One source of several, field by field: the first that has a field gives it.

    Secret and token of a source that names another key than the one that was found are left out:
    they can't belong together. Sources that come after complete credentials with a region are
    not asked.

    Args:
        sources: The first counts most.
    """

    async def merged() -> Credentials:
        found = Credentials()
        for source in sources:
            found = _merge(found, await _ask(source))
            if found.complete and found.region is not None:
                break
        return found

    return merged


def _merge(first: Credentials, second: Credentials) -> Credentials:
    region = first.region or second.region
    if first.complete or (
        first.access_key_id and second.access_key_id and first.access_key_id != second.access_key_id
    ):
        return evolve(first, region=region)
    expiries = [expires for expires in (first.expires, second.expires) if expires is not None]
    return Credentials(
        access_key_id=first.access_key_id or second.access_key_id,
        secret_access_key=first.secret_access_key or second.secret_access_key,
        session_token=first.session_token or second.session_token,
        region=region,
        expires=min(expiries, default=None),
    )


async def _ask(source: CredentialsSource) -> Credentials:
    return source if isinstance(source, Credentials) else await source()


class CredentialCache:
    """The credentials of an open driver: asked for once, refreshed before they expire.

    One task refreshes. As long as the old ones work the others go on with them, and otherwise
    wait for that one and share its outcome.

    Args:
        source: Where they come from.
        clock: The time that expiries are compared with.
        explain: Makes a `StorageError` of what the source raises, or gives None.
        timeout_s: How long the source may take.

    Attributes:
        generation: Counts how often the source gave others.
    """

    def __init__(
        self,
        source: CredentialsSource,
        clock: Clock,
        explain: Callable[[Exception], StorageError | None] = lambda _: None,
        *,
        timeout_s: float = 60.0,
    ) -> None:
        self._source = source
        self._clock = clock
        self._explain = explain
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._current: Credentials | None = None
        self._refresh_at: float | None = None
        self._failure: Exception | None = None
        self._loads = self._failures = 0
        self._refused_at: float | None = None
        self.generation = 0

    def ready(self) -> Credentials | None:
        """Credentials that work now, if nobody has to be asked."""
        current = self._current
        if current is None:
            return None
        if self._refresh_at is None or self._clock.time() < self._refresh_at:
            return current
        return current if self._lock.locked() and not self._expired(current) else None

    async def get(self) -> Credentials:
        """Credentials that work now.

        Raises:
            PermissionDeniedError: The source has none, or not all of them, or failed.
            TransportError: The source was not reached.
        """
        if (ready := self.ready()) is not None:
            return ready
        loads, failures = self._loads, self._failures
        async with self._lock:
            if self._loads != loads:
                assert self._current is not None
                return self._current
            if self._failures != failures:
                assert self._failure is not None
                raise self._explained(self._failure) from self._failure
            return await self._refresh()

    async def renew(self, generation: int) -> bool:
        """Ask the source again, since the service refuses what it gave.

        Args:
            generation: The `generation` that was refused.

        Returns:
            Whether there are other credentials now.
        """
        if isinstance(self._source, Credentials):
            return False
        async with self._lock:
            if self.generation != generation:
                return True
            now = self._clock.time()
            if self._refused_at is not None and 0 <= now - self._refused_at < _PAUSE_S:
                return False
            before = self._current
            self._refused_at = now
            return await self._load() != before

    async def _refresh(self) -> Credentials:
        current = self._current
        try:
            return await self._load()
        except StorageError as error:
            if current is None or self._expired(current):
                raise
            # Its text is not logged: it may be the source's, with anything in it.
            _logger.warning(
                "credentials were not refreshed (%s); those until %s go on being used",
                type(error.__cause__ or error).__name__,
                current.expires,
            )
            self._refresh_at = self._clock.time() + _PAUSE_S
            return current

    async def _load(self) -> Credentials:
        try:
            found = await self._ask_in_time()
            self._check(found)
        except Exception as error:
            self._failures += 1
            self._failure = error
            raise self._explained(error) from error
        now = self._clock.time()
        self._refresh_at = None
        if found.expires is not None:
            expires = found.expires.timestamp()
            self._refresh_at = expires - min(_REFRESH_BEFORE_S, max(0.0, expires - now) / 4)
        if found != self._current:
            self.generation += 1
        self._loads += 1
        self._current, self._failure = found, None
        return found

    async def _ask_in_time(self) -> Credentials:
        if isinstance(self._source, Credentials):
            return self._source
        with move_on_after(self._timeout_s):
            return await _ask(self._source)
        raise OperationTimeoutError(
            f"the source of the credentials gave none within {self._timeout_s:g} s",
            driver="s3",
            retryable=True,
        )

    def _check(self, found: Credentials) -> None:
        if not isinstance(found, Credentials):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"credentials are no {type(found).__name__}: return a Credentials")
        if not found.complete:
            missing = "secret_access_key" if found.access_key_id else "access_key_id"
            what = (
                "no credentials"
                if found == evolve(Credentials(), region=found.region)
                else f"the credentials have no {missing}"
            )
            raise PermissionDeniedError(f"{what}; {_ADVICE}", driver="s3")
        if self._expired(found):
            raise PermissionDeniedError(
                f"the source of the credentials gives some that expired at {found.expires}",
                driver="s3",
            )

    def _expired(self, credentials: Credentials) -> bool:
        expires = credentials.expires
        return expires is not None and expires.timestamp() <= self._clock.time()

    def _explained(self, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return copy(error)
        explained = self._explain(error)
        if explained is not None:
            return explained
        name = type(error).__name__
        if isinstance(error, OSError | TimeoutError):
            return TransportError(
                f"the source of the credentials was not reached ({name})",
                driver="s3",
                retryable=True,
            )
        return PermissionDeniedError(f"the source of the credentials failed ({name})", driver="s3")


def expires_in_s(credentials: Credentials, clock: Clock) -> float | None:
    """How long credentials go on working, in seconds; None for ever."""
    if credentials.expires is None:
        return None
    return (credentials.expires.astimezone(UTC) - clock.now()).total_seconds()
