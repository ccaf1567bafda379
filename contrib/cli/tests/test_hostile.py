"""Keys and names that try to leave their folder or to write to the terminal."""

from pathlib import Path

import anyio
import pytest
from cli_shell import Cluster, Shell
from hypothesis import given
from hypothesis import strategies as st

from polystow import BytesBody, WriteOptions, open_storage
from polystow_cli._exits import CommandError
from polystow_cli._local import Folder
from polystow_cli._operands import fixed_prefix, matches
from polystow_cli._output import printable, size_text


@given(st.text())
def test_printable_text_has_nothing_that_controls_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b", "c\0", "\\", "ä"]), max_size=5))
def test_a_key_is_a_file_in_its_folder_or_is_refused(segments: list[str]) -> None:
    root = Path("/nowhere/root")
    key = "/".join(segments)
    try:
        path = Folder(root).place(key)
    except CommandError:
        assert {"..", ".", "", "c\0"} & set(key.split("/"))
    else:
        assert path.is_relative_to(root)
        assert ".." not in path.parts


def test_a_folder_does_not_go_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    (tmp_path / "root" / "file").symlink_to("/etc/passwd")
    folder = Folder(tmp_path / "root")
    for key in ("link/x", "file"):
        with pytest.raises(CommandError, match="symbolic link"):
            folder.place(key)


def test_names_that_a_file_system_takes_for_one_are_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first, second = folder.place("Name"), tmp_path / "name"
    first.write_text("x")
    second.hardlink_to(first)  # as a file system shows it that ignores case
    with pytest.raises(CommandError, match="only in case"):
        folder.place("name")
    assert folder.place("Other") != folder.place("other")


def test_hostile_keys_are_left_out_one_by_one(cluster: Cluster) -> None:
    keys = ["../escaped", "a/../../escaped", "good", "/absolute"]

    async def put() -> None:
        config = {"mounts": {"s3": {"endpoint": cluster.server.endpoint, "access_key_id": "key",
                                    "secret_access_key": "x"}}}  # fmt: skip
        async with open_storage(config) as storage:
            for key in keys:
                await storage.driver.write(
                    f"s3://bucket/hostile/{key}", BytesBody(b"x"), WriteOptions()
                )

    anyio.run(put)
    done = cluster.run("cp", "-r", "s3:bucket/hostile/", "inside/")
    assert done.code == 1
    assert done.err.count("can't be a local file") == 3
    assert [path.name for path in (cluster.folder / "inside").rglob("*")] == ["good"]
    assert not (cluster.folder / "escaped").exists()


def test_names_are_printed_without_their_control_characters(shell: Shell) -> None:
    shell.ok("cp", "-", "file:box/\x1b[31mred", stdin=b"x")
    assert shell.ok("ls", "file:box/") == "file:box/\\x1b[31mred\n"
    done = shell.run("cat", "file:box/\x1b]0;title\x07")
    assert "\x1b" not in done.err


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("s3:bucket/*.txt", "s3:bucket/"),
        ("s3:bucket/a/b*/c", "s3:bucket/a/"),
        ("s3://bucket/[ab]", "s3://bucket/"),
        ("s3:buck*", "s3:"),
        ("*.txt", ""),
    ],
)
def test_what_a_pattern_begins_with(pattern: str, prefix: str) -> None:
    assert fixed_prefix(pattern) == prefix


@pytest.mark.parametrize(
    ("pattern", "uri", "matched"),
    [
        ("s3:b/*.txt", "s3://b/a.txt", True),
        ("s3:b/*.txt", "s3://b/d/a.txt", False),
        ("s3://b/**/*.txt", "s3://b/d/e/a.txt", True),
        ("s3:b/**/*.txt", "s3://b/a.txt", True),
        ("s3:b/?", "s3://b/ä", True),
        ("s3:b/*", "s3://b/.hidden", True),
        ("s3:b/A", "s3://b/a", False),
        ("cold:b/*", "s3://b/a", False),
    ],
)
def test_patterns(pattern: str, uri: str, matched: bool) -> None:
    assert matches(pattern, uri) is matched


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes(size: int | None, text: str) -> None:
    assert size_text(size) == text
