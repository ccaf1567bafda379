from pathlib import Path

import pytest
from attrs import field, frozen
from core_doubles import Faults, MinimalDriver, fusion, spec_of

from polystow import (
    ConfigError,
    DeadlineLayer,
    DriverNotFoundError,
    DriverSpec,
    Explanation,
    InvalidPathError,
    MemoryConfig,
    MemoryDriver,
    Mount,
    NoRouteError,
    Registry,
    Secret,
    config_from_env,
    open_storage,
    validate_config,
)

TOML = """
write_to = "s3"
deadline_s = 30
request = { attempts = 7 }

[mounts.s3]
driver = "memory"
default_container = "box"
allow_delete = false

[mounts.cold]
driver = "memory"
deadline_s = 5.5
request = { attempts = 2, base_delay_s = 1 }
validation = { extensions = ["pdf"] }
"""


def found(explanation: Explanation, scope: str, name: str) -> list[tuple[str, str]]:
    return [
        (setting.value, setting.origin)
        for setting in explanation.settings
        if (setting.scope, setting.name) == (scope, name)
    ]


async def test_each_setting_is_told_with_where_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "polystow.toml"
    path.write_text(TOML)
    async with open_storage(path) as storage:
        s3, cold = storage.explain("s3:box/k"), storage.explain("cold:")
    assert (s3.uri, s3.path, s3.mounts) == ("s3://box/k", "box/k", ("s3",))
    assert (s3.driver.name, s3.readable, s3.writable, s3.deletable) == ("memory", True, True, False)
    assert found(s3, "request", "attempts") == [("7", f"{path}: request.attempts")]
    assert found(s3, "request", "base_delay_s") == [("0.1", "default")]
    assert found(s3, "driver", "default_container") == [
        ("'box'", f"{path}: mounts.s3.default_container")
    ]
    assert found(s3, "storage", "deadline_s") == [("30.0", f"{path}: deadline_s")]
    assert found(s3, "mount s3", "deadline_s") == [("None", "default")]
    assert found(s3, "mount s3", "allow_delete") == [("False", f"{path}: mounts.s3.allow_delete")]
    assert s3.layers == ("DeadlineLayer(seconds=30.0)",)

    assert found(cold, "request", "attempts") == [("2", f"{path}: mounts.cold.request.attempts")]
    assert found(cold, "driver", "default_container") == [("'files'", "default")]
    assert [layer.partition("(")[0] for layer in cold.layers] == [
        "DeadlineLayer", "DeadlineLayer", "ValidationLayer",
    ]  # fmt: skip
    assert "extensions=('pdf',)" in cold.layers[2]


async def test_arguments_and_the_environment_are_told_too() -> None:
    environ = {"POLYSTOW__MOUNTS__MEMORY__DEFAULT_CONTAINER": "box", "POLYSTOW__DEADLINE_S": "3"}
    async with open_storage(
        config_from_env(environ), key_policy="dated", layers=[DeadlineLayer(9)]
    ) as storage:
        told = storage.explain("memory:b/k")
    assert found(told, "storage", "key_policy") == [("'dated'", "argument of open_storage")]
    assert found(told, "storage", "deadline_s") == [("3.0", "environment: deadline_s")]
    assert found(told, "driver", "default_container") == [
        ("'box'", "environment: mounts.memory.default_container")
    ]
    assert told.layers == ("DeadlineLayer(seconds=9)", "DeadlineLayer(seconds=3.0)")
    async with open_storage("memory:") as storage:
        assert found(storage.explain("memory:"), "driver", "default_container") == [
            ("'files'", "default")
        ]


@frozen
class SecretConfig:
    token: Secret
    password: str = field(repr=False, default="")


