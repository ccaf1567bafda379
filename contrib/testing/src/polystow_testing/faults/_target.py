"""`FaultTarget`: what a battery has to know of a driver, its server, and its limits."""

import abc
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import ClassVar, Self

from polystow import StorageDriver
from polystow_testing.faults._wire import Direction


class FaultTarget(abc.ABC):
    """A server to break, and the driver that has to live with it.

    The battery makes one for each test class, enters it, and puts a `FaultProxy` before each of
    its addresses. Everything but `open` is done behind the driver's back, so that it bears
    witness: with the server's own methods, or with another client.

    Attributes:
        name: The driver's name, in the table.
        roles: What its addresses are called: `("server",)`, `("tracker", "storage")`. None for a
            driver without a network, for which there are cancellations only.
        answers: Faults that the server itself can be told to make, by name: see `answer`.
        leaves_out: Operations that can't be tested here, or that the driver can't do.
        undetectable: Operations with the faults, of `answers`, that nobody could tell from a right
            answer.
        detects_flips: Operations whose content has a checksum, with the direction that it flows
            in. Where a bit flips in another one, only what comes after it has to be right.
        connections: How many read streams the driver has to be able to hold open at once: open
            it with a pool no larger, so that a connection that is lost to it is missed.
        time_limit_s: How long an operation may take at most under the limits that `open` sets,
            in seconds, all attempts and the removal of what is left included.
        object_bytes: The size of the object that is read.
        body_bytes: The size of the large writes: more than one part.
        piece_bytes: The size of the pieces that a body of unknown length comes in.
        stall_limit_s: The CPU time after which the event loop counts as stalled, in seconds.
    """

    name: ClassVar[str]
    roles: ClassVar[tuple[str, ...]] = ("server",)
    answers: ClassVar[tuple[str, ...]] = ()
    leaves_out: ClassVar[frozenset[str]] = frozenset()
    undetectable: ClassVar[frozenset[tuple[str, str]]] = frozenset()
    detects_flips: ClassVar[frozenset[tuple[str, Direction]]] = frozenset()
    connections: ClassVar[int] = 2
    time_limit_s: ClassVar[float] = 10.0
    object_bytes: ClassVar[int] = 600_000
    body_bytes: ClassVar[int] = 600_000
    piece_bytes: ClassVar[int] = 50_000
    stall_limit_s: ClassVar[float] = 0.05

    def __enter__(self) -> Self:
        """Start the server."""
        return self

    def __exit__(  # noqa: B027 - not every target has something to stop
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where the server really listens: role to `host:port`."""
        return {}

    @abc.abstractmethod
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        """Open the driver, with short time limits (0.3 s of silence) and two attempts or three.

        Args:
            addresses: Where to find the server: those of proxies, by role.
        """

    @abc.abstractmethod
    def put(self, name: str, data: bytes) -> str:
        """Store an object; returns its path, as the driver knows it."""

    def put_appendable(self, name: str, data: bytes) -> str:
        """Store an object that can be changed in place, where the backend has two kinds."""
        return self.put(name, data)

    @abc.abstractmethod
    def get(self, path: str) -> bytes | None:
        """The content of an object; None if there is none."""

    @abc.abstractmethod
    def inventory(self) -> frozenset[str]:
        """All that the server keeps: the paths of objects, and some text for each upload begun."""

    @abc.abstractmethod
    def clear(self) -> None:
        """Remove all that the server keeps."""

    @property
    def requests(self) -> int:
        """How many requests the server has seen; needed for `answers` only."""
        return 0

    def answer(self, name: str, *, skip: int, times: int | None) -> None:
        """Let the server make a fault.

        Args:
            name: One of `answers`.
            skip: How many requests are answered rightly before.
            times: How often; None until `answer_rightly`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not know the fault {name!r}")

    def answer_rightly(self) -> int:
        """End the fault; returns how often it was made."""
        return 0
