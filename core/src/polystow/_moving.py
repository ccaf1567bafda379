"""Moving an object: a verified copy, and then the deletion of its source."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from polystow._driver import Route, SupportsRoutes
from polystow._errors import (
    ChecksumMismatchError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    StorageError,
)
from polystow._tasks import run_all
from polystow._values import ObjectInfo, Target

type _Stat = Callable[[str], Awaitable[ObjectInfo]]


async def move_object(
    routes: SupportsRoutes,
    source: str,
    target: Target,
    *,
    stat: _Stat,
    copy: Callable[[str, Target], Awaitable[ObjectInfo]],
    delete: Callable[[str], Awaitable[None]],
) -> ObjectInfo:
    """Copy, compare, then delete; a move to the same place does nothing.

    Raises:
        PermissionDeniedError: The source's mount allows no deletion; nothing was copied.
        PreconditionFailedError: The source was replaced meanwhile; it stays.
        ChecksumMismatchError: The copy is not what the source is; both stay.
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
    before = await stat(source)
    info = await copy(source, target)
    try:
        one_place = there is not None and _leaf(there) == _leaf(route)
        if await _may_delete(source, before, info, stat, one_place=one_place):
            await delete(source)
    except StorageError as error:
        error.add_note(f"the copy is {info.file_id}; the source is still there")
        raise
    return info


class _Facts(NamedTuple):
    size: int | None
    etag: str | None
    modified: object
    created: object
    version: str | None

    @classmethod
    def of(cls, info: ObjectInfo) -> "_Facts":
        return cls(info.size, info.etag, info.modified, info.created, info.version)


async def _may_delete(
    source: str, before: ObjectInfo, info: ObjectInfo, stat: _Stat, *, one_place: bool
) -> bool:
    """Whether the source is still there, and the copy all that is needed of it."""
    now: dict[str, ObjectInfo | None] = {}

    async def ask(file_id: str) -> None:
        try:
            now[file_id] = await stat(file_id)
        except NotFoundError:
            now[file_id] = None

    await run_all([partial(ask, source), partial(ask, info.uri)], limit=2)
    after, copied = now[source], now[info.uri]
    if copied is None:
        raise StorageError(
            f"the copy {info.uri!r} is gone already, so it was not deleted",
            path=source,
            operation="move",
        )
    if after is None:
        return False
    if one_place and _Facts.of(after) == _Facts.of(copied):
        raise StorageError(
            f"it can't be told from {info.uri!r}: the two mounts seem to lead to one object, "
            "so it was not deleted; if they do not, move it again",
            path=source,
            operation="move",
        )
    if _Facts.of(after) != _Facts.of(before):
        raise PreconditionFailedError(
            "it was replaced while it was moved, so it was not deleted: move it again",
            path=source,
            operation="move",
        )
    difference = _difference(after, copied)
    if difference is not None:
        raise ChecksumMismatchError(
            f"the copy {info.uri!r} is not what it is, so it was not deleted: {difference}",
            path=source,
            operation="move",
        )
    return True


def _difference(source: ObjectInfo, copied: ObjectInfo) -> str | None:
    if None not in (source.size, copied.size) and source.size != copied.size:
        return f"it has {source.size} bytes, the copy {copied.size}"
    if source.checksum is None or copied.checksum is None:
        return None
    algorithm, value = source.checksum
    other, found = copied.checksum
    if algorithm == other and value.lower() != found.lower():
        return f"its {algorithm} is {value}, the copy's {found}"
    return None


def _leaf(route: Route) -> str:
    """The path for the innermost driver."""
    return route.path.rpartition("://")[2]


def _place(route: Route) -> tuple[str, str]:
    return route.scheme, route.path
