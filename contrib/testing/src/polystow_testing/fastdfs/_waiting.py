"""Waiting for the counts of a server to become what a test expects."""

from collections.abc import Callable
from concurrent.futures import Future

import attrs


@attrs.define(eq=False)
class _Waiter:
    condition: Callable[[], bool]
    future: Future[None]


class Waiters:
    """Conditions that are looked at after each change; used within the server's event loop."""

    def __init__(self) -> None:
        self._waiters: list[_Waiter] = []

    def add(self, condition: Callable[[], bool]) -> Future[None]:
        """Return a future that is done once `condition` is true, or has failed."""
        waiter = _Waiter(condition, Future())
        self._waiters.append(waiter)
        self.wake()
        return waiter.future

    def remove(self, future: Future[None]) -> None:
        """Look at its condition no more."""
        self._waiters = [waiter for waiter in self._waiters if waiter.future is not future]

    def wake(self) -> None:
        """Look at all conditions."""
        for waiter in self._waiters.copy():
            try:
                if not waiter.condition():
                    continue
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                waiter.future.set_exception(error)
            else:
                waiter.future.set_result(None)
            self._waiters.remove(waiter)
