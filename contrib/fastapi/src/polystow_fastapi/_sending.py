"""Sending a body until it ends or the client goes away."""

from collections.abc import Awaitable, Callable

import anyio
from starlette.types import Receive, Send

type SendBody = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""Reads and hands each chunk to the function that it gets."""


async def send_body(receive: Receive, send: Send, body: SendBody) -> None:
    """Send what `body` reads; a client that goes away cancels it at once, wherever it waits.

    Args:
        receive: The ASGI channel that tells of the client.
        send: The ASGI channel; it waits while the client is slow, and so does the reading.
        body: What reads.

    Raises:
        Exception: What `body` raises, as itself.
    """
    failure: Exception | None = None

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async def send_chunk(chunk: bytes) -> None:
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            await body(send_chunk)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # noqa: BLE001 - raised below, outside of the group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
