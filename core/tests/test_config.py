from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast, override
from urllib.parse import SplitResult

import pytest
from anyio import sleep_forever
from attrs import evolve, field, frozen, validators
from core_doubles import MinimalDriver, spec_of

from polystow import (
    ConfigError,
    ConfigSource,
    DriverContext,
    DriverNotFoundError,
    DriverSpec,
    MemoryConfig,
    ObjectInfo,
    OperationTimeoutError,
    Registry,
    RequestPolicyConfig,
    Secret,
    StatOptions,
    StorageDriver,
    StorageSource,
    build_config,
    config_from_env,
    config_from_toml,
    open_storage,
)
from polystow._plan import StoragePlan, plan_storage
from polystow._sources import config_from_url, is_url


@frozen
class Inner:
    host: str
    port: int = field(default=80, validator=validators.gt(0))


@frozen
class Sample:
    name: str
    secret: Secret | None = None
    count: int = 1
    ratio: float = field(default=1.0, validator=validators.ge(0))
    active: bool = False
    folder: Path | None = None
    mode: Literal["fast", "safe"] = "safe"
    tags: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    inner: Inner | None = None
    either: int | str = 0
    keys: tuple[Secret, ...] = ()


def problems(
    data: Mapping[str, object], *, text: bool = False, cls: type[Any] = Sample
) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        build_config(cls, data, text=text)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_strict_source_gives_every_type() -> None:
    config = build_config(
        Sample,
        {
            "name": "n",
            "secret": "s",
            "count": 3,
            "ratio": 2,
            "active": True,
            "folder": "/x",
            "mode": "fast",
            "tags": ["a", "b"],
            "inner": {"host": "h", "port": 1},
            "either": "x",
        },
    )
    assert config == Sample(
        "n",
        Secret("s"),
        3,
        2.0,
        active=True,
        folder=Path("/x"),
        mode="fast",
        tags=("a", "b"),
        inner=Inner("h", 1),
        either="x",
    )


def test_a_text_source_gives_every_type() -> None:
    config = build_config(
        Sample,
        {
            "name": "n",
            "secret": "s",
            "count": "3",
            "ratio": "2.5",
            "active": "Yes",
            "folder": "/x",
            "mode": "fast",
            "tags": "a, b,",
            "ports": "1,2",
            "inner": {"host": "h", "port": "1"},
        },
        text=True,
    )
    assert config == Sample(
        "n",
        Secret("s"),
        3,
        2.5,
        active=True,
        folder=Path("/x"),
        mode="fast",
        tags=("a", "b"),
        ports=(1, 2),
        inner=Inner("h", 1),
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 5),
        ("count", "3"),
        ("count", 3.0),
        ("count", True),
        ("ratio", "1"),
        ("ratio", True),
        ("active", "true"),
        ("active", 1),
        ("folder", 5),
        ("mode", "slow"),
        ("tags", "a,b"),
        ("inner", "h"),
        ("secret", 5),
    ],
)
def test_a_strict_source_takes_no_other_type(key: str, value: object) -> None:
    assert list(problems({"name": "n", key: value})) == [key]


@pytest.mark.parametrize(
    ("key", "value"),
    [("count", "x"), ("count", "1.5"), ("ratio", ""), ("active", "maybe"), ("mode", "slow")],
)
def test_a_text_source_takes_no_nonsense(key: str, value: str) -> None:
    assert list(problems({"name": "n", key: value}, text=True)) == [key]


def test_all_mistakes_are_reported_at_once_each_with_its_path() -> None:
    found = problems(
        {
            "count": "x",
            "ratio": -1.0,
            "modee": "fast",
            "tags": ["a", 5],
            "inner": {"port": 0, "hots": "h"},
        }
    )
    assert set(found) == {
        "name",
        "count",
        "ratio",
        "modee",
        "tags[1]",
        "inner.host",
        "inner.port",
        "inner.hots",
    }
    assert "missing" in found["name"]
    assert "did you mean 'mode'" in found["modee"]
    assert "did you mean 'host'" in found["inner.hots"]


def test_an_unknown_key_that_resembles_nothing_lists_what_is_known() -> None:
    assert "known are host, port" in problems({"host": "h", "zzzzz": 1}, cls=Inner)["zzzzz"]


