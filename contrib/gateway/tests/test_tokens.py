"""Bearer tokens: what is accepted, and how the configuration is checked."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from polystow import ConfigError, Secret
from polystow_gateway.server._access_config import TokensConfig
from polystow_gateway.server._tokens import Token, Tokens

SECRET = "s" * 32
CONFIG = TokensConfig(("HS256",), "files", Secret(SECRET))
LATER = int(time.time()) + 3600
CLAIMS: dict[str, Any] = {"exp": LATER, "aud": "files", "sub": "john", "roles": ["reader"]}


def signed(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    kept = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(kept, key, algorithm)


def segment(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def test_a_token_tells_subject_roles_and_end() -> None:
    assert Tokens(CONFIG).verify(signed()) == Token("john", ("reader",), LATER)
    assert Tokens(CONFIG).verify(signed(aud=["other", "files"])) is not None
    spaced = Tokens(evolve(CONFIG, roles_claim="scope")).verify(signed(scope="a b"))
    assert spaced is not None
    assert spaced.roles == ("a", "b")
    for roles in (None, 3, {"a": 1}):
        token = Tokens(CONFIG).verify(signed(roles=roles))
        assert token is not None
        assert token.roles == ()


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": int(time.time()) - 10},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"aud": None},
        {"aud": "others"},
        {"aud": []},
        {"aud": 3},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 257},
        {"nbf": LATER},
        {"iat": LATER},
    ],
)
def test_claims_that_do_not_hold_make_it_invalid(claims: dict[str, Any]) -> None:
    assert Tokens(CONFIG).verify(signed(**claims)) is None


def test_the_issuer_counts_where_the_configuration_names_one() -> None:
    tokens = Tokens(evolve(CONFIG, issuer="https://login.example.org"))
    assert tokens.verify(signed(iss="https://login.example.org")) is not None
    assert tokens.verify(signed(iss="https://evil.example.org")) is None
    assert tokens.verify(signed()) is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": ""},
        {"typ": "JWT"},
        {"alg": ["HS256"]},
        {"alg": "HS256", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
        "[" * 9000,
        "no JSON",
    ],
)
def test_tokens_without_a_real_signature_are_none(header: object) -> None:
    for signature in ("", segment("x")):
        text = f"{segment(header)}.{segment(CLAIMS)}.{signature}"
        assert Tokens(CONFIG).verify(text) is None


def test_another_algorithm_or_key_is_refused() -> None:
    assert Tokens(CONFIG).verify(signed("t" * 32)) is None
    assert Tokens(CONFIG).verify(signed("s" * 64, "HS512")) is None
    header, claims, signature = signed().split(".")
    more = segment({**CLAIMS, "roles": ["admin"]})
    assert Tokens(CONFIG).verify(f"{header}.{more}.{signature}") is None
    assert Tokens(CONFIG).verify(f"{header}.{claims}.{signature}") is not None


@given(st.text(max_size=60))
def test_any_text_is_refused_quietly(text: str) -> None:
    assert Tokens(CONFIG).verify(text) is None


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_public_keys_verify_and_are_never_taken_for_a_shared_secret(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem(key))
    tokens = Tokens(TokensConfig(("RS256", "PS256"), "files", public_key_file=file))
    assert tokens.verify(signed(key, "RS256")) is not None
    assert tokens.verify(signed(key, "PS256")) is not None
    assert tokens.verify(signed(key, "RS512")) is None
    # Signed as HMAC with the public key as its secret, as anyone could.
    from hashlib import sha256
    from hmac import digest

    text = f"{segment({'alg': 'HS256'})}.{segment(CLAIMS)}"
    mac = digest(public_pem(key), text.encode(), sha256)
    forged = f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert tokens.verify(forged) is None


def jwk(key: Any, **more: str) -> dict[str, Any]:
    is_rsa = isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey)
    kind: Any = jwt.get_algorithm_by_name("RS256" if is_rsa else "ES256")
    return {**kind.to_jwk(key, as_dict=True), **more}


def test_a_token_names_its_key_of_a_providers_set(tmp_path: Path) -> None:
    old, new = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    curve = ec.generate_private_key(ec.SECP256R1())
    keys = [
        jwk(old.public_key(), kid="old", use="sig", alg="RS256"),
        jwk(new.public_key(), kid="new"),
        jwk(curve.public_key(), kid="curve"),
        jwk(new.public_key(), kid="enc", use="enc"),
        {"kty": "oct", "k": segment("secret"), "kid": "shared", "alg": "HS256"},
    ]
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": keys}))
    tokens = Tokens(TokensConfig(("RS256", "ES256"), "files", public_key_file=file))

    def token(key: Any, algorithm: str, kid: str | None) -> str:
        headers = None if kid is None else {"kid": kid}
        return jwt.encode(CLAIMS, key, algorithm, headers=headers)

    assert tokens.verify(token(old, "RS256", "old")) is not None
    assert tokens.verify(token(new, "RS256", "new")) is not None
    assert tokens.verify(token(curve, "ES256", "curve")) is not None
    for key, algorithm, kid in (
        (old, "RS256", "new"),
        (old, "RS256", None),
        (old, "RS256", "nobodys"),
        (old, "RS512", "old"),
        (new, "RS256", "curve"),
        (curve, "ES256", "old"),
        (new, "RS256", "enc"),
        ("secret" * 8, "HS256", "shared"),
    ):
        assert tokens.verify(token(key, algorithm, kid)) is None, (algorithm, kid)


def test_a_file_without_public_keys_is_told(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    oct_key = {"kty": "oct", "k": segment("secret"), "kid": "shared", "alg": "HS256"}
    private = jwk(rsa.generate_private_key(65537, 2048), kid="private")
    for content in (
        "{",
        "{}",
        '{"keys": []}',
        '{"keys": 3}',
        '{"keys": [3]}',
        json.dumps({"keys": [oct_key]}),
        json.dumps({"keys": [private]}),
    ):
        file.write_text(content)
        with pytest.raises(ConfigError, match="public_key_file"):
            Tokens(TokensConfig(("RS256",), "files", public_key_file=file))


def test_keys_that_do_not_fit_are_told(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(public_pem(key))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    Tokens(TokensConfig(("ES256",), "a", public_key_file=public))
    for config, problem in (
        (TokensConfig(("RS256",), "a", public_key_file=public), "no public key for RS256"),
        (TokensConfig(("ES256",), "a", public_key_file=private), "private key"),
        (TokensConfig(("ES256",), "a", public_key_file=tmp_path / "no"), "can't be read"),
        (TokensConfig(("ES256",), "a", Secret(SECRET)), "need `public_key_file`"),
        (TokensConfig(("ES256",), "a"), "need `public_key_file`"),
        (TokensConfig(("HS256",), "a"), "need `secret`"),
        (TokensConfig(("HS256", "ES256"), "a", Secret(SECRET)), "mixed"),
        (TokensConfig(("HS256", "HS512"), "a", Secret(SECRET)), "64 bytes"),
    ):
        with pytest.raises(ConfigError, match=problem) as caught:
            Tokens(config)
        assert SECRET not in str(caught.value)
