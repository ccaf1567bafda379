"""Errors and deletion: of the right class, about the right path, and with all their fields."""

from collections.abc import Awaitable, Callable

import pytest

from polystow import (
    ByteRange,
    BytesBody,
    CopyOptions,
    DeleteOptions,
    InvalidPathError,
    MetadataOptions,
    NameHint,
    NotFoundError,
    PresignOptions,
    ReadOptions,
    StatOptions,
    StorageError,
    Target,
    WriteOptions,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject

type _Call = Callable[[Subject, str], Awaitable[object]]


def _target(subject: Subject) -> Target:
    if subject.limits.client_names_keys:
        return subject.path("copied")
    return NameHint("copied", container=subject.hint_container)


async def _open_read(subject: Subject, path: str) -> object:
    return await subject.driver.open_read(path, ReadOptions())


async def _read_range(subject: Subject, path: str) -> object:
    return await subject.driver.open_read(path, ReadOptions(range=ByteRange(10_000)))


async def _stat(subject: Subject, path: str) -> object:
    return await subject.driver.stat(path, StatOptions())


async def _delete(subject: Subject, path: str) -> None:
    await subject.driver.delete(path, DeleteOptions(missing_ok=False))


async def _copy(subject: Subject, path: str) -> object:
    if subject.capabilities.copy is None:
        pytest.skip("the driver declares no copy")
    return await subject.capabilities.copy.copy(path, _target(subject), CopyOptions())


async def _set_metadata(subject: Subject, path: str) -> None:
    if subject.capabilities.set_metadata is None:
        pytest.skip("the driver declares no set_metadata")
    await subject.capabilities.set_metadata.set_metadata(path, {"a": "b"}, MetadataOptions())


async def _merge_metadata(subject: Subject, path: str) -> None:
    if subject.capabilities.set_metadata is None:
        pytest.skip("the driver declares no set_metadata")
    await subject.capabilities.set_metadata.set_metadata(path, {"a": "b"}, MetadataOptions("merge"))


async def _write(subject: Subject, path: str) -> object:
    if not subject.limits.client_names_keys:
        pytest.skip("the backend names its objects itself")
    return await subject.driver.write(path, BytesBody(b"x"), WriteOptions())


async def _presign(subject: Subject, path: str) -> object:
    if subject.capabilities.presign is None:
        pytest.skip("the driver declares no presign")
    return await subject.capabilities.presign.presign(path, PresignOptions())


_OF_OBJECTS: dict[str, tuple[str, _Call]] = {
    "open_read": ("open_read", _open_read),
    "read_range": ("open_read", _read_range),
    "stat": ("stat", _stat),
    "delete": ("delete", _delete),
    "copy": ("copy", _copy),
    "set_metadata": ("set_metadata", _set_metadata),
    "merge_metadata": ("set_metadata", _merge_metadata),
}
_OF_PATHS = {**_OF_OBJECTS, "write": ("write", _write), "presign": ("presign", _presign)}


def _shown(subject: Subject, operation: str) -> str:
    if operation == "copy" and subject.bare.capabilities.copy is None:
        return "open_read"  # a composite copies by reading and writing, and says which failed
    return operation


class ErrorTests(Conformance):
    """What is raised, and `delete`."""

    @representative
    @cases(**_OF_OBJECTS)
    async def test_an_object_that_is_not_there_is_not_found(
        self, subject: Subject, case: tuple[str, _Call]
    ) -> None:
        operation, call = case
        path = await subject.missing()
        with subject.raises(NotFoundError, operation=_shown(subject, operation), path=path):
            await call(subject, path)

    @cases(open_read=_OF_OBJECTS["open_read"], stat=_OF_OBJECTS["stat"], copy=_OF_OBJECTS["copy"])
    async def test_an_object_in_a_container_that_is_not_there_is_not_found(
        self, keyed: Subject, case: tuple[str, _Call]
    ) -> None:
        operation, call = case
        path = f"{keyed.missing_container}/object"
        with keyed.raises(NotFoundError, operation=_shown(keyed, operation), path=path):
            await call(keyed, path)

    @pytest.mark.parametrize("path", ["no_key", "empty_key", "no_container"])
    @cases(**_OF_PATHS)
    async def test_a_path_that_is_none_is_refused(
        self, subject: Subject, case: tuple[str, _Call], path: str
    ) -> None:
        operation, call = case
        scheme = subject.container.removesuffix(subject.hint_container)
        wrong = {
            "no_key": subject.container,
            "empty_key": f"{subject.container}/",
            "no_container": f"{scheme}/key",
        }[path]
        with subject.raises(InvalidPathError, operation=_shown(subject, operation), path=wrong):
            await call(subject, wrong)

    @representative
    async def test_deleting_what_is_not_there_succeeds(self, subject: Subject) -> None:
        path = await subject.missing()
        await subject.delete(path)
        await subject.delete(path)

    @representative
    async def test_a_deleted_object_is_gone(self, subject: Subject) -> None:
        kept = await subject.put(b"kept", "kept")
        info = await subject.put(b"gone", "gone")
        await subject.delete(info.path, missing_ok=False)
        for call in (_open_read, _stat, _delete):
            with pytest.raises(NotFoundError):
                await call(subject, info.path)
        assert await subject.read(kept.path) == b"kept"

    async def test_errors_are_made_anew_each_time(self, subject: Subject) -> None:
        path = await subject.missing()
        errors: list[StorageError] = []
        for _ in range(2):
            with pytest.raises(NotFoundError) as caught:
                await subject.stat(path)
            errors.append(caught.value)
        assert errors[0] is not errors[1]