@pytest.mark.parametrize(
    "data",
    [
        {"secret": 987654321},
        {"secret": ["987654321"]},
        {"secret": {"value": "987654321"}},
        {"secret": b"987654321"},
        {"keys": "987654321"},
        {"keys": {"a": "987654321"}},
        {"keys": [987654321]},
        {"inner": "987654321"},
        {"inner": ["987654321"]},
        {"count": {"secret": "987654321"}},
        {"name": ["987654321"]},
    ],
)
def test_a_secret_of_the_wrong_type_is_not_shown(data: Mapping[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(Sample, {"name": "n", **data})
    error: BaseException | None = caught.value
    while error is not None:
        assert "987654321" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


class Engine:
    """What has no form in text."""


@frozen
class WithObjects:
    engine: Engine | None = None
    inner_or_call: Inner | Callable[[], int] | None = None


def test_objects_and_functions_are_taken_as_they_are() -> None:
    engine = Engine()
    made = build_config(WithObjects, {"engine": engine, "inner_or_call": int})
    assert (made.engine, made.inner_or_call) == (engine, int)
    made = build_config(WithObjects, {"inner_or_call": {"host": "h"}})
    assert made.inner_or_call == Inner("h")


@pytest.mark.parametrize("text", [False, True])
def test_a_text_is_no_object_and_is_not_shown(text: bool) -> None:
    data = {"engine": "geheim", "inner_or_call": "geheim"}
    with pytest.raises(ConfigError) as caught:
        build_config(WithObjects, data, text=text)
    messages = {problem.path: problem.message for problem in caught.value.problems}
    assert "Engine, which only Python can give" in messages["engine"]
    assert "geheim" not in str(caught.value)


def test_a_config_does_not_show_its_secrets() -> None:
    assert "hunter2" not in repr(build_config(Sample, {"name": "n", "secret": "hunter2"}))


# Sources


def test_environment_variables_step_down_at_double_underscores() -> None:
    source = config_from_env(
        {
            "POLYSTOW__MOUNTS__S3__REGION": "eu",
            "POLYSTOW__MOUNTS__S3__REQUEST__MAX_CONCURRENCY": "8",
            "POLYSTOW__WRITE_TO": "s3",
            "OTHER": "x",
        }
    )
    assert source == ConfigSource(
        {
            "mounts": {"s3": {"region": "eu", "request": {"max_concurrency": "8"}}},
            "write_to": "s3",
        },
        text=True,
    )


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFIX_A", "1")
    assert config_from_env(prefix="PREFIX_").data == {"a": "1"}


@pytest.mark.parametrize(
    "names", [("P__A", "P__A__B"), ("P__A__B", "P__a"), ("P__A", "P__A__B__C")], ids=str
)
def test_a_variable_that_is_both_value_and_table_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_env(dict.fromkeys(names, "hunter2"), prefix="P__")
    assert "hunter2" not in str(caught.value)


def test_an_environment_without_any_variable_says_so() -> None:
    with pytest.raises(ConfigError, match="no environment variable begins with 'POLYSTOW__'"):
        config_from_env({})


def test_a_missing_toml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file .*none\.toml"):
        config_from_toml(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"mounts = ", b"\xff\xfe\x00s3cret"], ids=["syntax", "utf-8"])
def test_a_malformed_toml_file_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.toml.*is no TOML") as caught:
        config_from_toml(path)
    assert "s3cret" not in str(caught.value)


def test_a_directory_is_no_toml_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        config_from_toml(tmp_path)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("memory:", True),
        ("s3://b", True),
        ("polystow.toml", False),
        ("/etc/x:y.toml", False),
        ("C:\\x.toml", False),
        ("c:/x.toml", False),
        ("./memory:", False),
    ],
)
def test_a_url_is_told_from_a_path(text: str, url: bool) -> None:
    assert is_url(text) == url


def url_options(parts: SplitResult) -> Mapping[str, Any]:
    if parts.query == "bad":
        raise ValueError("no bucket")
    return {"default_container": parts.path.strip("/")}


def registry_of(*names: str, spec: DriverSpec[Any] | None = None) -> Registry:
    registry = Registry(scan=list)
    for name in names:
        registry.register(spec_of(name))
    if spec is not None:
        registry.register(spec)
    return registry


WITH_URL = evolve(spec_of("acme"), url_options=url_options)


def test_a_url_becomes_a_mount() -> None:
    source = config_from_url("acme://host/box", registry_of(spec=WITH_URL))
    assert source == ConfigSource({"mounts": {"acme": {"default_container": "box"}}}, text=True)


@pytest.mark.parametrize("url", ["memory:", "memory://"])
def test_a_driver_without_options_has_a_bare_url(url: str) -> None:
    assert config_from_url(url, registry_of("memory")).data == {"mounts": {"memory": {}}}


