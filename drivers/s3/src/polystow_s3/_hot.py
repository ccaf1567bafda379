"""Which calls go through the fast lane, and where to: what a configuration and a bucket allow.

With an endpoint, keys and a region that are known, the lane works without aiobotocore. Otherwise it
asks it once for each bucket: a presigned URL, which is public API, tells host, path and region.
"""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from anyio import to_thread

from polystow import ConfigError
from polystow_s3._clock import Clock
from polystow_s3._config import S3Config
from polystow_s3._credentials import CredentialCache, Credentials
from polystow_s3._lane._lane import ElsewhereError, Lane
from polystow_s3._lane._open import is_proxied, limits_of, origin_of, tls_context
from polystow_s3._lane._pool import Pool
from polystow_s3._lane._requests import Draft, Place, draft
from polystow_s3._lane._sending import CAN_SEND_FILES
from polystow_s3._lane._signer import Keys, Signer

_AGENT = "polystow-s3"
_MAX_BUCKETS = 1024
_READS = frozenset({"get_object", "head_object"})
_SIGNED = ("AWS4-HMAC-SHA256", "s3")

type Locate = Callable[[str], Awaitable[str]]
"""Makes a presigned URL of a bucket, by aiobotocore."""

type Announce = Callable[[str], None]
"""Told the URL that the lane found by itself."""


class _Route(NamedTuple):
    place: Place
    signer: Signer | None


