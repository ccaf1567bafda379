import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, cast, get_type_hints

import pytest
from anyio import Event, create_task_group, get_cancelled_exc_class, sleep_forever
from attrs import fields
from core_doubles import Faults, MinimalDriver

import polystow._driver
from polystow import (
    BytesBody,
    Capabilities,
    CompositeDriver,
    DeadlineLayer,
    DeleteOptions,
    DriverInfo,
    Layer,
    MemoryDriver,
    NotFoundError,
    Operation,
    OperationTimeoutError,
    ReadOptions,
    Span,
    StatOptions,
    StorageDriver,
    TracingLayer,
    WriteOptions,
    open_storage,
    wrap,
)
from polystow._driver import CAPABILITY_METHODS, DRIVER_METHODS

ASKED = {"bare_ids", "routes"}  # capabilities without an awaitable method


def methods_of(protocol: type) -> dict[str, Callable[..., object]]:
    return {
        name: value
        for name, value in vars(protocol).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def capability_protocols() -> dict[str, type]:
    found: dict[str, type] = {}
    for name, annotation in get_type_hints(Capabilities, dict(vars(polystow._driver))).items():
        protocols = [
            kind for kind in getattr(annotation, "__args__", ()) if Protocol in kind.__mro__
        ]
        if protocols:
            found[name] = protocols[0]
    return found


def test_every_capability_is_a_protocol() -> None:
    names = {attribute.name for attribute in fields(Capabilities)} - {"limits"}
    assert set(capability_protocols()) == names


def test_every_awaitable_method_of_a_capability_is_wrapped() -> None:
    awaitable = {
        name: tuple(
            method
            for method, function in methods_of(protocol).items()
            if str(inspect.signature(function).return_annotation).startswith(
                ("collections.abc.Awaitable", "typing.Awaitable")
            )
        )
        for name, protocol in capability_protocols().items()
    }
    assert {name: methods for name, methods in awaitable.items() if methods} == CAPABILITY_METHODS
    assert {name for name, methods in awaitable.items() if not methods} == ASKED


def test_every_method_of_a_driver_is_wrapped() -> None:
    assert tuple(methods_of(StorageDriver)) == DRIVER_METHODS
    properties = {
        name for name, value in vars(StorageDriver).items() if isinstance(value, property)
    }
    assert properties == {"info", "capabilities"}


class Everything:
    """A driver whose every method tells how it was called."""

    def __init__(self) -> None:
        self.info = DriverInfo("every", "tests")
        provider = cast("Capabilities", self)
        self.capabilities = Capabilities(**dict.fromkeys(capability_protocols(), provider))  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def method(*args: object) -> object:
            return (name, args)

        return method


every_method = pytest.mark.parametrize(
    ("capability", "name"),
    [(None, name) for name in DRIVER_METHODS]
    + [(capability, name) for capability, names in CAPABILITY_METHODS.items() for name in names],
)


@every_method
async def test_a_layer_sees_every_operation(capability: str | None, name: str) -> None:
    faults = Faults()
    driver = wrap(cast("StorageDriver", Everything()), [faults])
    provider = driver if capability is None else getattr(driver.capabilities, capability)
    assert await getattr(provider, name)("a", 1) == (name, ("a", 1))
    assert faults.calls == [(name, "a")]


@every_method
async def test_a_layer_can_change_the_operands(capability: str | None, name: str) -> None:
    async def change[T](op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        return await call(Operation(op.name, ("b", *op.args[1:]), op.driver))

    driver = wrap(cast("StorageDriver", Everything()), [change])
    provider = driver if capability is None else getattr(driver.capabilities, capability)
    assert await getattr(provider, name)("a", 1) == (name, ("b", 1))


def test_wrapped_objects_have_the_methods_of_their_protocols_and_no_others() -> None:
    driver = wrap(cast("StorageDriver", Everything()), [Faults()])
    assert set(vars(driver)) == {"info", "capabilities", "layers", "wrapped", *DRIVER_METHODS}
    for capability, names in CAPABILITY_METHODS.items():
        provider: object = getattr(driver.capabilities, capability)
        assert set(vars(provider)) == set(names)


def test_capabilities_that_a_driver_lacks_stay_none() -> None:
    driver = wrap(MinimalDriver(), [Faults()])
    assert driver.capabilities == MinimalDriver().capabilities


def test_no_layers_return_the_driver_itself() -> None:
    driver = MemoryDriver()
    assert wrap(driver, []) is driver


async def test_the_first_layer_is_the_outermost() -> None:
    seen: list[str] = []

    def layer(name: str) -> Layer:
        async def advice[T](op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
            seen.append(f"{name} in")
            try:
                return await call(op)
            finally:
                seen.append(f"{name} out")

        return advice

    driver = wrap(wrap(MemoryDriver(), [layer("c")]), [layer("a"), layer("b")])
    with pytest.raises(NotFoundError):
        await driver.stat("b/k", StatOptions())
    assert seen == ["a in", "b in", "c in", "c out", "b out", "a out"]


async def test_a_wrapped_composite_is_still_a_composite() -> None:
    faults = Faults()
    composite = wrap(CompositeDriver({"s3": MemoryDriver()}), [faults])
    async with open_storage(composite) as storage:
        await storage.write("s3:b/k", b"x")
        await storage.copy("s3:b/k", "s3:b/l")
        storage.require("list", "s3:")
        await storage.delete_many(["s3:b/k", "s3:b/l"])
    assert faults.calls == [
        ("write", "s3:b/k"),
        ("copy", "s3:b/k"),
        ("delete_many", "s3:b/k and 1 more"),
    ]


@pytest.mark.parametrize("kind", ["configuration", "driver"])
async def test_layers_of_a_storage_see_ids_however_it_was_opened(kind: str) -> None:
    faults = Faults()
    source = MemoryDriver() if kind == "driver" else "memory:"
    async with open_storage(source, layers=[faults]) as storage:
        await storage.write("memory:b/k", b"")
        await storage.delete_many(["memory:b/k"])
    assert faults.calls == [("write", "memory:b/k"), ("delete_many", "memory:b/k")]


@pytest.mark.parametrize(
    ("args", "path"),
    [((), ""), (("a",), "a"), (((),), ""), ((("a",),), "a"), ((("a", "b", "c"),), "a and 2 more")],
)
def test_the_path_of_an_operation_is_short(args: tuple[object, ...], path: str) -> None:
    assert Operation("x", args, DriverInfo("d", "d")).path == path


# Tracing


async def test_a_span_tells_of_a_success() -> None:
    spans: list[Span] = []
    driver = wrap(MemoryDriver(), [TracingLayer(spans.append)])
    await driver.write("b/k", BytesBody(b""), WriteOptions())
    (span,) = spans
    assert (span.operation, span.path, span.driver, span.error) == ("write", "b/k", "memory", None)
    assert 0 <= span.seconds < 10


async def test_a_span_tells_of_a_failure() -> None:
    spans: list[Span] = []
    driver = wrap(MemoryDriver(), [TracingLayer(spans.append)])
    with pytest.raises(NotFoundError) as caught:
        await driver.open_read("b/k", ReadOptions())
    assert [span.error for span in spans] == [caught.value]


async def test_a_span_tells_of_a_cancellation() -> None:
    spans: list[Span] = []
    began = Event()

    async def hang[T](op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        began.set()
        await sleep_forever()
        return await call(op)

    driver = wrap(MemoryDriver(), [TracingLayer(spans.append), hang])

    async def stat() -> None:
        await driver.stat("b/k", StatOptions())

    async with create_task_group() as tasks:
        tasks.start_soon(stat)
        await began.wait()
        tasks.cancel_scope.cancel()
    assert [type(span.error) for span in spans] == [get_cancelled_exc_class()]


async def test_spans_are_logged_without_control_characters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = wrap(MemoryDriver(), [TracingLayer()])
    with caplog.at_level(logging.DEBUG, "polystow"):
        await driver.delete("b/\n\x1b[31m", DeleteOptions())
    (message,) = caplog.messages
    assert message.startswith("memory delete 'b/")
    assert message.isprintable()


async def test_nothing_is_logged_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    driver = wrap(MemoryDriver(), [TracingLayer()])
    with caplog.at_level(logging.INFO, "polystow"):
        await driver.delete("b/k", DeleteOptions())
    assert caplog.messages == []


# Deadlines


async def hang_forever[T](op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
    await sleep_forever()
    return await call(op)


async def test_an_operation_over_its_deadline_is_a_timeout() -> None:
    driver = wrap(MemoryDriver(), [DeadlineLayer(0.01), hang_forever])
    with pytest.raises(TimeoutError, match=r"deadline of 0\.01 s") as caught:
        await driver.stat("b/k", StatOptions())
    error = caught.value
    assert isinstance(error, OperationTimeoutError)
    assert (error.operation, error.path, error.driver) == ("stat", "b/k", "memory")
    assert not error.retryable


async def test_a_read_over_its_deadline_has_changed_nothing() -> None:
    driver = wrap(MemoryDriver(), [DeadlineLayer(0.01), hang_forever])
    with pytest.raises(OperationTimeoutError) as caught:
        await driver.open_read("b/k", ReadOptions())
    assert caught.value.outcome == "failed"


async def test_what_an_operation_over_its_deadline_has_done_is_unknown() -> None:
    driver = wrap(MemoryDriver(), [DeadlineLayer(0.01), hang_forever])
    with pytest.raises(OperationTimeoutError) as caught:
        await driver.write("b/k", BytesBody(b""), WriteOptions())
    assert caught.value.outcome == "unknown"


async def test_a_deadline_leaves_others_cancellations_alone() -> None:
    driver = wrap(MemoryDriver(), [DeadlineLayer(60), hang_forever])
    began = Event()
    ended: list[BaseException] = []

    async def stat() -> None:
        began.set()
        try:
            await driver.stat("b/k", StatOptions())
        except BaseException as error:
            ended.append(error)
            raise

    async with create_task_group() as tasks:
        tasks.start_soon(stat)
        await began.wait()
        tasks.cancel_scope.cancel()
    assert [type(error) for error in ended] == [get_cancelled_exc_class()]


async def test_an_operation_within_its_deadline_passes() -> None:
    driver = wrap(MemoryDriver(), [DeadlineLayer(60)])
    await driver.write("b/k", BytesBody(b"x"), WriteOptions())
    assert (await driver.stat("b/k", StatOptions())).size == 1


async def test_an_error_within_the_deadline_passes() -> None:
    with pytest.raises(NotFoundError):
        await wrap(MemoryDriver(), [DeadlineLayer(60)]).stat("b/k", StatOptions())


def test_a_deadline_is_positive() -> None:
    with pytest.raises(ValueError, match="> 0"):
        DeadlineLayer(0)
