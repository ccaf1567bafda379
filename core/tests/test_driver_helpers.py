"""What core offers to those who write drivers."""

import re

import pytest

from polystow import (
    InvalidPathError,
    NameHint,
    NotFoundError,
    errors_about,
    exact_path,
)


def test_an_error_that_passes_is_told_what_it_is_about() -> None:
    with pytest.raises(NotFoundError) as caught, errors_about("stat", "c/k", "mine"):
        raise NotFoundError("gone")
    error = caught.value
    assert (error.operation, error.path, error.driver) == ("stat", "c/k", "mine")


def test_an_error_that_knows_what_it_is_about_stays_as_it_is() -> None:
    known = NotFoundError("gone", operation="copy", path="c/source", driver="other")
    with pytest.raises(NotFoundError) as caught, errors_about("stat", "c/k", "mine"):
        raise known
    error = caught.value
    assert (error.operation, error.path, error.driver) == ("copy", "c/source", "other")


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(KeyError), errors_about("stat", "c/k", "mine"):
        raise KeyError("k")


def test_an_exact_path_stays_as_it_is() -> None:
    assert exact_path("c/k/", "files") == "c/k/"


@pytest.mark.parametrize("path", ["", "c", "c/", "/k"])
def test_a_path_without_a_container_or_a_key_is_refused(path: str) -> None:
    with pytest.raises(InvalidPathError):
        exact_path(path, "files")


@pytest.mark.parametrize(("container", "expected"), [(None, "files"), ("box", "box")])
def test_a_name_gets_a_new_key_in_its_container(container: str | None, expected: str) -> None:
    path = exact_path(NameHint("a.txt", "in", container), "files")
    assert re.fullmatch(rf"{expected}/in/[0-9a-f]{{16}}_a\.txt", path)


def test_a_container_with_a_slash_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="has no slash"):
        exact_path(NameHint("a.txt", container="c/d"), "files")
