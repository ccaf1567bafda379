"""Moving an object: a verified copy, and then the deletion of its source."""

from collections.abc import Awaitable, Callable

from polystow._driver import Route, SupportsRoutes
from polystow._errors import PermissionDeniedError, StorageError
from polystow._values import ObjectInfo, Target


async def move_object(
    routes: SupportsRoutes,
    source: str,
    target: Target,
    *,
    stat: Callable[[str], Awaitable[ObjectInfo]],
    copy: Callable[[str, Target], Awaitable[ObjectInfo]],
    delete: Callable[[str], Awaitable[None]],
) -> ObjectInfo:
    """Copy, then delete; a move to the same place does neither.

    Raises:
        PermissionDeniedError: The source's mount allows no deletion; nothing was copied.
        StorageError: Source and target seem to be one object through two mounts; it stays.
    """
    route = routes.route(source)
    there = routes.route(target) if isinstance(target, str) else None
    if there is not None and _place(there) == _place(route):
        return await stat(source)
    if not route.deletable:
        raise PermissionDeniedError(
            f"the mount {route.scheme!r} allows no deletion, so nothing can be moved from there; "
            "nothing was copied",
            path=source,
            operation="move",
        )
    info = await copy(source, target)
    try:
        if there is not None and _leaf(there) == _leaf(route):
            await _require_two(source, info, stat)
        await delete(source)
    except StorageError as error:
        error.add_note(f"the copy is complete: {info.file_id}; the source is still there")
        raise
    return info


async def _require_two(
    source: str, copied: ObjectInfo, stat: Callable[[str], Awaitable[ObjectInfo]]
) -> None:
    """Refuse to go on if source and copy may be one object, reached through two mounts."""
    one, other = await stat(source), await stat(copied.uri)
    facts = (one.size, one.etag, one.modified, one.created, one.version)
    if facts == (other.size, other.etag, other.modified, other.created, other.version):
        raise StorageError(
            f"it can't be told from {copied.uri!r}: the two mounts seem to lead to one object, "
            "so it was not deleted; if they do not, move it again",
            path=source,
            operation="move",
        )


def _leaf(route: Route) -> str:
    """The path for the innermost driver."""
    return route.path.rpartition("://")[2]


def _place(route: Route) -> tuple[str, str]:
    return route.scheme, route.path
