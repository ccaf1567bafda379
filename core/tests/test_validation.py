from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from core_doubles import MinimalDriver, read_all
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    ByteRange,
    BytesBody,
    ConfigError,
    FileRules,
    FileTooLargeError,
    InvalidFileTypeError,
    InvalidPathError,
    MemoryDriver,
    NameHint,
    Storage,
    StreamBody,
    ValidationLayer,
    open_storage,
    wrap,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def storage_with(rules: FileRules) -> Storage:
    return Storage(wrap(MemoryDriver(), [ValidationLayer(rules)]))


# Names


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0", "a\n", "a\x1f", "\x7f"])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidPathError):
        FileRules().check_name(name)


@pytest.mark.parametrize("name", ["a b.txt", "日本.pdf", ".profile", "a..b", "a:b?", "CON", "a."])
def test_ordinary_names_are_taken(name: str) -> None:
    FileRules().check_name(name)


def test_names_have_a_longest() -> None:
    FileRules().check_name("é" * 127)
    with pytest.raises(InvalidPathError, match="256 bytes of UTF-8; at most 255"):
        FileRules().check_name("é" * 128)
    with pytest.raises(InvalidPathError, match="at most 3"):
        FileRules(max_name_bytes=3).check_name("abcd")


@pytest.mark.parametrize(
    "name",
    [
        *("CON", "con.txt", "Nul", "aux.tar.gz", "COM1", "lpt9.log", "COM¹", "conin$", "prn .txt"),
        *("a:b", "a<b", "a?", "a|b", 'a"b', "a*", "a.", "a ", " a", "exe.\u202etxt", "a\u200bb"),
        "a\x85",
    ],
)  # fmt: skip
def test_a_portable_name_is_one_on_windows_too(name: str) -> None:
    with pytest.raises(InvalidPathError):
        FileRules(portable_names=True).check_name(name)


@pytest.mark.parametrize("name", ["console.txt", "com10", "a b.txt", "日本.pdf", ".profile", "lpt"])
def test_a_portable_name_is_an_ordinary_one(name: str) -> None:
    FileRules(portable_names=True).check_name(name)


# Extensions


@pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "b.tar.gz", "b.TAR.GZ", "c.d.pdf"])
def test_allowed_extensions_pass_in_any_case(name: str) -> None:
    FileRules(extensions=["PDF", ".tar.gz"]).check_name(name)


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.pdf.exe", "a", ".pdf", "a.pdf."])
def test_other_extensions_and_none_at_all_are_refused(name: str) -> None:
    with pytest.raises(InvalidFileTypeError, match=r"allowed are pdf, tar\.gz"):
        FileRules(extensions=["*.pdf", "tar.gz"]).check_name(name)


def test_a_compressed_archive_ends_in_what_compressed_it() -> None:
    FileRules(extensions=["gz"]).check_name("a.tar.gz")
    with pytest.raises(InvalidFileTypeError):
        FileRules(forbidden_extensions=["gz"]).check_name("a.tar.gz")


def test_no_extension_passes_by_choice_and_where_nothing_is_demanded() -> None:
    FileRules(extensions=["pdf"], allow_no_extension=True).check_name("README")
    FileRules(forbidden_extensions=["exe"]).check_name("README")


@pytest.mark.parametrize("name", ["a.exe", "a.EXE", "a.exe.", "a.exe . ", "a.pdf.exe"])
def test_forbidden_extensions_are_refused_however_they_are_written(name: str) -> None:
    for rules in (
        FileRules(forbidden_extensions=["exe"]),
        FileRules(
            extensions=["exe", "pdf"], forbidden_extensions=[".Exe"], allow_no_extension=True
        ),
    ):
        with pytest.raises(InvalidFileTypeError, match="'exe' are not allowed"):
            rules.check_name(name)


