"""API keys: how they look, and what is kept of them.

A key is `polystow_<name>_<64 hexadecimal digits>`. The digits are 256 random bits, so that SHA-256
alone keeps them as well as a slow hash would keep a password; the configuration has the hash.
"""

import hashlib
import re
import secrets
from hmac import compare_digest
from typing import NamedTuple

_KEY = re.compile(r"polystow_([a-z0-9-]{1,64})_([0-9a-f]{64})")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NOBODY = "sha256:" + "0" * 64


class ApiKey(NamedTuple):
    """A key, taken apart.

    Attributes:
        name: Whose it is; no secret.
        hash: What the configuration has of it.
    """

    name: str
    hash: str


def new_key(name: str) -> tuple[str, str]:
    """Make a key.

    Args:
        name: Up to 64 of a-z, 0-9 and `-`.

    Returns:
        The key, to be told once, and its hash.
    """
    digits = secrets.token_hex(32)
    return f"polystow_{name}_{digits}", _hash(digits)


def parse_key(text: str) -> ApiKey | None:
    """Take a key apart; None if it has not the form of one."""
    match = _KEY.fullmatch(text)
    return None if match is None else ApiKey(match[1], _hash(match[2]))


def is_key_hash(text: str) -> bool:
    """Whether `text` has the form of a key's hash."""
    return _HASH.fullmatch(text) is not None


def matches(key: ApiKey, kept: str | None) -> bool:
    """Compare in constant time; None, for a name that nobody has, takes as long and is False."""
    return compare_digest(key.hash, kept or _NOBODY) and kept is not None


def _hash(digits: str) -> str:
    return "sha256:" + hashlib.sha256(digits.encode()).hexdigest()
