"""Where credentials come from, in which order, and how they are kept fresh."""

import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import create_task_group
from hypothesis import given
from hypothesis import strategies as st
from s3_raw import RawServer, Reply, Seen, error_xml

from polystow import (
    BytesBody,
    ConfigError,
    OperationTimeoutError,
    PermissionDeniedError,
    PresignOptions,
    ReadOptions,
    Secret,
    StatOptions,
    StorageDriver,
    TransportError,
    UnsupportedOperationError,
    WriteOptions,
    open_storage,
)
from polystow_s3 import (
    ChainCredentials,
    Credentials,
    MetadataCredentials,
    PostPolicy,
    ProfileCredentials,
    S3Config,
    S3Driver,
    credentials_from_env,
    credentials_from_url,
    environment_credentials,
    merge_credentials,
)
from polystow_s3._clock import Clock
from polystow_s3._credentials import CredentialCache
from polystow_testing.s3 import Credentials as Known
from polystow_testing.s3 import DiskS3Server, MotoServer

type Open = Callable[..., AbstractAsyncContextManager[StorageDriver]]

KEY = Known("the-key", "the+secret/of=it")
NONE = {"access_key_id": None, "secret_access_key": None}


def make(name: str, **more: Any) -> Credentials:
    return Credentials(access_key_id=name, secret_access_key=Secret(f"{name}-secret"), **more)


@pytest.fixture
def guarded() -> Iterator[DiskS3Server]:
    """A server that takes signatures of one key alone."""
    with DiskS3Server(buckets=("bucket",), credentials=KEY) as server:
        yield server


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's is found."""
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
        "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def write_profile(path: Path, name: str, known: Known, more: str = "") -> None:
    with path.open("a") as file:
        file.write(
            f"[{name}]\naws_access_key_id={known.access_key_id}\n"
            f"aws_secret_access_key={known.secret_access_key}\n{more}\n"
        )


async def works(driver: StorageDriver) -> None:
    await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())


async def is_there(driver: StorageDriver) -> None:
    await driver.stat("bucket/k", StatOptions())


async def presigned(driver: StorageDriver) -> str:
    assert isinstance(driver, S3Driver)
    return await driver.presign("bucket/k", PresignOptions())


def new_session() -> Any:
    from aiobotocore.session import AioSession  # type: ignore[import-untyped] # no stubs

    return AioSession()


# The sources


