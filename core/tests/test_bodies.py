import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, cast, override

import pytest
from anyio import EndOfStream, run
from anyio.abc import ByteReceiveStream
from core_doubles import read_all
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    Body,
    BytesBody,
    Content,
    NotFoundError,
    PathBody,
    StorageError,
    StreamBody,
    TruncatedBodyError,
    make_body,
)

DATA = bytes(range(256)) * 300  # more than is read at once


async def chunks_of(*parts: object) -> AsyncIterator[bytes]:
    for part in parts:
        yield cast("bytes", part)


class AsyncFile:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)


class Unseekable(io.BytesIO):
    @override
    def seekable(self) -> bool:
        return False


class OnlyRead:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class CustomBody:
    size = None
    replayable = True

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> Awaitable[ByteReceiveStream]:
        return BytesBody(self.data).open()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return path


MAKERS: dict[str, Callable[[], Content]] = {
    "bytes": lambda: DATA,
    "bytearray": lambda: bytearray(DATA),
    "memoryview": lambda: memoryview(DATA),
    "wide memoryview": lambda: memoryview(DATA).cast("I"),
    "file object": lambda: io.BytesIO(DATA),
    "unseekable file": lambda: Unseekable(DATA),
    "object with read": lambda: cast("BinaryIO", OnlyRead(DATA)),
    "object with async read": lambda: AsyncFile(DATA),
    "async iterable": lambda: chunks_of(DATA[:7], b"", DATA[7:]),
    "body": lambda: BytesBody(DATA),
    "custom body": lambda: CustomBody(DATA),
    "stream body": lambda: StreamBody(chunks_of(DATA)),
}
UNSIZED = {
    "unseekable file",
    "object with read",
    "object with async read",
    "async iterable",
    "custom body",
    "stream body",
}
ONCE = UNSIZED - {"custom body"}
every_kind = pytest.mark.parametrize("kind", MAKERS)


async def drain(body: Body, max_bytes: int = 100) -> list[bytes]:
    chunks: list[bytes] = []
    async with await body.open() as stream:
        while True:
            try:
                chunks.append(await stream.receive(max_bytes))
            except EndOfStream:
                return chunks


@every_kind
async def test_a_body_gives_the_content(kind: str) -> None:
    assert await read_all(await (await make_body(MAKERS[kind]())).open()) == DATA


@every_kind
async def test_a_chunk_is_bytes_and_no_longer_than_asked_for(kind: str) -> None:
    for chunk in await drain(await make_body(MAKERS[kind]())):
        assert type(chunk) is bytes
        assert 0 < len(chunk) <= 100


@every_kind
async def test_a_body_tells_its_size_where_it_can(kind: str) -> None:
    assert (await make_body(MAKERS[kind]())).size == (None if kind in UNSIZED else len(DATA))


@every_kind
async def test_a_declared_size_is_told(kind: str) -> None:
    assert (await make_body(MAKERS[kind](), len(DATA))).size == len(DATA)


@every_kind
async def test_an_exact_declared_size_passes(kind: str) -> None:
    assert b"".join(await drain(await make_body(MAKERS[kind](), len(DATA)))) == DATA


@every_kind
@pytest.mark.parametrize("wrong", [1, -1], ids=["too large", "too small"])
async def test_a_wrong_size_raises_before_all_the_declared_bytes_were_given(
    kind: str, wrong: int
) -> None:
    given_bytes = 0
    with pytest.raises(TruncatedBodyError):  # noqa: PT012 - either making or reading raises
        body = await make_body(MAKERS[kind](), len(DATA) + wrong)
        async with await body.open() as stream:
            while True:
                given_bytes += len(await stream.receive(100))
    assert given_bytes < len(DATA) + wrong


@every_kind
async def test_a_body_is_replayable_or_refuses_a_second_opening(kind: str) -> None:
    body = await make_body(MAKERS[kind]())
    first = b"".join(await drain(body))
    assert body.replayable == (kind not in ONCE)
    if body.replayable:
        assert b"".join(await drain(body)) == first
    else:
        with pytest.raises(StorageError, match="read again"):
            await body.open()


async def test_text_is_utf_8_and_no_path(path: Path) -> None:
    body = await make_body(str(path) + "é")
    assert b"".join(await drain(body)) == (str(path) + "é").encode()


async def test_a_path_is_read(path: Path) -> None:
    body = await make_body(path)
    assert isinstance(body, PathBody)
    assert (body.size, body.replayable) == (len(DATA), True)
    assert b"".join(await drain(body)) == b"".join(await drain(body)) == DATA


@pytest.mark.parametrize("size", [0, 1, 65_536])
async def test_a_small_file_is_read_when_its_body_is_made(path: Path, size: int) -> None:
    path.write_bytes(DATA[:size])  # noqa: ASYNC240
    body = await make_body(path, size)
    path.unlink()  # noqa: ASYNC240
    assert body == BytesBody(DATA[:size])


async def test_a_small_file_of_another_length_than_it_tells_is_not_stored() -> None:
    path = Path("/proc/self/status")  # has no length and yet content
    if not path.exists():  # noqa: ASYNC240
        pytest.skip("there is no /proc")
    with pytest.raises(TruncatedBodyError):
        await drain(await make_body(path))


async def test_a_file_that_may_not_be_read_fails_when_it_is_read(path: Path) -> None:
    path.write_bytes(b"x")  # noqa: ASYNC240
    path.chmod(0)  # noqa: ASYNC240
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs this may read everything")
    body = await make_body(path)
    with pytest.raises(PermissionError):
        await body.open()


