"""Opening a sync storage."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from polystow._composite import WritePolicy
from polystow._layers import Layer
from polystow._open import open_storage as open_async
from polystow._opening import StorageSource
from polystow._registry import Registry
from polystow._values import KeyPolicy
from polystow.sync._portal import Backend, Portal
from polystow.sync._storage import Storage


@contextmanager
def open_storage(
    source: StorageSource,
    *,
    write_to: WritePolicy | None = None,
    key_policy: KeyPolicy | None = None,
    layers: Sequence[Layer] = (),
    registry: Registry | None = None,
    close_timeout_s: float | None = None,
    backend: Backend = "asyncio",
) -> Generator[Storage]:
    """Open a storage for threads that run no event loop.

    It has an event loop in a thread of its own, which ends when the block is left.

    Args:
        source: As in `polystow.open_storage`, as are the other arguments.
        write_to: See there.
        key_policy: See there.
        layers: See there.
        registry: See there.
        close_timeout_s: See there.
        backend: The event loop; trio needs the distribution `trio`, and drivers that run on it.

    Yields:
        The storage, for this process; a child that is forked opens its own.

    Raises:
        LifecycleError: This thread runs an event loop.
        ConfigError: As in `polystow.open_storage`.
    """
    opening = open_async(
        source,
        write_to=write_to,
        key_policy=key_policy,
        layers=layers,
        registry=registry,
        close_timeout_s=close_timeout_s,
    )
    with Portal(backend) as portal, portal.wrap(opening) as storage:
        yield Storage(storage, portal)
