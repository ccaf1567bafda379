from collections.abc import Callable
from typing import Any, override

import anyio
import pytest
from core_doubles import BareDriver, Faults, MinimalDriver, NamedMemory, fusion

from polystow import (
    BackendUnavailableError,
    Body,
    CompositeDriver,
    ConfigError,
    DeleteOptions,
    FileRules,
    Health,
    MemoryDriver,
    Mount,
    NoSpaceError,
    NotFoundError,
    ObjectInfo,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    Storage,
    StorageDriver,
    StorageError,
    Target,
    TransportError,
    ValidationLayer,
    WriteOptions,
    wrap,
)


def failing(**errors: Callable[[], BaseException]) -> StorageDriver:
    return wrap(NamedMemory(), [Faults(**errors)])


async def only(storage: Storage, **arguments: Any) -> Health:
    (health,) = await storage.check(**arguments)
    return health


@pytest.mark.parametrize(
    ("cls", "reachable", "credentials", "container"),
    [
        (NotFoundError, True, True, False),
        (PermissionDeniedError, True, False, None),
        (BackendUnavailableError, True, None, None),
        (RateLimitedError, True, None, None),
        (TransportError, False, None, None),
        (OperationTimeoutError, False, None, None),
        (StorageError, None, None, None),
    ],
)
async def test_an_error_tells_what_is_wrong(
    cls: type[StorageError],
    reachable: bool | None,
    credentials: bool | None,
    container: bool | None,
) -> None:
    error = cls("wrong")
    health = await only(fusion(s3=failing(check=lambda: error)))
    assert (health.reachable, health.credentials, health.container) == (
        reachable,
        credentials,
        container,
    )
    assert (health.error, health.ok, health.writable) == (error, False, None)
    assert str(error).startswith("check 's3://'")


async def test_a_mount_that_works_is_reachable_and_takes_the_credentials() -> None:
    health = await only(fusion(s3=MemoryDriver()))
    assert (health.reachable, health.credentials, health.container) == (True, True, True)
    assert (health.ok, health.writable) == (True, None)
    assert health.seconds >= 0


async def test_a_driver_that_can_not_tell_is_not_judged() -> None:
    health = await only(fusion(s3=MinimalDriver()))
    assert (health.checked, health.reachable, health.ok) == (False, None, True)


async def test_a_mount_that_does_not_answer_is_unreachable_in_time() -> None:
    class Silent(NamedMemory):
        @override
        async def check(self, path: str, /) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        found = await fusion(silent=Silent(), up=MemoryDriver()).check(timeout_s=0.05)
    silent, up = found
    assert (silent.reachable, up.reachable) == (False, True)
    assert isinstance(silent.error, OperationTimeoutError)
    with pytest.raises(ValueError, match="timeout_s"):
        await fusion(up=MemoryDriver()).check(timeout_s=0)


# Writing


async def test_a_probe_shows_that_a_mount_is_writable_and_is_gone_then() -> None:
    memory, bare = MemoryDriver(), BareDriver()
    storage = fusion(memory=memory, fastdfs=bare, poor=MinimalDriver())
    assert [health.writable for health in await storage.check(write=True)] == [True] * 3
    assert [item async for item in storage.list("memory:files")] == []
    assert bare.written == 1
    assert not await storage.exists("fastdfs:group1/M00/00/00/00000001")


async def test_a_mount_that_is_read_only_is_not_written_to() -> None:
    faults = Faults()
    mount = Mount(wrap(MemoryDriver(), [faults]), read_only=True)
    health = await only(fusion(s3=mount), write=True)
    assert (health.writable, health.ok) == (False, True)
    assert faults.names == ["check"]


class Refusing(NamedMemory):
    def __init__(self, write: StorageError | None, delete: StorageError | None = None) -> None:
        super().__init__()
        self.errors = {"write": write, "delete": delete}

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        if (error := self.errors["write"]) is not None:
            raise error
        return await super().write(target, body, options)

    @override
    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        if (error := self.errors["delete"]) is not None:
            raise error
        await super().delete(path, options)


@pytest.mark.parametrize(
    ("cls", "writable"),
    [
        (PermissionDeniedError, False),
        (NoSpaceError, False),
        (ConfigError, None),
    ],
)
async def test_a_probe_that_could_not_be_written_tells_why(
    cls: type[StorageError], writable: bool | None
) -> None:
    error = cls("wrong")
    health = await only(fusion(s3=Refusing(error)), write=True)
    assert (health.writable, health.error) == (writable, error)
    assert (health.reachable, health.credentials) == (True, True)
    assert "s3://" in str(error)


async def test_a_probe_that_could_not_be_deleted_is_named() -> None:
    health = await only(fusion(s3=Refusing(None, PermissionDeniedError("no"))), write=True)
    assert (health.writable, health.ok) == (False, False)
    assert "polystow-check.txt" in "".join(getattr(health.error, "__notes__", ()))


async def test_a_mount_that_is_down_is_not_written_to() -> None:
    faults = Faults(check=lambda: TransportError("down"))
    health = await only(fusion(s3=wrap(MemoryDriver(), [faults])), write=True)
    assert (health.writable, faults.names) == (None, ["check"])


async def test_a_write_that_hangs_ends_in_time() -> None:
    class Hanging(NamedMemory):
        @override
        async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.fail_after(5):
        health = await only(fusion(s3=Hanging()), write=True, timeout_s=0.05)
    assert (health.writable, type(health.error)) == (False, OperationTimeoutError)


async def test_rules_for_files_are_not_for_the_probe() -> None:
    rules = ValidationLayer(FileRules(extensions=["pdf"]))
    health = await only(fusion(s3=wrap(MemoryDriver(), [rules])), write=True)
    assert health.writable


async def test_a_composite_is_probed_where_its_new_objects_go() -> None:
    memory, other = MemoryDriver(), NamedMemory("other")
    inner = CompositeDriver({"memory": memory, "other": other}, write_to="other")
    health = await only(fusion(outer=inner), write=True)
    assert (health.writable, health.ok) == (True, True)