class HotLane:
    """The fast lane of an open driver, or none where the configuration does not allow it.

    Args:
        config: The driver's.
        clock: The service's time.
        credentials: What to sign with; None to sign nothing.
        locate: See there.
        announce: See there.
    """

    def __init__(
        self,
        config: S3Config,
        clock: Clock,
        credentials: CredentialCache | None,
        locate: Locate,
        announce: Announce,
    ) -> None:
        self._config = config
        self._clock = clock
        self._credentials = credentials
        self._locate = locate
        self._announce = announce
        self._lane: Lane | None = None
        self._lock = asyncio.Lock()
        self._is_allowed = _is_allowed(config, credentials)
        self._region = None if config.endpoint is None else _known_region(config)
        self._places: dict[str, Place] = {}
        self._elsewhere: set[str] = set()
        self._signers: dict[str, Signer] = {}  # by region
        self._routes: dict[str, _Route] = {}  # by bucket, with the signers of now
        self._signed_with: Credentials | None = None
        self._asks_for_checksums = config.checksums == "when_supported"

    @property
    def sends_files(self) -> bool:
        """Whether bodies go from files to sockets: not where they have to be encrypted."""
        endpoint = self._config.endpoint
        plain = endpoint is not None and urlsplit(endpoint).scheme == "http"
        return self._is_allowed and CAN_SEND_FILES and plain

    def draft(self, method: str, params: Mapping[str, object]) -> Draft | None:
        """A call as a request of the lane; None if it is aiobotocore's."""
        if not self._is_allowed:
            return None
        made = draft(method, params)
        if made is None or made.bucket in self._elsewhere:
            return None
        if self._asks_for_checksums and method in _READS:
            made.headers["x-amz-checksum-mode"] = "ENABLED"
        return made

    def send(self, draft: Draft) -> Awaitable[dict[str, Any]]:
        """Send it once; see `Lane.send`.

        Raises:
            ElsewhereError: See there; `leave` lets all further requests of the bucket be
                aiobotocore's.
        """
        credentials = None if self._credentials is None else self._credentials.ready()
        if credentials is self._signed_with:
            route, lane = self._routes.get(draft.bucket), self._lane
            if route is not None and lane is not None:
                return lane.send(draft, route.place, route.signer)
        return self._prepare_and_send(draft)

    async def _prepare_and_send(self, draft: Draft) -> dict[str, Any]:
        bucket = draft.bucket
        place = self._places.get(bucket)
        if place is None or self._lane is None:
            place = await self._find(bucket)
        assert self._lane is not None
        signer = None
        if self._credentials is not None:
            signer = self._signer(await self._credentials.get(), place.region)
        if len(self._routes) >= _MAX_BUCKETS:
            self._routes.clear()
        self._routes[bucket] = _Route(place, signer)
        return await self._lane.send(draft, place, signer)

    def _signer(self, credentials: Credentials, region: str) -> Signer:
        if credentials is not self._signed_with:
            self._signed_with = credentials
            self._signers.clear()
            self._routes.clear()
        signer = self._signers.get(region)
        if signer is None:
            signer = self._signers[region] = Signer(_keys(credentials), region)
        return signer

    def leave(self, bucket: str) -> None:
        """Leave a bucket to aiobotocore."""
        if len(self._elsewhere) >= _MAX_BUCKETS:
            self._elsewhere.clear()
        self._elsewhere.add(bucket)

    async def _find(self, bucket: str) -> Place:
        async with self._lock:
            place = self._directly(bucket) or await self._learned(bucket)
            if place is None:
                raise ElsewhereError
            if self._lane is None:
                tls = None
                if place.origin.tls or self._config.endpoint is None:
                    tls = await to_thread.run_sync(self._tls_context)
                pool = Pool(limits_of(self._config), tls)
                signs_body = self._config.signs_payload
                self._lane = Lane(pool, _AGENT, signs_body=signs_body, now=self._clock.time)
            if len(self._places) >= _MAX_BUCKETS:
                self._places.clear()
            self._places[bucket] = place
            return place

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return tls_context(self._config)
        except OSError as error:
            reason = "it is no PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(
                f"ca_file, client_certificate_file or client_key_file can't be used: {reason}"
            ) from error

    def _directly(self, bucket: str) -> Place | None:
        config = self._config
        if config.endpoint is None or self._region is None:
            return None
        if config.addressing_style == "virtual":
            return None  # which not every bucket's name allows
        origin, host, base = origin_of(config.endpoint)
        self._announce(config.endpoint)
        path = base if config.addressing_style == "host" else f"{base}/{bucket}"
        return Place(origin, host, path, self._region)

    async def _learned(self, bucket: str) -> Place | None:
        if self._credentials is None:
            return None  # which makes no presigned URL either
        url = await self._locate(bucket)
        if is_proxied(url):
            return None
        query = parse_qs(urlsplit(url).query)
        algorithm = query.get("X-Amz-Algorithm", [""])[0]
        pieces = query.get("X-Amz-Credential", [""])[0].split("/")
        if len(pieces) < 5 or (algorithm, pieces[-2]) != _SIGNED:
            return None  # signed in another way: directory buckets, access points of all regions
        origin, host, path = origin_of(url)
        return Place(origin, host, path, pieces[-3])

    async def aclose(self) -> None:
        """Close all connections."""
        if self._lane is not None:
            await self._lane.aclose()


def _keys(credentials: Credentials) -> Keys:
    assert credentials.access_key_id is not None
    assert credentials.secret_access_key is not None
    token = credentials.session_token
    return Keys(
        credentials.access_key_id,
        credentials.secret_access_key.reveal(),
        token.reveal() if token else None,
    )


def _is_allowed(config: S3Config, credentials: CredentialCache | None) -> bool:
    return (
        config.lane == "fast"
        and (credentials is not None or config.anonymous)
        and config.proxy is None
        and (config.endpoint is None or not is_proxied(config.endpoint))
    )


def _known_region(config: S3Config) -> str | None:
    # What aiobotocore would say; None if only that can tell.
    if config.region is not None or config.anonymous:
        return config.region or "us-east-1"
    own = isinstance(config.credentials, Credentials)
    if config.access_key_id is None and not own:
        return None
    if os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE"):
        return None
    if region := os.environ.get("AWS_DEFAULT_REGION"):
        return region
    if Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser().exists():
        return None
    region = config.credentials.region if isinstance(config.credentials, Credentials) else None
    return region or "us-east-1"
