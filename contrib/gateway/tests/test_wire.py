"""The codec of gateway and client: what is sent arrives, and whatever else arrives is refused."""

import json
from contextlib import suppress
from datetime import UTC, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polystow
from polystow import (
    Acl,
    BatchResult,
    ByteRange,
    Checksum,
    CompleteOptions,
    ConfigError,
    CopyOptions,
    DeleteOptions,
    Encryption,
    Failure,
    Grant,
    ListPage,
    NameHint,
    NotFoundError,
    ObjectHeaders,
    ObjectInfo,
    PresignOptions,
    RateLimitedError,
    ReadOptions,
    ResponseHeaders,
    StorageError,
    TransportError,
    WriteOptions,
)
from polystow_gateway._naming import Naming
from polystow_gateway._wire import (
    Hint,
    RemoteCapabilities,
    WireError,
    dumps,
    hint_of,
    load,
    loads,
    name_of,
)
from polystow_gateway._wire_errors import error_from, error_to
from polystow_gateway._wire_requests import (
    AclRequest,
    CopyRequest,
    DeleteRequest,
    FetchRequest,
    MappingState,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE = st.none() | TEXTS
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.none()
TABLES = st.dictionaries(TEXTS, TEXTS, max_size=4)
CHECKSUMS = st.none() | st.builds(Checksum, TEXTS, TEXTS)
HEADERS = st.builds(ObjectHeaders, MAYBE, MAYBE, MAYBE, MAYBE, MOMENTS)
SIZES = st.none() | st.integers(0, 2**63)
ENCRYPTIONS = st.none() | st.sampled_from(
    [Encryption.service(), Encryption.kms("id", {"a": "b"}), Encryption.customer(b"k" * 32)]
)
INFOS = st.builds(
    ObjectInfo,
    TEXTS,
    size=SIZES,
    filename=MAYBE,
    content_type=MAYBE,
    etag=MAYBE,
    checksum=CHECKSUMS,
    modified=MOMENTS,
    created=MOMENTS,
    storage_class=MAYBE,
    version=MAYBE,
    metadata=st.none() | TABLES,
    headers=st.none() | HEADERS,
    short_id=MAYBE,
)
WRITING = st.builds(
    WriteOptions,
    content_type=MAYBE,
    metadata=TABLES,
    filename=MAYBE,
    overwrite=st.booleans(),
    if_match=MAYBE,
    headers=HEADERS,
    storage_class=MAYBE,
    checksum=CHECKSUMS,
    appendable=st.booleans(),
    encryption=ENCRYPTIONS,
)
RANGES = st.none() | st.builds(ByteRange, st.integers(-100, 100))
READING = st.builds(
    ReadOptions,
    range=RANGES,
    if_match=MAYBE,
    version=MAYBE,
    if_none_match=MAYBE,
    if_modified_since=MOMENTS,
    if_unmodified_since=MOMENTS,
    response=st.none() | st.builds(ResponseHeaders, content_type=MAYBE),
    encryption=ENCRYPTIONS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
KINDS: list[type] = [
    ObjectInfo, WriteOptions, ReadOptions, CopyOptions, ListPage, BatchResult, PresignOptions,
    CompleteOptions, RemoteCapabilities, CopyRequest, AclRequest, FetchRequest, MappingState,
]  # fmt: skip
ERRORS = [
    value
    for name in polystow.__all__
    if isinstance(value := getattr(polystow, name), type)
    and issubclass(value, StorageError)
    and value is not ConfigError
]


@given(INFOS)
def test_what_is_known_of_an_object_arrives(info: ObjectInfo) -> None:
    text = dumps(info)
    assert text.isascii()
    assert "\n" not in text
    assert loads(ObjectInfo, text, strict=True) == info


@given(WRITING)
def test_options_of_a_write_arrive(options: WriteOptions) -> None:
    assert loads(WriteOptions, dumps(options), strict=True) == options


@given(READING)
def test_options_of_a_read_arrive(options: ReadOptions) -> None:
    assert loads(ReadOptions, dumps(options), strict=True) == options


@given(st.timedeltas(timedelta(0), timedelta(days=3650)))
def test_spans_arrive(span: timedelta) -> None:
    options = PresignOptions(expires=span)
    arrived = loads(PresignOptions, dumps(options), strict=True).expires
    assert arrived is not None
    assert abs(arrived - span) <= timedelta(microseconds=1)


@given(st.lists(INFOS, max_size=3), st.lists(TEXTS, max_size=3), MAYBE)
def test_pages_arrive(items: list[ObjectInfo], prefixes: list[str], cursor: str | None) -> None:
    page = loads(ListPage, dumps(ListPage(items, prefixes, cursor)))
    assert (list(page.items), list(page.prefixes), page.cursor) == (items, prefixes, cursor)


def test_what_a_driver_adds_of_its_own_stays_where_it_is() -> None:
    assert loads(ObjectInfo, dumps(ObjectInfo("a", extra=object()))) == ObjectInfo("a")


@given(st.sampled_from(KINDS), JSON)
def test_whatever_else_comes_is_refused_and_nothing_worse(kind: type, data: object) -> None:
    with suppress(WireError):
        load(kind, data, strict=True)


@pytest.mark.parametrize(
    "text",
    ['{"id":5}', '{"id":"x","size":"5"}', '{"id":"x","size":true}', "[]", "{}", "nonsense",
     '{"id":"x","modified":"2020-01-01T00:00:00"}', '{"id":"a","unheard_of":1}', "[" * 100_000],
)  # fmt: skip
def test_values_are_taken_for_what_they_are(text: str) -> None:
    with pytest.raises(WireError):
        loads(ObjectInfo, text, strict=True)


def test_a_text_is_no_list_of_its_characters() -> None:
    with pytest.raises(WireError, match="list"):
        loads(DeleteRequest, '{"ids":"ab"}', strict=True)


def test_a_client_ignores_what_a_newer_gateway_adds() -> None:
    assert loads(ObjectInfo, '{"id":"a","unheard_of":1}') == ObjectInfo("a")


@given(
    st.builds(NameHint, TEXTS, MAYBE, MAYBE, st.sampled_from([None, "unique", "dated", "exact"]))
)
def test_names_of_new_objects_arrive(hint: NameHint) -> None:
    assert name_of(loads(Hint, dumps(hint_of(hint)), strict=True)) == hint


def test_a_key_policy_that_is_a_function_is_asked_before() -> None:
    hint = NameHint("a.txt", key_policy=lambda name: f"key of {name.filename}")
    arrived = name_of(loads(Hint, dumps(hint_of(hint))))
    assert callable(arrived.key_policy)
    assert arrived.key_policy(arrived) == "key of a.txt"
    with pytest.raises(WireError, match="no key policy"):
        name_of(Hint("a", key_policy="random"))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_arrive_as_the_same_class_with_all_they_say(kind: type[StorageError]) -> None:
    error = kind("what happened")
    error.path, error.operation = "s3://b/k", "write"
    error.retryable, error.outcome, error.retry_after_s = True, "unknown", 1.5
    arrived = error_from(json.loads(json.dumps(error_to(error))), 500)
    assert type(arrived) is kind
    for name in ("message", "path", "operation", "retryable", "outcome", "retry_after_s"):
        assert getattr(arrived, name) == getattr(error, name)


class OfADriver(NotFoundError):
    """A class that the other side does not have."""


def test_an_error_of_a_drivers_own_class_arrives_as_the_next_one_that_is_known() -> None:
    assert type(error_from(error_to(OfADriver("gone")), 404)) is NotFoundError


def test_what_a_backend_said_of_its_trouble_stays_hidden() -> None:
    fields = error_to(TransportError("10.0.0.7 refused the password hunter2"), hidden=True)
    assert "10.0.0.7" not in str(fields)
    assert "hunter2" not in str(fields)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, polystow.PermissionDeniedError), (403, polystow.PermissionDeniedError),
     (404, StorageError), (408, polystow.OperationTimeoutError),
     (413, polystow.FileTooLargeError), (429, RateLimitedError),
     (502, polystow.BackendUnavailableError), (503, polystow.BackendUnavailableError),
     (504, polystow.OperationTimeoutError), (500, StorageError)],
)  # fmt: skip
def test_answers_of_others_than_gateways_have_a_meaning_too(
    status: int, kind: type[StorageError]
) -> None:
    error = error_from({}, status)
    assert type(error) is kind
    assert str(status) in error.message
    assert error.retryable is (status in {429, 502, 503})


