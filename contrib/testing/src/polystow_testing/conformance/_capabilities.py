"""What a driver declares and what it does agree, in both directions."""

import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import partial

import pytest
from anyio import to_thread
from attrs import fields, frozen

from polystow import (
    API_VERSION,
    AclOptions,
    BytesBody,
    Capabilities,
    CompositeDriver,
    CopyOptions,
    CreateContainerOptions,
    DeleteOptions,
    Encryption,
    InvalidPathError,
    ListOptions,
    MetadataOptions,
    NotFoundError,
    ObjectHeaders,
    PresignMethod,
    PresignOptions,
    ReadOptions,
    ResponseHeaders,
    StatOptions,
    StorageError,
    SupportsPresign,
    TagOptions,
    UnsupportedOperationError,
    WriteOptions,
)
from polystow_testing.conformance._base import Conformance, cases, representative
from polystow_testing.conformance._subject import Subject
from polystow_testing.conformance._writing import WatchedBody

_METHODS: Mapping[str, str] = {
    "list": "list_page",
    "copy": "copy",
    "delete_many": "delete_many",
    "set_metadata": "set_metadata",
    "append": "append",
    "multipart": "create_multipart",
    "presign": "presign",
    "containers": "create_container",
    "versions": "list_versions",
    "tags": "get_tags",
    "acl": "get_acl",
    "check": "check",
    "bare_ids": "owns_bare_id",
}


@frozen
class _Option:
    """An option that a driver may not know.

    Attributes:
        limit: The field of `Limits` that declares it; or the capability.
        operation: The method that has it.
        call: Uses it on an object that is there.
    """

    limit: str
    operation: str
    call: Callable[[Subject, str, WatchedBody], Awaitable[object]]

    def is_declared(self, capabilities: Capabilities) -> bool:
        """Whether a driver says that it knows the option."""
        if hasattr(capabilities.limits, self.limit):
            return bool(getattr(capabilities.limits, self.limit))
        return getattr(capabilities, self.limit) is not None


def _read_with(limit: str, options: ReadOptions) -> _Option:
    return _Option(limit, "open_read", lambda at, path, _: at.driver.open_read(path, options))


def _write_with(limit: str, options: WriteOptions) -> _Option:
    return _Option(
        limit, "write", lambda at, _, body: at.driver.write(at.target("a.txt"), body, options)
    )


_NOW = datetime.now(UTC)
_OPTIONS: Mapping[str, _Option] = {
    "create_only": _write_with("create_only", WriteOptions(overwrite=False)),
    "write_if_match": _write_with("if_match", WriteOptions(if_match="any")),
    "headers": _write_with("headers", WriteOptions(headers=ObjectHeaders("no-cache"))),
    "extra_headers": _write_with("extra_headers", WriteOptions(extra_headers={"x-a": "b"})),
    "storage_class": _write_with("storage_class", WriteOptions(storage_class="COLD")),
    "write_encryption": _write_with("encryption", WriteOptions(encryption=Encryption.service())),
    "read_encryption": _read_with("encryption", ReadOptions(encryption=Encryption.kms())),
    "appendable": _write_with("append", WriteOptions(appendable=True)),
    "read_if_match": _read_with("if_match", ReadOptions(if_match="any")),
    "if_none_match": _read_with("conditional_reads", ReadOptions(if_none_match="any")),
    "if_modified_since": _read_with("conditional_reads", ReadOptions(if_modified_since=_NOW)),
    "if_unmodified_since": _read_with("conditional_reads", ReadOptions(if_unmodified_since=_NOW)),
    "response": _read_with(
        "response_headers", ReadOptions(response=ResponseHeaders(content_type="text/plain"))
    ),
    "read_version": _read_with("versions", ReadOptions(version="7")),
    "stat_version": _Option(
        "versions", "stat", lambda at, path, _: at.driver.stat(path, StatOptions(version="7"))
    ),
    "delete_version": _Option(
        "versions", "delete", lambda at, path, _: at.driver.delete(path, DeleteOptions(version="7"))
    ),
}
_OPERANDS: Mapping[str, Callable[[Subject, str], tuple[object, ...]]] = {
    "list": lambda subject, _: (subject.path(""), ListOptions(), None),
    "set_metadata": lambda _, path: (path, {"a": "b"}, MetadataOptions()),
    "append": lambda _, path: (path, BytesBody(b"x")),
    "presign": lambda _, path: (path, PresignOptions()),
    "containers": lambda subject, _: (f"{subject.container}-new", CreateContainerOptions()),
    "versions": lambda subject, _: (subject.path(""), ListOptions(), None),
    "tags": lambda _, path: (path, TagOptions()),
    "acl": lambda _, path: (path, AclOptions()),
    "check": lambda subject, _: (subject.container,),
}


