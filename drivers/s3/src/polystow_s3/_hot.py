"""Which calls go through the fast lane: what a configuration and a bucket allow."""

import ssl
from collections.abc import Mapping
from typing import Any

from anyio import to_thread

from polystow_s3._clock import Clock
from polystow_s3._config import S3Config
from polystow_s3._lane._lane import ElsewhereError, Lane
from polystow_s3._lane._open import is_proxied, limits_of, origin_of, tls_context
from polystow_s3._lane._pool import Pool
from polystow_s3._lane._requests import Draft, Place, draft
from polystow_s3._lane._signer import Keys, Signer

_AGENT = "polystow-s3"
_MAX_ELSEWHERE = 1024
_READS = frozenset({"get_object", "head_object"})


class HotLane:
    """The fast lane of an open driver, or none where the configuration does not allow it.

    Args:
        config: The driver's.
        lane: What sends; None to send nothing.
    """

    def __init__(self, config: S3Config, lane: Lane | None) -> None:
        self._lane = lane
        self._elsewhere: set[str] = set()
        self._asks_for_checksums = config.checksums == "when_supported"
        if lane is not None:
            assert config.endpoint is not None
            assert config.access_key_id is not None
            assert config.secret_access_key is not None
            token = config.session_token
            keys = Keys(
                config.access_key_id,
                config.secret_access_key.reveal(),
                token.reveal() if token else None,
            )
            self._signer = Signer(keys, config.region or "")
            self._origin, self._host, self._base = origin_of(config.endpoint)

    def draft(self, method: str, params: Mapping[str, object]) -> Draft | None:
        """A call as a request of the lane; None if it is aiobotocore's."""
        if self._lane is None:
            return None
        made = draft(method, params)
        if made is None or made.bucket in self._elsewhere:
            return None
        if self._asks_for_checksums and method in _READS:
            made.headers.append(("x-amz-checksum-mode", "ENABLED"))
        return made

    async def send(self, draft: Draft) -> dict[str, Any]:
        """Send it once; see `Lane.send`."""
        assert self._lane is not None
        place = Place(self._origin, self._host, f"{self._base}/{draft.bucket}", self._signer)
        try:
            return await self._lane.send(draft, place)
        except ElsewhereError:
            if len(self._elsewhere) < _MAX_ELSEWHERE:
                self._elsewhere.add(draft.bucket)
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        if self._lane is not None:
            await self._lane.aclose()


async def open_lane(config: S3Config, clock: Clock) -> HotLane:
    """Open the lane, without a connection and without aiobotocore."""
    if not _is_allowed(config):
        return HotLane(config, None)
    assert config.endpoint is not None
    tls: ssl.SSLContext | None = None
    if config.endpoint.startswith("https:"):
        tls = await to_thread.run_sync(tls_context, config)
    pool = Pool(limits_of(config), tls)
    lane = Lane(pool, _AGENT, signs_body=config.signs_payload, now=clock.time)
    return HotLane(config, lane)


def _is_allowed(config: S3Config) -> bool:
    return (
        config.lane == "fast"
        and config.endpoint is not None
        and config.region is not None
        and config.access_key_id is not None
        and config.addressing_style in {"auto", "path"}
        and config.proxy is None
        and config.client_certificate_file is None
        and not is_proxied(config.endpoint)
    )
