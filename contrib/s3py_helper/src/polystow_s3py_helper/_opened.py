"""A storage with one mount, held open by a client of s3py-helper."""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from polystow import Storage, open_storage
from polystow_s3py_helper.storage.exceptions.storage_exceptions import translated


class OpenedStorage:
    """Opens and closes a storage.

    Args:
        scheme: The mount.
        config: Its configuration.
        owner: Who is not initialized, for the error.
    """

    def __init__(self, scheme: str, config: Mapping[str, object], owner: str) -> None:
        self.scheme = scheme
        self.stack = AsyncExitStack()
        self._config = {"mounts": {scheme: dict(config)}, "write_to": scheme}
        self._owner = owner
        self._storage: Storage | None = None

    async def open(self) -> None:
        """Open it; it connects to nothing yet.

        Raises:
            InvalidArgumentException: The configuration is wrong.
        """
        with translated("The configuration can't be used"):
            self._storage = await self.stack.enter_async_context(open_storage(self._config))

    async def aclose(self) -> None:
        """Close it, and what was put on `stack`."""
        self._storage = None
        stack, self.stack = self.stack, AsyncExitStack()
        await stack.aclose()

    def get(self) -> Storage:
        """The storage.

        Raises:
            RuntimeError: It is not open.
        """
        if self._storage is None:
            raise RuntimeError(
                f"{self._owner} is not initialized. Use 'async with' context manager."
            )
        return self._storage
