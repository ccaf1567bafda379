"""Signature Version 4 in a few microseconds: the day's signing key is made once and kept.

API reference, "Signature Calculations for the Authorization Header". Byte for byte what botocore's
`S3SigV4Auth` makes of the same request.
"""

import hmac
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from attrs import field, frozen

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = sha256().hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


@frozen
class Keys:
    """What requests are signed with.

    Attributes:
        access_key_id: The key.
        secret_access_key: The secret; not shown.
        session_token: For temporary credentials; not shown.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Stamp(NamedTuple):
    """A moment, as signatures write it.

    Attributes:
        day: `20261127`.
        second: `20261127T190000Z`.
    """

    day: str
    second: str


class Clock:
    """The current `Stamp`, formatted once a second.

    Args:
        now: The Unix time.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._second = -1
        self._stamp = Stamp("", "")

    def now(self) -> Stamp:
        """What to sign with."""
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._stamp = stamp_of(second)
        return self._stamp


def stamp_of(seconds: int) -> Stamp:
    """The stamp of a Unix time."""
    text = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    return Stamp(text[:8], text)


class Signer:
    """Signs requests to one service in one region.

    Args:
        keys: What to sign with.
        region: The region that the service believes to be in.
        service: Its name in signatures.
    """

    __slots__ = ("_day", "_key", "_prefix", "_region", "_scope", "_service", "keys")

    def __init__(self, keys: Keys, region: str, service: str = "s3") -> None:
        self.keys = keys
        self._region = region
        self._service = service
        self._day = ""
        self._key = b""
        self._scope = ""
        self._prefix = ""

    def authorization(
        self,
        method: str,
        path: str,
        query: str,
        headers: Sequence[tuple[str, str]],
        payload: str,
        stamp: Stamp,
    ) -> str:
        """The value of the header Authorization.

        Args:
            method: Of HTTP.
            path: As it is sent, percent-encoded.
            query: As it is sent, its pairs sorted; empty for none.
            headers: What to sign: names in lower case and sorted, `host` and `x-amz-date` among
                them; values without white space at their ends, and no two of it side by side.
            payload: The value of the header x-amz-content-sha256.
            stamp: The moment, as in the header x-amz-date.
        """
        if stamp.day != self._day:
            self._turn_to(stamp.day)
        names = ";".join([name for name, _ in headers])
        lines = "".join([f"{name}:{value}\n" for name, value in headers])
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"
        digest = sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{stamp.second}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return f"{self._prefix}{names}, Signature={signature}"

    def _turn_to(self, day: str) -> None:
        key = f"AWS4{self.keys.secret_access_key}".encode()
        for piece in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, piece.encode(), "sha256")
        self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
        self._prefix = (
            f"{_ALGORITHM} Credential={self.keys.access_key_id}/{self._scope}, SignedHeaders="
        )
        self._key = key
        self._day = day