@given(JSON)
def test_no_document_is_too_odd_for_an_error(document: object) -> None:
    if isinstance(document, dict):
        assert isinstance(error_from(cast("dict[str, object]", document), 400), StorageError)


def test_failures_of_a_batch_arrive() -> None:
    batch = BatchResult(["a"], [Failure("b", NotFoundError("none", path="b"))])
    arrived = loads(BatchResult, dumps(batch))
    assert list(arrived.succeeded) == ["a"]
    assert arrived.failed[0].path == "b"
    assert isinstance(arrived.failed[0].error, NotFoundError)
    loads(BatchResult, dumps(BatchResult([], [])), strict=True)
    assert loads(DeleteOptions, "{}", strict=True) == DeleteOptions()


def test_access_arrives_by_its_name_or_in_full() -> None:
    for acl in ("public-read", Acl("me", (Grant("read", "you"),))):
        request = AclRequest(cast("Any", acl))
        assert loads(AclRequest, dumps(request), strict=True) == request
    with pytest.raises(WireError):
        loads(AclRequest, '{"acl":"for-everybody"}', strict=True)


@given(TEXTS)
def test_names_come_back_as_they_went(path: str) -> None:
    for naming in (Naming(None), Naming("s3")):
        assert naming.inward(naming.outward(path)) == path or naming.mount is None


def test_below_a_mount_ids_lose_its_name_and_bare_ones_stay() -> None:
    naming = Naming("s3")
    info = naming.info(ObjectInfo("s3://b/k", short_id="s3:b/k"))
    assert (info.path, info.short_id) == ("b/k", None)
    bare = Naming("fastdfs").info(ObjectInfo("fastdfs://group1/M00/x", short_id="group1/M00/x"))
    assert (bare.path, bare.short_id) == ("group1/M00/x", "group1/M00/x")
    whole = Naming(None).info(ObjectInfo("s3://b/k", short_id="s3:b/k"))
    assert (whole.path, whole.short_id) == ("s3://b/k", "s3:b/k")
