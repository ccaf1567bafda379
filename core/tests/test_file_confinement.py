import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polystow import (
    BytesBody,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    ListOptions,
    MetadataOptions,
    NotFoundError,
    ReadOptions,
    StatOptions,
    StorageError,
    WriteOptions,
)
from polystow._file import FileConfig, FileDriver
from polystow._file._entries import Entry
from polystow._file._grammar import parse_path
from polystow._file._store import Condition, FileStore

type Call = Callable[[FileDriver, str], Awaitable[object]]

READS: dict[str, Call] = {
    "open_read": lambda driver, path: driver.open_read(path, ReadOptions()),
    "stat": lambda driver, path: driver.stat(path, StatOptions()),
    "copy from": lambda driver, path: driver.copy(path, "files/copied", CopyOptions()),
    "set_metadata": lambda driver, path: driver.set_metadata(path, {"a": "b"}, MetadataOptions()),
}
CHANGES: dict[str, Call] = {
    "write": lambda driver, path: driver.write(path, BytesBody(b"evil"), WriteOptions()),
    "delete": lambda driver, path: driver.delete(path, DeleteOptions(missing_ok=False)),
    "copy to": lambda driver, path: driver.copy("files/ours", path, CopyOptions()),
}
ALL = {**READS, **CHANGES}


class World:
    """A root, and something outside of it that nobody may see or touch."""

    def __init__(self, base: Path) -> None:
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"secret")
        self.root = base / "root"
        (self.root / "files").mkdir(parents=True)
        (self.root / "files/ours").write_bytes(b"ours")
        self.driver = FileDriver(FileConfig(self.root), os.fsencode(self.root.resolve()))

    def link(self, name: str, target: str | Path) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def outside_is_untouched(self) -> bool:
        return [path.name for path in self.outside.iterdir()] == ["secret"] and (
            self.outside / "secret"
        ).read_bytes() == b"secret"

    async def listed(self, path: str) -> list[str]:
        assert self.driver.capabilities.list is not None
        page = await self.driver.capabilities.list.list_page(path, ListOptions(), None)
        return [item.path for item in page.items]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret",
        "files/../../outside/secret",
        "/etc/passwd",
        "files//etc/passwd",
        "files/\0",
        ".polystow/locks/00",
    ],
)
async def test_a_path_that_leaves_is_refused(world: World, name: str, path: str) -> None:
    with pytest.raises(InvalidPathError) as caught:
        await ALL[name](world.driver, path)
    assert caught.value.path == path
    assert caught.value.driver == "file"
    assert world.outside_is_untouched()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("relative", [False, True])
async def test_links_that_leave_the_root_are_refused(
    world: World, name: str, relative: bool
) -> None:
    outside = Path("../../outside") if relative else world.outside
    world.link("files/dir", outside)
    world.link("files/file", outside / "secret")
    world.link("files/new", outside / "new")
    world.link("container", world.outside)
    world.link("files/chain", "dir/secret")
    for path in ("files/dir/secret", "files/file", "files/new", "container/secret", "files/chain"):
        with pytest.raises(InvalidPathError, match="symbolic link") as caught:
            await ALL[name](world.driver, path)
        assert str(world.outside) not in str(caught.value)
    assert world.outside_is_untouched()


@pytest.mark.parametrize("name", ALL)
async def test_links_into_the_drivers_own_directory_are_refused(world: World, name: str) -> None:
    (world.root / ".polystow/meta").mkdir(parents=True)
    (world.root / ".polystow/meta/x").write_bytes(b"x")
    world.link("files/meta", "../.polystow/meta")
    world.link("inner", ".polystow")
    for path in ("files/meta/x", "inner/meta/x"):
        with pytest.raises(InvalidPathError, match="holds no objects"):
            await ALL[name](world.driver, path)


@pytest.mark.parametrize("name", READS)
async def test_links_in_a_circle_end(world: World, name: str) -> None:
    world.link("files/a", "b")
    world.link("files/b", "a")
    for path in ("files/a", "files/a/x"):
        with pytest.raises(StorageError):
            await READS[name](world.driver, path)


async def test_a_listing_shows_nothing_outside(world: World) -> None:
    world.link("files/dir", world.outside)
    world.link("files/file", world.outside / "secret")
    world.link("files/gone", "nowhere")
    world.link("container", world.outside)
    assert await world.listed("files") == ["files/ours"]
    assert await world.listed("files/dir/") == []
    for path in ("container", "../outside", ".polystow", "files/../../outside"):
        with suppress(InvalidPathError):
            assert await world.listed(path) == []


async def test_links_inside_the_root_work(world: World) -> None:
    await world.driver.write(
        "files/v1/data.txt", BytesBody(b"one"), WriteOptions(metadata={"v": "1"})
    )
    world.link("files/current", "v1")
    world.link("files/alias.txt", "v1/data.txt")
    world.link("published", "files")
    for path in ("files/current/data.txt", "files/alias.txt", "published/current/data.txt"):
        info = await world.driver.stat(path, StatOptions())
        assert (info.path, info.metadata) == (path, {"v": "1"})
    await world.driver.write(
        "published/current/data.txt", BytesBody(b"two"), WriteOptions(metadata={"v": "2"})
    )
    assert (await world.driver.stat("files/v1/data.txt", StatOptions())).metadata == {"v": "2"}
    assert await world.listed("files/") == [
        "files/alias.txt",
        "files/current/data.txt",
        "files/ours",
        "files/v1/data.txt",
    ]


