"""A form of RefStore's clients: the file may come before the fields that say where it goes."""

from collections.abc import AsyncIterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from anyio import to_thread
from fastapi import HTTPException, Request

from polystow import Content, ObjectInfo, PermissionDeniedError, clean_up_in_thread
from polystow_fastapi import FormFile, form_files
from polystow_gateway._wire import Hint
from polystow_gateway.server._identity import Identity
from polystow_gateway.server._requests import bad_request
from polystow_gateway.server._rights import Action
from polystow_gateway.server._state import Gateway

_IN_MEMORY_BYTES = 1_048_576


async def receive_upload(
    request: Request, gateway: Gateway, identity: Identity
) -> tuple[ObjectInfo, Mapping[str, str]]:
    """Store the form's `file`.

    Where text fields come first, as its synchronous client sends them, the file goes to the
    storage while it arrives. Where the file comes first, as its asynchronous one sends it, it has
    to wait in a temporary file until the fields are there.

    Returns:
        The object, and the form's text fields.

    Raises:
        HTTPException: The form has no file, or several (422).
        PermissionDeniedError: They may write nowhere at all, or not there.
    """
    if not any(Action.WRITE in grant.actions for grant in identity.grants):
        raise PermissionDeniedError("the right 'write' is needed here")  # before a file is kept
    form = form_files(request, limits=identity.upload_limits, max_files=2)
    stored: ObjectInfo | None = None
    waiting: tuple[FormFile, BinaryIO] | None = None
    try:
        async for file in form:
            if file.field != "file" or stored is not None or waiting is not None:
                raise HTTPException(422, "the form has one file, in its field 'file'")
            if form.fields:
                stored = await _store(request, gateway, file, file, form.fields)
            else:
                waiting = file, await _spool(file)
        if waiting is not None:
            stored = await _store(request, gateway, *waiting, form.fields)
    finally:
        if waiting is not None:
            await clean_up_in_thread(waiting[1].close)
    if stored is None:
        raise HTTPException(422, "the form has no file in its field 'file'")
    return stored, form.fields


async def _store(
    request: Request,
    gateway: Gateway,
    file: FormFile,
    content: Content,
    fields: Mapping[str, str],
) -> ObjectInfo:
    path = fields.get("path", "").strip("/")
    hint = Hint(
        file.filename,
        path or None,
        fields.get("logic_bucket") or None,
        "exact" if path else "dated",
    )
    with bad_request():
        target = await gateway.allow_write(request, hint)
    return await gateway.storage.write(target, content, content_type=file.content_type)


async def _spool(chunks: AsyncIterator[bytes] | FormFile) -> BinaryIO:
    file = cast("BinaryIO", SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115 - the caller's
    try:
        async for chunk in chunks:
            await to_thread.run_sync(file.write, chunk)
        await to_thread.run_sync(file.seek, 0)
    except BaseException:
        await clean_up_in_thread(file.close)
        raise
    return file
