import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polystow import ConfigError, InvalidPathError, build_config
from polystow._file import SPEC, FileConfig
from polystow._file._entries import (
    Entry,
    Identity,
    candidate_times,
    decode_entry,
    encode_entry,
)
from polystow._file._grammar import INTERNALS, parse_path
from polystow._file._os_errors import translate

_pieces = st.sampled_from(
    ["..", ".", "/", "//", "a", "é", "\0", "\\", "\n", " ", ".polystow", "\ud800", "x" * 256, "~"]
)
any_path = st.text() | st.lists(_pieces | st.text(max_size=3)).map("".join)


@given(any_path)
@example("files/../../etc/passwd")
@example("/etc/passwd")
@example(".polystow/meta/x")
@example("files//etc")
def test_a_path_is_refused_or_lies_strictly_inside_its_container(path: str) -> None:
    try:
        components = parse_path(path)
    except InvalidPathError:
        return
    full = b"/root/" + b"/".join(components)
    assert os.path.normpath(full) == full
    assert len(components) >= 2
    assert not components[0].startswith(b".")
    assert components[0] != INTERNALS


@given(any_path)
def test_a_path_that_is_taken_comes_back_from_its_file_name(path: str) -> None:
    try:
        components = parse_path(path)
    except InvalidPathError:
        return
    assert b"/".join(components).decode() == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "no key"),
        ("files", "no key"),
        ("files/", "no key"),
        ("/files/a", "no container"),
        ("files//a", "empty name"),
        ("files/a/", "empty name"),
        ("files/a//b", "empty name"),
        ("files/../a", "no name of a file"),
        ("files/a/..", "no name of a file"),
        ("files/./a", "no name of a file"),
        ("../a", "dot"),
        (".polystow/tmp/a", "dot"),
        (".git/config", "dot"),
        ("files/a\0b", "NUL"),
        ("fi\0les/a", "NUL"),
        ("files/\ud800", "surrogate"),
        ("\ud800/a", "surrogate"),
        ("files/" + "x" * 256, "256 bytes"),
        ("files/" + "é" * 128, "256 bytes"),
        ("x" * 256 + "/a", "256 bytes"),
        ("files/" + "x/" * 512 + "x", "at most 1024"),
    ],
)
def test_the_refusal_says_why(path: str, reason: str) -> None:
    with pytest.raises(InvalidPathError, match=reason) as caught:
        parse_path(path)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "path",
    ["files/a\\b", "files/...", "files/.hidden", "files/ ", "files/a\nb", "files/-rf", "C/d"],
)
def test_odd_names_that_file_systems_carry_are_taken(path: str) -> None:
    assert parse_path(path)


@given(
    st.builds(
        Entry,
        content_type=st.none() | st.text(),
        filename=st.none() | st.text(),
        metadata=st.dictionaries(st.text(st.characters()), st.text(st.characters())),
        crc32=st.none() | st.text(),
    )
)
def test_an_entry_survives_its_file(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry, (b"files", b"k"))) == entry


@given(st.binary(max_size=40) | st.sampled_from([b"[]", b"{}", b'{"version":1,"metadata":[]}']))
def test_a_damaged_entry_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_entry(data)


@given(st.integers(0, 2**62), st.integers(-(10**12), 10**12), st.sampled_from([1, 100, 10**9]))
def test_a_new_file_gets_a_time_of_its_own_on_coarse_file_systems_too(
    now: int, ahead: int, granularity: int
) -> None:
    current = Identity(max(0, now + ahead) // granularity * granularity, 5)
    kept = [time // granularity * granularity for time in candidate_times(now, current)]
    assert any(time != current.mtime_ns for time in kept)
    assert kept[0] - now <= 10**10 + 1


def test_the_identity_is_never_ambiguous_in_a_name() -> None:
    assert Identity(-1, 5).etag != Identity(1, 5).etag
    assert Identity(0x12, 0x3).etag != Identity(0x1, 0x23).etag


@pytest.mark.parametrize("number", range(1, 134))
def test_every_os_error_becomes_a_storage_error_with_its_circumstances(number: int) -> None:
    error = translate(OSError(number, "why"), operation="stat", path="files/k", driver="file")
    assert (error.operation, error.path, error.driver) == ("stat", "files/k", "file")
    assert error.message


def test_a_url_configures_the_driver() -> None:
    assert SPEC.url_options is not None
    options = SPEC.url_options(urlsplit("file:///srv/my%20data?fsync=true&default_container=new"))
    config = build_config(FileConfig, options, text=True)
    assert config == FileConfig(Path("/srv/my data"), default_container="new", fsync=True)


@pytest.mark.parametrize(
    "url",
    [
        "file://host/srv",
        "file:srv",
        "file:",
        "file:///srv#part",
        "file:///srv?root=/etc",
        "file:///srv?fsync=1&fsync=0",
        "file:///srv?fsync",
    ],
)
def test_a_url_that_means_something_else_is_refused(url: str) -> None:
    assert SPEC.url_options is not None
    with pytest.raises(ValueError):
        SPEC.url_options(urlsplit(url))


@pytest.mark.parametrize("container", ["", ".polystow", "a/b", "..", "a\0"])
def test_a_default_container_that_can_not_be_one_is_a_mistake_in_the_configuration(
    container: str,
) -> None:
    with pytest.raises(ConfigError, match="default_container"):
        build_config(FileConfig, {"root": "/srv", "default_container": container})


def test_a_root_is_required() -> None:
    with pytest.raises(ConfigError, match="root"):
        build_config(FileConfig, {})
