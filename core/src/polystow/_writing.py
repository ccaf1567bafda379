"""Writing a body whose content type may have to be told by its content."""

from collections.abc import Awaitable

from attrs import evolve

from polystow._body import Body
from polystow._driver import StorageDriver
from polystow._progress import Progress, ProgressBody
from polystow._values import ObjectInfo, Target, WriteOptions


def write_body(
    root: StorageDriver,
    target: Target,
    body: Body,
    options: WriteOptions,
    progress: Progress | None = None,
    *,
    first_only: bool = False,
) -> Awaitable[ObjectInfo]:
    """Write a body; where its name told no content type, its first bytes may.

    With `first_only` it is written as soon as its first piece is there.
    """
    if options.content_type is not None:
        return root.write(target, _reported(body, progress), options)
    return _write_sniffed(root, target, body, options, progress, first_only)


async def _write_sniffed(
    root: StorageDriver,
    target: Target,
    body: Body,
    options: WriteOptions,
    progress: Progress | None,
    first_only: bool,
) -> ObjectInfo:
    from polystow._peeking import peeked
    from polystow._sniffing import SNIFFED_BYTES, sniff_content_type

    async with peeked(body, SNIFFED_BYTES, first_only=first_only) as (head, whole):
        kind = sniff_content_type(head)
        if kind is not None:
            options = evolve(options, content_type=kind)
        return await root.write(target, _reported(whole, progress), options)


def _reported(body: Body, progress: Progress | None) -> Body:
    return body if progress is None else ProgressBody(body, progress)
