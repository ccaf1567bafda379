"""Operation layers: advice around every operation of a driver, present and future ones.

A layer is one function. It sees an `Operation`, may change its operands, and may look at or
replace its result. `wrap` does all wrapping; nobody writes forwarding methods by hand.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

from anyio import move_on_after
from attrs import define, evolve, field, frozen, validators

from polystow._driver import CAPABILITY_METHODS, DRIVER_METHODS, Capabilities, StorageDriver
from polystow._errors import OperationTimeoutError
from polystow._value import Value
from polystow._values import DriverInfo


@define(eq=False)
class Operation:
    """One call of a driver's method.

    Attributes:
        name: The method: `"stat"`, `"list_page"` …
        args: Its operands, as in the driver protocol.
        driver: The driver.
    """

    name: str
    args: tuple[object, ...]
    driver: DriverInfo

    @property
    def path(self) -> str:
        """What it is about: its first operand as text; of several paths the first, and how many."""
        subject = self.args[0] if self.args else ""
        if not isinstance(subject, tuple):
            return str(subject)
        paths = cast("tuple[object, ...]", subject)
        return (
            f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else "".join(map(str, paths))
        )


_READING = frozenset(
    {"open_read", "stat", "list_page", "list_parts", "list_multiparts", "presign", "check",
     "list_containers", "stat_container", "get_versioning", "list_versions", "get_tags", "get_acl"}
)  # fmt: skip


class Layer(Protocol):
    """Advice around operations: `async def layer(op, call): return await call(op)`."""

    def __call__[T](
        self, op: Operation, call: Callable[[Operation], Awaitable[T]], /
    ) -> Awaitable[T]:
        """Do `call(op)`, or less, or more."""
        ...


def wrap(driver: StorageDriver, layers: Sequence[Layer]) -> StorageDriver:
    """Put layers around all of a driver's operations; the first is the outermost.

    Args:
        driver: Any driver, composites included.
        layers: None at all returns the driver itself.
    """
    if not layers:
        return driver
    return cast("StorageDriver", _Wrapped(driver, tuple(layers)))


def layers_of(driver: StorageDriver) -> tuple[Layer, ...]:
    """The layers around a driver, the first outermost."""
    layers: tuple[Layer, ...] = ()
    while isinstance(driver, _Wrapped):
        layers += driver.layers
        driver = driver.wrapped
    return layers


def unwrap(driver: StorageDriver) -> StorageDriver:
    """The driver under its layers, and under theirs."""
    while isinstance(driver, _Wrapped):
        driver = driver.wrapped
    return driver


class _Wrapped:
    def __init__(self, driver: StorageDriver, layers: tuple[Layer, ...]) -> None:
        self.wrapped = driver
        self.layers = layers
        self.info = driver.info
        self.capabilities = _wrap_capabilities(driver, layers)
        for name in DRIVER_METHODS:
            setattr(self, name, _wrap_method(driver.info, driver, name, layers))


class _WrappedCapability:
    def __init__(
        self, info: DriverInfo, provider: object, names: tuple[str, ...], layers: tuple[Layer, ...]
    ) -> None:
        for name in names:
            setattr(self, name, _wrap_method(info, provider, name, layers))


def _wrap_capabilities(driver: StorageDriver, layers: tuple[Layer, ...]) -> Capabilities:
    capabilities = driver.capabilities
    wrapped: dict[str, Any] = {
        name: _WrappedCapability(driver.info, provider, methods, layers)
        for name, methods in CAPABILITY_METHODS.items()
        if (provider := getattr(capabilities, name)) is not None
    }
    return evolve(capabilities, **wrapped)


def _wrap_method(
    info: DriverInfo, provider: object, name: str, layers: tuple[Layer, ...]
) -> Callable[..., Awaitable[object]]:
    method: Callable[..., Awaitable[object]] = getattr(provider, name)

    def innermost(op: Operation) -> Awaitable[object]:
        return method(*op.args)

    call: Callable[[Operation], Awaitable[object]] = innermost
    for layer in reversed(layers):
        call = _advised(layer, call)
    outermost = call

    def wrapped(*args: object) -> Awaitable[object]:
        return outermost(Operation(name, args, info))

    wrapped.__name__ = name
    return wrapped


def _advised(
    layer: Layer, call: Callable[[Operation], Awaitable[object]]
) -> Callable[[Operation], Awaitable[object]]:
    return lambda op: layer(op, call)


@frozen(eq=False, repr=False)
class DeadlineLayer(Value):
    """A total time limit for each operation, whatever it does inside.

    It covers the opening of a read, not the stream that it gives.

    Args:
        seconds: The limit.
    """

    seconds: float = field(validator=validators.gt(0))

    async def __call__[T](self, op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        """Raise `OperationTimeoutError` when the time is up."""
        with move_on_after(self.seconds) as scope:
            return await call(op)
        assert scope.cancelled_caught
        raise OperationTimeoutError(
            f"it was not done within its deadline of {self.seconds:g} s",
            path=op.path,
            operation=op.name,
            driver=op.driver.name,
            outcome="failed" if op.name in _READING else "unknown",
        )
