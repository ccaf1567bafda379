"""The event loop behind a sync storage: in a thread of its own, which ends with the storage."""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Literal, Self

import anyio
from anyio.from_thread import BlockingPortal
from anyio.lowlevel import current_token

from polystow._errors import LifecycleError
from polystow._lifecycle import fork_count

type Backend = Literal["asyncio", "trio"]


class Portal:
    """Runs async functions for threads that are not on an event loop; `with` starts and ends it.

    Args:
        backend: The event loop.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._forks = fork_count()
        self._started: Future[BlockingPortal] = Future()
        # Not a daemon: the interpreter waits for it, and `__exit__` ends it.
        self._thread = threading.Thread(target=self._serve, name="polystow-sync")
        self._portal: BlockingPortal | None = None

    def _serve(self) -> None:
        async def serve() -> None:
            async with BlockingPortal() as portal:
                self._started.set_result(portal)
                await portal.sleep_until_stopped()

        try:
            anyio.run(serve, backend=self._backend)
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    def __enter__(self) -> Self:
        refuse_event_loop()
        self._thread.start()
        self._portal = self._started.result()
        return self

    def __exit__(self, *_: object) -> None:
        portal, self._portal = self._portal, None
        # After a fork the thread is the parent's: here is nothing to end, and nobody to ask.
        if portal is not None and not self.forked:
            portal.call(portal.stop, True)
            self._thread.join()

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that started it."""
        return self._forks != fork_count()

    def require(self) -> BlockingPortal:
        """The running portal.

        Raises:
            LifecycleError: It does not run (any more), or not in this process; or this thread
                runs an event loop, which would stand still.
        """
        if self.forked:
            raise LifecycleError(
                "the storage was opened before the process forked; connections can't be shared: "
                "open one in each process"
            )
        refuse_event_loop()
        if self._portal is None:
            raise LifecycleError(
                "the storage is closed; use it inside `with polystow.sync.open_storage(...)`"
            )
        return self._portal

    def run[T](self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function and wait for it.

        An exception in the waiting thread, such as `KeyboardInterrupt`, cancels the function and
        waits until it has cleaned up.
        """
        ended = threading.Event()

        async def call() -> T:
            try:
                return await function()
            finally:
                ended.set()

        future = self.require().start_task_soon(call)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                ended.wait()
            raise

    def wrap[T](self, manager: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """The async context manager as a sync one: entered and left in one task."""
        return _Entered(self, manager)


class _Entered[T](AbstractContextManager[T]):
    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[T]) -> None:
        self._portal = portal
        self._manager: AbstractAsyncContextManager[T] = manager
        self._blocking: AbstractContextManager[T] | None = None

    def __enter__(self) -> T:
        self._blocking = self._portal.require().wrap_async_context_manager(self._manager)
        return self._blocking.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._portal.forked or self._blocking is None:
            return None
        self._portal.require()
        return self._blocking.__exit__(exc_type, exc, traceback)


def refuse_event_loop() -> None:
    """Refuse to go on in a thread that runs an event loop.

    Raises:
        LifecycleError: It does.
    """
    try:
        current_token()
    except Exception:  # noqa: BLE001 - another class in each version of anyio
        return
    raise LifecycleError(
        "polystow.sync would hold this thread's event loop; use polystow.open_storage there, "
        "or a worker thread"
    )
