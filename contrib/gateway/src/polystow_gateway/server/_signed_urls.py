"""Signed URLs of the gateway: one method on one object until they expire, for whoever has them.

Everything in the URL is signed, the gateway's public address included, so a URL with one
parameter more, one less or another value is none. What a proxy makes of the Host header does not
count.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from urllib.parse import quote, urlencode

from attrs import frozen

from polystow import Secret

PATH = "/v1/objects"
_PREFIX = "x-polystow-"
SIGNATURE = f"{_PREFIX}signature"
_METHOD = f"{_PREFIX}method"
_EXPIRES = f"{_PREFIX}expires"
_KEY = f"{_PREFIX}key"
_SIGNER = f"{_PREFIX}signer"
_IP = f"{_PREFIX}ip"
_OURS = frozenset({SIGNATURE, _METHOD, _EXPIRES, _KEY, _SIGNER, _IP})
_METHODS: Mapping[str, frozenset[str]] = {
    "GET": frozenset({"GET", "HEAD"}),
    "HEAD": frozenset({"HEAD"}),
    "PUT": frozenset({"PUT"}),
    "DELETE": frozenset({"DELETE"}),
}
_MAX_EXPIRES_DIGITS = 12


@frozen
class SignedUrl:
    """What a signed URL allows.

    Attributes:
        method: GET (HEAD too), HEAD, PUT or DELETE.
        target: The id.
        expires: When it ends to work, in seconds since 1970.
        signer: On whose behalf, as in `Identity.name`.
        ip: The only address that may use it; None for any.
        query: More parameters of the endpoint.
    """

    method: str
    target: str
    expires: int
    signer: str
    ip: str | None = None
    query: tuple[tuple[str, str], ...] = ()

    def allows(self, method: str) -> bool:
        """Whether a request with this method may be made."""
        return method in _METHODS.get(self.method, ())


def sign(url: SignedUrl, base: str, key: str, secret: Secret) -> str:
    """The URL as text.

    Args:
        url: What it allows.
        base: The gateway's public address, without a slash at its end.
        key: The name of the signing key.
        secret: The signing key.

    Raises:
        ValueError: `url.query` has one of the parameters that are the signature's own.
    """
    own = [name for name, _ in url.query if name in _OURS or name == "id"]
    if own:
        raise ValueError(f"the parameter {own[0]!r} is the signature's own")
    parameters = [
        ("id", url.target),
        *url.query,
        (_METHOD, url.method),
        (_EXPIRES, str(url.expires)),
        (_KEY, key),
        (_SIGNER, url.signer),
    ]
    if url.ip is not None:
        parameters.append((_IP, url.ip))
    parameters.append((SIGNATURE, _signature(parameters, base, secret)))
    return f"{base}{PATH}?{urlencode(parameters, quote_via=quote, safe='')}"


def verify(
    parameters: Sequence[tuple[str, str]], base: str, keys: Mapping[str, Secret]
) -> SignedUrl | None:
    """What a request's query allows, if it was signed by one of the keys; None if it was not.

    When it expires, which method and which address it is for, are for the caller to see.

    Args:
        parameters: The decoded query, in the order of the URL.
        base: As in `sign`.
        keys: Name to signing key.
    """
    values = dict(parameters)
    if len(values) < len(parameters):
        return None  # a name that comes twice means one thing here and another one there
    signature = values.get(SIGNATURE, "")
    secret = keys.get(values.get(_KEY, ""))
    signed = [pair for pair in parameters if pair[0] != SIGNATURE]
    expected = _signature(signed, base, secret or Secret(""))
    if not compare_digest(signature.encode(), expected.encode()) or secret is None:
        return None
    expires = values.get(_EXPIRES, "")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= _MAX_EXPIRES_DIGITS):
        return None
    if not {"id", _METHOD, _SIGNER} <= values.keys():
        return None
    return SignedUrl(
        values[_METHOD],
        values["id"],
        int(expires),
        values[_SIGNER],
        values.get(_IP),
        tuple(pair for pair in parameters if pair[0] not in _OURS and pair[0] != "id"),
    )


def _signature(parameters: Sequence[tuple[str, str]], base: str, secret: Secret) -> str:
    # Each text with its length, so that no two requests have the same bytes. Sorted, since
    # proxies may put parameters into another order.
    texts = ["polystow-gateway-1", base, PATH]
    for name, value in sorted(parameters):
        texts += [name, value]
    message = bytearray()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        message += b"%d:" % len(encoded) + encoded
    digest = hmac.digest(secret.reveal().encode(), bytes(message), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
