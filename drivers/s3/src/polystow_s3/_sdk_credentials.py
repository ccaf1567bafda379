"""Credentials by aiobotocore: its chain, its profiles, its metadata services.

Only `_sdk` and the sources of `_credentials` import this, when they are asked.
"""

# mypy: disable-error-code="import-untyped,misc"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnnecessaryCast=false

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast, override

from aiobotocore.credentials import AioCredentials, create_credential_resolver
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from polystow import Secret
from polystow_s3._credentials import (
    ChainCredentials,
    CredentialCache,
    Credentials,
    ProfileCredentials,
)
from polystow_s3._sdk_logging import redact_logs

# Whoever uses the SDK through us imports this first.
redact_logs()

_METADATA = frozenset({"container-role", "iam-role"})
_NOT_FILES = _METADATA | {"env"}


def new_session(
    profile: str | None = None,
    credentials_file: Path | None = None,
    config_file: Path | None = None,
) -> AioSession:
    """A session of ours.

    Args:
        profile: A profile of the shared files.
        credentials_file: As in `ProfileCredentials`.
        config_file: See there.
    """
    session = AioSession(profile=profile)
    for name, file in (("credentials_file", credentials_file), ("config_file", config_file)):
        if file is not None:
            cast("Any", session).set_config_variable(name, str(file.expanduser()))
    return session


async def load_chain(source: ChainCredentials) -> Credentials:
    """See `ChainCredentials`."""
    session, resolver = _resolver(source)
    return await _load(session, resolver)


async def load_profile(source: ProfileCredentials) -> Credentials:
    """See `ProfileCredentials`."""
    session, resolver = _resolver(source)
    return await _load(session, _only(resolver, lambda method: method not in _NOT_FILES))


def _resolver(source: ChainCredentials | ProfileCredentials) -> tuple[Any, Any]:
    session: Any = new_session(source.profile, source.credentials_file, source.config_file)
    region = session.get_config_variable("region") or source.region or "us-east-1"
    return session, create_credential_resolver(session, region_name=region)


async def load_metadata() -> Credentials:
    """See `MetadataCredentials`."""
    session = new_session()
    resolver = create_credential_resolver(cast("Any", session))
    return await _load(session, _only(resolver, lambda method: method in _METADATA))


def _only(resolver: Any, wanted: Callable[[str], bool]) -> Any:  # noqa: ANN401
    resolver.providers[:] = [each for each in resolver.providers if wanted(each.METHOD)]
    return resolver


async def _load(session: Any, resolver: Any) -> Credentials:  # noqa: ANN401
    region: str | None = session.get_config_variable("region")
    found = await resolver.load_credentials()
    if found is None:
        return Credentials(region=region)
    frozen = await found.get_frozen_credentials()
    # Its only place: botocore keeps to itself when credentials expire.
    expires: datetime | None = getattr(found, "_expiry_time", None)
    return Credentials(
        access_key_id=frozen.access_key or None,
        secret_access_key=Secret(frozen.secret_key) if frozen.secret_key else None,
        session_token=Secret(frozen.token) if frozen.token else None,
        region=region,
        expires=expires,
    )


class CachedCredentials(AioCredentials):
    """A `CredentialCache` in the shape that aiobotocore's signer asks.

    Args:
        cache: See there.
    """

    def __init__(self, cache: CredentialCache) -> None:
        super().__init__("", "", method="polystow")
        self._cache = cache

    async def load_credentials(self) -> "CachedCredentials":
        """Itself: what aiobotocore asks a chain for."""
        return self

    @override
    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """What to sign with now."""
        found = await self._cache.get()
        assert found.secret_access_key is not None
        token = found.session_token.reveal() if found.session_token else None
        return ReadOnlyCredentials(found.access_key_id, found.secret_access_key.reveal(), token)