async def test_a_file_is_read_from_where_it_stands_each_time(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(1000)
        body = await make_body(file)
        assert body.size == len(DATA) - 1000
        assert b"".join(await drain(body)) == b"".join(await drain(body)) == DATA[1000:]
        assert not file.closed


async def test_a_file_that_stands_behind_its_end_is_empty() -> None:
    file = io.BytesIO(b"abc")
    file.seek(10)
    body = await make_body(file)
    assert (body.size, await drain(body)) == (0, [])


@pytest.mark.parametrize("content", [b"", "", io.BytesIO(), bytearray()])
async def test_an_empty_body_ends_at_once(content: Content) -> None:
    assert await drain(await make_body(content, 0)) == []


async def test_a_declared_size_of_nothing_refuses_content() -> None:
    with pytest.raises(TruncatedBodyError):
        await drain(await make_body(chunks_of(b"x"), 0))


async def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size is -1"):
        await make_body(b"", -1)


@pytest.mark.parametrize("content", [None, 5, [b"a"], {"a": 1}, object(), iter([b"x"])])
async def test_what_can_not_be_written_is_a_type_error(content: object) -> None:
    with pytest.raises(TypeError, match="can't be written"):
        await make_body(cast("Content", content))


@pytest.mark.parametrize("chunk", ["text", 5, None, [1]])
async def test_an_iterable_that_gives_no_bytes_is_a_type_error(chunk: object) -> None:
    with pytest.raises(TypeError, match="has to give bytes"):
        await drain(await make_body(chunks_of(b"a", chunk)))


async def test_a_text_file_is_a_type_error(path: Path) -> None:
    with path.open("r") as file, pytest.raises(TypeError, match="binary"):
        await make_body(cast("BinaryIO", file))


async def test_an_object_whose_read_gives_text_is_a_type_error() -> None:
    class Text:
        def read(self, size: int) -> str:
            return "x"

    with pytest.raises(TypeError, match="binary mode"):
        await drain(await make_body(cast("BinaryIO", Text())))


async def test_bytearrays_and_memoryviews_of_an_iterable_become_bytes() -> None:
    body = await make_body(chunks_of(bytearray(b"ab"), memoryview(b"cd"), b""))
    assert [type(chunk) for chunk in await drain(body)] == [bytes, bytes]


async def test_an_iterable_may_change_its_buffer_after_it_gave_it() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        buffer = bytearray(b"first")
        yield cast("bytes", buffer)
        buffer[:] = b"other"
        yield cast("bytes", buffer)

    assert await drain(await make_body(chunks()), 2) == [b"fi", b"rs", b"t", b"ot", b"he", b"r"]


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 40), st.booleans())
def test_odd_chunks_come_through_in_order(
    parts: list[bytes], max_bytes: int, declared: bool
) -> None:
    async def check() -> None:
        whole = b"".join(parts)
        body = await make_body(chunks_of(*parts), len(whole) if declared else None)
        chunks = await drain(body, max_bytes)
        assert b"".join(chunks) == whole
        assert all(0 < len(chunk) <= max_bytes for chunk in chunks)

    run(check)


@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(0, 40), st.integers(1, 12))
def test_a_body_of_the_wrong_length_never_gives_all_the_declared_bytes(
    parts: list[bytes], size: int, max_bytes: int
) -> None:
    async def check() -> None:
        body = await make_body(chunks_of(*parts), size)
        given_bytes = 0
        try:
            async with await body.open() as stream:
                while True:
                    given_bytes += len(await stream.receive(max_bytes))
        except EndOfStream:
            assert given_bytes == size == sum(map(len, parts))
        except TruncatedBodyError:
            assert size != sum(map(len, parts))
            assert given_bytes < size or size == 0

    run(check)


@pytest.mark.parametrize("change", [DATA + b"x", DATA[:-1], b""], ids=["grown", "shorter", "empty"])
async def test_a_file_that_changes_its_length_is_not_stored(path: Path, change: bytes) -> None:
    body = await make_body(path)
    path.write_bytes(change)  # noqa: ASYNC240
    with pytest.raises(TruncatedBodyError):
        await drain(body)


async def test_a_file_that_is_gone_when_it_is_read_says_so(path: Path) -> None:
    body = await make_body(path)
    path.unlink()  # noqa: ASYNC240
    with pytest.raises(NotFoundError, match="gone") as caught:
        await body.open()
    assert caught.value.path == str(path)


async def test_a_path_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such local file"):
        await make_body(tmp_path / "none")


async def test_a_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no regular file"):
        await make_body(tmp_path)


async def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotFoundError, match="no regular file"):
        await make_body(tmp_path / "fifo")


async def test_an_error_of_the_users_iterable_passes_unchanged() -> None:
    mine = ZeroDivisionError("mine")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        raise mine

    with pytest.raises(ZeroDivisionError) as caught:
        await drain(await make_body(chunks(), 5))
    assert caught.value is mine


async def test_a_storage_error_of_the_users_iterable_takes_no_prefix() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        raise NotFoundError("gone", path="other://b/k")

    with pytest.raises(NotFoundError) as caught:
        await drain(await make_body(chunks()))
    assert caught.value.mounted("s3").uri == "other://b/k"


async def test_closing_a_body_closes_the_users_generator() -> None:
    closed: list[bool] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            closed.append(True)

    stream = await (await make_body(chunks())).open()
    await stream.receive()
    await stream.aclose()
    assert closed == [True]


async def test_a_closed_path_body_closes_its_file(path: Path) -> None:
    stream = await (await make_body(path)).open()
    assert is_open(path)
    await stream.aclose()
    assert not is_open(path)


def is_open(path: Path) -> bool:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return path in [link.readlink() for link in links]