class CapabilityTests(Conformance):
    """`info`, `capabilities`, `limits`, and what is not declared."""

    async def test_the_driver_says_what_it_is(self, subject: Subject) -> None:
        driver = subject.bare
        assert driver.info.name
        assert driver.info.distribution
        assert driver.info.api_version == API_VERSION

    @representative
    async def test_capabilities_stay_the_same(self, subject: Subject) -> None:
        before = subject.driver.capabilities
        await subject.put()
        after = subject.driver.capabilities
        for attribute in fields(Capabilities):
            name = attribute.name
            assert (getattr(before, name) is None) == (getattr(after, name) is None), name
        assert before.limits == after.limits

    @cases(**{name: name for name in _METHODS})
    async def test_a_method_that_is_there_is_declared(self, subject: Subject, case: str) -> None:
        driver = subject.bare
        if getattr(driver.capabilities, case) is None:
            assert not hasattr(driver, _METHODS[case]), "it is there and not declared"

    @cases(**{name: name for name in _METHODS})
    async def test_what_is_declared_has_its_method(self, subject: Subject, case: str) -> None:
        driver = subject.bare
        provider = getattr(driver.capabilities, case)
        if provider is not None:
            assert callable(getattr(provider, _METHODS[case], None))

    @representative
    @cases(**{name: name for name in _OPERANDS})
    async def test_a_composite_refuses_what_its_mount_lacks(
        self, subject: Subject, case: str
    ) -> None:
        provider = getattr(subject.driver.capabilities, case)
        if provider is None or getattr(subject.capabilities, case) is not None:
            pytest.skip("not declared at all, or the driver's own")
        info = await subject.put(b"x", "a.txt", metadata={"old": "x"})
        with pytest.raises(UnsupportedOperationError) as caught:
            await getattr(provider, _METHODS[case])(*_OPERANDS[case](subject, info.path))
        assert caught.value.operation == _METHODS[case]
        assert (await subject.stat(info.path)).metadata == {"old": "x"}

    @cases(**_OPTIONS)
    async def test_an_option_that_is_not_declared_is_refused_before_anything_happens(
        self, subject: Subject, case: _Option
    ) -> None:
        if case.is_declared(subject.bare.capabilities):
            pytest.skip("it is declared")
        # Composites refuse for their mounts, so that no driver has to.
        mounted = CompositeDriver({"mount": subject.bare}, write_to="mount")
        inner = Subject.of(mounted, subject.bare, *self._containers(subject), "mount://")
        info = await inner.put(b"kept", "a.txt")
        body = WatchedBody(b"x", 1)
        with inner.raises(UnsupportedOperationError, operation=case.operation):
            await case.call(inner, info.path, body)
        assert body.opened == 0, "the body was read before the write was refused"
        assert await inner.read(info.path) == b"kept"

    def _containers(self, subject: Subject) -> tuple[str, str]:
        return subject.hint_container, subject.missing_container.rpartition("/")[2]

    @representative
    async def test_an_exact_path_is_refused_where_the_backend_names_objects(
        self, subject: Subject
    ) -> None:
        if subject.limits.client_names_keys:
            pytest.skip("limits.client_names_keys is True")
        body = WatchedBody(b"x", 1)
        for path in (subject.path("a.txt"), (await subject.put()).path):
            with subject.raises(UnsupportedOperationError, operation="write", path=path):
                await subject.driver.write(path, body, WriteOptions())
        assert body.opened == 0
        if subject.capabilities.copy is not None:
            source = await subject.put()
            with pytest.raises(UnsupportedOperationError):
                await subject.capabilities.copy.copy(
                    source.path, subject.path("a.txt"), CopyOptions()
                )


class VersionTests(Conformance):
    """Options with a `version`, where they are declared."""

    @cases(open_read=_OPTIONS["read_version"], stat=_OPTIONS["stat_version"],
           delete=_OPTIONS["delete_version"])  # fmt: skip
    async def test_a_version_that_is_none_is_refused(self, subject: Subject, case: _Option) -> None:
        if not subject.limits.versions:
            pytest.skip("limits.versions is False")
        info = await subject.put(b"kept")
        with pytest.raises(StorageError):
            await case.call(subject, info.path, WatchedBody(b"", 0))
        assert await subject.read(info.path) == b"kept"


