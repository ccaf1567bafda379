"""Which cases there are: every fault at every point of every operation, or a sample of them."""

import zlib
from collections.abc import Iterator

import attrs

from polystow_testing.faults._operations import OPERATIONS
from polystow_testing.faults._target import FaultTarget
from polystow_testing.faults._wire import (
    Close,
    Delay,
    Direction,
    Drip,
    Flip,
    Hang,
    Refuse,
    Split,
    Truncate,
    WireAction,
)

_REVIVAL_S = 0.05
_ENDS: dict[str, WireAction] = {
    "close": Close(),
    "reset": Close(reset=True),
    "die": Refuse(for_s=_REVIVAL_S),
}
_COME_BACK: dict[str, WireAction] = {"outage": Refuse(for_s=_REVIVAL_S), "refuse": Refuse()}
_OPENINGS: dict[str, WireAction] = {
    "close": Close(),
    "reset": Close(reset=True),
    "hang": Hang(),
    "delay": Delay(),
}
_SLOW: dict[str, WireAction] = {"split": Split(), "delay": Delay(), "drip": Drip()}
_EVERYWHERE = (0.0, 0.001, *(step / 12 for step in range(1, 12)), 0.999, 1.0)
_SOME = (0.0, 0.4, 0.9)
_WITHIN = (0.02, 0.3, 0.5, 0.7, 0.97)
_REQUESTS = (0.0, 0.5, 1.0)


@attrs.frozen
class Case:
    """One fault at one point of one operation.

    Attributes:
        operation: Its name.
        fault: Its name, in the table.
        times: How often it happens; None: until the operation is over.
        warm: Whether the storage has been used before, so that it has connections.
        role: Which server; empty for a fault that the servers make.
        direction: See `WireFault`.
        point: How much of what flows in this direction without a fault flows before, or of the
            requests if the servers make the fault: 0 to 1.
        action: What happens.
    """

    operation: str
    fault: str
    times: int | None = 1
    warm: bool = True
    role: str = ""
    direction: Direction = "down"
    point: float = 0.0
    action: WireAction | None = None

    @property
    def id(self) -> str:
        """In the test's name."""
        where = f"{self.role}-{self.direction}-{self.point:.3f}" if self.role else f"{self.point:g}"
        often = "ever" if self.times is None else "once"
        return f"{self.operation}-{self.fault}-{where}-{often}-{'warm' if self.warm else 'cold'}"

    @property
    def is_flip(self) -> bool:
        """Whether it changes what is said, and not only whether."""
        return isinstance(self.action, Flip)


def plan(target: type[FaultTarget], *, everything: bool) -> list[Case]:
    """The cases of a target.

    Args:
        target: It.
        everything: All of them, thousands; else one of each operation and fault, always the
            same, and fewer of those that have to wait for a time limit.
    """
    cases = [
        case
        for operation in OPERATIONS
        if operation not in target.leaves_out
        for case in _of_operation(target, operation)
    ]
    if everything:
        return cases

    kinds: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        kinds.setdefault((case.operation, case.fault), []).append(case)
    return [min(kind, key=_lot) for kind in kinds.values() if _is_drawn(kind[0])]


def _lot(case: Case) -> int:
    return zlib.crc32(case.id.encode())


def _is_drawn(case: Case) -> bool:
    # Waiting for time limits is what takes long.
    slow = isinstance(case.action, Hang | Drip) or "stall" in case.fault
    return not slow or zlib.crc32(f"{case.operation} {case.fault}".encode()) % 8 == 0


def _of_operation(target: type[FaultTarget], operation: str) -> Iterator[Case]:
    for role in target.roles:
        yield from _of_connections(operation, role)
        for direction in ("up", "down"):
            yield from _of_direction(operation, role, direction)
            if (operation, direction) in target.detects_flips or direction == "down":
                for point in _WITHIN:
                    yield Case(operation, "flip", 1, True, role, direction, point, Flip())
    for name in target.answers:
        for times in (1, None):
            for point in _REQUESTS:
                if (operation, name) not in target.undetectable:
                    yield Case(operation, name, times, point=point)


def _of_connections(operation: str, role: str) -> Iterator[Case]:
    for name, refusal in _COME_BACK.items():
        yield Case(operation, name, 1, True, role, "connect", 0.0, refusal)
        yield Case(operation, name, 1, False, role, "connect", 0.0, refusal)
    for name, action in _OPENINGS.items():
        for times in (1, None):
            yield Case(operation, name, times, False, role, "connect", 0.0, action)


def _of_direction(operation: str, role: str, direction: Direction) -> Iterator[Case]:
    for name, action in _ENDS.items():
        for times in (1, None):
            for point in _EVERYWHERE:
                for warm in (True, False):
                    yield Case(operation, name, times, warm, role, direction, point, action)
    if direction == "down":
        for point in _EVERYWHERE:
            yield Case(operation, "truncate", 1, True, role, direction, point, Truncate())
    for times in (1, None):
        for point in _SOME:
            yield Case(operation, "hang", times, True, role, direction, point, Hang())
    for name, action in _SLOW.items():
        yield Case(operation, name, None, True, role, direction, 0.0, action)
