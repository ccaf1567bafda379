"""How requests are signed: with the service's time, for the public host, or not at all."""

# mypy: disable-error-code="import-untyped,misc"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnnecessaryCast=false

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, cast, override

import botocore
import botocore.auth
from attrs import frozen

from polystow import Value
from polystow_s3._addressing import at_public_host, without_bucket
from polystow_s3._clock import Clock
from polystow_s3._config import S3Config
from polystow_s3._payload import Payload

_HEADERS = "polystow-s3v4"
_QUERY = f"{_HEADERS}-query"
_CLOCK = "polystow_clock"
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_MAX_REGIONS = 10_000


@frozen(eq=False, repr=False)
class _Presigning(Value):
    bucket: str
    signed: bool


_presigning: ContextVar[_Presigning | None] = ContextVar("polystow_s3_presigning", default=None)


@contextmanager
def presigning(bucket: str, *, signed: bool) -> Generator[None]:
    """Around the making of a URL: it is for the public host, and signed or not."""
    token = _presigning.set(_Presigning(bucket, signed))
    try:
        yield
    finally:
        _presigning.reset(token)


def _use_clock(request: Any) -> None:  # noqa: ANN401
    # botocore has set the time of this machine just before.
    clock: Clock | None = request.context.get(_CLOCK)
    if clock is not None and clock.offset_s:
        told = datetime.strptime(request.context["timestamp"], _TIMESTAMP).replace(tzinfo=UTC)
        told += timedelta(seconds=clock.offset_s)
        request.context["timestamp"] = told.strftime(_TIMESTAMP)


class _HeaderAuth(botocore.auth.S3SigV4Auth):
    """SigV4 that takes a body's SHA-256 from the payload, where a thread has made it.

    botocore would hash it on the event loop: 5 ms for each part of 8 MiB.
    """

    @override
    def payload(self, request: Any) -> str:
        data = request.data
        if isinstance(data, Payload) and data.sha256 is not None:
            return data.sha256
        return cast("str", super().payload(request))

    @override
    def _modify_request_before_signing(self, request: Any) -> None:
        _use_clock(request)
        super()._modify_request_before_signing(request)


class _QueryAuth(botocore.auth.S3SigV4QueryAuth):
    @override
    def _modify_request_before_signing(self, request: Any) -> None:
        _use_clock(request)
        super()._modify_request_before_signing(request)


cast("dict[str, type]", botocore.auth.AUTH_TYPE_MAPS).update(
    {_HEADERS: _HeaderAuth, _QUERY: _QueryAuth}
)


class Signing:
    """The handlers of botocore's events that decide how a client signs.

    Args:
        config: The driver's.
        clock: The service's time.
        region: The client's region.
    """

    def __init__(self, config: S3Config, clock: Clock, region: str) -> None:
        self._clock = clock
        self._region = region
        self._public_url = config.public_url
        self._host_bucket = config.default_bucket if config.addressing_style == "host" else None
        self._regions: dict[str, str] = {}

    def choose(self, signature_version: object, **_: object) -> object:
        """For `choose-signer`: ours for SigV4, but neither for POST policies nor for directory
        buckets.
        """  # noqa: D205
        making = _presigning.get()
        if making is not None and not making.signed:
            return cast("object", botocore.UNSIGNED)
        if signature_version in {"s3v4", "v4"}:
            return _HEADERS
        return _QUERY if signature_version in {"s3v4-query", "v4-query", "s3-query"} else None

    @staticmethod
    def use_region(context: dict[str, Any], **_: object) -> None:
        """For `before-parameter-build`: presigned URLs are for the region's own endpoint.

        botocore's global one answers with a redirect to another host as long as the bucket's name
        is not known everywhere, and the signature is not for that.
        """
        context.pop("use_global_endpoint", None)

    def prepare(self, request: Any, **_: object) -> None:  # noqa: ANN401
        """For `before-sign`: the URL and the time that the signature is to cover."""
        context: dict[str, Any] = request.context
        context[_CLOCK] = self._clock
        if self._host_bucket is not None:
            request.url = without_bucket(request.url, self._host_bucket)
        making = _presigning.get()
        if making is None:
            self._remember_region(context)
            return
        if self._public_url is not None:
            request.url = at_public_host(request.url, self._public_url, making.bucket)
        if making.bucket in self._regions:
            context.setdefault("signing", {})["region"] = self._regions[making.bucket]

    def _remember_region(self, context: dict[str, Any]) -> None:
        # aiobotocore learns a bucket's region from the service's refusal, but presigns for the
        # client's own.
        region: object = context.get("signing", {}).get("region")
        redirect: dict[str, Any] = context.get("s3_redirect", {})
        bucket: object = redirect.get("bucket")
        if (
            redirect.get("redirected")
            and isinstance(region, str)
            and isinstance(bucket, str)
            and len(self._regions) < _MAX_REGIONS
        ):
            self._regions[bucket] = region
