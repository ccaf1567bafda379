"""`Attacker`: runs one case against a target, and checks everything that must hold."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, override

import attrs

from polystow import Capabilities, StorageDriver
from polystow_testing.faults._cases import Case
from polystow_testing.faults._leaks import LeakWatch, Violation, check_tasks, running_tasks
from polystow_testing.faults._log import WarningLog
from polystow_testing.faults._operations import (
    OPERATIONS,
    Contents,
    Operation,
    World,
    check_next,
)
from polystow_testing.faults._outcomes import Outcome, check_error, check_server
from polystow_testing.faults._proxy import FaultProxy
from polystow_testing.faults._stalls import LoopStallDetector
from polystow_testing.faults._target import FaultTarget
from polystow_testing.faults._wire import Drip, Refuse, Traffic, WireFault

_PATIENCE_S = 1.0
_SURE_POINT = 0.9
_SECOND_LOOKS = 2
_LOOKS_AT_STALLS = 9


@attrs.frozen
class Result:
    """What a case came to, with everything as it should be.

    Attributes:
        outcome: See there.
        fired: How often the fault happened.
    """

    outcome: Outcome
    fired: int


class Attacker:
    """Holds a target with its proxies; use it with `with`.

    Args:
        target: What to attack; entered already.
    """

    def __init__(self, target: FaultTarget) -> None:
        self.target = target
        self.proxies: Mapping[str, FaultProxy] = {}
        self.contents = Contents.of(target)
        self.scratch = Path()
        self._traffic: dict[tuple[str, str, bool], Traffic] = {}
        self._requests: dict[tuple[str, bool], int] = {}
        self._capabilities: Capabilities | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.scratch = Path(tempfile.mkdtemp(prefix="polystow-faults-"))
            stack.callback(shutil.rmtree, self.scratch, ignore_errors=True)
            self.proxies = {
                role: stack.enter_context(FaultProxy(self.target.addresses[role]))
                for role in self.target.roles
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def addresses(self) -> Mapping[str, str]:
        """Those of the proxies, by role."""
        return {role: proxy.address for role, proxy in self.proxies.items()}

    def can(self, operation: Operation) -> bool:
        """Whether the driver can do an operation."""
        if self._capabilities is None:
            self._capabilities = asyncio.run(self._get_ready())
        return operation.possible(self.target, self._capabilities)

    async def _get_ready(self) -> Capabilities:
        # What is imported when it is first needed would count as a stall of the event loop.
        world = World.of(self.target, self.contents)
        async with self.target.open(self.addresses) as driver:
            await check_next(driver, world)
            return driver.capabilities

    def run(self, case: Case) -> Result:
        """Run a case.

        Raises:
            Violation: Something that must hold does not.
        """
        operation = OPERATIONS[case.operation]
        if case.direction != "connect" and (case.operation, case.warm) not in self._requests:
            self._measure(operation, warm=case.warm)
        for look in range(_LOOKS_AT_STALLS):
            try:
                return self._run(case, operation, self._fault(case))
            except Violation as error:
                # A busy machine stalls a loop, lets a short time limit pass, or an operation end
                # before its fault, now and then; a driver does it each time. A virtual machine
                # that is not let run counts the time as its processes' own, in bursts, so that
                # stalls are looked at more often.
                enough = error.check != "event loop" and look >= _SECOND_LOOKS
                if enough or not error.may_be_the_machine:
                    raise
        return self._run(case, operation, self._fault(case))

    def _fault(self, case: Case) -> WireFault | None:
        if case.action is None:
            return None
        after = 0
        if case.direction != "connect":
            traffic = self._traffic[case.operation, case.role, case.warm]
            total = traffic.up_bytes if case.direction == "up" else traffic.down_bytes
            after = min(total, max(1, round(total * case.point))) if case.point else 0
        return WireFault(case.action, case.direction, after, case.times)

    def _measure(self, operation: Operation, *, warm: bool) -> None:
        """Find out how much flows when nothing fails, in a run that must succeed."""
        result = self._run(Case(operation.name, "none", warm=warm), operation, None)
        if result.outcome.kind != "done":
            raise Violation("right answer", f"without a fault, it fails: {result.outcome.error!r}")

    def _run(self, case: Case, operation: Operation, fault: WireFault | None) -> Result:
        world = World.of(self.target, self.contents)
        with WarningLog() as log, LeakWatch.over(self.scratch) as leaks:
            try:
                outcome, fired = asyncio.run(self._attack(case, operation, world, fault))
            finally:
                for proxy in self.proxies.values():
                    proxy.close_connections()
            leaks.check(known={proxy.listener_id for proxy in self.proxies.values()})
        check_server(operation, world, attrs.evolve(outcome, log=log.text))
        return Result(outcome, fired)

    async def _attack(
        self, case: Case, operation: Operation, world: World, fault: WireFault | None
    ) -> tuple[Outcome, int]:
        before = running_tasks()
        with LoopStallDetector(cpu_limit_s=self.target.stall_limit_s) as stalls:
            async with self.target.open(self.addresses) as driver:
                if case.warm:
                    await check_next(driver, world)
                tasks, requests = running_tasks(), self.target.requests
                with self._fault_in_effect(case, fault) as effect:
                    outcome = await self._operate(case, operation, driver, world)
                if case.fault == "none":
                    for role, proxy in self.proxies.items():
                        self._traffic[operation.name, role, case.warm] = proxy.traffic()
                    self._requests[operation.name, case.warm] = self.target.requests - requests
                await check_tasks(tasks, when="after the operation")
                await check_next(driver, world)
        await check_tasks(before, when="after the storage was closed")
        stalls.check()
        return outcome, effect.fired

    def _fault_in_effect(self, case: Case, fault: WireFault | None) -> "_Effect":
        for proxy in self.proxies.values():
            proxy.traffic(reset=True)
        requests = self._requests.get((case.operation, case.warm), 1)
        skip = round((requests - 1) * case.point)
        return _Effect(self.target, self.proxies.get(case.role), case, fault, skip)

    async def _operate(
        self, case: Case, operation: Operation, driver: StorageDriver, world: World
    ) -> Outcome:
        is_drip = isinstance(case.action, Drip)
        limit_s = _PATIENCE_S if is_drip else self.target.time_limit_s
        garbled = case.is_flip and (operation.name, case.direction) not in self.target.detects_flips
        task = asyncio.ensure_future(operation.run(driver, world))
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=self.target.time_limit_s)
            if not task.cancelled() or not is_drip:
                # A drip makes progress for ever; to end it is up to the application.
                raise Violation("time limit", f"it goes on after {limit_s:g} s")
            return Outcome("cancelled", cut_off=True)
        cut_off = case.times is None or isinstance(case.action, Refuse)
        try:
            return Outcome("done", await task, garbled=garbled)
        except Violation:
            if garbled:
                return Outcome("done", garbled=True)
            raise
        except Exception as error:  # noqa: BLE001 - judged
            told = check_error(operation, error, garbled=case.is_flip)
            return Outcome("failed", error=told, garbled=garbled, cut_off=cut_off)


class _Effect(AbstractContextManager["_Effect"]):
    """A fault, while it lasts."""

    def __init__(
        self, target: FaultTarget, proxy: FaultProxy | None, case: Case, fault: WireFault | None,
        skip: int,
    ) -> None:  # fmt: skip
        self.fired = 0
        self._skip = skip
        self._target = target
        self._proxy = proxy
        self._case = case
        self._fault = fault
        self._answers = case.fault in target.answers

    @override
    def __enter__(self) -> Self:
        if self._proxy is not None and self._fault is not None:
            self._proxy.arm(self._fault)
        elif self._answers:
            self._target.answer(self._case.fault, skip=self._skip, times=self._case.times)
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._proxy is not None and self._fault is not None:
            self.fired = self._proxy.heal()
        elif self._answers:
            self.fired = self._target.answer_rightly()
        must = self._answers or (self._fault is not None and self._case.point <= _SURE_POINT)
        if kind is None and must and not self.fired:
            raise Violation("fault", f"{self._case.id} never happened: the case tests nothing")
