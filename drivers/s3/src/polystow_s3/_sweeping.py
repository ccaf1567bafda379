"""What a write or copy may have left under a key that it has made, and that nobody knows."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import get_cancelled_exc_class

from polystow import StorageError
from polystow_s3._client import Call, Client
from polystow_s3._errors import Subject
from polystow_s3._names import Destination
from polystow_s3._shield import to_the_end

_logger = logging.getLogger("polystow.s3")


@asynccontextmanager
async def swept(client: Client, operation: str, to: Destination) -> AsyncGenerator[None]:
    """Around the request that makes an object: a new key is deleted if its answer was lost.

    A key that the caller has named is left alone: what was there before is gone or still there,
    and the caller knows where to look.
    """
    try:
        yield
    except get_cancelled_exc_class():
        await remove_new(client, operation, to)
        raise
    except StorageError as error:
        if error.outcome == "unknown":
            await remove_new(client, operation, to)
        raise


async def remove_new(client: Client, operation: str, to: Destination) -> None:
    """Delete an object under a new key, shielded and within the time limit; logs if it can't."""
    if not to.is_new:
        return
    subject = Subject(operation, to.path, to.bucket)
    call = Call("delete_object", {"Bucket": to.bucket, "Key": to.key}, subject)
    try:
        await to_the_end(lambda: client.call(call), client.config.cleanup_timeout_s)
    except StorageError as error:
        _logger.warning(
            "s3: an object may be left at %s, bucket %r, key %r: %s",
            client.config.endpoint or "AWS",
            to.bucket,
            to.key,
            error,
        )
