"""Verifies Signature Version 4, in headers and in presigned URLs, independently of any SDK.

API reference, "Authenticating Requests (AWS Signature Version 4)".
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import unquote_plus

import attrs

_QUERY_SIGNATURE = "X-Amz-Signature"


@attrs.frozen
class Credentials:
    """What requests have to be signed with.

    Attributes:
        access_key_id: The key.
        secret_access_key: The secret; not shown.
    """

    access_key_id: str
    secret_access_key: str = attrs.field(repr=False)


def check_signature(
    method: str, raw_path: str, headers: Mapping[str, str], credentials: Credentials
) -> str | None:
    """The error code that the request deserves; None if its signature is right.

    Args:
        method: The HTTP method.
        raw_path: Path and query as they were sent.
        headers: The request's, names in lower case.
        credentials: See there.
    """
    path, _, query = raw_path.partition("?")
    pairs = [tuple(pair.partition("=")[::2]) for pair in query.split("&") if pair]
    values = {name: unquote_plus(value) for name, value in pairs}
    if _QUERY_SIGNATURE in values:
        scope, signed = values["X-Amz-Credential"], values["X-Amz-SignedHeaders"]
        given, date = values[_QUERY_SIGNATURE], values["X-Amz-Date"]
        payload = "UNSIGNED-PAYLOAD"
        pairs = [pair for pair in pairs if pair[0] != _QUERY_SIGNATURE]
        began = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if (datetime.now(UTC) - began).total_seconds() > int(values["X-Amz-Expires"]):
            return "AccessDenied"
    else:
        kind, _, rest = headers.get("authorization", "").partition(" ")
        if kind != "AWS4-HMAC-SHA256":
            return "AccessDenied"
        fields = dict(field.strip().split("=", 1) for field in rest.split(","))
        scope, signed, given = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
        date, payload = headers["x-amz-date"], headers["x-amz-content-sha256"]
    key, _, scope = scope.partition("/")
    if key != credentials.access_key_id:
        return "InvalidAccessKeyId"
    lines = [method, path, "&".join(f"{name}={value}" for name, value in sorted(pairs))]
    lines += [f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.split(";")]
    canonical = "\n".join([*lines, "", signed, payload])
    to_sign = "\n".join(("AWS4-HMAC-SHA256", date, scope, sha256(canonical.encode()).hexdigest()))
    signing_key = f"AWS4{credentials.secret_access_key}".encode()
    for piece in scope.split("/"):
        signing_key = hmac.digest(signing_key, piece.encode(), "sha256")
    expected = hmac.new(signing_key, to_sign.encode(), "sha256").hexdigest()
    return None if hmac.compare_digest(expected, given) else "SignatureDoesNotMatch"
