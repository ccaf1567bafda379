"""Server-side encryption as headers (User Guide, "Protecting data with encryption")."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import cast

from polystow import Encryption
from polystow_s3._headers import EXTRA_HEADERS

_SSE = "x-amz-server-side-encryption"
_CUSTOMER = f"{_SSE}-customer"
_SOURCE = "x-amz-copy-source-server-side-encryption-customer"


def write_headers(encryption: Encryption | None) -> dict[str, str]:
    """What a request says that writes content."""
    if encryption is None:
        return {}
    match encryption.kind:
        case "service":
            return {_SSE: "AES256"}
        case "kms":
            headers = {_SSE: "aws:kms"}
            if encryption.key_id is not None:
                headers[f"{_SSE}-aws-kms-key-id"] = encryption.key_id
            if encryption.context is not None:
                context = json.dumps(dict(encryption.context)).encode()
                headers[f"{_SSE}-context"] = base64.b64encode(context).decode()
            return headers
        case "customer":
            return _customer_headers(encryption, _CUSTOMER)


def read_params(encryption: Encryption | None) -> dict[str, object]:
    """What a request says that reads content, or goes on with an upload: a customer's key alone."""
    return _params(encryption, _CUSTOMER)


def source_params(encryption: Encryption | None) -> dict[str, object]:
    """What a copy says of its source."""
    return _params(encryption, _SOURCE)


def _params(encryption: Encryption | None, prefix: str) -> dict[str, object]:
    if encryption is None or encryption.kind != "customer":
        return {}
    return {EXTRA_HEADERS: _customer_headers(encryption, prefix)}


def with_headers(params: Mapping[str, object], headers: Mapping[str, object]) -> dict[str, object]:
    """Parameters with more headers than those that they have."""
    if not headers:
        return dict(params)
    present = cast("Mapping[str, object]", params.get(EXTRA_HEADERS) or {})
    return {**params, EXTRA_HEADERS: {**present, **headers}}


def _customer_headers(encryption: Encryption, prefix: str) -> dict[str, str]:
    key = "" if encryption.key is None else encryption.key.reveal()
    md5 = hashlib.md5(base64.b64decode(key), usedforsecurity=False).digest()
    return {
        f"{prefix}-algorithm": "AES256",
        f"{prefix}-key": key,
        f"{prefix}-key-MD5": base64.b64encode(md5).decode(),
    }
