"""From what went wrong, in S3's words, to the errors of Polystow. Pure; knows no SDK.

The codes are those of the API reference, "Error responses", and what S3-compatible servers make
of them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from attrs import frozen

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ChecksumMismatchError,
    ConfigError,
    ContainerNotEmptyError,
    InvalidPartError,
    InvalidPathError,
    NoSpaceError,
    NotFoundError,
    NotModifiedError,
    OperationTimeoutError,
    PartOrderError,
    PartTooSmallError,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    RateLimitedError,
    Request,
    StorageError,
    TransportError,
    UnsupportedOperationError,
    UploadNotFoundError,
    Value,
)

type FaultKind = Literal[
    "busy",  # no connection was free in time: nothing was sent
    "answer",  # the service answered with an error
    "connect",  # no connection came about: nothing was sent
    "connect_timeout",
    "lost",  # the connection broke after something may have been sent
    "read_timeout",
    "proxy",  # it lets nothing through
    "tls",  # the certificate, or the handshake
    "garbled",  # the answer is no S3
    "credentials",  # none were found, or not all
    "config",
    "request",  # the SDK refused to make the request
]


@frozen(eq=False, repr=False)
class Fault(Value):
    """What went wrong with one request.

    Attributes:
        kind: At which stage.
        code: The error code of the answer, or an empty text.
        status: The HTTP status of the answer; 0 if there is none.
        message: What the service or the SDK says of it, without secrets.
        retry_after_s: From the header Retry-After.
        server_time: From the header Date.
        foreign: Whether the answer's body is none of S3's, such as a proxy's page.
    """

    kind: FaultKind
    code: str = ""
    status: int = 0
    message: str = ""
    retry_after_s: float | None = None
    server_time: datetime | None = None
    foreign: bool = False


@frozen(slots=False, eq=False, repr=False)  # made for each request: 3 times as fast as with slots
class Subject(Request):
    """What the request was about, as far as it decides the error.

    Attributes:
        bucket: The bucket, for messages; empty for none.
        create_only: Whether it was to fail if the object is there.
        if_match: The entity tag that was asked for.
        changes: Whether it changes anything: only then can its outcome be unknown.
        completes: Whether it makes an object of parts.
    """

    bucket: str = ""
    create_only: bool = False
    if_match: str | None = None
    changes: bool = False
    completes: bool = False


class AbsentError(NotFoundError):
    """The bucket or object is there, and has not what was asked for: no tags, no policy."""


_ABSENT = frozenset(
    {"NoSuchTagSet", "NoSuchTagSetError", "NoSuchBucketPolicy", "NoSuchLifecycleConfiguration",
     "NoSuchCORSConfiguration", "NoSuchWebsiteConfiguration",
     "ReplicationConfigurationNotFoundError", "NoSuchPublicAccessBlockConfiguration",
     "ServerSideEncryptionConfigurationNotFoundError", "ObjectLockConfigurationNotFoundError",
     "OwnershipControlsNotFoundError", "NoSuchObjectLockConfiguration"}
)  # fmt: skip
_TAKEN = frozenset({"BucketAlreadyExists", "BucketAlreadyOwnedByYou"})
_READS = frozenset({"open_read", "stat", "copy", "restore_version"})
_WRITES = frozenset({"write", "complete_multipart"})
_OF_UPLOADS = frozenset({"put_part", "list_parts", "abort_multipart"})
NO_OBJECT = "there is no such object"
_MARKED = "there is no such object: this version is a delete marker"
_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion"})
_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "ExpiredToken",
        "TokenRefreshRequired",
        "AuthorizationHeaderMalformed",
        "InvalidClientTokenId",
    }
)
_SLOW_DOWN = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
     "RequestThrottled", "RequestThrottledException", "BandwidthLimitExceeded", "429"}
)  # fmt: skip
_NO_SPACE = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"}
)
_DAMAGED = frozenset({"BadDigest", "XAmzContentSHA256Mismatch"})
_REPEATABLE = frozenset({"RequestTimeout", "OperationAborted", "ConditionalRequestConflict"})
_PARTS: Mapping[str, tuple[Callable[[str], StorageError], str]] = {
    "NoSuchUpload": (
        UploadNotFoundError,
        "there is no such multipart upload: completed or aborted by someone else, or expired",
    ),
    "InvalidPart": (
        InvalidPartError, "a part was not found, or was replaced: its entity tag is another one",
    ),
    "InvalidPartOrder": (PartOrderError, "the parts are not in ascending order of their numbers"),
    "EntityTooSmall": (PartTooSmallError, "a part that is not the last has less than 5 MiB"),
}  # fmt: skip
_UNSUPPORTED = frozenset(
    {"NotImplemented", "MethodNotAllowed", "XNotImplemented", "UnsupportedOperation",
     "AccessControlListNotSupported"}
)  # fmt: skip
# Backblaze: "Unsupported header 'x-amz-checksum-crc32' received for this API call".
_REFUSED_HEADER = re.compile(
    r"(?i)(unsupported|unknown|unrecognized|not (implemented|supported)).*checksum"
    r"|checksum.*(unsupported|unknown|unrecognized|not (implemented|supported))"
)
_ADVICE = {
    "InvalidAccessKeyId": "the service does not know access_key_id",
    "SignatureDoesNotMatch": "secret_access_key does not belong to access_key_id, or a proxy "
    "changes the request",
    "InvalidToken": "session_token is wrong",
    "ExpiredToken": "session_token has expired",
    "RequestTimeTooSkewed": "the clocks of this machine and of the service differ too much",
    "AuthorizationHeaderMalformed": "the region is probably wrong",
}


type Correction = Literal["clock", "credentials"]

_STALE = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
     "InvalidTokenId", "InvalidAccessKeyId", "InvalidClientTokenId"}
)  # fmt: skip


def corrections_of(fault: Fault) -> tuple[Correction, ...]:
    """What may have to be corrected before the service takes the same request.

    A refused HEAD has no code, so the status has to do: the API reference, "Error responses",
    gives 403 for RequestTimeTooSkewed and 400 for ExpiredToken.
    """
    if fault.kind != "answer":
        return ()
    if fault.code == "RequestTimeTooSkewed":
        return ("clock",)
    if fault.code in _STALE:
        return ("credentials",)
    if fault.code in {"", str(fault.status)} and not fault.foreign:
        if fault.status == 403:
            return ("clock",)
        if fault.status == 400:
            return ("clock", "credentials")
    return ()


def error_of(fault: Fault, subject: Subject) -> StorageError:
    """The error to raise.

    Args:
        fault: What went wrong.
        subject: What it was about.
    """
    if fault.kind == "answer":
        error = _error_of_answer(fault, subject)
    else:
        error = _error_without_answer(fault, subject)
    error.operation, error.path, error.driver = subject.operation, subject.path, "s3"
    error.retry_after_s = fault.retry_after_s
    return error


def _error_without_answer(fault: Fault, subject: Subject) -> StorageError:
    detail = f": {fault.message}" if fault.message else ""
    match fault.kind:
        case "busy":
            return OperationTimeoutError(
                f"no connection within {fault.message}; see pool_timeout_s and "
                "max_pool_connections",
                retryable=True,
            )
        case "connect":
            return TransportError(f"no connection to the service{detail}", retryable=True)
        case "connect_timeout":
            return OperationTimeoutError(f"no connection in time{detail}", retryable=True)
        case "proxy":
            return TransportError(f"the proxy lets nothing through{detail}; see proxy")
        case "tls":
            return TransportError(f"TLS failed{detail}; see tls_verify and ca_file")
        case "credentials":
            return PermissionDeniedError(
                f"no credentials{detail}; set access_key_id and secret_access_key, or anonymous"
            )
        case "config":
            return ConfigError(f"botocore refuses the configuration{detail}")
        case "read_timeout":
            return _ambiguous(OperationTimeoutError, f"the service fell silent{detail}", subject)
        case "garbled":
            return _ambiguous(
                BackendUnavailableError, f"the answer is none of S3's{detail}", subject
            )
        case "lost":
            return _ambiguous(TransportError, f"the connection broke{detail}", subject)
        case _:
            return StorageError(f"the request could not be made{detail}")


def _ambiguous(cls: Callable[..., StorageError], message: str, subject: Subject) -> StorageError:
    if subject.idempotent:
        outcome = "unknown" if subject.changes else "failed"
        return cls(message, retryable=True, outcome=outcome)
    return cls(
        f"{message}; whether it was carried out is not known", retryable=False, outcome="unknown"
    )


def _error_of_answer(fault: Fault, subject: Subject) -> StorageError:
    code, status = fault.code, fault.status
    said = f"{code or status}: {fault.message}" if fault.message else str(code or status)
    if fault.foreign:
        said += "; a page that is none of S3's, so perhaps a proxy's"
        if status == 404:
            # Who has not the page has not been asked for the object.
            return BackendUnavailableError(f"what answers is no S3; see endpoint ({said})")
    error = _by_code(code, said, subject)
    return _by_status(status, said, subject) if error is None else error


def _by_code(code: str, said: str, subject: Subject) -> StorageError | None:
    if code == "NoSuchBucket":
        return NotFoundError(f"there is no bucket {subject.bucket!r}")
    if code in _NOT_FOUND and subject.operation in _OF_UPLOADS:
        code = "NoSuchUpload"  # radosgw's word for it
    if code in _NOT_FOUND:
        if subject.changes and subject.if_match is not None and subject.operation in _WRITES:
            return PreconditionFailedError("there is no object that could have the entity tag")
        return NotFoundError(NO_OBJECT)
    if code in _ABSENT:
        return AbsentError(f"there is no such setting ({said})")
    if code in _TAKEN:
        return AlreadyExistsError(f"there is such a bucket already ({said})")
    if code == "BucketNotEmpty":
        return ContainerNotEmptyError(f"the bucket has contents ({said})")
    if code == "MethodNotAllowed" and subject.operation in _READS:
        return NotFoundError(_MARKED)
    if code in _PARTS:
        cls, meaning = _PARTS[code]
        return cls(f"{meaning} ({said})")
    if code in _CREDENTIALS or code == "RequestTimeTooSkewed":
        return PermissionDeniedError(f"{_ADVICE.get(code, 'the credentials are refused')} ({said})")
    if code in _SLOW_DOWN:
        return RateLimitedError(f"the service gets too many requests ({said})", retryable=True)
    if code in _NO_SPACE:
        return NoSpaceError(f"the service has no space left ({said})")
    if code in _DAMAGED:
        # Nothing of it was kept.
        return ChecksumMismatchError(f"what arrived is not what was sent ({said})", retryable=True)
    if code == "ConditionalRequestConflict" and subject.completes and subject.if_match is not None:
        # Asked again it would say the same (API reference, CompleteMultipartUpload, If-Match).
        return PreconditionFailedError(f"the object was changed while its parts came ({said})")
    if code in _REPEATABLE:
        # None of these three was carried out, so even a create-only write may be repeated.
        return BackendUnavailableError(f"the service asks to try again ({said})", retryable=True)
    if code == "InvalidRange":
        return RangeNotSatisfiableError("the range begins at or after the end of the object")
    if code in _UNSUPPORTED or _REFUSED_HEADER.search(said):
        return UnsupportedOperationError(f"the service can't do that ({said})")
    if code == "KeyTooLongError":
        return InvalidPathError(f"the service takes only shorter keys ({said})")
    return None


def _by_status(status: int, said: str, subject: Subject) -> StorageError:
    if status == 404:
        # HEAD has no body and so no code: an object, or its bucket.
        if not subject.path.partition("/")[2]:
            return NotFoundError(f"there is no bucket {subject.bucket!r}")
        return NotFoundError(NO_OBJECT)
    if status == 304:
        return NotModifiedError("the object is as the conditions say: there is nothing to read")
    if status in {401, 403}:
        return PermissionDeniedError(f"the service refuses it ({said})")
    if status in {409, 412}:
        return _precondition(status, said, subject)
    if status == 416:
        return RangeNotSatisfiableError("the range begins at or after the end of the object")
    if status == 429:
        return RateLimitedError(f"the service gets too many requests ({said})", retryable=True)
    if status == 408:
        return _ambiguous(OperationTimeoutError, f"the service waited too long ({said})", subject)
    if status == 503:
        return BackendUnavailableError(f"the service can't answer now ({said})", retryable=True)
    if status in {301, 307, 308}:
        return ConfigError(f"the bucket is in another region or at another endpoint ({said})")
    if status == 405 and subject.operation in _READS:
        # API reference, HeadObject, "Versioning".
        return NotFoundError(_MARKED)
    if status in {405, 501}:
        return UnsupportedOperationError(f"the service can't do that ({said})")
    if status == 507:
        return NoSpaceError(f"the service has no space left ({said})")
    if status >= 500:
        return _ambiguous(BackendUnavailableError, f"the service failed ({said})", subject)
    return StorageError(f"the service refuses the request ({said})")


def _precondition(status: int, said: str, subject: Subject) -> StorageError:
    if subject.create_only:
        return AlreadyExistsError("the object is there already")
    if subject.if_match is not None:
        return PreconditionFailedError(
            f"the object has not the entity tag {subject.if_match!r} (any more)"
        )
    if status == 412:
        return PreconditionFailedError(f"the object is not as the conditions ask ({said})")
    return StorageError(f"a conflict ({said})")
