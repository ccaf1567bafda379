"""Every public name of s3py-helper 0.0.17 is here, and takes what it took."""

import enum
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import polystow_s3py_helper
import polystow_s3py_helper.storage as storage

# Module, class and method to parameters with their defaults, as `inspect` shows those of
# s3py-helper; fields of models with their types and aliases, members of enums with their values.
KNOWN: dict[str, Any] = json.loads(Path(__file__).with_name("signatures.json").read_text())

ADDED = {
    "storage.config.models.S3Config": {"key_format"},
    "storage.manager.StorageManager.__init__": {"max_file_size", "fusion_config"},
}


def find(path: str) -> Any:
    *parts, name = ["polystow_s3py_helper", *path.split(".")]
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in [*parts[length:], name]:
            found = getattr(found, attribute)
        return found
    raise AssertionError(path)


def shape(found: Any) -> Any:
    if isinstance(found, property):
        return "property"
    if inspect.isclass(found) and issubclass(found, enum.Enum):
        return [[member.name, member.value] for member in found]
    if inspect.isclass(found) and issubclass(found, BaseModel):
        fields = found.model_fields.items()
        return sorted(
            [name, repr(f.annotation).replace("polystow_s3py_helper.", ""), f.alias]
            for name, f in fields
        )
    parameters = inspect.signature(found).parameters.values()
    return [[p.name, None if p.default is p.empty else repr(p.default)] for p in parameters]


@pytest.mark.parametrize("path", KNOWN)
def test_a_name_takes_what_it_took(path: str) -> None:
    found = shape(find(path))
    added = ADDED.get(path, set())
    assert [item for item in found if item[0] not in added] == KNOWN[path] or found == KNOWN[path]


def test_both_packages_have_the_28_names() -> None:
    assert len(storage.__all__) == len(set(storage.__all__)) == 28
    assert sorted(polystow_s3py_helper.__all__) == sorted(storage.__all__)
    for name in storage.__all__:
        assert getattr(polystow_s3py_helper, name) is getattr(storage, name)