class PresignTests(Conformance):
    """`presign`, over plain HTTP clients."""

    @pytest.fixture
    def signer(self, subject: Subject) -> SupportsPresign:
        """What signs."""
        if subject.capabilities.presign is None:
            pytest.skip("the driver declares no presign")
        return subject.capabilities.presign

    @cases(
        plain="a.txt", unicode="ä 漢.txt", space="a b", plus="a+b", percent="100%41",
        question_mark="a?b=c", hash="a#b", ampersand="a&b", slashes="a/b//c",
    )  # fmt: skip
    async def test_a_signed_url_reads_without_credentials(
        self, keyed: Subject, signer: SupportsPresign, case: str
    ) -> None:
        path = (await keyed.put(case.encode(), case)).path
        url = await signer.presign(path, PresignOptions(expires=timedelta(minutes=5)))
        status, content, _ = await _request("GET", url)
        assert (status, content) == (200, case.encode())

    @representative
    async def test_the_answer_has_the_headers_that_were_signed(
        self, keyed: Subject, signer: SupportsPresign
    ) -> None:
        if not keyed.limits.response_headers:
            pytest.skip("limits.response_headers is False")
        path = (await keyed.put(content_type="text/plain")).path
        wanted = ResponseHeaders(
            content_disposition='attachment; filename="a b.txt"',
            content_type="application/x-other",
        )
        url = await signer.presign(path, PresignOptions(response=wanted))
        status, _, headers = await _request("GET", url)
        assert status == 200
        assert headers["Content-Disposition"] == wanted.content_disposition
        assert headers["Content-Type"] == wanted.content_type

    @representative
    async def test_a_signed_url_writes_without_credentials(
        self, keyed: Subject, signer: SupportsPresign
    ) -> None:
        path = keyed.path("new")
        url = await signer.presign(path, PresignOptions("PUT", content_type="text/plain"))
        status, *_ = await _request("PUT", url, b"uploaded", {"Content-Type": "text/plain"})
        assert status in {200, 201, 204}
        assert await keyed.read(path) == b"uploaded"

    async def test_a_signed_url_deletes_without_credentials(
        self, keyed: Subject, signer: SupportsPresign
    ) -> None:
        path = (await keyed.put()).path
        status, *_ = await _request("DELETE", await signer.presign(path, PresignOptions("DELETE")))
        assert status in {200, 204}
        assert not await keyed.exists(path)

    @cases(put="PUT", head="HEAD", delete="DELETE")
    async def test_signing_changes_nothing(
        self, keyed: Subject, signer: SupportsPresign, case: PresignMethod
    ) -> None:
        path = (await keyed.put(b"kept")).path
        assert (await signer.presign(path, PresignOptions(case))).startswith("http")
        assert await keyed.read(path) == b"kept"

    async def test_what_is_not_there_can_be_signed(
        self, keyed: Subject, signer: SupportsPresign
    ) -> None:
        url = await signer.presign(await keyed.missing(), PresignOptions())
        assert (await _request("GET", url))[0] in {403, 404}


class HealthTests(Conformance):
    """`check`."""

    @representative
    async def test_a_backend_that_works_is_healthy(self, subject: Subject) -> None:
        checker = subject.capabilities.check
        if checker is None:
            pytest.skip("the driver declares no check")
        await subject.driver.write(
            subject.target("object"), BytesBody(b"x"), WriteOptions()
        )  # some backends have a container only from the first object on
        await checker.check(subject.container)
        await checker.check(subject.container.removesuffix(subject.hint_container))

    async def test_a_container_that_is_not_there_is_nothing_worse_than_not_found(
        self, subject: Subject
    ) -> None:
        checker = subject.capabilities.check
        if checker is None:
            pytest.skip("the driver declares no check")
        try:
            await checker.check(subject.missing_container)
        except (NotFoundError, InvalidPathError) as error:
            subject.check_error(error, operation="check", path=subject.missing_container)


async def _request(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes, Message]:
    if not url.startswith(("http://", "https://")):
        pytest.fail(f"the signed URL begins with {url[:10]!r}")
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310

    def send() -> tuple[int, bytes, Message]:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers

    return await to_thread.run_sync(partial(send))