def test_a_driver_without_options_takes_none() -> None:
    with pytest.raises(ConfigError, match="no options in a URL: write memory:"):
        config_from_url("memory://box", registry_of("memory"))


@pytest.mark.parametrize(
    "url",
    [
        "acme://key:hunter2@[::1/box",
        "acme://key:hunter2/x@host/box",
        "acme://key:hunter2@host:port/box",
        "acme://key:hunter2\u2100@host/box",
        "acme://key:hunter2@host/box?bad",
        "nope://key:hunter2@host/box",
        "ACME://key:hunter2@host/box",
        "acme ://key:hunter2@host/box",
    ],
)
async def test_no_mistake_in_a_url_shows_its_secret(url: str) -> None:
    with pytest.raises((ConfigError, DriverNotFoundError)) as caught:
        async with open_storage(url, registry=registry_of(spec=WITH_URL)):
            pass
    assert "hunter2" not in str(caught.value)


# The whole configuration


def plan(data: Mapping[str, object], *names: str, text: bool = False) -> StoragePlan:
    return plan_storage(data, registry_of("memory", *names), text=text)


def plan_problems(data: Mapping[str, object]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        plan(data)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_mount_has_its_scheme_as_its_driver() -> None:
    mount = plan({"mounts": {"memory": {}}}).mounts["memory"]
    assert mount.spec is not None
    assert (mount.spec.name, mount.read_only, mount.allow_delete) == ("memory", False, True)


def test_a_mount_may_have_its_drivers_config_as_an_object() -> None:
    config = MemoryConfig()
    mounts = plan({"mounts": {"memory": config}}).mounts
    assert mounts["memory"].config is config
    table = {"driver": "memory", "config": config, "read_only": True}
    mount = plan({"mounts": {"cold": table}}).mounts["cold"]
    assert (mount.config is config, mount.read_only) == (True, True)


def test_a_config_object_stands_alone_and_is_the_drivers() -> None:
    both = {"config": MemoryConfig(), "part_size": 1}
    assert set(plan_problems({"mounts": {"memory": both}})) >= {"mounts.memory.config"}
    other = {"config": RequestPolicyConfig()}
    assert "mounts.memory.config" in plan_problems({"mounts": {"memory": other}})


def test_mounts_inherit_the_request_policy_and_may_have_their_own() -> None:
    found = plan(
        {
            "request": {"attempts": 7},
            "write_to": "aa",
            "mounts": {
                "aa": {"driver": "memory"},
                "bb": {"driver": "memory", "request": {"attempts": 2}},
                "cc": {"driver": "composite", "mounts": {"memory": {}}},
            },
        }
    )
    assert found.mounts["aa"].request == RequestPolicyConfig(attempts=7)
    assert found.mounts["bb"].request == RequestPolicyConfig(attempts=2)
    nested = found.mounts["cc"].config
    assert isinstance(nested, StoragePlan)
    assert nested.mounts["memory"].request == RequestPolicyConfig(attempts=7)


def test_mistakes_of_all_mounts_are_reported_at_once() -> None:
    found = plan_problems(
        {
            "writeto": "a",
            "unprefixed": "gone",
            "deadline_s": 0,
            "mounts": {
                "S3": {"driver": "memory"},
                "memory": {"read_onli": True},
                "xx": {"driver": "nope"},
                "yy": 5,
                "zz": {"driver": "composite"},
                "ww": {"driver": "memory", "request": {"attempts": 0}},
            },
        }
    )
    assert set(found) == {
        "writeto",
        "write_to",
        "unprefixed",
        "deadline_s",
        "mounts.S3",
        "mounts.memory.read_onli",
        "mounts.xx",
        "mounts.yy",
        "mounts.zz.mounts",
        "mounts.ww.request.attempts",
    }
    assert "did you mean 'read_only'" in found["mounts.memory.read_onli"]


def test_what_names_no_mount_is_a_mistake() -> None:
    found = plan_problems({"unprefixed": "memori", "write_to": "gone", "mounts": {"memory": {}}})
    assert set(found) == {"unprefixed", "write_to"}
    assert "did you mean 'memory'" in found["unprefixed"]


@pytest.mark.parametrize("data", [{}, {"mounts": {}}, {"mounts": 5}])
def test_mounts_are_required(data: Mapping[str, object]) -> None:
    assert list(plan_problems(data)) == ["mounts"]


def test_several_mounts_need_a_write_policy() -> None:
    mounts = {"aa": {"driver": "memory"}, "bb": {"driver": "memory"}}
    assert "aa, bb" in plan_problems({"mounts": mounts})["write_to"]


def test_a_missing_write_policy_is_reported_beside_a_broken_mount() -> None:
    mounts = {"aa": {"driver": "memory"}, "bb": {"driver": "memory", "x": 1}}
    assert set(plan_problems({"mounts": mounts})) == {"write_to", "mounts.bb.x"}


def test_a_missing_driver_alone_raises_its_own_error() -> None:
    with pytest.raises(DriverNotFoundError, match="polystow-s3"):
        plan({"mounts": {"s3": {}}})


# Opening


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "polystow.toml"
    path.write_text('[mounts.memory]\ndefault_container = "box"\n')
    return path


MAPPING = {"mounts": {"memory": {"default_container": "box"}}}


@pytest.mark.parametrize("kind", ["text path", "path", "mapping", "source", "environment"])
async def test_a_storage_opens_from_every_kind_of_source(toml: Path, kind: str) -> None:
    sources: dict[str, StorageSource] = {
        "text path": str(toml),
        "path": toml,
        "mapping": MAPPING,
        "source": ConfigSource(MAPPING),
        "environment": config_from_env({"POLYSTOW__MOUNTS__MEMORY__DEFAULT_CONTAINER": "box"}),
    }
    async with open_storage(sources[kind]) as storage:
        info = await storage.upload("x", b"1")
    assert info.uri.startswith("memory://box/")


async def test_a_storage_opens_from_a_url() -> None:
    async with open_storage("memory:") as storage:
        assert (await storage.upload("x", b"1")).uri.startswith("memory://files/")


async def test_a_storage_opens_from_a_driver_under_its_name() -> None:
    async with open_storage(MinimalDriver("mine")) as storage:
        assert (await storage.write("mine:b/k", b"1")).uri == "mine://b/k"


async def test_a_storage_does_not_open_from_anything_else() -> None:
    with pytest.raises(TypeError, match="opened from a int"):
        async with open_storage(cast("StorageSource", 5)):
            pass


async def test_the_request_policy_and_the_time_to_close_reach_the_driver() -> None:
    contexts: list[DriverContext] = []
    registry = registry_of()

    @asynccontextmanager
    async def opening(_: MemoryConfig, context: DriverContext) -> AsyncGenerator[StorageDriver]:
        contexts.append(context)
        yield MinimalDriver()

    registry.register(evolve(spec_of("memory"), open=opening))
    config: dict[str, object] = {
        "close_timeout_s": 3,
        "request": {"attempts": 7},
        "mounts": {"memory": {}},
    }
    async with open_storage(config, registry=registry):
        pass
    (context,) = contexts
    assert (context.policy.config.attempts, context.close_timeout_s) == (7, 3)


async def test_a_write_policy_beside_a_driver_is_refused() -> None:
    with pytest.raises(ValueError, match="write_to"):
        async with open_storage(MinimalDriver(), write_to="minimal"):
            pass


async def test_a_given_write_policy_replaces_the_configured_one() -> None:
    mounts = {"aa": {"driver": "memory"}, "bb": {"driver": "memory"}}
    async with open_storage({"mounts": mounts}, write_to=lambda new: "bb") as storage:
        assert (await storage.upload("x", b"1")).uri.startswith("bb://")


class Hanging(MinimalDriver):
    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        await sleep_forever()
        return ObjectInfo(path)


@pytest.mark.parametrize("mounted", [True, False], ids=["of its mount", "of the whole"])
async def test_a_configured_deadline_counts(mounted: bool) -> None:
    registry = registry_of()
    registry.register(spec_of("memory", Hanging))
    table = {"deadline_s": 0.01}
    config = {"mounts": {"memory": table if mounted else {}}, **({} if mounted else table)}
    async with open_storage(config, registry=registry) as storage:
        with pytest.raises(OperationTimeoutError):
            await storage.stat("memory:b/k")


async def test_keys_are_made_as_the_configuration_or_the_caller_says() -> None:
    config = {"mounts": {"memory": {}}, "key_policy": "exact"}
    async with open_storage(config) as storage:
        assert (await storage.upload("a.txt", b"")).uri == "memory://files/a.txt"
    async with open_storage(config, key_policy=lambda hint: "mine") as storage:
        assert (await storage.upload("a.txt", b"")).uri == "memory://files/mine"
    assert set(plan_problems({**config, "key_policy": "uniqe"})) == {"key_policy"}
    with pytest.raises(ValueError, match="key_policy"):
        async with open_storage(MinimalDriver(), key_policy="exact"):
            pass