async def test_arguments_count_more_than_the_environment(
    guarded: DiskS3Server, open_s3: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    async with open_s3(
        guarded,
        access_key_id=KEY.access_key_id,
        secret_access_key=Secret(KEY.secret_access_key),
    ) as driver:
        await works(driver)


async def test_those_of_the_url_are_decoded_and_count_more_than_the_environment(
    guarded: DiskS3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    host = guarded.endpoint.removeprefix("http://")
    url = f"s3://the-key:the%2Bsecret%2Fof%3Dit@{host}/bucket?tls=false"
    async with open_storage(url) as storage:
        await storage.write("s3:bucket/k", b"x")


async def test_the_environment_counts_more_than_the_shared_files(
    guarded: DiskS3Server, open_s3: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profile(tmp_path / "credentials", "default", Known("other", "other"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY.secret_access_key)
    async with open_s3(guarded, **NONE) as driver:
        await works(driver)


@pytest.mark.parametrize("how", ["default", "AWS_PROFILE", "profile", "files"])
async def test_a_profile_of_the_shared_files_is_found(
    guarded: DiskS3Server, open_s3: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    options: dict[str, Any] = {}
    path, name = tmp_path / "credentials", "default"
    if how == "AWS_PROFILE":
        name = "mine"
        monkeypatch.setenv("AWS_PROFILE", name)
    elif how == "profile":
        options["profile"] = name = "mine"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    elif how == "files":
        path = options["credentials_file"] = tmp_path / "elsewhere"
    write_profile(path, name, KEY)
    async with open_s3(guarded, **NONE, **options) as driver:
        await works(driver)


async def test_a_process_that_a_profile_names_is_asked(
    guarded: DiskS3Server, open_s3: Open, tmp_path: Path
) -> None:
    script = tmp_path / "process.py"
    given = {
        "Version": 1, "AccessKeyId": KEY.access_key_id, "SecretAccessKey": KEY.secret_access_key,
    }  # fmt: skip
    script.write_text(f"print({json.dumps(given)!r})")
    config = tmp_path / "other-config"
    config.write_text(f"[profile p]\ncredential_process={sys.executable} {script}\n")
    async with open_s3(guarded, **NONE, profile="p", config_file=config) as driver:
        await works(driver)


async def test_a_role_that_a_profile_names_is_assumed(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    write_profile(tmp_path / "credentials", "base", KEY)
    (tmp_path / "config").write_text(
        "[profile role]\nrole_arn=arn:aws:iam::123456789012:role/r\nsource_profile=base\n"
        "region=eu-west-1\n"
    )
    found = await ProfileCredentials("role")()
    assert found.complete
    assert found.session_token
    assert found.region == "eu-west-1"
    assert found.expires is not None
    assert found.expires > datetime.now(UTC)


async def test_a_role_is_asked_for_in_the_drivers_region(
    disk: DiskS3Server, open_s3: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(tmp_path / "credentials", "base", KEY)
    (tmp_path / "config").write_text(
        "[profile role]\nrole_arn=arn:aws:iam::123456789012:role/r\nsource_profile=base\n"
    )
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    with RawServer(lambda _: Reply(403, body)) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint)
        async with open_s3(disk, **NONE, region="eu-west-2", profile="role") as driver:
            with pytest.raises(PermissionDeniedError, match="source of the credentials") as caught:
                await works(driver)
    assert (caught.value.operation, caught.value.path) == ("write", "bucket/k")
    assert "/eu-west-2/sts/" in sts.seen[0].headers["authorization"]
    assert disk.requests == {}


async def test_a_web_identity_is_exchanged(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    (tmp_path / "token").write_text("a.b.c")
    (tmp_path / "config").write_text(
        "[profile web]\nrole_arn=arn:aws:iam::123456789012:role/r\n"
        f"web_identity_token_file={tmp_path / 'token'}\n"
    )
    found = await ProfileCredentials("web")()
    assert found.complete
    assert found.session_token


def sso_answer(seen: Seen) -> Reply:
    assert seen.headers["x-amz-sso_bearer_token"] == "sso-token"
    given = {
        "accessKeyId": KEY.access_key_id, "secretAccessKey": KEY.secret_access_key,
        "sessionToken": "of-sso", "expiration": int(datetime.now(UTC).timestamp() + 3600) * 1000,
    }  # fmt: skip
    body = json.dumps({"roleCredentials": given}).encode()
    return Reply(200, body, {"Content-Type": "application/json"})


async def test_a_role_of_sso_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    start = "https://start.example"
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = tmp_path / ".aws/sso/cache"
    cache.mkdir(parents=True)
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(
        json.dumps({"accessToken": "sso-token", "expiresAt": later, "startUrl": start})
    )
    (tmp_path / "config").write_text(
        f"[profile sso]\nsso_start_url={start}\nsso_region=us-east-1\n"
        "sso_account_id=123456789012\nsso_role_name=r\n"
    )
    monkeypatch.setattr("botocore.utils.SSO_TOKEN_DIR", str(cache), raising=False)
    monkeypatch.setattr(
        "botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(cache), raising=False
    )
    with RawServer(sso_answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", server.endpoint)
        found = await ProfileCredentials("sso")()
    assert found.access_key_id == KEY.access_key_id
    assert found.session_token == Secret("of-sso")


def container(seen: Seen) -> Reply:
    assert seen.headers["authorization"] == "its-token"
    later = datetime.now(UTC) + timedelta(hours=1)
    given = {
        "AccessKeyId": KEY.access_key_id, "SecretAccessKey": KEY.secret_access_key,
        "Token": "of-the-role", "Expiration": later.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
    return Reply(200, json.dumps(given).encode())


@pytest.mark.parametrize("source", [ChainCredentials(), MetadataCredentials()])
async def test_the_role_of_a_container_is_taken(
    source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(container) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.endpoint}/role")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "its-token")
        found = await source()
    assert found.access_key_id == KEY.access_key_id
    assert found.session_token == Secret("of-the-role")
    assert found.expires is not None


def instance(seen: Seen) -> Reply:
    if seen.method == "PUT":
        return Reply(200, b"session")
    assert seen.headers["x-aws-ec2-metadata-token"] == "session"
    if seen.target.endswith("/security-credentials/"):
        return Reply(200, b"my-role")
    later = datetime.now(UTC) + timedelta(hours=1)
    given = {
        "Code": "Success", "AccessKeyId": KEY.access_key_id, "Token": "of-the-instance",
        "SecretAccessKey": KEY.secret_access_key, "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": later.strftime("%Y-%m-%dT%H:%M:%SZ"), "Type": "AWS-HMAC",
    }  # fmt: skip
    return Reply(200, json.dumps(given).encode())


async def test_the_role_of_an_instance_is_taken_with_a_session_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with RawServer(instance) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint)
        found = await MetadataCredentials()()
    assert found.access_key_id == KEY.access_key_id
    assert found.session_token == Secret("of-the-instance")


async def test_a_metadata_service_that_is_down_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, disk: DiskS3Server, open_s3: Open
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    with anyio.fail_after(5):
        async with open_s3(disk, **NONE, credentials=MetadataCredentials()) as driver:
            with pytest.raises(PermissionDeniedError, match="no credentials"):
                await driver.stat("bucket/k", StatOptions())
    assert disk.requests == {}


async def test_a_file_at_another_path_is_read(tmp_path: Path) -> None:
    write_profile(tmp_path / "mine", "default", KEY)
    found = await ProfileCredentials(credentials_file=tmp_path / "mine")()
    assert found.secret_access_key == Secret(KEY.secret_access_key)


async def test_a_profile_is_asked_without_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    write_profile(tmp_path / "credentials", "default", KEY)
    assert (await ProfileCredentials()()).access_key_id == KEY.access_key_id
    assert (await environment_credentials()).access_key_id == "other"


def test_the_environment_gives_what_it_has() -> None:
    found = credentials_from_env({"AWS_SESSION_TOKEN": "t", "AWS_DEFAULT_REGION": "eu-west-1"})
    assert found == Credentials(session_token=Secret("t"), region="eu-west-1")
    assert not found.complete


@given(key=st.text(min_size=1), secret=st.text(min_size=1))
def test_a_url_gives_any_key_and_secret(key: str, secret: str) -> None:
    from urllib.parse import quote

    try:
        url = f"https://{quote(key, safe='')}:{quote(secret, safe='')}@host:9000/b"
    except UnicodeEncodeError:
        return
    found = credentials_from_url(url)
    assert (found.access_key_id, found.secret_access_key) == (key, Secret(secret))


@pytest.mark.parametrize(
    "url",
    ["http://key@host", "http://key:geh/eim@host", "http://key:geheim#@host", "http://k:geh?m@host",
     "http://key:geheim@[host", "http://key:geheim@host:x"],
)  # fmt: skip
def test_a_malformed_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        credentials_from_url(url)
    assert "geh" not in str(caught.value)


async def test_credentials_of_aiohttp_s3_clients_forms_are_merged_field_by_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY.access_key_id)
    write_profile(tmp_path / "credentials", "default", KEY, "region=eu-west-1")
    found = await merge_credentials(environment_credentials, ProfileCredentials())()
    assert found.access_key_id == KEY.access_key_id
    assert found.secret_access_key == Secret(KEY.secret_access_key)
    assert found.region == "eu-west-1"


async def test_the_first_source_counts_most_and_fields_of_other_keys_are_left_out() -> None:
    found = await merge_credentials(
        Credentials(access_key_id="a", region="r"),
        make("b", session_token=Secret("t")),
        make("a"),
    )()
    assert found == make("a", region="r")


async def test_sources_behind_complete_credentials_are_not_asked() -> None:
    async def never() -> Credentials:
        raise AssertionError

    assert await merge_credentials(make("a", region="r"), never)() == make("a", region="r")


async def test_an_async_callable_gives_credentials_and_their_region(
    guarded: DiskS3Server, open_s3: Open
) -> None:
    asked = 0

    async def ask() -> Credentials:
        nonlocal asked
        asked += 1
        return Credentials(
            access_key_id=KEY.access_key_id,
            secret_access_key=Secret(KEY.secret_access_key),
            region="eu-central-1",
        )

    async with open_s3(guarded, **NONE, region=None, credentials=ask) as driver:
        async with create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(works, driver)
        url = await presigned(driver)
    assert asked == 1
    assert "eu-central-1" in url


async def test_a_callable_stands_in_a_configuration(guarded: DiskS3Server) -> None:
    async def ask() -> Credentials:
        return Credentials(
            access_key_id=KEY.access_key_id, secret_access_key=Secret(KEY.secret_access_key)
        )

    mount = {"endpoint": guarded.endpoint, "credentials": ask}
    async with open_storage({"mounts": {"s3": mount}}) as storage:
        await storage.write("s3:bucket/k", b"x")


@pytest.mark.parametrize(
    ("raised", "cls", "message"),
    [
        (KeyError("geheim"), PermissionDeniedError, r"failed \(KeyError\)"),
        (ConnectionRefusedError("geheim"), TransportError, "was not reached"),
        (PermissionDeniedError("no role"), PermissionDeniedError, "no role"),
    ],
)
async def test_a_callable_that_fails_is_an_error_of_polystow(
    disk: DiskS3Server, open_s3: Open, raised: Exception, cls: type[Exception], message: str
) -> None:
    async def fail() -> Credentials:
        raise raised

    async with open_s3(disk, **NONE, credentials=fail, attempts=1) as driver:
        with pytest.raises(cls, match=message) as caught:
            await driver.stat("bucket/k", StatOptions())
    assert "geheim" not in str(caught.value)
    assert disk.requests == {}


async def test_incomplete_credentials_say_what_they_lack(disk: DiskS3Server, open_s3: Open) -> None:
    async def half() -> Credentials:
        return Credentials(access_key_id="key")

    async with open_s3(disk, **NONE, credentials=half) as driver:
        with pytest.raises(PermissionDeniedError, match="no secret_access_key"):
            await driver.stat("bucket/k", StatOptions())


def test_no_secret_shows() -> None:
    made = make("key", session_token=Secret("geheim"))
    assert "secret'" not in repr(made)
    assert "geheim" not in repr(made)
    assert "key-secret" not in repr(S3Config(credentials=made))


async def test_a_source_that_never_answers_is_given_up(disk: DiskS3Server, open_s3: Open) -> None:
    options = {"credentials": anyio.sleep_forever, "read_timeout_s": 0.05, "attempts": 2}
    for region in ("us-east-1", None):
        async with open_s3(disk, **NONE, region=region, **options) as driver:
            with pytest.raises(OperationTimeoutError, match="gave none within"):
                await works(driver)
    assert disk.requests == {}


async def test_a_metadata_service_that_never_answers_is_given_up(
    disk: DiskS3Server, open_s3: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}")
        with anyio.fail_after(8):
            async with open_s3(disk, **NONE) as driver:
                with pytest.raises(PermissionDeniedError, match="no credentials"):
                    await works(driver)


@pytest.mark.parametrize("where", ["AWS_REGION", "AWS_DEFAULT_REGION", "profile", "argument"])
async def test_the_region_is_found_where_the_credentials_are(
    disk: DiskS3Server, open_s3: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    options: dict[str, Any] = {"region": None}
    if where == "argument":
        options["region"] = "eu-west-3"
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    elif where == "profile":
        options |= {**NONE, "profile": "p"}
        write_profile(tmp_path / "credentials", "p", KEY)
        (tmp_path / "config").write_text("[profile p]\nregion=eu-west-3\n")
    else:
        monkeypatch.setenv(where, "eu-west-3")
    async with open_s3(disk, **options) as driver:
        assert "%2Feu-west-3%2Fs3%2F" in await presigned(driver)


async def test_no_secret_stands_in_the_log_at_any_level(
    disk: DiskS3Server, moto: MotoServer, open_s3: Open, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    secrets = {"secret_access_key": Secret("geheim/key"), "session_token": Secret("geheim+token=")}
    async with open_s3(disk, **secrets, lane="sdk") as driver:
        await works(driver)
        await presigned(driver)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    write_profile(tmp_path / "credentials", "base", Known("base", "geheim-base"))
    (tmp_path / "config").write_text(
        "[profile role]\nrole_arn=arn:aws:iam::123456789012:role/r\nsource_profile=base\n"
    )
    found = await ProfileCredentials("role")()
    assert found.secret_access_key
    assert found.session_token
    assert "CanonicalRequest" in caplog.text  # else nothing would have been logged at all
    assert "geheim" not in caplog.text
    assert found.secret_access_key.reveal() not in caplog.text
    assert found.session_token.reveal() not in caplog.text


# Fresh


class Source:
    """Gives other credentials each time."""

    def __init__(self, life_s: float | None) -> None:
        self.asked = 0
        self.life_s = life_s
        self.fails = False
        self.gate: anyio.Event | None = None

    async def __call__(self) -> Credentials:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise ConnectionError
        expires = None
        if self.life_s is not None:
            expires = datetime.now(UTC) + timedelta(seconds=self.life_s)
        return make(f"key-{self.asked}", expires=expires)


async def test_credentials_without_an_expiry_are_asked_for_once() -> None:
    source = Source(None)
    cache = CredentialCache(source, Clock())
    assert await cache.get() is await cache.get()
    assert source.asked == 1


async def test_credentials_are_refreshed_before_they_expire() -> None:
    source, clock = Source(3600), Clock()
    cache = CredentialCache(source, clock)
    await cache.get()
    clock.offset_s = 3200
    assert (await cache.get()).access_key_id == "key-1"
    clock.offset_s = 3310
    assert (await cache.get()).access_key_id == "key-2"


async def test_one_refreshes_and_the_others_go_on() -> None:
    source, clock = Source(3600), Clock()
    cache = CredentialCache(source, clock)
    await cache.get()
    clock.offset_s = 3310
    source.gate = anyio.Event()
    names: list[str | None] = []

    async def get() -> None:
        names.append((await cache.get()).access_key_id)

    async with create_task_group() as tasks:
        tasks.start_soon(get)
        await anyio.wait_all_tasks_blocked()
        for _ in range(20):
            tasks.start_soon(get)
        await anyio.wait_all_tasks_blocked()
        assert names == ["key-1"] * 20
        source.gate.set()
    assert names[-1] == "key-2"
    assert source.asked == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_all_wait_for_one_where_there_are_none(fails: bool) -> None:
    source = Source(3600)
    source.gate = anyio.Event()
    source.fails = fails
    cache = CredentialCache(source, Clock())
    outcomes: list[str] = []

    async def get() -> None:
        try:
            outcomes.append(str((await cache.get()).access_key_id))
        except TransportError:
            outcomes.append("failed")

    async with create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(get)
        await anyio.wait_all_tasks_blocked()
        source.gate.set()
    assert outcomes == (["failed"] if fails else ["key-1"]) * 20
    assert source.asked == 1


async def test_who_is_cancelled_while_it_refreshes_leaves_it_to_the_next() -> None:
    source = Source(3600)
    source.gate = anyio.Event()
    cache = CredentialCache(source, Clock())
    with anyio.move_on_after(0):
        await cache.get()
    source.gate.set()
    assert (await cache.get()).access_key_id is not None


async def test_a_refresh_that_fails_leaves_the_old_ones_as_long_as_they_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, clock = Source(3600), Clock()
    cache = CredentialCache(source, clock)
    await cache.get()
    clock.offset_s, source.fails = 3310, True
    assert (await cache.get()).access_key_id == "key-1"
    assert "were not refreshed (ConnectionError)" in caplog.text
    await cache.get()
    assert source.asked == 2  # not at once again
    clock.offset_s = 3700
    with pytest.raises(TransportError):
        await cache.get()


async def test_a_source_that_gives_expired_ones_is_told_so() -> None:
    with pytest.raises(PermissionDeniedError, match="expired at"):
        await CredentialCache(Source(-1), Clock()).get()


def expired(valid: str) -> Callable[[Seen], Reply]:
    """A service that takes one key alone, and says of others that they have expired."""

    def answer(seen: Seen) -> Reply:
        if f"Credential={valid}/" in seen.headers["authorization"]:
            return Reply(200, b"", {"ETag": '"e"', "Content-Length": "0"})
        return Reply(400, b"" if seen.method == "HEAD" else error_xml("ExpiredToken"))

    return answer


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
async def test_an_expired_token_is_refreshed_once(open_s3: Open, method: str) -> None:
    source = Source(3600)
    with RawServer(expired("key-2")) as server:
        async with (
            open_s3(server, **NONE, credentials=source, attempts=1) as driver,
            create_task_group() as tasks,
        ):
            for _ in range(5):
                if method == "PUT":
                    tasks.start_soon(works, driver)
                else:
                    tasks.start_soon(is_there, driver)
    assert source.asked == 2
    # aiobotocore asks after the bucket's region for each HEAD that is answered with 400.
    assert 6 <= len(server.seen) <= (10 if method == "PUT" else 15)


async def test_a_token_that_stays_expired_is_an_error(open_s3: Open) -> None:
    source = Source(3600)
    with RawServer(expired("none")) as server:
        async with open_s3(server, **NONE, credentials=source) as driver:
            with pytest.raises(PermissionDeniedError, match="session_token has expired"):
                await works(driver)
    assert source.asked == 2
    assert len(server.seen) == 2


async def test_an_expired_token_that_was_given_is_an_error_at_once(open_s3: Open) -> None:
    with RawServer(expired("none")) as server:
        async with open_s3(server, session_token=Secret("t")) as driver:
            with pytest.raises(PermissionDeniedError, match="session_token has expired"):
                await works(driver)
    assert len(server.seen) == 1


async def test_a_client_without_credentials_signs_no_form(
    disk: DiskS3Server, open_s3: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = new_session().create_client("s3", region_name="us-east-1", endpoint_url=disk.endpoint)
    async with (
        created as client,
        open_s3(disk, **NONE, endpoint=None, region=None, client=client) as driver,
    ):
        assert isinstance(driver, S3Driver)
        for call in (presigned(driver), driver.presign_post("bucket/k", PostPolicy())):
            with pytest.raises(PermissionDeniedError, match="no credentials"):
                await call


@pytest.mark.parametrize("client", [object(), "client"])
async def test_what_is_no_client_is_refused(client: object) -> None:
    with pytest.raises(ConfigError, match="client"):
        async with open_storage({"mounts": {"s3": {"client": client}}}):
            pass


# None, and the caller's own


async def test_an_anonymous_driver_signs_nothing(disk: DiskS3Server, open_s3: Open) -> None:
    def answer(seen: Seen) -> Reply:
        assert "authorization" not in seen.headers
        return Reply(200, b"public" if seen.method == "GET" else b"", {"ETag": '"e"'})

    with RawServer(answer) as server:
        async with open_s3(server, **NONE, anonymous=True) as driver:
            stream = await driver.open_read("bucket/k", ReadOptions())
            assert await stream.receive() == b"public"
            await stream.aclose()
            await works(driver)
            assert driver.capabilities.presign is None
            with pytest.raises(UnsupportedOperationError, match="nothing to sign with"):
                await presigned(driver)


@pytest.fixture
def session() -> Any:
    made = new_session()
    made.set_credentials(KEY.access_key_id, KEY.secret_access_key)
    return made


async def test_a_session_of_the_callers_signs(
    guarded: DiskS3Server, open_s3: Open, session: Any
) -> None:
    for _ in range(2):  # closing the driver leaves it as it was
        async with open_s3(guarded, **NONE, session=session) as driver:
            await works(driver)


@pytest.mark.parametrize("checksums", ["when_required", "when_supported"])
async def test_a_client_of_the_callers_is_used_and_not_closed(
    guarded: DiskS3Server, open_s3: Open, session: Any, checksums: str, read_all: Any
) -> None:
    async with session.create_client(
        "s3", region_name="us-east-1", endpoint_url=guarded.endpoint
    ) as client:
        for _ in range(2):
            async with open_s3(
                guarded, **NONE, endpoint=None, region=None, client=client, checksums=checksums
            ) as driver:
                await driver.write("bucket/k", BytesBody(bytes(300_000)), WriteOptions())
                assert len(await read_all(driver, "bucket/k")) == 300_000
                url = await presigned(driver)
                assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
            answer = await client.get_object(Bucket="bucket", Key="k")
            async with answer["Body"] as body:
                assert len(await body.read()) == 300_000
