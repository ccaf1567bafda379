"""What it means that a connection to the gateway breaks, or that none comes about."""

import aiohttp

from polystow import OperationTimeoutError, Outcome, StorageError, TransportError
from polystow_gateway._calls import Call
from polystow_gateway._sending import Sending

_HARMLESS = frozenset({"presign"})
_WHOLE_OR_NOT = frozenset({"write", "put_part"})


class BrokenConnectionError(aiohttp.ClientConnectionError):
    """A connection that broke; not of the classes that aiohttp itself tries again."""


async def once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request once: repetitions are the policy's alone."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenConnectionError(_said(error)) from error


def broken_read(error: BaseException) -> StorageError:
    """What it means that an answer breaks off."""
    if isinstance(error, TimeoutError):
        return OperationTimeoutError("the gateway sends nothing any more", retryable=True)
    return TransportError(f"the connection to the gateway broke: {_said(error)}", retryable=True)


def broken(error: BaseException, call: Call, sending: Sending) -> StorageError:
    """What it means that a request got no answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return TransportError(f"no trusted connection to the gateway: {_said(error)}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return OperationTimeoutError("no connection to the gateway in time", retryable=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError(f"no connection to the gateway: {_said(error)}", retryable=True)
    # Of a body that was not sent to its end nothing is stored.
    unharmed = not sending.progress.sent and call.operation in _WHOLE_OR_NOT
    changes = call.method != "GET" and call.operation not in _HARMLESS
    outcome: Outcome = "unknown" if changes and not unharmed else "failed"
    retryable = call.idempotent or unharmed
    if isinstance(error, TimeoutError):
        return OperationTimeoutError(
            "no answer of the gateway in time", retryable=retryable, outcome=outcome
        )
    return TransportError(
        f"the connection to the gateway broke: {_said(error)}",
        retryable=retryable,
        outcome=outcome,
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
