"""How a backend encrypts an object where it keeps it."""

import base64
from collections.abc import Mapping
from typing import Literal, Self

from attrs import frozen

from polystow._secret import Secret
from polystow._value import Value

_KEY_BYTES = 32


@frozen(eq=False, repr=False)
class Encryption(Value):
    """Encryption at rest, by the backend; `service`, `kms` and `customer` make one.

    Attributes:
        kind: With whose key: the service's own, one of its key management, or the caller's.
        key_id: For `"kms"`: which key; None for the account's default one.
        context: For `"kms"`: what is bound to the content and logged.
        key: For `"customer"`: 256 bits in Base64. The backend keeps no copy: the same key is
            needed for every read, stat and copy.
    """

    kind: Literal["service", "kms", "customer"]
    key_id: str | None = None
    context: Mapping[str, str] | None = None
    key: Secret | None = None

    @classmethod
    def service(cls) -> Self:
        """With the service's own keys (SSE-S3)."""
        return cls("service")

    @classmethod
    def kms(cls, key_id: str | None = None, context: Mapping[str, str] | None = None) -> Self:
        """With a key of the service's key management (SSE-KMS).

        Args:
            key_id: Its id, ARN or alias; None for the account's default one.
            context: What is bound to the content; it is not secret.
        """
        return cls("kms", key_id, context)

    @classmethod
    def customer(cls, key: bytes) -> Self:
        """With a key of the caller's (SSE-C); who loses it, loses the object.

        Raises:
            ValueError: It has not 32 bytes.
        """
        if len(key) != _KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes; AES-256 takes {_KEY_BYTES}")
        return cls("customer", key=Secret(base64.b64encode(key).decode()))
