"""The batteries: pytest classes that a driver's author subclasses."""

from collections.abc import Iterator
from typing import ClassVar, get_args

import pytest

from polystow_testing._fault_report import everything, record
from polystow_testing.faults._attack import Attacker
from polystow_testing.faults._canceller import Canceller, How
from polystow_testing.faults._cases import Case, plan
from polystow_testing.faults._operations import OPERATIONS, Operation
from polystow_testing.faults._streaming import stream_through
from polystow_testing.faults._target import FaultTarget

_BATCH = 25
_SAMPLED = 10
_MOST_AWAITS = 10_000
_HOW: tuple[How, ...] = get_args(How.__value__)


class FaultBattery:
    """Each operation of a driver, with each fault, at each point.

    After each of them: a right answer or the right error within its time limit; the next answers
    are right; no socket, task, temporary file, object or upload is left over; the event loop has
    never stood still.

    Attributes:
        target: What to attack.
        sampled: Take each n-th case only, unless everything is asked for.

    Example:
        >>> class TestFaults(FaultBattery):  # doctest: +SKIP
        ...     target = MyTarget
    """

    target: ClassVar[type[FaultTarget]]
    sampled: ClassVar[int] = 1

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each case."""
        if "fault_case" in metafunc.fixturenames:
            complete = everything(metafunc.config)
            cases = list(plan(self.target, everything=complete))[:: 1 if complete else self.sampled]
            metafunc.parametrize("fault_case", cases, ids=[case.id for case in cases])

    @pytest.fixture(scope="class")
    @classmethod
    def attacker(cls) -> Iterator[Attacker]:
        """The target, with proxies before it."""
        with cls.target() as target, Attacker(target) as attacker:
            yield attacker

    def test_survives(
        self,
        attacker: Attacker,
        fault_case: Case,
        request: pytest.FixtureRequest,
    ) -> None:
        """Run one case."""
        operation = OPERATIONS[fault_case.operation]
        if not attacker.can(operation):
            pytest.skip(f"the driver can't {operation.name}")
        cell = (fault_case.fault, fault_case.operation, self.target.name)
        try:
            result = attacker.run(fault_case)
        except BaseException:
            record(request, *cell, cases=1, unknown=0)
            raise
        record(request, *cell, cases=1, unknown=int(result.outcome.unknown))


class CancellationBattery:
    """Each operation of a driver, cancelled at its 1st, 2nd … nth await, and at random moments.

    After each of them: the cancellation was not swallowed; the next answers are right; nothing is
    left over.

    Attributes:
        target: What to attack; it needs no addresses.
        backends: The event loops that the driver runs on.
        random_cancellations: How many there are in all when everything is asked for.
    """

    target: ClassVar[type[FaultTarget]]
    backends: ClassVar[tuple[str, ...]] = ("asyncio",)
    random_cancellations: ClassVar[int] = 3_400

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each operation and kind of cancellation."""
        operations = [name for name in OPERATIONS if name not in self.target.leaves_out]
        complete = everything(metafunc.config)
        if "cancellation" in metafunc.fixturenames:
            kinds = [
                (backend, how)
                for backend in self.backends
                for how in (_HOW if backend == "asyncio" else _HOW[:1])
            ]
            cases = [(name, *kind) for name in operations for kind in kinds]
            metafunc.parametrize("cancellation", cases, ids=["-".join(case) for case in cases])
        if "batch" in metafunc.fixturenames:
            whole = -(-self.random_cancellations // (_BATCH * len(operations)))
            count = whole if complete else 1
            batches = [(name, number) for name in operations for number in range(count)]
            metafunc.parametrize("batch", batches, ids=[f"{name}-{n}" for name, n in batches])

    @pytest.fixture(scope="class")
    @classmethod
    def canceller(cls) -> Iterator[Canceller]:
        """The target."""
        with cls.target() as target, Canceller(target) as canceller:
            yield canceller

    def test_cancelled_at_every_await(
        self,
        canceller: Canceller,
        cancellation: tuple[str, str, How],
        request: pytest.FixtureRequest,
    ) -> None:
        """Cancel at the 1st await, at the 2nd, and so on until it completes; or at some of them."""
        name, backend, how = cancellation
        operation = self._operation(canceller, name)
        complete = everything(request.config)
        nth, count = 1, 0
        try:
            while canceller.cancel_at(operation, nth, how, backend=backend):
                count += 1
                nth += 1 if complete else 1 + nth // 3
                assert nth < _MOST_AWAITS, "it awaits without end"
        finally:
            cell = (f"cancel {how} ({backend})", name, self.target.name)
            record(request, *cell, cases=count + 1, unknown=0)

    def test_random_cancellations_are_not_lost(
        self,
        canceller: Canceller,
        batch: tuple[str, int],
        request: pytest.FixtureRequest,
    ) -> None:
        """Cancel many times on one storage, at random moments."""
        name, seed = batch
        operation = self._operation(canceller, name)
        count = _BATCH if everything(request.config) else _SAMPLED
        try:
            count = canceller.cancel_at_random(operation, count, seed)
        finally:
            cell = ("cancel at random", name, self.target.name)
            record(request, *cell, cases=count, unknown=0)

    def _operation(self, canceller: Canceller, name: str) -> Operation:
        operation = OPERATIONS[name]
        if not canceller.can(operation):
            pytest.skip(f"the driver can't {name}")
        return operation


class StreamingBattery:
    """An object that is much larger than the memory that a driver may use, written and read.

    Attributes:
        target: Whose server keeps its objects on disk.
        streamed_bytes: The object's size, a multiple of 64 KiB.
        memory_bytes: How much memory may be in use at once: some parts, and what else there is.
    """

    target: ClassVar[type[FaultTarget]]
    streamed_bytes: ClassVar[int] = 48 * 1_048_576
    memory_bytes: ClassVar[int] = 16 * 1_048_576

    def test_memory_stays_bounded_whatever_the_size(self) -> None:
        """Stream it through."""
        with self.target() as target:
            stream_through(target, self.streamed_bytes, self.memory_bytes)
