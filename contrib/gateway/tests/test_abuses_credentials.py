"""Abuses: no credentials, wrong ones, somebody else's, and too many tries."""

import base64
import hmac
import json
import time
from collections.abc import Generator
from typing import Any

import httpx
import jwt
import pytest
from abuses import (
    CALLS,
    FILES,
    KEYS,
    MINE,
    TOKEN_SECRET,
    bearer,
    client_with,
    gateway_config,
    store,
)
from serving import serving_in_thread

from polystow_gateway.server._access_config import (
    AllowanceConfig,
    GrantConfig,
    KeyConfig,
    LimitsConfig,
    RoleConfig,
    ServerConfig,
)
from polystow_gateway.server._keys import new_key

ROLES = {"team": RoleConfig((GrantConfig(("s3:data/team/",), FILES),))}


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving_in_thread(gateway_config(roles=ROLES)) as url:
        store(url, MINE, b"mine")
        yield url


def status(url: str, **headers: str) -> int:
    """How a read of `MINE` with these headers is answered."""
    with client_with(url, None) as client:
        answer = CALLS["get"](MINE).send(client_headers(client, headers))
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code


def client_headers(client: httpx.Client, headers: dict[str, str]) -> httpx.Client:
    client.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return client


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    given = {"exp": time.time() + 600, "aud": "files", "sub": "john", "roles": "team", **changes}
    return {name: value for name, value in given.items() if value is not None}


def token(**changes: Any) -> str:
    return jwt.encode(claims(**changes), TOKEN_SECRET, "HS256")


def test_the_right_credentials_open_the_door(url: str) -> None:
    assert status(url, authorization=f"Bearer {KEYS['team']}") == 200
    assert status(url, authorization=f"bearer {KEYS['team']}") == 200
    assert status(url, x_api_key=KEYS["team"]) == 200
    assert status(url, authorization=f"Bearer {token()}") == 200


def test_no_credentials_open_nothing(url: str) -> None:
    assert status(url) == 401
    for header in ("", "Bearer", "Basic dGVhbTo=", "null", "Bearer null", "Bearer Bearer"):
        assert status(url, authorization=header) == 401, header
        assert status(url, x_api_key=header) == 401, header


def test_a_wrong_key_opens_nothing(url: str) -> None:
    key = KEYS["team"]
    last = "0" if key[-1] != "0" else "1"
    for wrong in (
        key[:-1],
        key[:-1] + last,
        key + "0",
        key.upper(),
        key.replace("_team_", "_root_"),
        key.replace("_team_", "_nobody_"),
        key.replace("_team_", "__"),
        "polystow_team_" + "0" * 64,
        "polystow_nobody_" + "0" * 64,
        new_key("team")[0],
        f"x {key}",
        f"{key},{key}",
    ):
        assert status(url, authorization=f"Bearer {wrong}") == 401, wrong


def test_the_hash_of_a_key_is_no_key(url: str) -> None:
    kept = gateway_config().keys["team"].hash
    for wrong in (kept, kept.removeprefix("sha256:"), f"polystow_team_{kept[7:]}"):
        assert status(url, authorization=f"Bearer {wrong}") == 401


def test_a_key_that_has_expired_opens_nothing(url: str) -> None:
    assert status(url, authorization=f"Bearer {KEYS['expired']}") == 401


def test_several_credentials_are_none(url: str) -> None:
    key = KEYS["team"]
    assert status(url, authorization=f"Bearer {key}", x_api_key=key) == 401
    with client_with(url, None) as client:
        for headers in (
            [("authorization", f"Bearer {KEYS['nothing']}"), ("authorization", f"Bearer {key}")],
            [("x-api-key", key), ("x-api-key", key)],
        ):
            assert (
                client.get("/v1/objects", params={"id": MINE}, headers=headers).status_code == 401
            )
        signed = {"id": MINE, "x-polystow-signature": "x"}
        assert client.get("/v1/objects", params=signed, headers=bearer("team")).status_code == 401


def test_keys_are_not_taken_from_the_query(url: str) -> None:
    with client_with(url, None) as client:
        for name in ("key", "api_key", "x-api-key", "token", "access_token", "authorization"):
            params = {"id": MINE, name: KEYS["team"]}
            assert client.get("/v1/objects", params=params).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": time.time() - 5},
        {"exp": None},
        {"aud": "others"},
        {"aud": None},
        {"sub": None},
        {"nbf": time.time() + 600},
    ],
    ids=["expired", "no-exp", "wrong-aud", "no-aud", "no-sub", "not-yet"],
)
def test_a_token_that_is_not_valid_opens_nothing(url: str, changes: dict[str, Any]) -> None:
    assert status(url, authorization=f"Bearer {token(**changes)}") == 401


def test_a_token_with_another_algorithm_opens_nothing(url: str) -> None:
    for algorithm in ("none", "None", "NONE", "HS512", "RS256", ""):
        text = f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(claims())}."
        assert status(url, authorization=f"Bearer {text}") == 401
        assert status(url, authorization=f"Bearer {text}AAAA") == 401
    other = jwt.encode(claims(), TOKEN_SECRET * 2, "HS512")
    assert status(url, authorization=f"Bearer {other}") == 401
    jwk = {"kty": "oct", "k": segment("x")}
    own_key = jwt.encode(claims(), "x" * 32, "HS256", headers={"jwk": jwk, "kid": "../../dev/null"})
    assert status(url, authorization=f"Bearer {own_key}") == 401


