"""Sessions of uploads in parts, over the memory driver, on both event loops."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, override

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    BackendUnavailableError,
    Checksum,
    CompleteOptions,
    MemoryDriver,
    NameHint,
    NotFoundError,
    ObjectInfo,
    Part,
    Storage,
    StorageError,
    UnsupportedOperationError,
    UploadNotFoundError,
)
from polystow._multipart import UploadToken

URI = "memory:b/k"


class Failing(MemoryDriver):
    """Its uploads can't be completed, and not be dropped either."""

    @override
    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        raise BackendUnavailableError("not now")

    @override
    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        raise BackendUnavailableError("not now either")


class Forgetful(MemoryDriver):
    """Completes uploads, and its answers never come."""

    @override
    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        info = await super().complete_multipart(path, upload_id, parts, options)
        await anyio.sleep_forever()
        return info

    @override
    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        pass  # gone, as after a completion


@pytest.mark.parametrize(
    ("target", "left"), [(NameHint("a.txt", container="b"), 0), (URI, 1)], ids=["new", "exact"]
)
async def test_a_new_object_is_removed_if_its_completion_was_cancelled(
    target: str | NameHint, left: int
) -> None:
    storage = Storage(Forgetful())
    with anyio.move_on_after(0.05) as scope:
        async with storage.multipart(target) as upload:
            await upload.put_part(b"x")
    assert scope.cancelled_caught
    assert len([item async for item in storage.list("memory:b/")]) == left


async def test_a_second_completion_that_fails_does_not_forget_the_first() -> None:
    storage = Storage(Forgetful())

    async def complete_twice() -> None:
        async with storage.multipart(NameHint("a.txt", container="b")) as upload:
            await upload.put_part(b"x")
            with anyio.move_on_after(0.05):
                await upload.complete()
            await upload.complete()

    with pytest.raises(UploadNotFoundError):
        await complete_twice()
    assert [item async for item in storage.list("memory:b/")] == []


@pytest.fixture
async def storage() -> Storage:
    return Storage(MemoryDriver())


async def uploads_of(storage: Storage) -> list[str]:
    return [upload.path async for upload in storage.list_multiparts("memory:b/")]


async def test_parts_have_the_order_of_the_calls(storage: Storage) -> None:
    async with storage.multipart(URI) as upload:
        waiting = [upload.put_part(str(number)) for number in range(10)]
        random.Random(1).shuffle(waiting)

        async def put(part: Any) -> None:
            await part

        async with anyio.create_task_group() as tasks:
            for part in waiting:
                tasks.start_soon(put, part)
        assert upload.bytes_sent == 10
    assert await storage.read_bytes(URI) == b"0123456789"
    assert await uploads_of(storage) == []


async def test_an_upload_goes_on_by_its_token(storage: Storage) -> None:
    async with storage.multipart(URI) as upload:
        await upload.put_part(b"a")
        token = upload.token
        upload.keep()
        with pytest.raises(StorageError, match="kept"):
            _ = upload.put_part(b"b")
    assert not await storage.exists(URI)
    async with storage.multipart(token=token) as upload:
        assert [part.number for part in upload.parts] == [1]
        await upload.put_part(b"b")
    assert await storage.read_bytes(URI) == b"ab"
    with pytest.raises(UploadNotFoundError):
        async with storage.multipart(token=token):
            pass


async def test_a_cancelled_block_drops_the_upload_and_its_parts(storage: Storage) -> None:
    with anyio.CancelScope() as scope:
        async with storage.multipart(URI) as upload:
            await upload.put_part(b"a")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await uploads_of(storage) == []
    with pytest.raises(NotFoundError):
        await storage.stat(URI)


async def test_a_completion_that_fails_raises_its_own_error_and_logs_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Storage(Failing())

    async def upload_all() -> None:
        async with storage.multipart(URI) as upload:
            await upload.put_part(b"a")

    with pytest.raises(BackendUnavailableError, match=r"not now$"):
        await upload_all()
    assert "may be left at 'memory://b/k'" in caplog.text


async def test_a_part_that_is_being_uploaded_has_its_number_to_itself(storage: Storage) -> None:
    async def slow() -> AsyncIterator[bytes]:
        begun.set()
        await go_on.wait()
        yield b"a"

    begun, go_on = anyio.Event(), anyio.Event()
    async with storage.multipart(URI) as upload:

        async def put() -> None:
            await upload.put_part(slow())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            await begun.wait()
            with pytest.raises(ValueError, match="part 1 is being uploaded"):
                _ = upload.put_part(b"b", 1)
            go_on.set()
    assert await storage.read_bytes(URI) == b"a"


async def test_what_no_mount_can_do_is_refused_at_the_call() -> None:
    from core_doubles import MinimalDriver

    storage = Storage(MinimalDriver())
    with pytest.raises(UnsupportedOperationError):
        storage.multipart("minimal:b/k")
    with pytest.raises(UnsupportedOperationError):
        await storage.sweep_multiparts("minimal:b", timedelta(0))


@given(
    path=st.text(min_size=1),
    upload_id=st.text(min_size=1),
    options=st.builds(
        CompleteOptions,
        overwrite=st.booleans(),
        if_match=st.none() | st.text(),
        checksum=st.none() | st.builds(Checksum, st.text(), st.text()),
    ),
    is_new=st.booleans(),
)
def test_a_token_is_read_back_as_it_was(
    path: str, upload_id: str, options: CompleteOptions, is_new: bool
) -> None:
    token = UploadToken(path, upload_id, options, is_new)
    assert UploadToken.parse(str(token)) == token
    assert str(token).isascii()


@given(text=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_other_text_is_no_token(text: str) -> None:
    with pytest.raises(ValueError, match="no token"):
        UploadToken.parse(text)
