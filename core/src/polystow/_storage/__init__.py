"""`Storage`: what applications use, over any driver. Its operations stand in a module a kind."""

from polystow._storage._administration import StorageAdministration
from polystow._storage._objects import StorageObjects
from polystow._storage._parts import StorageParts
from polystow._storage._writes import StorageWrites


class Storage(StorageObjects, StorageWrites, StorageParts, StorageAdministration):
    """Files under one kind of id, wherever they live. `open_storage` makes it.

    Ids are `scheme://container/key`, `scheme:container/key`, or bare where a mount owns bare ids.
    Every method raises `LifecycleError` outside of its `async with`, on another event loop and
    after a fork; `NoRouteError` for an id that no mounted driver owns; `InvalidPathError` for what
    is no id; and whatever `StorageError` the driver raises.

    Args:
        driver: The driver; one that is no composite is mounted under its own name.
    """
