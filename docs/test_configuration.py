"""Every setting there is stands on the page about configuration, with its meaning."""

import re
import typing
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest
from reference import described

from polystow import DriverSpec, FileRules, RequestPolicyConfig
from polystow_gateway.server import GatewayConfig

PAGE = (Path(__file__).parent / "configuration.md").read_text()


def nested(cls: type[Any]) -> Iterator[type[Any]]:
    """A config class, and those of its tables."""
    yield cls
    left: list[object] = list(typing.get_type_hints(cls).values())
    while left:
        hint = left.pop()
        left += typing.get_args(hint)
        if isinstance(hint, type) and attrs.has(hint) and hint.__name__.endswith("Config"):
            yield from nested(hint)


SPECS: list[DriverSpec[Any]] = [p.load() for p in entry_points(group="polystow.drivers")]


def name_of(cls: type[Any]) -> str:
    return cls.__qualname__


def shown() -> Iterator[type[Any]]:
    for path in re.findall(r"^```{config} (\S+)$", PAGE, re.MULTILINE):
        module, _, name = path.rpartition(".")
        yield getattr(import_module(module), name)


SHOWN = list(shown())


def test_every_driver_of_ours_is_installed() -> None:
    assert {spec.name for spec in SPECS} >= {"memory", "file", "s3", "fastdfs", "gateway"}


def test_every_config_class_is_on_the_page() -> None:
    drivers = [spec.config for spec in SPECS if spec.config.__module__.startswith("polystow")]
    there = {*drivers, *nested(GatewayConfig), RequestPolicyConfig, FileRules}
    assert there - set(SHOWN) == set()


@pytest.mark.parametrize("cls", SHOWN, ids=name_of)
def test_every_setting_is_described(cls: type[Any]) -> None:
    assert {field.name for field in attrs.fields(cls)} - set(described(cls)) == set()


@pytest.mark.parametrize("cls", SHOWN, ids=name_of)
def test_times_and_sizes_have_their_unit_in_the_name(cls: type[Any]) -> None:
    measured = re.compile(r"timeout|interval|delay|lifetime|size|body")
    named = [field.name for field in attrs.fields(cls) if measured.search(field.name)]
    assert [name for name in named if not name.endswith(("_s", "_bytes"))] == []
