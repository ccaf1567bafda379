import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polystow import (
    BytesBody,
    DeleteOptions,
    InvalidPathError,
    ListOptions,
    ListPage,
    NotFoundError,
    PermissionDeniedError,
    StatOptions,
    StorageError,
    WriteOptions,
)
from polystow._file import FileConfig, FileDriver, _walker
from polystow._file._grammar import is_segment
from polystow._file._listing import decode_cursor, encode_cursor, take_page
from polystow._file._tree import Tree
from polystow._file._walker import Walker


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


names = st.text("ab.-0é~", min_size=1, max_size=3).filter(lambda name: is_segment(name.encode()))
keys = st.lists(names, min_size=1, max_size=4).map("/".join)
text = st.text("ab./-0é~", max_size=6)


def make_files(root: Path, wanted: Sequence[str]) -> list[str]:
    """Make a file for each key that no other one prevents; return what is there."""
    made: list[str] = []
    for key in wanted:
        path = root / "files" / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            made.append(key)
        except OSError:
            continue
    return sorted(set(made), key=str.encode)


def model(
    present: list[str], prefix: str, delimiter: str | None, start_after: str | None
) -> tuple[list[str], list[str]]:
    """What a listing has to give, in one page."""
    items: list[str] = []
    groups: list[str] = []
    for key in present:
        if not key.startswith(prefix) or key.encode() <= (start_after or "").encode():
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            group = prefix + head + found
            if group not in groups:
                groups.append(group)
        else:
            items.append(key)
    return items, groups


def pages(
    root: Path, prefix: str, delimiter: str | None, start_after: str | None, size: int
) -> tuple[list[str], list[str]]:
    items: list[str] = []
    groups: list[str] = []
    after = (start_after or "").encode()
    while True:
        walker = Walker(Tree(os.fsencode(root)), (b"files",), prefix.encode(), after)
        page = take_page(
            iter(walker),
            walker.skip,
            prefix=prefix.encode(),
            delimiter=delimiter.encode() if delimiter else None,
            page_size=size,
        )
        assert len(page.items) + len(page.prefixes) <= size
        items += [found.key.decode() for found in page.items]
        groups += [group.decode() for group in page.prefixes]
        if page.cursor is None:
            return items, groups
        assert len(page.items) + len(page.prefixes) == size
        after = max(after, decode_cursor(encode_cursor(page.cursor)))


@given(
    wanted=st.lists(keys, max_size=14),
    prefix=text,
    delimiter=st.none() | st.just("/") | st.text("ab./é", min_size=1, max_size=2),
    start_after=st.none() | text,
    size=st.integers(1, 6),
    batch=st.sampled_from([1, 2, 3, 1000]),
)
@example(["a/x", "a.txt", "a-"], "", None, None, 1, 1000)
@example(["a/x", "a/y", "a.txt", "b"], "", "/", "a/x", 1, 1)
@example(["a/x", "b/x", "c"], "a/", "/", None, 2, 1)
@example(["é/a", "~"], "", "/", None, 1, 1)
@settings(deadline=None)
def test_a_listing_is_what_a_sorted_list_of_keys_would_give(
    wanted: list[str],
    prefix: str,
    delimiter: str | None,
    start_after: str | None,
    size: int,
    batch: int,
) -> None:
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_walker, "_BATCH", batch)
        root = Path(base).resolve()
        (root / "files").mkdir()
        present = make_files(root, wanted)
        before = open_files()
        got = pages(root, prefix, delimiter, start_after, size)
        assert got == model(present, prefix, delimiter, start_after)
        assert open_files() == before


@given(keys, st.booleans())
def test_a_cursor_survives_being_text(key: str, group: bool) -> None:
    after = key.encode() + (b"\xff" if group else b"")
    assert decode_cursor(encode_cursor(after)) == after


@pytest.fixture
def driver(tmp_path: Path) -> FileDriver:
    return FileDriver(FileConfig(tmp_path), os.fsencode(tmp_path.resolve()))


async def listed(
    driver: FileDriver, path: str, cursor: str | None = None, **options: object
) -> ListPage:
    return await driver.list_page(path, ListOptions(**options), cursor)  # type: ignore[arg-type]


async def put(driver: FileDriver, *paths: str) -> None:
    for path in paths:
        await driver.write(path, BytesBody(b"data"), WriteOptions(metadata={"a": "b"}))