@given(NAMES, st.lists(st.sampled_from(["pdf", "gz", "tar.gz", "exe"]), max_size=3))
def test_what_is_forbidden_never_passes(name: str, forbidden: list[str]) -> None:
    rules = FileRules(extensions=["pdf", "gz", "exe"], forbidden_extensions=forbidden)
    for extension in forbidden:
        with pytest.raises((InvalidFileTypeError, InvalidPathError)):
            rules.check_name(f"{name}.{extension}" if name.strip(".") else f"x.{extension}")


def test_one_text_is_no_list_of_extensions() -> None:
    with pytest.raises(TypeError, match="several"):
        FileRules(extensions="pdf")


# Sizes


def test_a_size_is_checked_before_anything_is_read() -> None:
    rules = FileRules(max_size_bytes=5)
    rules.check_size(5)
    rules.check_size(None)
    with pytest.raises(FileTooLargeError, match="6 bytes; at most 5"):
        rules.check_size(6)
    with pytest.raises(ValueError, match="-1"):
        rules.check_size(-1)


@pytest.mark.parametrize("size", [None, 4, 6])
async def test_a_size_is_counted_whatever_length_was_declared(size: int | None) -> None:
    class Liar:
        replayable = False

        def __init__(self) -> None:
            self.size = size

        async def open(self) -> object:
            return await StreamBody(chunks(b"123", b"456")).open()

    storage = storage_with(FileRules(max_size_bytes=5))
    with pytest.raises(FileTooLargeError) as caught:
        await storage.write("memory:b/k.txt", Liar())  # type: ignore[arg-type]
    assert caught.value.path in {"memory:b/k.txt", "memory://b/k.txt"}
    assert caught.value.operation == "write"
    assert not await storage.exists("memory:b/k.txt")


async def test_a_stream_of_just_the_limit_is_written() -> None:
    storage = storage_with(FileRules(max_size_bytes=6))
    info = await storage.upload("a", chunks(b"123", b"456"))
    assert await storage.read_bytes(info.file_id) == b"123456"
    with pytest.raises(FileTooLargeError, match="goes on after 6 bytes"):
        await storage.upload("a", chunks(b"123", b"456", b"7"))
    with pytest.raises(FileTooLargeError):
        await storage.upload("a", b"1234567")


async def test_an_uploaded_file_that_tells_no_size_is_counted() -> None:
    class UploadFile:  # as Starlette's, whose size is None where the client sent none
        size = None

        def __init__(self) -> None:
            self.left = [b"123", b"456", b"7"]

        async def read(self, size: int = -1) -> bytes:
            return self.left.pop(0) if self.left else b""

    storage = storage_with(FileRules(max_size_bytes=6, extensions=["txt"]))
    with pytest.raises(FileTooLargeError):
        await storage.upload("a.txt", UploadFile())
    assert (await storage_with(FileRules(max_size_bytes=7)).upload("a", UploadFile())).size == 7


async def test_a_stream_that_gets_too_long_is_not_read_to_its_end() -> None:
    sent = 0
    storage = storage_with(FileRules(max_size_bytes=10_000))
    with pytest.raises(FileTooLargeError):  # noqa: PT012
        async with storage.open_write("memory:b/k") as out:
            while True:
                await out.send(bytes(1000))
                sent += 1
    assert sent < 20


# Contents


async def test_contents_are_compared_with_the_extension() -> None:
    storage = storage_with(FileRules(check_content=True))
    for content in (PNG, chunks(PNG[:3], PNG[3:])):
        info = await storage.upload("a.png", content)
        assert await storage.read_bytes(info.file_id) == PNG
    with pytest.raises(InvalidFileTypeError, match="it is image/png"):
        await storage.upload("a.pdf", chunks(PNG))
    with pytest.raises(InvalidFileTypeError, match="it is text/html"):
        await storage.write("memory:b/key", "<html>", filename="a.png")


async def test_a_plain_object_checks_a_body() -> None:
    rules = FileRules(check_content=True, max_size_bytes=3000)
    async with rules.checked("a.png", BytesBody(PNG)) as body:
        assert await read_all(await body.open()) == PNG
    with pytest.raises(InvalidFileTypeError):
        async with rules.checked("a.png", BytesBody(b"GIF89a")):
            pass


