"""Whether the backends work, asked no more often than they should be."""

import time

import anyio

from polystow import Storage

_CHECK_TIMEOUT_S = 5.0
_KEPT_S = 1.0


class Readiness:
    """Asks the backends, and not more often than once in a second, whoever asks how often.

    Args:
        storage: What is served.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = anyio.Lock()
        self._ready = False
        self._until = 0.0

    async def is_ready(self) -> bool:
        """Whether every mount works, as far as its driver can tell."""
        async with self._lock:
            if time.monotonic() >= self._until:
                mounts = await self._storage.check(timeout_s=_CHECK_TIMEOUT_S)
                self._ready = all(mount.ok for mount in mounts)
                self._until = time.monotonic() + _KEPT_S
            return self._ready
