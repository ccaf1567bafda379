"""Writing: every kind and size of body, wholly or not at all, and names for new objects."""

import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, override

import pytest
from anyio import to_thread
from anyio.abc import ByteReceiveStream
from attrs import define

from polystow import (
    Body,
    BytesBody,
    FileTooLargeError,
    InvalidPathError,
    NameHint,
    NotFoundError,
    ObjectInfo,
    StreamBody,
    TruncatedBodyError,
    WriteOptions,
    make_body,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject, pattern

_CLOCK_DIFFERENCE = timedelta(minutes=5)
_TYPE = "application/x-conformance"


async def pieces(data: bytes, size: int = 100_001) -> AsyncIterator[bytes]:
    """Data as a stream whose chunks end nowhere in particular."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


class BrokenContentError(Exception):
    """What a body raises that breaks off."""


async def _breaking_off(data: bytes, error: Exception) -> AsyncIterator[bytes]:
    yield data
    raise error


@define(eq=False)
class WatchedBody:
    """A body that counts how often it was opened and closed."""

    data: bytes
    size: int | None
    replayable: bool = True
    opened: int = 0
    closed: int = 0

    async def open(self) -> ByteReceiveStream:
        """Open it."""
        self.opened += 1
        return _WatchedStream(await BytesBody(self.data).open(), self)


class _WatchedStream(ByteReceiveStream):
    def __init__(self, stream: ByteReceiveStream, body: WatchedBody) -> None:
        self._stream = stream
        self._body = body
        self._closed = False

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._stream.receive(max_bytes)

    @override
    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._body.closed += 1
        await self._stream.aclose()


class WritingTests(Conformance):
    """`write`."""

    def _size(self, name: str) -> int:
        part = self.part_size_bytes
        sizes = {
            "empty": 0,
            "one_byte": 1,
            "under_64k": 65_535,
            "over_64k": 65_537,
            "part_less_one": part - 1,
            "part": part,
            "part_and_one": part + 1,
            "two_parts": 2 * part,
            "two_parts_and_one": 2 * part + 1,
        }
        return sizes[name]

    @pytest.mark.parametrize("kind", ["bytes", "stream", "sized_stream"])
    @pytest.mark.parametrize(
        "size",
        ["empty", "one_byte", "part_less_one", "part", "part_and_one", "two_parts_and_one"],
    )
    async def test_every_size_of_body_arrives_whole(
        self, subject: Subject, kind: str, size: str
    ) -> None:
        data = pattern(self._size(size))
        bodies: dict[str, Callable[[], Body]] = {
            "bytes": lambda: BytesBody(data),
            "stream": lambda: StreamBody(pieces(data)),
            "sized_stream": lambda: StreamBody(pieces(data), len(data)),
        }
        info = await subject.put(bodies[kind]())
        assert info.size == len(data)
        assert await subject.read(info.path) == data
        assert (await subject.stat(info.path)).size == len(data)

    @pytest.mark.parametrize("kind", ["view", "file", "path", "no_seek_file", "body"])
    @pytest.mark.parametrize("size", ["empty", "under_64k", "over_64k", "two_parts"])
    async def test_every_kind_of_body_arrives_whole(
        self, subject: Subject, kind: str, size: str, tmp_path: Path
    ) -> None:
        data = pattern(self._size(size))
        body: Body
        match kind:
            case "view":
                body = await make_body(memoryview(bytearray(data)))
            case "file":
                body = await make_body(BytesIO(b"before" + data))
                assert body.size == len(data) + 6
                body = await make_body(_at(BytesIO(b"before" + data), 6))
            case "no_seek_file":
                body = await make_body(_NoSeek(data))
            case "path":
                path = tmp_path / "content"
                await to_thread.run_sync(path.write_bytes, data)
                body = await make_body(path)
            case _:
                body = WatchedBody(data, None)
        info = await subject.put(body)
        assert info.size == len(data)
        assert await subject.read(info.path) == data

    async def test_a_stream_of_many_small_chunks_arrives_whole(self, subject: Subject) -> None:
        data = pattern(2000)
        info = await subject.put(StreamBody(pieces(data, 1)))
        assert await subject.read(info.path) == data

    @representative
    async def test_a_write_tells_what_stat_tells(self, subject: Subject) -> None:
        info = await subject.put(
            pattern(1000), "a.txt", content_type=_TYPE, metadata={"a": "b"}, filename="a.txt"
        )
        found = await subject.stat(info.path)
        for name in ("path", "size", "etag", "version", "checksum", "content_type", "filename"):
            told, known = getattr(info, name), getattr(found, name)
            assert told is None or known is None or told == known, f"{name} differs"
        assert found.metadata == info.metadata == {"a": "b"}

    @representative
    async def test_an_object_is_described_truthfully(self, subject: Subject) -> None:
        data = pattern(1000)
        info = await subject.put(data, "a.txt")
        for each in (info, await subject.stat(info.path)):
            assert each.size == len(data)
            _check_checksum(each, data)
            assert each.etag is None or '"' not in each.etag, "entity tags have no quotes"
            for moment in (each.modified, each.created):
                if moment is not None:
                    assert moment.tzinfo is not None, "times have a time zone"
                    assert abs(datetime.now(UTC) - moment) < _CLOCK_DIFFERENCE

    @representative
    async def test_every_form_of_an_id_finds_the_object(self, subject: Subject) -> None:
        info = await subject.put(b"found", "a.txt")
        for path in (info.path, info.uri, info.file_id):
            assert await subject.read(path) == b"found"
            assert (await subject.stat(path)).path == info.path

    async def test_a_content_type_is_kept_if_the_limits_say_so(self, subject: Subject) -> None:
        info = await subject.put(b"x", "object.bin", content_type=_TYPE)
        found = (await subject.stat(info.path)).content_type
        if subject.limits.content_type:
            assert found == _TYPE
        else:
            assert found != _TYPE, "limits.content_type is False, and it is kept"

    @representative
    async def test_overwriting_replaces_everything(self, keyed: Subject) -> None:
        old = await keyed.put(pattern(5000), content_type="text/old", metadata={"old": "x"})
        new = await keyed.put(b"new", content_type="text/new", metadata={"new": "y"})
        assert new.path == old.path
        found = await keyed.stat(new.path)
        assert await keyed.read(new.path) == b"new"
        assert (found.size, found.metadata) == (3, {"new": "y"})
        if keyed.limits.content_type:
            assert found.content_type == "text/new"
        assert found.etag is None or found.etag != old.etag, "the entity tag stays the same"

    @cases(
        too_short=(0, 10, 11),
        too_long=(0, 11, 10),
        empty_declared_one=(0, 0, 1),
        one_declared_empty=(0, 1, 0),
        parts_too_short=(2, -1, 0),
        parts_too_long=(2, 1, 0),
    )
    async def test_a_body_of_another_length_than_declared_is_not_stored(
        self, subject: Subject, case: tuple[int, int, int]
    ) -> None:
        parts, actual, declared = case
        size = parts * self.part_size_bytes
        body = StreamBody(pieces(pattern(size + actual)), size + declared)
        with subject.raises(TruncatedBodyError, operation="write"):
            await subject.put(body)
        if subject.limits.client_names_keys:
            assert not await subject.exists(subject.path("object"))

    @cases(at_once=0, after_some=1000, after_a_part=1)
    async def test_an_error_of_the_body_leaves_as_it_is_and_nothing_is_stored(
        self, subject: Subject, case: int
    ) -> None:
        size = 2 * self.part_size_bytes + 7 if case == 1 else case
        mistake = BrokenContentError("the application's own")
        with pytest.raises(BrokenContentError) as caught:
            await subject.put(StreamBody(_breaking_off(pattern(size), mistake)))
        assert caught.value is mistake
        if subject.limits.client_names_keys:
            assert not await subject.exists(subject.path("object"))

    @representative
    async def test_an_error_of_another_storage_in_the_body_keeps_its_id(
        self, subject: Subject
    ) -> None:
        error = NotFoundError("gone", path="elsewhere://a/b", operation="open_read", driver="other")
        with pytest.raises(NotFoundError) as caught:
            await subject.put(StreamBody(_breaking_off(b"x" * 1000, error)))
        assert caught.value is error
        assert (error.path, error.operation, error.driver) == (
            "elsewhere://a/b", "open_read", "other",
        )  # fmt: skip

    async def test_a_failed_overwrite_leaves_what_was_there(self, keyed: Subject) -> None:
        old = await keyed.put(b"old", metadata={"old": "x"})
        broken = _breaking_off(pattern(2 * self.part_size_bytes), BrokenContentError())
        with pytest.raises(BrokenContentError):
            await keyed.put(StreamBody(broken))
        with pytest.raises(TruncatedBodyError):
            await keyed.put(StreamBody(pieces(b"short"), 100))
        found = await keyed.stat(old.path)
        assert (found.size, found.metadata, found.etag) == (3, {"old": "x"}, old.etag)
        assert await keyed.read(old.path) == b"old"

    @cases(empty=0, small=100, two_parts=-1)
    async def test_a_body_is_opened_once_and_closed(self, subject: Subject, case: int) -> None:
        size = 2 * self.part_size_bytes if case < 0 else case
        for declared in (size, None):
            body = WatchedBody(pattern(size), declared)
            await subject.put(body)
            assert (body.opened, body.closed) == (1, 1)

    async def test_an_object_over_the_declared_limit_is_refused_unread(
        self, subject: Subject
    ) -> None:
        if subject.limits.max_object_bytes is None:
            pytest.skip("limits.max_object_bytes is None")
        body = WatchedBody(b"", subject.limits.max_object_bytes + 1)
        with subject.raises(FileTooLargeError, operation="write"):
            await subject.put(body)
        assert body.opened == 0

    @representative
    async def test_a_name_makes_a_new_object_each_time(self, subject: Subject) -> None:
        hint = NameHint("Jürgens report.tar.gz", container=subject.hint_container)
        infos = [
            await subject.driver.write(hint, BytesBody(pattern(number)), WriteOptions())
            for number in (1, 2, 3)
        ]
        assert len({info.path for info in infos}) == 3
        for number, info in enumerate(infos, 1):
            assert info.path.startswith(f"{subject.container}/")
            assert await subject.read(info.path) == pattern(number)
            found = await subject.stat(info.path)
            assert found.filename in {None, hint.filename}
            assert found.filename == info.filename

    @representative
    async def test_a_name_in_a_folder_gets_a_key_in_that_folder(self, keyed: Subject) -> None:
        for folder in ("a/b", "/a/b/"):
            hint = NameHint("x.txt", folder=folder, container=keyed.hint_container)
            info = await keyed.driver.write(hint, BytesBody(b"x"), WriteOptions())
            key = keyed.key_of(info.path)
            assert key.startswith("a/b/")
            assert key.endswith("_x.txt")
            assert (await keyed.stat(info.path)).filename == "x.txt"

    @cases(
        empty="", dot=".", two_dots="..", slash="a/b", backslash="a\\b", newline="a\nb", nul="a\0b"
    )
    async def test_a_name_that_is_none_is_refused_unread(self, subject: Subject, case: str) -> None:
        body = WatchedBody(b"x", 1)
        with subject.raises(InvalidPathError, operation="write"):
            await subject.driver.write(
                NameHint(case, container=subject.hint_container), body, WriteOptions()
            )
        assert body.opened == 0

    async def test_the_original_name_of_an_exact_path_is_kept(self, keyed: Subject) -> None:
        name = "Ärger & Freude 100%.txt"
        info = await keyed.put(b"x", filename=name)
        assert info.filename == name
        assert (await keyed.stat(info.path)).filename == name


def _check_checksum(info: ObjectInfo, data: bytes) -> None:
    if info.checksum is None:
        return
    algorithm, value = info.checksum
    if algorithm == "crc32":
        assert value == f"{zlib.crc32(data):08x}"
    elif algorithm in hashlib.algorithms_available:
        assert value == hashlib.new(algorithm, data).hexdigest()


def _at(file: BinaryIO, place: int) -> BinaryIO:
    file.seek(place)
    return file


class _NoSeek(BytesIO):
    @override
    def seekable(self) -> bool:
        return False
