"""Uploads in parts."""

from functools import partial

import pytest

from polystow import (
    AlreadyExistsError,
    BytesBody,
    CompleteOptions,
    InvalidPartError,
    MultipartUpload,
    ObjectInfo,
    Part,
    PartLimits,
    PartOptions,
    PartOrderError,
    PartTooSmallError,
    PreconditionFailedError,
    StorageError,
    StreamBody,
    SupportsMultipart,
    UploadNotFoundError,
    WriteOptions,
)
from polystow_testing.conformance._base import Conformance, bare_only, cases, representative
from polystow_testing.conformance._concurrency import succeeded, together
from polystow_testing.conformance._subject import Subject, pattern
from polystow_testing.conformance._writing import pieces

_PAGES = 100


class MultipartTests(Conformance):
    """`create_multipart` and what follows it."""

    @pytest.fixture
    def uploader(self, subject: Subject) -> SupportsMultipart:
        """What uploads."""
        if subject.capabilities.multipart is None:
            pytest.skip("the driver declares no multipart")
        return subject.capabilities.multipart

    @pytest.fixture
    def limits(self, subject: Subject, uploader: SupportsMultipart) -> PartLimits:  # noqa: ARG002 - skips
        """What its parts can be."""
        assert subject.limits.parts is not None, "multipart is declared, and limits.parts is not"
        return subject.limits.parts

    async def _begin(
        self, subject: Subject, uploader: SupportsMultipart, key: str = "object"
    ) -> MultipartUpload:
        options = WriteOptions("text/x-parts", {"a": "b"})
        return await uploader.create_multipart(subject.target(key), options)

    async def _parts(
        self, uploader: SupportsMultipart, upload: MultipartUpload, *contents: bytes
    ) -> tuple[Part, ...]:
        return tuple(
            [
                await uploader.put_part(
                    upload.path, upload.upload_id, number, BytesBody(data), PartOptions()
                )
                for number, data in enumerate(contents, 1)
            ]
        )

    async def _complete(
        self,
        uploader: SupportsMultipart,
        upload: MultipartUpload,
        parts: tuple[Part, ...],
        options: CompleteOptions | None = None,
    ) -> ObjectInfo:
        options = options or CompleteOptions()
        return await uploader.complete_multipart(upload.path, upload.upload_id, parts, options)

    @representative
    async def test_parts_become_an_object(
        self, subject: Subject, uploader: SupportsMultipart, limits: PartLimits
    ) -> None:
        upload = await self._begin(subject, uploader)
        first, last = pattern(limits.min_bytes, 1), b"the end"
        parts = await self._parts(uploader, upload, first, last)
        assert [(part.number, part.size) for part in parts] == [(1, len(first)), (2, 7)]
        if subject.limits.client_names_keys:
            assert not await subject.exists(upload.path), "it is there before it is complete"
        info = await self._complete(uploader, upload, parts)
        assert info.path == upload.path
        assert await subject.read(info.path) == first + last
        found = await subject.stat(info.path)
        assert (found.size, found.metadata) == (len(first) + 7, {"a": "b"})
        if subject.limits.content_type:
            assert found.content_type == "text/x-parts"

    async def test_one_small_part_is_enough(
        self, subject: Subject, uploader: SupportsMultipart
    ) -> None:
        upload = await self._begin(subject, uploader)
        parts = await self._parts(uploader, upload, b"x")
        info = await self._complete(uploader, upload, parts)
        assert await subject.read(info.path) == b"x"

    @bare_only
    async def test_parts_can_come_in_any_order_and_at_once(
        self, subject: Subject, uploader: SupportsMultipart, limits: PartLimits
    ) -> None:
        upload = await self._begin(subject, uploader)
        contents = {number: pattern(limits.min_bytes, number) for number in (7, 2, 5)}

        async def put(number: int) -> Part:
            body = StreamBody(pieces(contents[number]), len(contents[number]))
            return await uploader.put_part(
                upload.path, upload.upload_id, number, body, PartOptions()
            )

        parts = succeeded(await together([partial(put, number) for number in contents]))
        ordered = tuple(sorted(parts, key=lambda part: part.number))
        info = await self._complete(uploader, upload, ordered)
        assert await subject.read(info.path) == contents[2] + contents[5] + contents[7]

    async def test_a_part_takes_the_place_of_the_one_with_its_number(
        self, subject: Subject, uploader: SupportsMultipart
    ) -> None:
        upload = await self._begin(subject, uploader)
        await self._parts(uploader, upload, b"old")
        parts = await self._parts(uploader, upload, b"new")
        listed = await uploader.list_parts(upload.path, upload.upload_id)
        assert [(part.number, part.size, part.etag) for part in listed] == [(1, 3, parts[0].etag)]
        info = await self._complete(uploader, upload, parts)
        assert await subject.read(info.path) == b"new"

    @representative
    async def test_parts_are_listed_by_number(
        self, subject: Subject, uploader: SupportsMultipart
    ) -> None:
        upload = await self._begin(subject, uploader)
        assert list(await uploader.list_parts(upload.path, upload.upload_id)) == []
        parts = await self._parts(uploader, upload, b"a", b"bb", b"ccc")
        listed = await uploader.list_parts(upload.path, upload.upload_id)
        assert [(part.number, part.size, part.etag) for part in listed] == [
            (part.number, part.size, part.etag) for part in parts
        ]
        await uploader.abort_multipart(upload.path, upload.upload_id)

    @representative
    async def test_uploads_under_way_are_listed_until_they_end(
        self, subject: Subject, uploader: SupportsMultipart
    ) -> None:
        first = await self._begin(subject, uploader, "first")
        second = await self._begin(subject, uploader, "second")
        assert {first.upload_id, second.upload_id} <= await self._under_way(subject, uploader)
        await uploader.abort_multipart(first.path, first.upload_id)
        parts = await self._parts(uploader, second, b"x")
        await self._complete(uploader, second, parts)
        left = await self._under_way(subject, uploader)
        assert not {first.upload_id, second.upload_id} & left

    async def _under_way(self, subject: Subject, uploader: SupportsMultipart) -> set[str]:
        found: set[str] = set()
        cursor: str | None = None
        for _ in range(_PAGES):
            page = await uploader.list_multiparts(subject.path(""), cursor)
            assert all(upload.path.startswith(subject.container) for upload in page.items)
            found |= {upload.upload_id for upload in page.items}
            cursor = page.cursor
            if cursor is None:
                return found
        pytest.fail(f"the list of uploads had no end after {_PAGES} pages")

    @representative
    async def test_an_aborted_upload_is_gone_and_can_be_aborted_again(
        self, subject: Subject, uploader: SupportsMultipart
    ) -> None:
        upload = await self._begin(subject, uploader)
        await self._parts(uploader, upload, b"x")
        await uploader.abort_multipart(upload.path, upload.upload_id)
        await uploader.abort_multipart(upload.path, upload.upload_id)
        with subject.raises(UploadNotFoundError, operation="put_part", path=upload.path):
            await self._parts(uploader, upload, b"y")
        with subject.raises(UploadNotFoundError, operation="list_parts", path=upload.path):
            await uploader.list_parts(upload.path, upload.upload_id)
        if subject.limits.client_names_keys:
            assert not await subject.exists(upload.path)

    async def test_an_aborted_upload_can_not_be_completed(
        self, subject: Subject, uploader: SupportsMultipart
    ) -> None:
        upload = await self._begin(subject, uploader)
        parts = await self._parts(uploader, upload, b"x")
        await uploader.abort_multipart(upload.path, upload.upload_id)
        with subject.raises(UploadNotFoundError, operation="complete_multipart", path=upload.path):
            await self._complete(uploader, upload, parts)

    @cases(not_there=0, another=1, none=2)
    async def test_parts_that_are_not_there_complete_nothing(
        self, subject: Subject, uploader: SupportsMultipart, limits: PartLimits, case: int
    ) -> None:
        upload = await self._begin(subject, uploader)
        content = pattern(limits.min_bytes)
        (part,) = await self._parts(uploader, upload, content)
        wrong: tuple[tuple[Part, ...], ...] = (
            (part, Part(2, 1, part.etag)),
            (Part(1, 1, "0" * 32),),
            (),
        )
        kind = StorageError if case == 2 else InvalidPartError
        with pytest.raises(kind) as caught:
            await self._complete(uploader, upload, wrong[case])
        subject.check_error(caught.value, operation="complete_multipart", path=upload.path)
        info = await self._complete(uploader, upload, (part,))
        assert await subject.read(info.path) == content

    async def test_parts_out_of_order_complete_nothing(
        self, subject: Subject, uploader: SupportsMultipart, limits: PartLimits
    ) -> None:
        upload = await self._begin(subject, uploader)
        parts = await self._parts(uploader, upload, pattern(limits.min_bytes), b"x")
        with subject.raises(PartOrderError, operation="complete_multipart", path=upload.path):
            await self._complete(uploader, upload, parts[::-1])
        await uploader.abort_multipart(upload.path, upload.upload_id)

    async def test_a_small_part_that_is_not_the_last_completes_nothing(
        self, subject: Subject, uploader: SupportsMultipart, limits: PartLimits
    ) -> None:
        upload = await self._begin(subject, uploader)
        small = pattern(limits.min_bytes - 1)
        parts = await self._parts(uploader, upload, small, b"x")
        with subject.raises(PartTooSmallError, operation="complete_multipart", path=upload.path):
            await self._complete(uploader, upload, parts)
        await uploader.abort_multipart(upload.path, upload.upload_id)

    async def test_a_number_that_no_part_has_is_refused(
        self, subject: Subject, uploader: SupportsMultipart, limits: PartLimits
    ) -> None:
        upload = await self._begin(subject, uploader)
        for number in (0, -1, limits.max_count + 1):
            with pytest.raises(ValueError, match="part"):
                await uploader.put_part(
                    upload.path, upload.upload_id, number, BytesBody(b"x"), PartOptions()
                )
        await uploader.abort_multipart(upload.path, upload.upload_id)

    @representative
    async def test_create_only_counts_on_completion(
        self, keyed: Subject, uploader: SupportsMultipart
    ) -> None:
        if not keyed.limits.create_only:
            pytest.skip("limits.create_only is False")
        upload = await self._begin(keyed, uploader)
        parts = await self._parts(uploader, upload, b"new")
        await keyed.put(b"meanwhile")
        with keyed.raises(AlreadyExistsError, operation="complete_multipart", path=upload.path):
            await self._complete(uploader, upload, parts, CompleteOptions(overwrite=False))
        assert await keyed.read(upload.path) == b"meanwhile"
        await uploader.abort_multipart(upload.path, upload.upload_id)

    async def test_if_match_counts_on_completion(
        self, keyed: Subject, uploader: SupportsMultipart
    ) -> None:
        if not keyed.limits.if_match:
            pytest.skip("limits.if_match is False")
        old = await keyed.put(b"old")
        upload = await self._begin(keyed, uploader)
        parts = await self._parts(uploader, upload, b"new")
        now = await keyed.put(b"now")
        with keyed.raises(
            PreconditionFailedError, operation="complete_multipart", path=upload.path
        ):
            await self._complete(uploader, upload, parts, CompleteOptions(if_match=old.etag))
        assert await keyed.read(upload.path) == b"now"
        await self._complete(uploader, upload, parts, CompleteOptions(if_match=now.etag))
        assert await keyed.read(upload.path) == b"new"
