import copy
import inspect
import pickle
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polystow
import polystow._errors as errors_module
from polystow import ConfigError, ConfigProblem, NotFoundError, Secret, StorageError
from polystow._sources import ConfigSource

CLASSES: list[type[StorageError]] = [
    getattr(polystow, name) for name in polystow.__all__ if name.endswith("Error")
]
BUILT_IN: dict[str, type[Exception]] = {
    "NotFoundError": FileNotFoundError,
    "AlreadyExistsError": FileExistsError,
    "PermissionDeniedError": PermissionError,
    "InvalidPathError": ValueError,
    "InvalidMetadataError": ValueError,
    "OperationTimeoutError": TimeoutError,
    "TransportError": ConnectionError,
    "UploadNotFoundError": LookupError,
    "InvalidPartError": ValueError,
    "PartTooSmallError": ValueError,
    "PartOrderError": ValueError,
    "ContainerNotEmptyError": OSError,
    "NoSpaceError": OSError,
    "LifecycleError": RuntimeError,
    "ConfigError": ValueError,
}
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def test_the_tree_is_the_documented_one() -> None:
    documented = inspect.getsource(errors_module).split("```")[1]
    for cls in CLASSES:
        base = BUILT_IN.get(cls.__name__)
        line = next(line for line in documented.splitlines() if cls.__name__ in line.split())
        assert ("" if base is None else f"({base.__name__})") in line
        assert ("(" in line) == (base is not None)


@every_class
def test_an_error_is_the_built_in_that_a_python_programmer_catches(cls: type[StorageError]) -> None:
    assert issubclass(cls, BUILT_IN.get(cls.__name__, Exception))
    built_in = {OSError, ValueError, RuntimeError, LookupError} & set(cls.__mro__)
    assert bool(built_in) == (cls.__name__ in BUILT_IN)


@every_class
@pytest.mark.parametrize("how", ["pickle", "copy"])
def test_an_error_survives_being_pickled(
    cls: type[StorageError], how: Literal["pickle", "copy"]
) -> None:
    error = cls("what happened")
    error.path, error.operation, error.driver = "s3://b/k", "stat", "s3"
    error.retryable, error.outcome, error.retry_after_s = True, "unknown", 1.5
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error)) if how == "pickle" else copy.copy(error)
    assert type(again) is cls
    assert vars(again) == vars(error)
    assert str(again) == str(error) == "stat 's3://b/k': what happened"
    assert again.args == ("what happened",)


def test_a_config_error_keeps_its_problems_when_pickled() -> None:
    error = ConfigError.of([ConfigProblem("a.b", "wrong"), ConfigProblem("", "bad")])
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


class _Odd(NotFoundError):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")
        self.second = second


def test_an_error_with_another_constructor_survives_being_pickled() -> None:
    again = pickle.loads(pickle.dumps(_Odd(1, 2)))
    assert (type(again), again.second, str(again)) == (_Odd, 2, "1 2")


@every_class
def test_str_has_operation_and_id(cls: type[StorageError]) -> None:
    error = cls("gone").in_operation("stat", "b/k", "s3").mounted("s3")
    assert str(error) == "stat 's3://b/k': gone"
    assert error.uri == "s3://b/k"


@given(st.text())
def test_str_shows_no_control_characters_of_an_id(path: str) -> None:
    assert str(StorageError("gone", path=path, operation="stat")).isprintable()


def test_str_shortens_a_long_id() -> None:
    assert len(str(StorageError("gone", path="x" * 5000))) < 300


def test_in_operation_fills_only_what_is_missing() -> None:
    error = StorageError("x", path="mine", operation="write")
    assert error.in_operation("stat", "other", "s3") is error
    assert (error.path, error.operation, error.driver) == ("mine", "write", "s3")


def test_every_mount_adds_its_prefix() -> None:
    error = StorageError("x", path="b/k").mounted("s3").mounted("fusion")
    assert error.uri == "fusion://s3://b/k"


def test_a_settled_error_is_about_something_else() -> None:
    error = StorageError("x").settled()
    error.in_operation("write", "b/k", "s3").mounted("s3")
    assert (error.operation, error.path, error.driver) == (None, None, None)


def test_a_config_error_lists_all_its_problems() -> None:
    error = ConfigError.of([ConfigProblem("a.b", "wrong"), ConfigProblem("c", "missing")])
    assert str(error) == "configuration has 2 mistakes:\n  a.b: wrong\n  c: missing"


# Secrets


def test_a_secret_shows_in_no_text() -> None:
    secret = Secret("hunter2")
    for text in (str(secret), repr(secret), f"{secret}", f"{secret!r:>30}", str([secret])):
        assert "hunter2" not in text
    assert secret.reveal() == "hunter2"


def test_secrets_are_compared_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("\ud800") != Secret("\ud801")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert (bool(Secret("")), bool(Secret("a"))) == (False, True)


def test_a_config_source_does_not_show_its_values() -> None:
    assert "hunter2" not in repr(ConfigSource({"mounts": {"s3": {"secret": "hunter2"}}}))
