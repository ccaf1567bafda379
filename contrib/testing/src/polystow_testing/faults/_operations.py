"""The operations that a battery runs, and what each of them has to give and to leave."""

from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Literal

import attrs

from polystow import (
    Body,
    ByteRange,
    BytesBody,
    Capabilities,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    MetadataOptions,
    NameHint,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    Storage,
    StorageDriver,
    Target,
    WriteOptions,
    make_body,
)
from polystow_testing.faults._leaks import Violation
from polystow_testing.faults._target import FaultTarget

type Effect = Literal["nothing", "creates", "removes", "replaces", "alters"]
"""What an operation does: to a new object (`"creates"`), or to the victim."""

_MAX_PAGES = 100
_PLACE = 500


def pattern(size: int, seed: int) -> bytes:
    """Content in which no two places look alike.

    Args:
        size: In bytes.
        seed: Another one gives other content.
    """
    start = seed << 40
    words = (number.to_bytes(8, "big") for number in range(start, start + (size + 7) // 8))
    return b"".join(words)[:size]


SMALL = pattern(700, 1)
VICTIM = pattern(900, 2)
NEW = pattern(800, 3)


@attrs.frozen
class Contents:
    """The larger contents, made once.

    Attributes:
        object: Of the object that is read.
        body: Of the large writes.
    """

    object: bytes
    body: bytes

    @classmethod
    def of(cls, target: FaultTarget) -> "Contents":
        """Those of the sizes that a target asks for."""
        return cls(pattern(target.object_bytes, 4), pattern(target.body_bytes, 5))


@attrs.frozen
class World:
    """What is on the server when an operation begins.

    Attributes:
        target: The server.
        contents: See there.
        small: The path of a small object, which nothing changes.
        large: The path of a large one, likewise.
        victim: The path of the one that operations change.
        log: The path of one with the victim's content that can be changed in place.
        before: The inventory.
    """

    target: FaultTarget
    contents: Contents
    small: str
    large: str
    victim: str
    log: str
    before: frozenset[str]

    @classmethod
    def of(cls, target: FaultTarget, contents: Contents) -> "World":
        """Make it: everything else is removed."""
        target.clear()
        small = target.put("small.txt", SMALL)
        large = target.put("large.bin", contents.object)
        victim = target.put("victim.txt", VICTIM)
        log = target.put_appendable("log.txt", VICTIM)
        return cls(target, contents, small, large, victim, log, target.inventory())

    @property
    def container(self) -> str:
        """Where the objects are."""
        return self.small.partition("/")[0]


@attrs.frozen
class Operation:
    """One operation.

    Attributes:
        name: In the table.
        run: Does it, and raises a `Violation` if the answer is wrong.
        effect: What it does.
        content: What a new object, or the changed one, has to contain afterwards.
        needs: The capability that it needs; empty for none.
        changes: Which object of the `World` it replaces.
        in_pieces: One that is cut off may leave the first part of its change behind.
    """

    name: str
    run: Callable[[StorageDriver, World], Awaitable[ObjectInfo | None]]
    effect: Effect = "nothing"
    content: Callable[[World], bytes] = lambda _: NEW
    needs: str = ""
    changes: Literal["victim", "log"] = "victim"
    in_pieces: bool = False

    def possible(self, target: FaultTarget, capabilities: Capabilities) -> bool:
        """Whether a driver can do it."""
        if self.name in target.leaves_out:
            return False
        if self.needs == "exact":
            return capabilities.limits.client_names_keys
        return not self.needs or getattr(capabilities, self.needs) is not None


def expect(is_right: bool, detail: str, check: str = "right answer") -> None:
    """Raise a `Violation` unless something is so."""
    if not is_right:
        raise Violation(check, detail)


async def read(driver: StorageDriver, path: str, part: ByteRange | None = None) -> bytes:
    """Read an object, or a part of it, to its end."""
    async with await driver.open_read(path, ReadOptions(range=part)) as stream:
        return b"".join([chunk async for chunk in stream])


def check_content(got: bytes, wanted: bytes, what: str, check: str = "right answer") -> None:
    """Compare, without printing megabytes."""
    if got != wanted:
        # By halves: comparing byte by byte would hold the event loop, which is being watched.
        lengths = range(min(len(got), len(wanted)) + 1)
        at = bisect_left(lengths, 1, key=lambda n: int(got[:n] != wanted[:n])) - 1
        raise Violation(
            check, f"{what}: {len(got)} bytes of {len(wanted)}, different from byte {at} on"
        )


async def _read(driver: StorageDriver, world: World) -> None:
    check_content(await read(driver, world.large), world.contents.object, "the object")


async def _read_range(driver: StorageDriver, world: World) -> None:
    got = await read(driver, world.large, ByteRange(10_000, 59_999))
    check_content(got, world.contents.object[10_000:60_000], "the range")


async def _stat(driver: StorageDriver, world: World) -> None:
    info = await driver.stat(world.small, StatOptions())
    expect(info.size == len(SMALL), f"its size is {info.size}, not {len(SMALL)}")


async def _delete(driver: StorageDriver, world: World) -> None:
    await driver.delete(world.victim, DeleteOptions())


async def _list(driver: StorageDriver, world: World) -> None:
    lister = driver.capabilities.list
    assert lister is not None
    found: list[str] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await lister.list_page(f"{world.container}/", ListOptions(page_size=2), cursor)
        found += [item.path for item in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    expect(cursor is None, "the listing has no end")
    expect(found == sorted(world.before), f"it lists {found}, there are {sorted(world.before)}")


async def _set_metadata(driver: StorageDriver, world: World) -> None:
    changer = driver.capabilities.set_metadata
    assert changer is not None
    await changer.set_metadata(world.victim, {"color": "red"}, MetadataOptions())


async def _copy(driver: StorageDriver, world: World) -> ObjectInfo:
    copier = driver.capabilities.copy
    assert copier is not None
    return await copier.copy(world.victim, NameHint("copy.txt"), CopyOptions())


async def _write(
    make: Callable[[World], Awaitable[Body]], driver: StorageDriver, world: World
) -> ObjectInfo:
    options = WriteOptions(metadata={"author": "john"})
    return await driver.write(NameHint("new.bin"), await make(world), options)


async def _overwrite(driver: StorageDriver, world: World) -> None:
    target: Target = world.victim
    info = await driver.write(target, BytesBody(NEW), WriteOptions())
    expect(info.path == world.victim, f"its path is {info.path}")


async def _append(driver: StorageDriver, world: World) -> None:
    appender = driver.capabilities.append
    assert appender is not None
    await appender.append(world.log, BytesBody(NEW))


async def _modify(driver: StorageDriver, world: World) -> None:
    appender = driver.capabilities.append
    assert appender is not None
    await appender.modify(world.log, _PLACE, BytesBody(NEW))


async def _truncate(driver: StorageDriver, world: World) -> None:
    appender = driver.capabilities.append
    assert appender is not None
    await appender.truncate(world.log, _PLACE)


async def _multipart(driver: StorageDriver, world: World) -> ObjectInfo:
    storage = Storage(driver)
    content = world.contents.body
    async with storage.multipart(NameHint("new.bin")) as upload:
        size = max(upload.limits.min_bytes, len(content) // 3)
        for at in range(0, len(content), size):
            await upload.put_part(content[at : at + size])
    return attrs.evolve(upload.info, path=storage.route(upload.info.path).path)


async def _small_body(_: World) -> Body:
    return BytesBody(NEW)


async def _large_body(world: World) -> Body:
    return BytesBody(world.contents.body)


async def _unknown_body(world: World) -> Body:
    return await make_body(pieces(world.contents.body, world.target.piece_bytes))


async def _declared_body(world: World) -> Body:
    body = world.contents.body
    return await make_body(pieces(body, world.target.piece_bytes), len(body))


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    """Data as a stream that can be read once."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


def _body_of(world: World) -> bytes:
    return world.contents.body


_ALL = (
    Operation("read", _read),
    Operation("read_range", _read_range),
    Operation("stat", _stat),
    Operation("write_small", partial(_write, _small_body), "creates"),
    Operation("write_large", partial(_write, _large_body), "creates", _body_of),
    Operation("write_stream", partial(_write, _declared_body), "creates", _body_of),
    Operation("write_unknown", partial(_write, _unknown_body), "creates", _body_of),
    Operation("overwrite", _overwrite, "replaces", needs="exact"),
    Operation("append", _append, "replaces", lambda _: VICTIM + NEW, needs="append", changes="log"),
    Operation(
        "modify",
        _modify,
        "replaces",
        lambda _: VICTIM[:_PLACE] + NEW,
        needs="append",
        changes="log",
        in_pieces=True,
    ),
    Operation(
        "truncate", _truncate, "replaces", lambda _: VICTIM[:_PLACE], needs="append", changes="log"
    ),
    Operation("multipart", _multipart, "creates", _body_of, needs="multipart"),
    Operation("delete", _delete, "removes"),
    Operation("list", _list, needs="list"),
    Operation("copy", _copy, "creates", lambda _: VICTIM, needs="copy"),
    Operation("set_metadata", _set_metadata, "alters", needs="set_metadata"),
)
OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _ALL}
"""By name, in the order of the table."""


async def check_next(driver: StorageDriver, world: World) -> None:
    """Do what comes next on the same storage: its answers have to be right.

    As many streams as there are connections are open at once: one that is lost to the pool, or
    that carries half an answer, shows.

    Raises:
        Violation: One is wrong, or fails.
    """
    check = "next answer"
    try:
        info = await driver.stat(world.small, StatOptions())
        expect(info.size == len(SMALL), f"its size is {info.size}, not {len(SMALL)}", check)
        async with AsyncExitStack() as held:
            streams = [
                await held.enter_async_context(await driver.open_read(world.small, ReadOptions()))
                for _ in range(world.target.connections)
            ]
            for stream in streams:
                got = b"".join([chunk async for chunk in stream])
                check_content(got, SMALL, "the next object", check)
    except Violation:
        raise
    except Exception as error:
        raise Violation(check, f"it fails with {error!r}") from error
