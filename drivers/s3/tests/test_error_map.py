"""What each of S3's answers becomes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ChecksumMismatchError,
    ConfigError,
    ContainerNotEmptyError,
    InvalidPartError,
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
    StorageError,
    TransportError,
    UnsupportedOperationError,
    UploadNotFoundError,
)
from polystow_s3._errors import Fault, Subject, error_of
from polystow_s3._sdk import parse_timestamp
from polystow_s3._sdk_faults import fault_of
from polystow_s3._times import parse_retry_after

READ = Subject("open_read", "b/k", bucket="b")
CREATE = Subject("write", "b/k", bucket="b", create_only=True, idempotent=False, changes=True)
WRITE = Subject("write", "b/k", bucket="b", changes=True)


@pytest.mark.parametrize(
    ("status", "code", "error", "retryable"),
    [
        (404, "", NotFoundError, False),
        (404, "404", NotFoundError, False),
        (404, "NoSuchKey", NotFoundError, False),
        (404, "NoSuchBucket", NotFoundError, False),
        (404, "NoSuchUpload", UploadNotFoundError, False),
        (400, "InvalidPart", InvalidPartError, False),
        (400, "InvalidPartOrder", PartOrderError, False),
        (400, "EntityTooSmall", PartTooSmallError, False),
        (403, "", PermissionDeniedError, False),
        (403, "AccessDenied", PermissionDeniedError, False),
        (403, "InvalidAccessKeyId", PermissionDeniedError, False),
        (403, "SignatureDoesNotMatch", PermissionDeniedError, False),
        (403, "RequestTimeTooSkewed", PermissionDeniedError, False),
        (400, "ExpiredToken", PermissionDeniedError, False),
        (401, "", PermissionDeniedError, False),
        (416, "InvalidRange", RangeNotSatisfiableError, False),
        (429, "", RateLimitedError, True),
        (503, "SlowDown", RateLimitedError, True),
        (503, "", BackendUnavailableError, True),
        (500, "InternalError", BackendUnavailableError, True),
        (502, "", BackendUnavailableError, True),
        (400, "RequestTimeout", BackendUnavailableError, True),
        (400, "BadDigest", ChecksumMismatchError, True),
        (400, "XAmzContentSHA256Mismatch", ChecksumMismatchError, True),
        (501, "NotImplemented", UnsupportedOperationError, False),
        (405, "MethodNotAllowed", NotFoundError, False),  # a delete marker
        (409, "BucketNotEmpty", ContainerNotEmptyError, False),
        (409, "BucketAlreadyOwnedByYou", AlreadyExistsError, False),
        (404, "NoSuchTagSet", NotFoundError, False),
        (400, "AccessControlListNotSupported", UnsupportedOperationError, False),
        (507, "", NoSpaceError, False),
        (301, "PermanentRedirect", ConfigError, False),
        (400, "InvalidRequest", StorageError, False),
        (412, "PreconditionFailed", PreconditionFailedError, False),
        (304, "304", NotModifiedError, False),
    ],
)
def test_answers_become_errors(
    status: int, code: str, error: type[StorageError], retryable: bool
) -> None:
    made = error_of(Fault("answer", code, status, "said so", 2.5), READ)
    assert isinstance(made, error)
    assert made.retryable is retryable
    assert (made.operation, made.path, made.driver) == ("open_read", "b/k", "s3")
    assert made.retry_after_s == 2.5


def test_a_method_that_is_not_allowed_is_not_there_but_for_reads() -> None:
    refused = Fault("answer", "MethodNotAllowed", 405)
    error = error_of(refused, Subject("set_acl", "b/k", bucket="b"))
    assert type(error) is UnsupportedOperationError
    assert "MethodNotAllowed" in error.message


def test_a_failed_precondition_means_what_was_asked() -> None:
    failed = Fault("answer", "PreconditionFailed", 412)
    assert type(error_of(failed, CREATE)) is AlreadyExistsError
    matching = Subject("write", "b/k", bucket="b", if_match="abc")
    assert type(error_of(failed, matching)) is PreconditionFailedError


def test_a_conflict_of_two_conditional_writes_may_be_repeated() -> None:
    made = error_of(Fault("answer", "ConditionalRequestConflict", 409), CREATE)
    assert made.retryable


def test_a_missing_bucket_is_named() -> None:
    made = error_of(Fault("answer", "NoSuchBucket", 404), READ)
    assert "no bucket 'b'" in made.message


def test_wrong_credentials_come_with_advice() -> None:
    made = error_of(Fault("answer", "SignatureDoesNotMatch", 403), READ)
    assert "secret_access_key does not belong to access_key_id" in made.message


@pytest.mark.parametrize("kind", ["lost", "read_timeout", "garbled"])
def test_a_create_only_write_is_not_repeated_if_it_may_have_happened(kind: Any) -> None:
    made = error_of(Fault(kind), CREATE)
    assert (made.retryable, made.outcome) == (False, "unknown")
    made = error_of(Fault(kind), WRITE)
    assert (made.retryable, made.outcome) == (True, "unknown")
    made = error_of(Fault(kind), READ)
    assert (made.retryable, made.outcome) == (True, "failed")


@pytest.mark.parametrize("kind", ["connect", "connect_timeout"])
def test_what_was_never_sent_may_always_be_repeated(kind: Any) -> None:
    made = error_of(Fault(kind), CREATE)
    assert (made.retryable, made.outcome) == (True, "failed")


@given(
    status=st.integers(200, 599),
    code=st.text(max_size=20),
    subject=st.sampled_from([READ, CREATE, WRITE]),
)
def test_every_answer_becomes_an_error_and_no_refusal_is_repeated(
    status: int, code: str, subject: Subject
) -> None:
    made = error_of(Fault("answer", code, status), subject)
    assert isinstance(made, StorageError)
    if status in {400, 401, 403, 404, 405, 412, 416}:
        assert not made.retryable or code in {
            "SlowDown", "RequestTimeout", "OperationAborted", "429",
        }  # fmt: skip


def client_error(status: int, code: str, headers: dict[str, str]) -> Exception:
    error: Exception = botocore.exceptions.ClientError(
        {
            "Error": {"Code": code, "Message": "m" * 1000},
            "ResponseMetadata": {
                "HTTPStatusCode": status, "HTTPHeaders": headers, "RequestId": "", "HostId": "",
                "RetryAttempts": 0,
            },
        },
        "GetObject",
    )  # fmt: skip
    return error


def test_retry_after_is_read_from_the_answer() -> None:
    fault = fault_of(client_error(503, "SlowDown", {"retry-after": "7"}))
    assert fault is not None
    assert (fault.code, fault.status, fault.retry_after_s) == ("SlowDown", 503, 7.0)
    assert len(fault.message) <= 300


def test_retry_after_may_be_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=100)
    seconds = parse_retry_after(later.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    assert seconds is not None
    assert 95 < seconds <= 100
    assert parse_retry_after("soon") is None
    assert parse_retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="u", error="e"), "connect_timeout"),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="u", error="e"), "read_timeout"),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="u", error="e"), "lost"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="u", error="e"), "lost"),
        (botocore.exceptions.SSLError(endpoint_url="u", error="e"), "tls"),
        (botocore.exceptions.NoCredentialsError(), "credentials"),
        (botocore.exceptions.ResponseStreamingError(error="e"), "lost"),
        (botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), "lost"),
        (botocore.exceptions.ProfileNotFound(profile="p"), "config"),
        (botocore.exceptions.ParamValidationError(report="r"), "request"),
        (TimeoutError(), "read_timeout"),
    ],
)
def test_exceptions_of_the_sdk_become_faults(error: Exception, kind: str) -> None:
    fault = fault_of(error)
    assert fault is not None
    assert fault.kind == kind


def test_exceptions_of_others_are_left_alone() -> None:
    assert fault_of(ZeroDivisionError()) is None
    assert fault_of(KeyError("x")) is None


@pytest.mark.parametrize(
    ("error", "cls"),
    [(Fault("tls"), TransportError), (Fault("read_timeout"), OperationTimeoutError),
     (Fault("config"), ConfigError), (Fault("request"), StorageError)],
)  # fmt: skip
def test_faults_without_an_answer_become_errors(error: Fault, cls: type[StorageError]) -> None:
    assert isinstance(error_of(error, READ), cls)


@given(seconds=st.integers(0, 4_000_000_000))
def test_times_are_read_as_botocore_reads_them(seconds: int) -> None:
    when = datetime.fromtimestamp(seconds, UTC)
    assert parse_timestamp(when.strftime("%a, %d %b %Y %H:%M:%S GMT")) == when
    assert parse_timestamp(when.strftime("%Y-%m-%dT%H:%M:%S.000Z")) == when


def test_other_forms_of_time_are_left_to_botocore() -> None:
    assert parse_timestamp(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_timestamp("Thu, 1 Jan 1970 00:00:00 +0000") == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_conflict_on_completion_is_no_reason_to_ask_again() -> None:
    conflict = Fault("answer", "ConditionalRequestConflict", 409)
    completing = Subject(
        "write", "b/k", bucket="b", if_match="x", idempotent=False, changes=True, completes=True
    )
    made = error_of(conflict, completing)
    assert (type(made), made.retryable) == (PreconditionFailedError, False)
    assert error_of(conflict, CREATE).retryable
