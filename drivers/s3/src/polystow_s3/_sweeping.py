"""What a write or copy may have left under a key that it has made, and that nobody knows."""

import logging

from anyio import get_cancelled_exc_class

from polystow import StorageError
from polystow_s3._client import Call, Client
from polystow_s3._errors import Subject
from polystow_s3._names import Destination
from polystow_s3._shield import to_the_end

_logger = logging.getLogger("polystow.s3")


async def remove_lost(
    client: Client, operation: str, to: Destination, error: BaseException
) -> None:
    """After the request that makes an object has failed: delete it if its answer was lost.

    Args:
        client: What deletes it.
        operation: The operation, for errors.
        to: Where the object goes.
        error: Of the request.
    """
    lost = isinstance(error, StorageError) and error.outcome == "unknown"
    if lost or isinstance(error, get_cancelled_exc_class()):
        await remove_new(client, operation, to)


async def remove_new(client: Client, operation: str, to: Destination) -> None:
    """Delete an object under a new key, shielded and within the time limit; logs if it can't.

    A key that the caller has named is left alone: what was there before is gone or still there,
    and the caller knows where to look.
    """
    if not to.is_new:
        return
    subject = Subject(operation, to.path, bucket=to.bucket)
    call = Call("delete_object", {"Bucket": to.bucket, "Key": to.key}, subject)

    def log(error: Exception) -> None:
        _logger.warning(
            "s3: an object may be left at %s, bucket %r, key %r: %s",
            client.config.endpoint or "AWS",
            to.bucket,
            to.key,
            error,
        )

    try:
        await to_the_end(lambda: client.call(call), client.config.cleanup_timeout_s, log)
    except StorageError as error:
        log(error)