def test_a_token_that_was_altered_opens_nothing(url: str) -> None:
    header, _, signature = token(roles="nothing").split(".")
    text = f"{header}.{segment(claims(roles='team'))}.{signature}"
    assert status(url, authorization=f"Bearer {text}") == 401
    assert status(url, authorization=f"Bearer {'.'.join(['e30'] * 3)}") == 401
    assert status(url, authorization="Bearer " + "[" * 6000) == 401


def test_a_token_has_no_rights_but_those_of_its_roles(url: str) -> None:
    for roles in (None, "nobody", ["nobody"], ["*"], "admin", [], {"team": 1}, 1, [["team"]]):
        text = token(roles=roles, grants=[{"prefixes": ["*"], "actions": ["read"]}])
        assert status(url, authorization=f"Bearer {text}") == 403
    assert status(url, authorization=f"Bearer {token(sub='root', roles='nobody')}") == 403


def test_keys_and_signatures_are_compared_in_constant_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polystow_gateway.server import _keys, _signed_urls

    compared: list[tuple[Any, Any]] = []

    def spy(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(_keys, "compare_digest", spy)
    monkeypatch.setattr(_signed_urls, "compare_digest", spy)
    for key in (KEYS["team"], new_key("team")[0], new_key("nobody")[0]):
        status(url, authorization=f"Bearer {key}")
    assert len(compared) == 3  # for a name that nobody has too
    with client_with(url, None) as client:
        for name in ("one", "none"):
            params = {"id": MINE, "x-polystow-signature": "x", "x-polystow-key": name}
            assert client.get("/v1/objects", params=params).status_code == 401
    assert len(compared) == 5
    assert all(len(one) == len(other) or one == b"x" for one, other in compared)


def test_who_asks_too_often_is_told_to_wait(url: str) -> None:
    del url
    limits = LimitsConfig(requests_per_s=0.01, burst=3)
    key, kept = new_key("busy")
    busy = KeyConfig(
        kept,
        grants=(GrantConfig(("*",), FILES),),
        allowance=AllowanceConfig(requests_per_s=0.01, burst=2),
    )
    config = gateway_config(limits=limits, keys={**gateway_config().keys, "busy": busy})
    with serving_in_thread(config) as own, client_with(own, None) as client:

        def answers(count: int, headers: dict[str, str]) -> list[httpx.Response]:
            call = {"id": MINE}
            return [client.get("/v1/objects", params=call, headers=headers) for _ in range(count)]

        for headers, allowed in (({"x-api-key": key}, 2), (bearer("team"), 3)):
            *first, last = answers(allowed + 1, headers)
            assert {one.status_code for one in first} == {404}
            assert last.status_code == 429
            assert int(last.headers["retry-after"]) > 1
        # Whoever guesses keys has a limit of their own, which the keys' owners do not feel.
        *first, last = answers(4, {"x-api-key": new_key("team")[0]})
        assert {one.status_code for one in first} == {401}
        assert last.status_code == 429
        assert answers(1, bearer("root"))[0].status_code == 404
        assert client.get("/health/live").status_code == 200


def test_only_trusted_proxies_tell_who_the_client_is() -> None:
    limits = LimitsConfig(requests_per_s=0.01, burst=1)

    def tries(server: ServerConfig) -> list[int]:
        config = gateway_config(limits=limits, server=server)
        with serving_in_thread(config) as own, client_with(own, None) as client:
            return [
                client.get(
                    "/v1/objects", params={"id": MINE}, headers={"x-forwarded-for": address}
                ).status_code
                for address in ("192.0.2.1", "192.0.2.2", "evil, 192.0.2.1, 127.0.0.1")
            ]

    assert tries(ServerConfig()) == [401, 429, 429]
    assert tries(ServerConfig(trusted_proxies=("10.0.0.0/8",))) == [401, 429, 429]
    # The last one is what the proxy saw; what the client wrote before it does not count.
    assert tries(ServerConfig(trusted_proxies=("127.0.0.1",))) == [401, 401, 429]


def test_what_is_anonymous_is_what_the_configuration_says(url: str) -> None:
    del url
    role = RoleConfig((GrantConfig(("s3:data/public/",), ("read",)),))
    with serving_in_thread(gateway_config(anonymous=role)) as own:
        store(own, "s3:data/public/a", b"public")
        with client_with(own, None) as client:
            assert CALLS["get"]("s3:data/public/a").send(client).content == b"public"
            assert CALLS["put"]("s3:data/public/a").send(client).status_code == 403
            assert CALLS["list"]("s3:data/public/").send(client).status_code == 403
            assert CALLS["get"](MINE).send(client).status_code == 403
            # A key that is wrong is not taken for none.
            wrong = client.get(
                "/v1/objects", params={"id": "s3:data/public/a"}, headers={"x-api-key": "x"}
            )
            assert wrong.status_code == 401
