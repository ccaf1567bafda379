"""One storage for an application: opened when it starts, closed when it ends."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from polystow import Layer, LifecycleError, Storage, StorageSource, WritePolicy, open_storage

type LifespanHandler = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""What `Starlette(lifespan=...)` and `FastAPI(lifespan=...)` take."""


class StorageDependency:
    """A storage that an application opens at its start and its endpoints share.

    ```python
    files = StorageDependency("polystow.toml")
    app = FastAPI(lifespan=files.lifespan)

    @app.get("/size/{file_id:path}")
    async def size(file_id: str, storage: Annotated[Storage, Depends(files)]) -> int | None:
        return (await storage.stat(file_id)).size
    ```

    On Starlette alone an endpoint calls it: `files(request)`.

    Args:
        source: What `open_storage` opens; a function without arguments that returns it is called
            when the application starts.
        name: Tells the storages of one application apart.
        write_to: As in `open_storage`.
        layers: As in `open_storage`.
        close_timeout_s: As in `open_storage`.
    """

    def __init__(
        self,
        source: StorageSource | Callable[[], StorageSource],
        *,
        name: str = "default",
        write_to: WritePolicy | None = None,
        layers: Sequence[Layer] = (),
        close_timeout_s: float | None = None,
    ) -> None:
        self._source = source
        self.name = name
        self._key = f"polystow_storage_{name}"
        self._write_to: WritePolicy | None = write_to
        self._layers = layers
        self._close_timeout_s = close_timeout_s

    def __call__(self, request: HTTPConnection) -> Storage:
        """The application's storage.

        Raises:
            LifecycleError: The application was not started with this storage's lifespan.
        """
        storage = getattr(request.state, self._key, None)
        if not isinstance(storage, Storage):
            raise LifecycleError(
                f"the storage {self.name!r} is not open: give the application "
                "lifespan=dependency.lifespan, or lifespan_of(...) for several, and a server "
                "that runs lifespans"
            )
        return storage

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncGenerator[Mapping[str, Any]]:
        """The lifespan handler that opens and closes it.

        Leaving waits for what is under way, up to the closing time limit.

        Raises:
            ConfigError: The configuration is wrong; the application does not start.
        """
        source = self._source
        if callable(source):
            source = source()
        async with open_storage(
            source,
            write_to=self._write_to,
            layers=self._layers,
            close_timeout_s=self._close_timeout_s,
        ) as storage:
            yield {self._key: storage}


def lifespan_of(
    *dependencies: StorageDependency, around: LifespanHandler | None = None
) -> LifespanHandler:
    """One lifespan handler for several storages, and for the application's own.

    Args:
        *dependencies: Each with its own `name`.
        around: The application's own handler: entered before the storages, left after them.

    Raises:
        ValueError: Two have the same name.
    """
    names = [dependency.name for dependency in dependencies]
    if len(set(names)) < len(names):
        raise ValueError(f"give each StorageDependency a name of its own, not {sorted(names)}")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[Mapping[str, Any]]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            if around is not None:
                own = await stack.enter_async_context(around(app))
                state.update({} if own is None else own)
            for dependency in dependencies:
                state.update(await stack.enter_async_context(dependency.lifespan(app)))
            yield state

    return lifespan