# The layer


type Act = Callable[[Storage], Awaitable[object]]
ACTS: list[Act] = [
    lambda s: s.upload("a.exe", b""),
    lambda s: s.write(NameHint("a.exe"), b""),
    lambda s: s.write("memory:b/a.exe", b""),
    lambda s: s.write("memory:b/a.txt", b"", filename="a.exe"),
    lambda s: s.write("memory:b/a.exe", b"", filename="a.txt"),
    lambda s: s.copy("memory:b/old", "memory:b/a.exe"),
    lambda s: s.copy("memory:b/old", NameHint("a.exe")),
    lambda s: s.move("memory:b/old", "memory://b/a.exe"),
]


@pytest.mark.parametrize("act", ACTS)
async def test_whatever_makes_an_object_is_judged_by_its_name(act: Act) -> None:
    driver = MemoryDriver()
    await Storage(driver).write("memory:b/old", b"")
    storage = Storage(wrap(driver, [ValidationLayer(FileRules(forbidden_extensions=["exe"]))]))
    with pytest.raises(InvalidFileTypeError) as caught:
        await act(storage)
    assert caught.value.operation in {"write", "copy"}
    assert [item.uri async for item in storage.list("memory:b")] == ["memory://b/old"]


@pytest.mark.parametrize(
    "target", ["memory:b/../k", "memory:b/a/./k", "memory:b/a\n/k", "memory:b/a/"]
)
async def test_an_exact_id_has_ordinary_segments(target: str) -> None:
    with pytest.raises(InvalidPathError):
        await storage_with(FileRules()).write(target, b"")


async def test_reading_listing_and_deleting_are_free() -> None:
    driver = MemoryDriver()
    await Storage(driver).write("memory:b/../a.exe", b"123")
    rules = FileRules(extensions=[], max_size_bytes=1)
    storage = Storage(wrap(driver, [ValidationLayer(rules)]))
    assert await storage.read_bytes("memory:b/../a.exe", range=ByteRange(1)) == b"23"
    assert len([item async for item in storage.list("memory:b")]) == 1
    await storage.delete("memory:b/../a.exe")


async def test_rules_come_from_the_configuration_of_all_or_of_one_mount() -> None:
    rules = {"extensions": ["txt"], "max_size_bytes": 3}
    mounts = {"aa": {"driver": "memory"}, "bb": {"driver": "memory", "validation": rules}}
    async with open_storage({"mounts": mounts, "write_to": "aa"}) as storage:
        await storage.write("aa:b/a.exe", b"1234")
        for target, content in (("bb:b/a.exe", b""), ("bb:b/a.txt", b"1234")):
            with pytest.raises((InvalidFileTypeError, FileTooLargeError)) as caught:
                await storage.write(target, content)
            assert caught.value.uri == target.replace(":", "://")
        with pytest.raises(InvalidFileTypeError):
            await storage.copy("aa:b/a.exe", "bb:b/b.exe")
        with pytest.raises(FileTooLargeError):
            await storage.copy("aa:b/a.exe", "bb:b/b.txt")
    async with open_storage({"mounts": {"memory": {}}, "validation": rules}) as storage:
        with pytest.raises(InvalidFileTypeError):
            await storage.upload("a.exe", b"")
    with pytest.raises(ConfigError, match="validation"):
        async with open_storage({"mounts": {"memory": {}}, "validation": {"extensions": "txt"}}):
            pass


async def test_rules_hold_for_drivers_with_nothing_but_the_four_operations() -> None:
    storage = Storage(wrap(MinimalDriver("memory"), [ValidationLayer(FileRules(extensions=["a"]))]))
    await storage.write("memory:b/x.a", b"")
    with pytest.raises(InvalidFileTypeError):
        await storage.write("memory:b/x.b", b"")
