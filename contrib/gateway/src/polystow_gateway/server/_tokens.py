"""Bearer tokens (JWT): verified by PyJWT, and never more than the configuration allows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jwt
from attrs import frozen

from polystow import ConfigError, ConfigProblem, Secret
from polystow_gateway.server._access_config import TokensConfig

_MAX_BYTES = 16_384
_MAX_SUBJECT_CHARS = 256


@frozen
class Token:
    """A token that is valid.

    Attributes:
        subject: Whose it is.
        roles: The names of its roles.
        expires: When it ends to be valid, in seconds since 1970.
    """

    subject: str
    roles: tuple[str, ...]
    expires: float


class Tokens:
    """Verifies tokens.

    Args:
        config: What is accepted.

    Raises:
        ConfigError: The public key can't be read, or is none for the algorithms.
    """

    def __init__(self, config: TokensConfig) -> None:
        self._config = config
        self._keys = verification_keys(config)

    def verify(self, text: str) -> Token | None:
        """A token, or None if it is not valid, for whatever reason."""
        if len(text) > _MAX_BYTES:
            return None
        config = self._config
        try:
            key = self._keys.get(jwt.get_unverified_header(text).get("kid"), self._keys.get(None))
            if key is None:
                return None
            claims: Mapping[str, Any] = jwt.decode(
                text,
                key,
                algorithms=list(config.algorithms),
                audience=config.audience,
                issuer=config.issuer,
                leeway=config.leeway_s,
                options={
                    "require": ["exp", "aud", "sub"] + (["iss"] if config.issuer else []),
                    "verify_signature": True,
                },
            )
        # The library's own errors, and what it lets through of malformed claims.
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARS:
            return None
        return Token(subject, _roles(claims.get(config.roles_claim)), float(claims["exp"]))


def _roles(claim: object) -> tuple[str, ...]:
    if isinstance(claim, str):
        return tuple(claim.split())
    if isinstance(claim, list):
        return tuple(role for role in cast("list[object]", claim) if isinstance(role, str))
    return ()


def verification_keys(config: TokensConfig) -> Mapping[str | None, Any]:
    """The keys that tokens are verified by, by their `kid`; None for the only one.

    Raises:
        ConfigError: Secret and algorithms don't fit, or the file has no such key.
    """
    symmetric = [algorithm for algorithm in config.algorithms if algorithm.startswith("HS")]
    problem: tuple[str, str] | None = None
    if symmetric and len(symmetric) < len(config.algorithms):
        # Else a public key, which anyone may have, could be taken for a shared secret.
        problem = ("algorithms", "HS… and others can't be mixed: they have different keys")
    elif symmetric and (config.secret is None or config.public_key_file is not None):
        problem = ("secret", "HS… algorithms need `secret`, and no public_key_file")
    elif not symmetric and (config.public_key_file is None or config.secret is not None):
        problem = ("public_key_file", "these algorithms need `public_key_file`, and no secret")
    if problem is not None:
        raise ConfigError.of([ConfigProblem(f"tokens.{problem[0]}", problem[1])])
    if config.secret is not None:
        return {None: _shared_secret(config, config.secret)}
    assert config.public_key_file is not None
    return _public_keys(config, config.public_key_file)


def _shared_secret(config: TokensConfig, secret: Secret) -> str:
    text = secret.reveal()
    for name in config.algorithms:
        needed = int(name.removeprefix("HS")) // 8  # RFC 7518, section 3.2
        if len(text.encode()) < needed:
            message = f"it is too short: {name} needs at least {needed} bytes"
            raise ConfigError.of([ConfigProblem("tokens.secret", message)])
    return text


def _public_keys(config: TokensConfig, path: Path) -> Mapping[str | None, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _of_file(f"{str(path)!r} can't be read: {error.strerror}") from None
    if content.lstrip().startswith(b"{"):
        return _key_set(content, path)
    keys = [_pem_key(name, content, path) for name in config.algorithms]
    return {None: keys[0]}


def _key_set(content: bytes, path: Path) -> Mapping[str | None, Any]:
    """The keys of a JSON Web Key Set (RFC 7517, section 5) that are public and have names."""
    try:
        keys = jwt.PyJWKSet.from_json(content.decode()).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        raise _of_file(f"{str(path)!r} is no set of public keys") from None
    # Each for one kind of algorithm: a shared secret or a private key does not belong there.
    found: dict[str | None, Any] = {
        key.key_id: key.key
        for key in keys
        if key.key_id is not None and key.public_key_use != "enc" and _is_public(key.key)
    }
    if not found:
        raise _of_file(f"{str(path)!r} has no public keys with a kid")
    return found


def _pem_key(algorithm: str, pem: bytes, path: Path) -> Any:  # noqa: ANN401 - the library's keys have no common type
    try:
        key = jwt.get_algorithm_by_name(algorithm).prepare_key(pem)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise _of_file(f"{str(path)!r} has no public key for {algorithm}") from None
    if not _is_public(key):
        raise _of_file(f"{str(path)!r} is a private key; the gateway needs the public one alone")
    return key


def _is_public(key: object) -> bool:
    return hasattr(key, "public_bytes") and not hasattr(key, "private_bytes")


def _of_file(message: str) -> ConfigError:
    return ConfigError.of([ConfigProblem("tokens.public_key_file", message)])
