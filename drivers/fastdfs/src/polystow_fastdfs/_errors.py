"""From faults on the wire to errors of Polystow, worded for the person who must act."""

from __future__ import annotations

import errno
import os
from typing import Final, Literal

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    InvalidPathError,
    LifecycleError,
    NoSpaceError,
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    StorageError,
    TransportError,
    UnsupportedOperationError,
)
from polystow_fastdfs._cluster import NoSuchGroup, TrackerRefused
from polystow_fastdfs._faults import (
    ClientClosed,
    ConnectFailed,
    ForbiddenAddress,
    PoolExhausted,
    StatusFault,
    WireFault,
    WireTimeout,
)
from polystow_fastdfs._protocol import FrameError

type Effect = Literal["none", "repeatable", "once"]
"""What a request does: nothing, a change that can be made twice, or one that can't."""

_BY_STATUS: Final[dict[int, tuple[type[StorageError], str]]] = {
    errno.ENOENT: (NotFoundError, "there is no such file"),
    errno.EEXIST: (AlreadyExistsError, "the file is there already"),
    errno.ENOSPC: (NoSpaceError, "the storage server has no space left"),
    errno.EDQUOT: (NoSpaceError, "the storage server's quota is used up"),
    errno.EINVAL: (
        InvalidPathError,
        "the server refuses the request as invalid: wrong group, path index, name or extension",
    ),
    errno.EPERM: (PermissionDeniedError, "the server forbids it"),
    errno.EACCES: (PermissionDeniedError, "the server forbids it; see allow_hosts in its settings"),
    errno.EOPNOTSUPP: (UnsupportedOperationError, "the server does not support it"),
    errno.ETIMEDOUT: (OperationTimeoutError, "the server ran into a timeout of its own"),
}

_PASSING: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENOMEM,
        errno.EINTR,
        errno.EIO,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.ECONNREFUSED,
    }
)


def to_storage_error(fault: WireFault | FrameError, effect: Effect) -> StorageError:
    """Word a fault.

    Args:
        fault: What happened.
        effect: What the request would have done; decides on `retryable` and `outcome`.

    Returns:
        The error to raise, without path and operation.
    """
    if isinstance(fault, FrameError):
        message = f"{fault}; is it a FastDFS server of a version that this driver knows?"
        return TransportError(message, outcome="unknown" if effect != "none" else "failed")
    if isinstance(fault, StatusFault):
        return _of_status(fault, effect)
    if isinstance(fault, NoSuchGroup):
        return NotFoundError(f"{fault.reason} (tracker {fault.server})")
    if isinstance(fault, ClientClosed):
        return LifecycleError(fault.reason)
    if isinstance(fault, ForbiddenAddress):
        return PermissionDeniedError(str(fault))
    if isinstance(fault, PoolExhausted):
        return OperationTimeoutError(str(fault))
    if isinstance(fault, ConnectFailed):
        return TransportError(str(fault), retryable=True)
    kind = OperationTimeoutError if isinstance(fault, WireTimeout) else TransportError
    unknown = fault.sent and effect != "none"
    retryable = not fault.sent or effect != "once"
    return kind(str(fault), retryable=retryable, outcome="unknown" if unknown else "failed")


def _of_status(fault: StatusFault, effect: Effect) -> StorageError:
    retryable = fault.status in _PASSING and effect != "once"
    if isinstance(fault, TrackerRefused) and fault.status == errno.ENOENT:
        # The cluster has asked whether the group exists before it comes to this.
        message = f"tracker {fault.server}: no storage server of the group is up, or none has space"
        return BackendUnavailableError(message, retryable=True)
    kind, words = _BY_STATUS.get(
        fault.status, (BackendUnavailableError, f"the server failed: {os.strerror(fault.status)}")
    )
    message = f"{words} (status {fault.status} from {fault.server})"
    return kind(message, retryable=retryable)