async def test_writing_or_deleting_a_link_leaves_what_it_leads_to(world: World) -> None:
    world.link("files/one", "ours")
    world.link("files/two", "ours")
    tag = (await world.driver.stat("files/one", StatOptions())).etag
    await world.driver.write("files/one", BytesBody(b"new"), WriteOptions(if_match=tag))
    await world.driver.delete("files/two", DeleteOptions(missing_ok=False))
    assert (world.root / "files/ours").read_bytes() == b"ours"
    assert (world.root / "files/one").read_bytes() == b"new"
    assert not (world.root / "files/two").is_symlink()


async def test_a_directory_that_links_to_one_above_it_is_listed_once(world: World) -> None:
    world.link("files/a/up", "..")
    world.link("files/a/self", ".")
    (world.root / "files/a/k").touch()
    assert await world.listed("files") == ["files/a/k", "files/ours"]


@pytest.mark.parametrize("name", ALL)
async def test_pipes_sockets_and_devices_are_no_objects_and_nothing_blocks(
    world: World, name: str, tmp_path: Path
) -> None:
    os.mkfifo(world.root / "files/pipe")
    world.link("files/to-pipe", "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        try:  # the path of a socket has at most 108 bytes
            os.chdir(world.root / "files")
            server.bind("socket")
        finally:
            os.chdir(here)
        paths = ["files/pipe", "files/socket"] + (["files/to-pipe"] if name in READS else [])
        for path in paths:
            with anyio.fail_after(5), pytest.raises((NotFoundError, InvalidPathError)):
                await ALL[name](world.driver, path)
    assert await world.listed("files") == ["files/ours"]


ATTACK = """
# Turns argv[1] into a link to argv[2] and back, as fast as it can.
import contextlib, os, shutil, sys
name, target = sys.argv[1:]
kept = name + ".kept"
print("attacking", flush=True)
while True:
    try:
        os.rename(name, kept)
        os.symlink(target, name)
        os.unlink(name)
        os.rename(kept, name)
    except OSError:
        # The driver has made the directory anew meanwhile, and may again.
        while os.path.exists(kept):
            shutil.rmtree(name, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.rename(kept, name)
"""


@pytest.mark.parametrize("turning", ["d", "d/secret"])
def test_a_name_that_keeps_turning_into_a_link_never_leads_out(world: World, turning: str) -> None:
    # The attack on every driver that first checks a path and then opens it.
    store = FileStore(os.fsencode(world.root.resolve()))
    (world.root / "files/d").mkdir()
    (world.root / "files/d/secret").write_bytes(b"ours")
    seen = Counter[str]()
    target = world.outside / turning.partition("/")[2]
    name = world.root / "files" / turning
    arguments = [sys.executable, "-c", ATTACK, str(name), str(target)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"attacking\n"
        try:
            start = time.monotonic()
            while not seen["ours"] or time.monotonic() < start + 0.7:
                assert time.monotonic() < start + 20, seen
                try:
                    fd, _ = store.open((b"files", b"d", b"secret"))
                    seen[os.read(fd, 10).decode()] += 1
                    os.close(fd)
                    store.store((b"files", b"d", b"new"), b"x", Entry(), Condition())
                    store.delete((b"files", b"d", b"new"))
                except (StorageError, OSError) as error:
                    seen[type(error).__name__] += 1
        finally:
            attacker.kill()
    assert seen["secret"] == 0
    assert world.outside_is_untouched()


def test_a_file_that_turns_into_a_link_just_before_it_is_opened_is_not_followed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(os.fsencode(world.root.resolve()))
    file = world.root / "files/ours"
    os_open = os.open

    def turn_and_open(
        name: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        if name == b"ours" and not file.is_symlink():
            file.unlink()
            file.symlink_to(world.outside / "secret")
        return os_open(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", turn_and_open)
    with pytest.raises(InvalidPathError, match="symbolic link"):
        store.open((b"files", b"ours"))


_pieces = st.sampled_from(
    ["files", "..", ".", "/", "a", "out", "up", "in", ".polystow", "\0", "é", "\n", "secret"]
)


@given(st.text(max_size=20) | st.lists(_pieces, max_size=8).map("".join))
@example("files/out/secret")
@example("files/up/root/files/ours")
@example("files/in/out/secret")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_text_at_all_leads_out(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    world = World(tmp_path_factory.mktemp("w"))
    world.link("files/out", world.outside)
    world.link("files/up", "../..")
    world.link("files/in", ".")
    store = FileStore(os.fsencode(world.root.resolve()))
    try:
        components = parse_path(path)
        stored = store.store(components, b"x", Entry(), Condition())
    except (InvalidPathError, NotFoundError):
        pass
    else:
        real = Path(*map(os.fsdecode, (store.tree.root, *stored.components)))
        assert real.resolve() == real
        assert real.is_relative_to(world.root.resolve())
        assert not real.is_relative_to(world.root.resolve() / ".polystow")
    assert world.outside_is_untouched()
    assert sorted(entry.name for entry in world.outside.parent.iterdir()) == ["outside", "root"]