async def test_an_item_tells_what_the_file_system_knows(driver: FileDriver) -> None:
    await put(driver, "files/k")
    (item,) = (await listed(driver, "files")).items
    info = await driver.stat("files/k", StatOptions())
    assert (item.path, item.size, item.etag, item.modified) == (
        "files/k",
        4,
        info.etag,
        info.modified,
    )
    assert item.metadata is None


async def test_prefixes_are_paths(driver: FileDriver) -> None:
    await put(driver, "files/a/x", "files/a/y", "files/b", "files/c/d/e")
    page = await listed(driver, "files/", delimiter="/")
    assert list(page.prefixes) == ["files/a/", "files/c/"]
    assert [item.path for item in page.items] == ["files/b"]


async def test_the_container_may_end_in_a_slash_and_is_no_part_of_the_prefix(
    driver: FileDriver,
) -> None:
    await put(driver, "files/k", "files2/k")
    for path in ("files", "files/"):
        assert [item.path for item in (await listed(driver, path)).items] == ["files/k"]


async def test_a_missing_container_is_not_found(driver: FileDriver, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("files", "files/a", "file"):
        with pytest.raises(NotFoundError, match="container") as caught:
            await listed(driver, path)
        assert (caught.value.operation, caught.value.path) == ("list_page", path)
    for path in ("", "/", ".polystow", ".polystow/meta", "..", "files/\ud800"):
        with pytest.raises(InvalidPathError):
            await listed(driver, path)


async def test_an_emptied_container_is_empty_and_not_missing(
    driver: FileDriver, tmp_path: Path
) -> None:
    (tmp_path / "files/empty/tree").mkdir(parents=True)
    for delimiter in (None, "/"):
        page = await listed(driver, "files", delimiter=delimiter)
        assert (list(page.items), list(page.prefixes), page.cursor) == ([], [], None)


@pytest.mark.parametrize(
    "prefix", ["../", "../../etc/", "a//", "/", "a/../", "\0/", "x" * 300 + "/"]
)
async def test_a_prefix_that_no_key_can_have_matches_nothing(
    driver: FileDriver, prefix: str
) -> None:
    await put(driver, "files/a/x")
    assert list((await listed(driver, f"files/{prefix}")).items) == []


@pytest.mark.parametrize("cursor", ["", "=", "~", "x", "?a", "=\ud800"])
async def test_a_cursor_from_elsewhere_is_refused(driver: FileDriver, cursor: str) -> None:
    await put(driver, "files/a")
    with pytest.raises(StorageError, match="cursor"):
        await listed(driver, "files", cursor)


async def test_paging_works_while_keys_come_and_go(driver: FileDriver) -> None:
    await put(driver, *(f"files/{number:02}" for number in range(10)))
    first = await listed(driver, "files", page_size=4)
    assert first.cursor is not None
    for item in first.items:
        await driver.delete(item.path, DeleteOptions())
    await put(driver, "files/00", "files/045")
    second = await listed(driver, "files", first.cursor, page_size=100)
    assert [item.path for item in second.items] == [
        f"files/{name}" for name in ("04", "045", "05", "06", "07", "08", "09")
    ]


async def test_names_that_are_no_text_are_left_out(driver: FileDriver, tmp_path: Path) -> None:
    await put(driver, "files/k")
    try:
        (tmp_path / "files").joinpath(os.fsdecode(b"\xff\xfe")).touch()
    except OSError:
        pytest.skip("this file system takes only text")
    assert [item.path for item in (await listed(driver, "files")).items] == ["files/k"]


async def test_keys_longer_than_the_limit_are_left_out(driver: FileDriver, tmp_path: Path) -> None:
    await put(driver, "files/k")
    deep = tmp_path / "files"
    for _ in range(6):
        deep /= "x" * 200
    deep.mkdir(parents=True)
    (deep / "file").touch()
    assert [item.path for item in (await listed(driver, "files")).items] == ["files/k"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_directory_that_can_not_be_read_is_not_silently_left_out(
    driver: FileDriver, tmp_path: Path
) -> None:
    await put(driver, "files/a/k")
    (tmp_path / "files/a").chmod(0)
    try:
        with pytest.raises(PermissionDeniedError):
            await listed(driver, "files")
    finally:
        (tmp_path / "files/a").chmod(0o755)


async def test_the_deepest_possible_key_is_listed(driver: FileDriver) -> None:
    path = "files/" + "/".join(["d"] * 512)
    await put(driver, path)
    assert [item.path for item in (await listed(driver, "files")).items] == [path]