async def test_no_secret_is_told() -> None:
    spec = spec_of("vault", MemoryDriver)
    registry = Registry()
    registry.register(DriverSpec(name="vault", config=SecretConfig, open=spec.open))

    class Own:
        def __repr__(self) -> str:
            return "Own(hunter2)"

        __call__ = Faults().__call__

    mounts = {"vault": {"token": "hunter2", "password": "hunter2"}}
    async with open_storage({"mounts": mounts}, registry=registry, layers=[Own()]) as storage:
        told = storage.explain("vault:b/k")
        assert "hunter2" not in str(told) + repr(told)
        assert found(told, "driver", "token") == [("***", "configuration: mounts.vault.token")]
        assert any("Own" in layer for layer in told.layers)


async def test_an_id_is_explained_through_nested_composites() -> None:
    inner = {"driver": "composite", "mounts": {"memory": {}}, "deadline_s": 2}
    config = {"mounts": {"outer": inner, "bb": {"driver": "memory"}}, "write_to": "bb"}
    async with open_storage({**config, "deadline_s": 4}) as storage:
        told = storage.explain("outer:memory:b/k")
    assert (told.uri, told.mounts) == ("outer://memory://b/k", ("outer", "memory"))
    assert told.layers == ("DeadlineLayer(seconds=4.0)", "DeadlineLayer(seconds=2.0)")
    assert found(told, "storage", "deadline_s") == [("4.0", "configuration: deadline_s")]
    assert found(told, "mount outer", "deadline_s") == [
        ("2.0", "configuration: mounts.outer.deadline_s")
    ]
    assert found(told, "composite mounts.outer", "deadline_s") == []
    assert found(told, "composite mounts.outer", "key_policy") == [("None", "default")]


async def test_a_mount_made_by_hand_is_explained_without_settings() -> None:
    faults = Faults()
    storage = fusion(poor=Mount(MinimalDriver(), read_only=True))
    told = storage.explain("poor:b/k")
    assert (told.writable, told.capabilities, told.settings) == (False, (), ())
    assert faults.calls == []
    with pytest.raises(NoRouteError):
        storage.explain("none:b/k")
    with pytest.raises(InvalidPathError):
        storage.explain("")


async def test_an_explanation_reads_as_text() -> None:
    async with open_storage("memory:") as storage:
        lines = str(storage.explain("memory:b/k")).splitlines()
    assert lines[:4] == [
        "memory://b/k",
        "mounts: memory",
        "driver: memory (polystow), path 'b/k'",
        "allowed: read, write, delete",
    ]
    assert "request: attempts = 4  (default)" in lines


async def test_a_config_object_is_told_as_what_was_given() -> None:
    async with open_storage({"mounts": {"memory": MemoryConfig("box")}}) as storage:
        told = storage.explain("memory:")
    assert found(told, "driver", "default_container") == [("'box'", "configuration: mounts.memory")]


# Checking a configuration without a connection


def test_a_good_configuration_passes(tmp_path: Path) -> None:
    path = tmp_path / "polystow.toml"
    path.write_text(TOML)
    validate_config(path)
    validate_config(str(path))
    validate_config("memory:")
    validate_config({"mounts": {"memory": {}}})
    validate_config(config_from_env({"POLYSTOW__MOUNTS__MEMORY__DEFAULT_CONTAINER": "box"}))
    mounts: dict[str, dict[str, str]] = {"aa": {"driver": "memory"}, "bb": {"driver": "memory"}}
    validate_config({"mounts": mounts}, write_to=lambda new: "aa")


def test_all_mistakes_come_at_once() -> None:
    config = {
        "mounts": {
            "memory": {"default_containr": "x", "request": {"attempts": 0}},
            "nope": {},
        },
        "deadline_s": "soon",
    }
    with pytest.raises(ConfigError) as caught:
        validate_config(config)
    assert {problem.path for problem in caught.value.problems} == {
        "deadline_s", "mounts.memory.default_containr", "mounts.memory.request.attempts",
        "mounts.nope", "write_to",
    }  # fmt: skip
    with pytest.raises(DriverNotFoundError):
        validate_config({"mounts": {"nope": {}}})
    with pytest.raises(ConfigError, match="no configuration file"):
        validate_config("/not/there.toml")
