"""What a mount's limits and capabilities declare decides what its driver is asked for."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from core_doubles import Faults, MinimalDriver, NamedMemory

from polystow import (
    Body,
    BytesBody,
    Capabilities,
    CompleteOptions,
    CompositeDriver,
    CopyOptions,
    Limits,
    MemoryDriver,
    Mount,
    MultipartPage,
    MultipartUpload,
    NameHint,
    NoRouteError,
    ObjectHeaders,
    ObjectInfo,
    Part,
    PartOptions,
    PermissionDeniedError,
    ResponseHeaders,
    StatOptions,
    Storage,
    StorageDriver,
    Target,
    UnsupportedOperationError,
    WriteOptions,
    open_storage,
    wrap,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEADERS = ObjectHeaders(cache_control="no-store")

type Call = Callable[[Storage], Awaitable[object]]

OPTIONS: dict[str, tuple[str, Call]] = {
    "read version": ("version", lambda s: s.read_bytes("plain:b/k", version="7")),
    "read if_match": ("if_match", lambda s: s.read_bytes("plain:b/k", if_match="e")),
    "read none": ("if_none_match", lambda s: s.read_bytes("plain:b/k", if_none_match="e")),
    "read since": ("if_modified_since", lambda s: s.read_bytes("plain:b/k", if_modified_since=NOW)),
    "read unmodified": (
        "if_unmodified_since",
        lambda s: s.read_bytes("plain:b/k", if_unmodified_since=NOW),
    ),
    "read response": ("response", lambda s: s.read_bytes("plain:b/k", response=ResponseHeaders())),
    "stat version": ("version", lambda s: s.stat("plain:b/k", version="7")),
    "delete version": ("version", lambda s: s.delete("plain:b/k", version="7")),
    "write headers": ("headers", lambda s: s.write("plain:b/k", b"new", headers=HEADERS)),
    "write class": ("storage_class", lambda s: s.write("plain:b/k", b"new", storage_class="COLD")),
    "write extra": ("extra_headers", lambda s: s.write("plain:b/k", b"", extra_headers={"X": "y"})),
    "write appendable": ("appendable", lambda s: s.write("plain:b/k", b"", appendable=True)),
    "write if_match": ("if_match", lambda s: s.write("plain:b/k", b"", if_match="e")),
    "write create only": ("overwrite", lambda s: s.write("plain:b/k", b"", overwrite=False)),
    "upload headers": ("headers", lambda s: s.upload("k", b"new", headers=HEADERS)),
    "copy version": ("version", lambda s: s.copy("plain:b/k", "plain:b/x", version="7")),
    "copy if_match": ("if_match", lambda s: s.copy("plain:b/k", "plain:b/x", if_match="e")),
    "copy class": ("storage_class", lambda s: s.copy("plain:b/k", "plain:b/x", storage_class="C")),
    "copy create only": ("overwrite", lambda s: s.copy("plain:b/k", "plain:b/x", overwrite=False)),
}


class PartsDriver(NamedMemory):
    """Records what reaches its multipart and append methods."""

    def __init__(self) -> None:
        super().__init__("parts")
        self.calls: list[tuple[object, ...]] = []
        self.capabilities = Capabilities(append=self, multipart=self, limits=Limits(headers=True))

    async def append(self, path: str, body: Body, /) -> None:
        self.calls.append(("append", path, body.size))

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        self.calls.append(("modify", path, offset, body.size))

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        self.calls.append(("truncate", path, size_bytes))

    async def create_multipart(self, target: Target, options: WriteOptions, /) -> MultipartUpload:
        self.calls.append(("create", target, options.headers))
        return MultipartUpload(str(target), "id", NOW)

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions, /
    ) -> Part:
        self.calls.append(("part", path, upload_id, number, body.size))
        return Part(number, body.size or 0, "e")

    async def list_parts(self, path: str, upload_id: str, /) -> Sequence[Part]:
        self.calls.append(("parts", path, upload_id))
        return [Part(1, 1, "e")]

    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        self.calls.append(("complete", path, upload_id, len(parts)))
        return ObjectInfo(path, 1)

    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        self.calls.append(("abort", path, upload_id))

    async def list_multiparts(self, path: str, cursor: str | None, /) -> MultipartPage:
        self.calls.append(("uploads", path, cursor))
        return MultipartPage([MultipartUpload("b/k", "id", NOW)], "next")


@asynccontextmanager
async def nested(
    driver: StorageDriver, *, read_only: bool = False
) -> AsyncGenerator[StorageDriver]:
    """The driver as `x:a:` of a composite in a composite, with a layer between."""
    inner = wrap(
        CompositeDriver({"aa": Mount(wrap(driver, [Faults()]), read_only=read_only)}), [Faults()]
    )
    yield CompositeDriver({"xx": inner})


@pytest.mark.parametrize("case", OPTIONS)
async def test_an_option_that_is_not_declared_is_refused_by_its_name(case: str) -> None:
    option, call = OPTIONS[case]
    faults = Faults()
    plain = wrap(MinimalDriver("plain"), [faults])
    async with open_storage(CompositeDriver({"plain": plain})) as storage:
        with pytest.raises(UnsupportedOperationError, match=f"'{option}'") as caught:
            await call(storage)
    assert caught.value.driver == "plain"
    assert caught.value.path is not None
    assert faults.calls == []


async def test_a_nested_mount_decides_for_itself() -> None:
    able, unable = MemoryDriver(), MinimalDriver("plain")
    inner = CompositeDriver({"able": able, "unable": unable})
    async with open_storage(CompositeDriver({"xx": inner})) as storage:
        await storage.write("xx:able:b/k", b"1", overwrite=False)
        with pytest.raises(UnsupportedOperationError, match="'overwrite'") as caught:
            await storage.write("xx:unable:b/k", b"1", overwrite=False)
    assert caught.value.path == "xx://unable://b/k"


async def test_default_options_are_never_refused() -> None:
    async with open_storage(MinimalDriver("plain")) as storage:
        await storage.write(
            *("plain:b/k", b"1"), headers=ObjectHeaders(), extra_headers={}, overwrite=True
        )
        assert await storage.read_bytes("plain:b/k", version=None, response=None) == b"1"


async def test_appending_reaches_the_mount_with_its_path() -> None:
    driver = PartsDriver()
    async with nested(driver) as outer, open_storage(outer) as storage:
        await storage.append("xx:aa:b/k", b"four")
        await storage.modify("xx:aa:b/k", 2, "text")
        await storage.truncate("xx:aa:b/k", 3)
        with pytest.raises(ValueError, match="offset is -1"):
            await storage.modify("xx:aa:b/k", -1, b"")
        with pytest.raises(ValueError, match="size_bytes is -1"):
            await storage.truncate("xx:aa:b/k", -1)
    assert driver.calls == [
        ("append", "b/k", 4),
        ("modify", "b/k", 2, 4),
        ("truncate", "b/k", 3),
    ]


async def test_a_read_only_mount_refuses_to_append_and_to_upload_parts() -> None:
    driver = PartsDriver()
    async with nested(driver, read_only=True) as outer:
        append, multipart = outer.capabilities.append, outer.capabilities.multipart
        assert append is not None
        assert multipart is not None
        body = BytesBody(b"x")
        for call in (
            lambda: append.append("xx:aa:b/k", body),
            lambda: append.modify("xx:aa:b/k", 0, body),
            lambda: append.truncate("xx:aa:b/k", 0),
            lambda: multipart.create_multipart("xx:aa:b/k", WriteOptions()),
            lambda: multipart.put_part("xx:aa:b/k", "id", 1, body, PartOptions()),
            lambda: multipart.complete_multipart("xx:aa:b/k", "id", (), CompleteOptions()),
            lambda: multipart.abort_multipart("xx:aa:b/k", "id"),
        ):
            with pytest.raises(PermissionDeniedError, match="read only"):
                await call()
    assert driver.calls == []


async def test_parts_reach_the_mount_with_its_path_and_come_back_with_its_scheme() -> None:
    driver = PartsDriver()
    async with nested(driver) as outer:
        multipart = outer.capabilities.multipart
        assert multipart is not None
        begun = await multipart.create_multipart("xx:aa:b/k", WriteOptions(headers=HEADERS))
        assert begun == MultipartUpload("xx://aa://b/k", "id", NOW)
        part = await multipart.put_part(begun.path, "id", 1, BytesBody(b"x"), PartOptions())
        assert await multipart.list_parts(begun.path, "id") == [part]
        info = await multipart.complete_multipart(begun.path, "id", (part,), CompleteOptions())
        assert info.uri == "xx://aa://b/k"
        page = await multipart.list_multiparts("xx:aa:b/", None)
        assert page == MultipartPage([begun], "next")
        await multipart.abort_multipart(begun.path, "id")
        with pytest.raises(UnsupportedOperationError, match="'overwrite'"):
            await multipart.complete_multipart(begun.path, "id", (), CompleteOptions(False))
        with pytest.raises(UnsupportedOperationError, match="'storage_class'"):
            await multipart.create_multipart("xx:aa:b/k", WriteOptions(storage_class="C"))
    assert driver.calls == [
        ("create", "b/k", HEADERS),
        ("part", "b/k", "id", 1, 1),
        ("parts", "b/k", "id"),
        ("complete", "b/k", "id", 1),
        ("uploads", "b/", None),
        ("abort", "b/k", "id"),
    ]


async def test_a_new_upload_in_parts_goes_where_the_policy_says() -> None:
    driver = PartsDriver()
    composite = CompositeDriver(
        {"parts": driver, "plain": MinimalDriver("plain")},
        write_to=lambda new: "parts" if new.size is None else "plain",
    )
    multipart = composite.capabilities.multipart
    assert multipart is not None
    hint = NameHint("k")
    await multipart.create_multipart(hint, WriteOptions())
    assert driver.calls[0][:2] == ("create", hint)


async def test_native_finds_the_driver_below_layers_and_composites() -> None:
    driver = PartsDriver()
    async with nested(driver) as outer, open_storage(outer) as storage:
        assert storage.native("xx:aa:b/k", PartsDriver) == (driver, "b/k")
        with pytest.raises(UnsupportedOperationError, match="ends at a PartsDriver, not at a Mini"):
            storage.native("xx:aa:b/k", MinimalDriver)


class HeadersMemory(NamedMemory):
    """Keeps headers."""

    def __init__(self, limits: Limits) -> None:
        super().__init__("kept")
        self.capabilities = Capabilities(limits=limits)
        self.written: list[WriteOptions] = []

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        self.written.append(options)
        return await super().write(target, body, options)

    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        return ObjectInfo(path, 1, metadata={}, headers=HEADERS)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_copy_takes_headers_along_where_there_is_a_place_for_them(kept: bool) -> None:
    source = HeadersMemory(Limits(headers=True))
    await source.write("b/k", BytesBody(b"x"), WriteOptions())
    stored = source._find("b/k", "stat")
    object.__setattr__(stored.info, "metadata", None)
    target = HeadersMemory(Limits(headers=kept))
    inner = CompositeDriver({"target": target})
    composite = CompositeDriver({"source": source, "xx": inner})
    for to in ("xx:target:b/k", NameHint("k")):
        writing = CompositeDriver({"source": source, "xx": inner}, write_to="xx")
        await (composite if isinstance(to, str) else writing).copy("source:b/k", to, CopyOptions())
    expected = HEADERS if kept else ObjectHeaders()
    assert [options.headers for options in target.written] == [expected, expected]


async def test_a_new_object_goes_to_the_mount_that_it_names() -> None:
    one, other = NamedMemory("one"), NamedMemory("other")
    inner = CompositeDriver({"one": one, "other": other}, write_to="one")
    composite = CompositeDriver({"first": NamedMemory("first"), "xx": inner}, write_to="first")
    async with open_storage(composite) as storage:
        info = await storage.write(NameHint("k", mount="xx"), b"x")
        assert info.uri.startswith("xx://one://")
        assert (await storage.write(NameHint("k"), b"x")).uri.startswith("first://")
        with pytest.raises(NoRouteError, match="'none', which is not mounted"):
            await storage.write(NameHint("k", mount="none"), b"x")
