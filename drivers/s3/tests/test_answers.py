"""What a service, or what stands before it, may answer: each is an error that says what to do."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from anyio import create_task_group
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_raw import RawServer, Reply, Seen, error_xml

from polystow import (
    BackendUnavailableError,
    BytesBody,
    ConfigError,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ReadOptions,
    Secret,
    StatOptions,
    StorageDriver,
    StorageError,
    WriteOptions,
)
from polystow_s3._clock import Clock
from polystow_s3._errors import Fault, corrections_of

type Open = Callable[..., AbstractAsyncContextManager[Any]]

MIB = 1_048_576
HTML = b"<!DOCTYPE html>\n<html><body><h1>Bad gateway</h1></body></html>"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<ListBucketResult><Name>&b;</Name></ListBucketResult>"
)
LIST = b"<ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>"


async def read(driver: StorageDriver) -> object:
    return await driver.open_read("bucket/k", ReadOptions())


async def write(driver: StorageDriver) -> object:
    return await driver.write("bucket/k", BytesBody(b"x"), WriteOptions())


async def stat(driver: StorageDriver) -> object:
    return await driver.stat("bucket/k", StatOptions())


async def delete(driver: StorageDriver) -> None:
    await driver.delete("bucket/k", DeleteOptions())


async def list_page(driver: StorageDriver) -> Any:
    assert driver.capabilities.list is not None
    return await driver.capabilities.list.list_page("bucket", ListOptions(), None)


async def copy(driver: StorageDriver) -> object:
    assert driver.capabilities.copy is not None
    return await driver.capabilities.copy.copy("bucket/k", "bucket/copy", CopyOptions())


async def failure(
    open_s3: Open,
    answer: Reply | Callable[[Seen], Reply],
    operation: Callable[[StorageDriver], Any],
    **options: Any,
) -> StorageError:
    """What an operation raises when it is always answered so."""
    reply = answer if callable(answer) else lambda _: answer
    with RawServer(reply) as server:
        async with open_s3(server, **{"attempts": 1, **options}) as driver:
            with pytest.raises(StorageError) as caught:
                await operation(driver)
    assert caught.value.driver == "s3"
    return caught.value


# Shapes


async def test_an_error_in_xml_is_told_with_its_code(open_s3: Open) -> None:
    error = await failure(open_s3, Reply(403, error_xml("AccessDenied")), read)
    assert isinstance(error, PermissionDeniedError)
    assert "AccessDenied: said so" in error.message


@pytest.mark.parametrize(
    ("status", "cls"),
    [(403, PermissionDeniedError), (404, NotFoundError), (503, BackendUnavailableError),
     (429, RateLimitedError), (301, ConfigError)],
)  # fmt: skip
async def test_a_head_has_no_body_and_its_status_counts(
    open_s3: Open, status: int, cls: type[StorageError]
) -> None:
    assert isinstance(await failure(open_s3, Reply(status), stat), cls)


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "AccessDenied"])
async def test_an_error_inside_a_200_is_an_error(open_s3: Open, code: str) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.method == "HEAD":
            return Reply(200, b"", {"ETag": '"e"', "Content-Length": "1"})
        return Reply(200, error_xml(code))

    error = await failure(open_s3, answer, copy)
    assert code in error.message
    assert isinstance(error, RateLimitedError) is (code == "SlowDown")


@pytest.mark.parametrize("operation", [read, write, list_page, delete])
@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_page_of_a_proxy_that_has_no_backend_may_be_asked_again(
    open_s3: Open, operation: Any, status: int
) -> None:
    error = await failure(open_s3, Reply(status, HTML, {"Content-Type": "text/html"}), operation)
    assert isinstance(error, BackendUnavailableError)
    assert error.retryable
    assert "perhaps a proxy's" in error.message


@pytest.mark.parametrize("page", [HTML, b"404 page not found", b'{"error": "no route"}'])
async def test_a_missing_page_of_a_proxy_is_no_missing_object(open_s3: Open, page: bytes) -> None:
    for operation in (read, list_page, delete):
        error = await failure(open_s3, Reply(404, page), operation)
        assert isinstance(error, BackendUnavailableError)
        assert not isinstance(error, NotFoundError)
        assert "see endpoint" in error.message


async def test_a_page_of_a_proxy_that_forbids_is_told_from_the_services_word(
    open_s3: Open,
) -> None:
    error = await failure(open_s3, Reply(403, HTML), read)
    assert isinstance(error, PermissionDeniedError)
    assert "perhaps a proxy's" in error.message


@pytest.mark.parametrize("body", [HTML, b"<html>", b"hello", b"{}", b"\xff\xfe<\0a\0", LIST[:20]])
async def test_a_listing_that_is_none_of_s3s_is_refused(open_s3: Open, body: bytes) -> None:
    error = await failure(open_s3, Reply(200, body), list_page)
    assert isinstance(error, BackendUnavailableError)


@pytest.mark.parametrize(
    "content",
    [
        b"<Contents><Key>k</Key><Size>many</Size></Contents>",
        b"<Contents><Key>k</Key><LastModified>yesterday</LastModified></Contents>",
        b"<KeyCount>1e9</KeyCount>",
        b"<MaxKeys></MaxKeys>",
    ],
)
async def test_values_that_are_none_are_errors_of_polystow(open_s3: Open, content: bytes) -> None:
    error = await failure(open_s3, Reply(200, LIST % content), list_page)
    assert isinstance(error, BackendUnavailableError)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Content-Length", "-5"), ("Content-Length", "many"), ("Last-Modified", "yesterday"),
     ("Transfer-Encoding", "sideways")],
)  # fmt: skip
async def test_headers_that_are_none_are_errors_of_polystow(
    open_s3: Open, name: str, value: str
) -> None:
    await failure(open_s3, Reply(200, b"", {name: value}), read, read_timeout_s=1.0)


# What could grow


@pytest.mark.parametrize("operation", [list_page, read])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_document_type_is_refused(open_s3: Open, operation: Any, status: int) -> None:
    if (operation, status) == (read, 200):
        return  # those are an object's bytes
    error = await failure(open_s3, Reply(status, BOMB), operation)
    assert isinstance(error, BackendUnavailableError)


@pytest.mark.parametrize(
    "prolog", [b"", b"\xef\xbb\xbf", b"<?xml version='1.0'?>", b" \n<!-- c --><!-- c -->\n<?x y?>"]
)
async def test_a_document_type_is_found_wherever_it_may_stand(open_s3: Open, prolog: bytes) -> None:
    body = prolog + b"<!DOCTYPE x><ListBucketResult/>"
    error = await failure(open_s3, Reply(200, body), list_page)
    assert "XML with a DTD" in error.message


async def test_a_prolog_of_many_comments_costs_no_time(open_s3: Open) -> None:
    body = b"<!---->" * 100_000 + LIST % b""
    with RawServer(lambda _: Reply(200, body)) as server:
        async with open_s3(server) as driver:
            assert (await list_page(driver)).items == ()


async def test_a_key_may_look_like_a_document_type(open_s3: Open) -> None:
    body = LIST % b"<Contents><Key>&lt;!DOCTYPE x></Key></Contents>"
    with RawServer(lambda _: Reply(200, body)) as server:
        async with open_s3(server) as driver:
            assert (await list_page(driver)).items[0].path == "bucket/<!DOCTYPE x>"


async def test_an_answer_that_says_to_be_too_long_is_not_read(open_s3: Open) -> None:
    reply = Reply(200, LIST % b"", {"Content-Length": str(10**15)})
    error = await failure(open_s3, reply, list_page, read_timeout_s=5.0)
    assert isinstance(error, BackendUnavailableError)
    assert "it says to have 1000000000000000 bytes" in error.message


@pytest.mark.parametrize("status", [200, 403])
async def test_an_answer_that_is_too_long_is_read_to_the_limit(open_s3: Open, status: int) -> None:
    piece = b" " * MIB
    body = b"".join(b"%x\r\n%b\r\n" % (MIB, piece) for _ in range(20)) + b"0\r\n\r\n"
    reply = Reply(status, body, {"Transfer-Encoding": "chunked"})
    error = await failure(open_s3, reply, list_page)
    assert isinstance(error, BackendUnavailableError)
    assert "it has more than" in error.message


async def test_the_size_of_an_object_is_only_told(open_s3: Open) -> None:
    reply = Reply(200, b"", {"ETag": '"e"', "Content-Length": str(10**18)})
    with RawServer(lambda _: reply) as server:
        async with open_s3(server) as driver:
            assert (await driver.stat("bucket/k", StatOptions())).size == 10**18


async def test_what_the_service_says_is_not_told_at_any_length(open_s3: Open) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>" + b"m" * MIB + b"</Message></Error>"
    error = await failure(open_s3, Reply(403, body), read)
    assert len(error.message) < 500


# The clock


def skewed(by: timedelta, seen: Seen, *, body: bool = True) -> Reply:
    """What a service answers whose clock differs."""
    now = datetime.now(UTC) + by
    date = now.strftime("%a, %d %b %Y %H:%M:%S GMT")
    signed = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(now - signed) > timedelta(minutes=15):
        has_body = body and seen.method != "HEAD"
        return Reply(403, error_xml("RequestTimeTooSkewed") if has_body else b"", {"Date": date})
    return Reply(200, b"", {"Date": date, "ETag": '"e"'})


@pytest.mark.parametrize("hours", [-25, 1])
@pytest.mark.parametrize("operation", [write, stat, read])
async def test_the_services_clock_is_learned_and_the_request_repeated(
    open_s3: Open, caplog: pytest.LogCaptureFixture, hours: int, operation: Any
) -> None:
    with RawServer(lambda seen: skewed(timedelta(hours=hours), seen)) as server:
        async with open_s3(server, attempts=1) as driver:
            await operation(driver)
            assert len(server.seen) == 2
            await write(driver)
            assert len(server.seen) == 3
    assert caplog.text.count("clock differs") == 1


async def test_many_requests_learn_the_clock_together(open_s3: Open) -> None:
    with RawServer(lambda seen: skewed(timedelta(hours=3), seen)) as server:
        async with open_s3(server, attempts=1) as driver, create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(write, driver)
    assert len(server.seen) <= 16


async def test_a_clock_that_stays_wrong_is_an_error(open_s3: Open) -> None:
    seen: list[Seen] = []

    def answer(request: Seen) -> Reply:
        seen.append(request)
        date = datetime.now(UTC) + timedelta(hours=len(seen))
        text = date.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return Reply(403, error_xml("RequestTimeTooSkewed"), {"Date": text})

    error = await failure(open_s3, answer, write)
    assert isinstance(error, PermissionDeniedError)
    assert "clocks of this machine and of the service differ" in error.message
    assert len(seen) == 2


async def test_a_refusal_with_the_right_time_is_not_repeated(open_s3: Open) -> None:
    seen: list[Seen] = []

    def answer(request: Seen) -> Reply:
        seen.append(request)
        return Reply(403, b"", {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")})

    await failure(open_s3, answer, stat)
    assert len(seen) == 1


@given(offset=st.floats(-1e6, 1e6), told=st.floats(-1e6, 1e6))
@settings(max_examples=100)
def test_a_clock_that_has_learned_has_nothing_to_learn(offset: float, told: float) -> None:
    clock = Clock()
    clock.offset_s = offset
    time = datetime.now(UTC) + timedelta(seconds=told)
    logging.disable()
    try:
        clock.learn(time)
    finally:
        logging.disable(logging.NOTSET)
    assert abs(clock.difference_s(time)) <= 241


@given(
    kind=st.sampled_from(["answer", "lost", "garbled", "connect"]),
    code=st.sampled_from(["", "403", "AccessDenied", "RequestTimeTooSkewed", "ExpiredToken"]),
    status=st.sampled_from([200, 400, 403, 404, 500]),
    foreign=st.booleans(),
)
def test_only_what_the_service_refused_is_corrected(
    kind: Any, code: str, status: int, foreign: bool
) -> None:
    corrections = corrections_of(Fault(kind, code, status, foreign=foreign))
    if kind != "answer" or code == "AccessDenied":
        assert corrections == ()
    if code == "RequestTimeTooSkewed" and kind == "answer":
        assert corrections == ("clock",)


# The region


def elsewhere(how: str, seen: Seen) -> Reply:
    """What a service answers in whose region the bucket is not."""
    if "/eu-west-1/s3/" in seen.headers["authorization"]:
        return Reply(200, b"", {"ETag": '"e"'})
    region = {"x-amz-bucket-region": "eu-west-1"}
    if how == "redirect":
        return Reply(301, error_xml("PermanentRedirect"), region)
    if how == "malformed":
        return Reply(400, error_xml("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"))
    if how == "temporary":
        return Reply(307, error_xml("TemporaryRedirect"), region)
    return Reply(400, b"", region)


@pytest.mark.parametrize(
    ("how", "operation"),
    [("redirect", write), ("redirect", read), ("malformed", write), ("malformed", read),
     ("temporary", write), ("redirect", stat), ("bare", stat)],
)  # fmt: skip
async def test_the_buckets_region_is_learned(open_s3: Open, how: str, operation: Any) -> None:
    with RawServer(lambda seen: elsewhere(how, seen)) as server:
        async with open_s3(server, attempts=1) as driver:
            await operation(driver)
            before = len(server.seen)
            await operation(driver)
            assert len(server.seen) == before + 1  # now it is known


async def test_a_region_that_is_not_told_is_a_config_error(open_s3: Open) -> None:
    error = await failure(open_s3, Reply(301, error_xml("PermanentRedirect")), write)
    assert isinstance(error, ConfigError)
    assert "in another region" in error.message


async def test_a_region_is_not_asked_for_without_end(open_s3: Open) -> None:
    seen: list[Seen] = []

    def answer(request: Seen) -> Reply:
        seen.append(request)
        return Reply(301)

    for operation in (stat, write):
        seen.clear()
        error = await failure(open_s3, answer, operation)
        assert isinstance(error, ConfigError)
        assert 2 <= len(seen) <= 3


async def test_a_region_that_can_not_be_one_is_not_followed(open_s3: Open) -> None:
    reply = Reply(301, error_xml("PermanentRedirect"), {"x-amz-bucket-region": "evil.example/#"})
    await failure(open_s3, reply, write)


# Refusals


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("InvalidAccessKeyId", "does not know access_key_id"),
        ("SignatureDoesNotMatch", "secret_access_key does not belong"),
        ("InvalidToken", "session_token is wrong"),
        ("ExpiredToken", "session_token has expired"),
        ("AuthorizationHeaderMalformed", "region is probably wrong"),
    ],
)
async def test_refused_credentials_come_with_advice_and_are_not_repeated(
    open_s3: Open, code: str, advice: str
) -> None:
    seen: list[Seen] = []

    def answer(request: Seen) -> Reply:
        seen.append(request)
        return Reply(400, error_xml(code))

    error = await failure(open_s3, answer, write, attempts=3, session_token=Secret("geheim"))
    assert isinstance(error, PermissionDeniedError)
    assert advice in error.message
    assert "geheim" not in str(error)
    # A wrong region is left to aiobotocore, which may know another.
    assert len(seen) <= (2 if code == "AuthorizationHeaderMalformed" else 1)


async def test_slow_down_waits_as_long_as_the_service_says(open_s3: Open) -> None:
    error = await failure(open_s3, Reply(503, error_xml("SlowDown"), {"Retry-After": "7"}), write)
    assert isinstance(error, RateLimitedError)
    assert (error.retryable, error.retry_after_s) == (True, 7.0)
