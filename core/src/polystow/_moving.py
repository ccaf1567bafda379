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
    """
    route = routes.route(source)
    if isinstance(target, str) and _place(routes.route(target)) == _place(route):
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
        await delete(source)
    except StorageError as error:
        error.add_note(f"the copy is complete: {info.file_id}; the source is still there")
        raise
    return info


def _place(route: Route) -> tuple[str, str]:
    return route.scheme, route.path
