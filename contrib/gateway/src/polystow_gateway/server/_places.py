"""From an id, in whatever form, to the one place that it stands for."""

from polystow import Storage, StorageError, SupportsRoutes
from polystow_gateway.server._rights import Place, place_at


def place_of(storage: Storage, file_id: str) -> Place:
    """Where an id, or a prefix of ids such as `s3:` or `s3:bucket/fol`, points to; asks nobody.

    Short and canonical forms, bare ids, and logical and physical containers of one object have
    one place.

    Raises:
        NoRouteError: No driver owns it.
        InvalidPathError: It is no id.
    """
    mounts: list[str] = []
    path = file_id
    routes: SupportsRoutes | None = storage.capabilities.routes
    while routes is not None and (path or not mounts):
        route = routes.route(path)
        mounts.append(route.scheme)
        path = route.path
        routes = routes.mounts()[route.scheme].routes
    return place_at(mounts, path)


def shown(storage: Storage, file_id: str) -> str:
    """An id as errors may show it: with the container's name that the mount shows."""
    try:
        return storage.with_container(file_id, storage.containers(file_id).show)
    except StorageError:
        return file_id
