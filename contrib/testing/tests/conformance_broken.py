"""Drivers with one fault each, under the kit. `test_conformance_catches` runs this."""

import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, override

import pytest
from anyio import lowlevel
from attrs import evolve
from hypothesis import settings

from polystow import (
    Body,
    ByteRange,
    BytesBody,
    Capabilities,
    CompleteOptions,
    DeleteOptions,
    Limits,
    ListOptions,
    ListPage,
    MemoryDriver,
    MetadataOptions,
    NotFoundError,
    ObjectHeaders,
    ObjectInfo,
    Part,
    ReadOptions,
    ReadStream,
    StatOptions,
    StorageDriver,
    StorageError,
    Target,
    TruncatedBodyError,
    WriteOptions,
)
from polystow_testing.conformance import QUICK, DriverConformance, receive_all


class Kit(DriverConformance):
    made: ClassVar[type[MemoryDriver]] = MemoryDriver

    @pytest.fixture
    def driver(self) -> StorageDriver:
        return self.made()


class TestSound(Kit):
    pass


class ForgetfulList(MemoryDriver):
    @override
    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        page = await super().list_page(path, options, cursor)
        if cursor is None and page.cursor is not None:
            skipped = await super().list_page(path, options, page.cursor)
            return evolve(page, cursor=skipped.cursor)
        return page


class TestForgetsAPage(Kit):
    made = ForgetfulList


class CountingCursor(MemoryDriver):
    @override
    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        page = await super().list_page(path, evolve(options, page_size=100_000), None)
        start = int(cursor or 0)
        end = start + options.page_size
        more = end < len(page.items)
        return ListPage(page.items[start:end], (), str(end) if more else None)


class TestCountsInsteadOfRememberingAPlace(Kit):
    made = CountingCursor


class Utf16Order(MemoryDriver):
    @override
    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        page = await super().list_page(path, options, cursor)
        return evolve(
            page, items=sorted(page.items, key=lambda item: item.path.encode("utf-16-be"))
        )


class TestSortsByUtf16(Kit):
    made = Utf16Order


class TruncatingWrite(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        data = await receive_all(await body.open())
        return await super().write(target, BytesBody(data[:262_144]), options)


class TestTruncatesWrites(Kit):
    made = TruncatingWrite


class BelievingWrite(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        stream = await body.open()
        data = b""
        try:
            while True:
                data += await stream.receive()
        except (TruncatedBodyError, EOFError, Exception):
            await stream.aclose()
        return await super().write(target, BytesBody(data), options)


class TestStoresBrokenBodies(Kit):
    made = BelievingWrite


class WrongClass(MemoryDriver):
    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        try:
            return await super().stat(path, options)
        except NotFoundError as error:
            raise StorageError("404", path=path, operation="stat", driver="memory") from error


class TestRaisesAnotherClass(Kit):
    made = WrongClass


class WrongFields(MemoryDriver):
    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        try:
            return await super().stat(path, options)
        except NotFoundError as error:
            error.retryable = True
            raise


class TestCallsItRetryable(Kit):
    made = WrongFields


class KeyErrors(MemoryDriver):
    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        try:
            return await super().stat(path, options)
        except NotFoundError as error:
            error.path = path.partition("/")[2]
            raise


class TestNamesTheKeyOnly(Kit):
    made = KeyErrors


class DeclaresCreateOnly(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        return await super().write(target, body, evolve(options, overwrite=True))


class TestDeclaresCreateOnlyAndOverwrites(Kit):
    made = DeclaresCreateOnly


class RacingCreate(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        if not options.overwrite:
            try:
                await self.stat(str(target), StatOptions())
            except NotFoundError:
                await lowlevel.checkpoint()
                options = evolve(options, overwrite=True)
        return await super().write(target, body, options)


class TestAsksBeforeItCreates(Kit):
    made = RacingCreate


class HiddenList(MemoryDriver):
    def __init__(self) -> None:
        super().__init__()
        self.capabilities = Capabilities(limits=Limits(create_only=True, if_match=True))


class TestHasMethodsThatItDoesNotDeclare(Kit):
    made = HiddenList


class HollowList(MemoryDriver):
    @override
    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        raise NotImplementedError


class TestDeclaresAListThatItLacks(Kit):
    made = HollowList


class IgnoredConditions(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        return await super().write(target, body, evolve(options, if_match=None))


class TestIgnoresConditionsThatItDeclares(Kit):
    made = IgnoredConditions


class AlwaysModified(MemoryDriver):
    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        return await super().open_read(path, evolve(options, if_none_match=None))


class TestSendsWhatIsKnownAlready(Kit):
    made = AlwaysModified


class ForgottenHeaders(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        return await super().write(target, body, evolve(options, headers=ObjectHeaders()))


class TestForgetsHeaders(Kit):
    made = ForgottenHeaders


class LostAppends(MemoryDriver):
    @override
    async def append(self, path: str, body: Body, /) -> None:
        # Where the end is is asked for first, and the content read later.
        size = (await self.stat(path, StatOptions())).size or 0
        await lowlevel.checkpoint()
        await self.modify(path, size, body)


class TestLosesAppends(Kit):
    made = LostAppends


class CutsInsteadOfFilling(MemoryDriver):
    @override
    async def truncate(self, path: str, size_bytes: int, /) -> None:
        size = (await self.stat(path, StatOptions())).size or 0
        await super().truncate(path, min(size, size_bytes))


class TestCutsAndNeverFills(Kit):
    made = CutsInsteadOfFilling


class SortedParts(MemoryDriver):
    @override
    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        ordered = tuple(sorted(parts, key=lambda part: part.number))
        return await super().complete_multipart(path, upload_id, ordered, options)


class TestTakesPartsInAnyOrder(Kit):
    made = SortedParts


class KeptUploads(MemoryDriver):
    @override
    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        return


class TestKeepsAbortedUploads(Kit):
    made = KeptUploads


class NormalisedKeys(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        if isinstance(target, str):
            target = unicodedata.normalize("NFC", target)
        return await super().write(target, body, options)

    @override
    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        return await super().stat(unicodedata.normalize("NFC", path), options)


class TestNormalisesKeys(Kit):
    made = NormalisedKeys


class GenerousStream(MemoryDriver):
    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        stream = await super().open_read(path, options)
        receive = stream.receive

        async def more(max_bytes: int = 65_536) -> bytes:
            return await receive(max(max_bytes, 4096))

        stream.receive = more  # type: ignore[method-assign]
        return stream


class TestGivesMoreThanWasAskedFor(Kit):
    made = GenerousStream


class TornStream(ReadStream):
    def __init__(self, driver: "TornReads", path: str, stream: ReadStream) -> None:
        self.info, self.range = stream.info, stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self._driver, self._path, self._offset = driver, path, stream.range.offset
        self._end = stream.range.offset + stream.range.length

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        last = min(self._offset + max_bytes, self._end) - 1
        # At the end, beyond it: what the memory driver says is passed on.
        part = ReadOptions(range=ByteRange(self._offset, max(last, self._offset)))
        stream = await self._driver.whole_read(self._path, part)
        if self._offset >= self._end:
            return await (await self._driver.whole_read(self._path, ReadOptions())).receive(0)
        await lowlevel.checkpoint()
        chunk = await stream.receive(max_bytes)
        self._offset += len(chunk)
        return chunk

    @override
    async def aclose(self) -> None:
        self._offset = self._end


class TornReads(MemoryDriver):
    async def whole_read(self, path: str, options: ReadOptions) -> ReadStream:
        return await super().open_read(path, options)

    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        return TornStream(self, path, await self.whole_read(path, options))


class TestReadsPartsOfTwoContents(Kit):
    made = TornReads


class InclusiveEnd(MemoryDriver):
    @override
    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        part = options.range
        if part is not None and part.last is not None:
            part = ByteRange(part.first, part.last + 1)
        return await super().open_read(path, evolve(options, range=part))


class TestTakesTheLastByteForTheFirstAfterwards(Kit):
    made = InclusiveEnd


class MergingReplace(MemoryDriver):
    @override
    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        await super().set_metadata(path, metadata, MetadataOptions("merge"))


class TestMergesInsteadOfReplacing(Kit):
    made = MergingReplace


class StrictDelete(MemoryDriver):
    @override
    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        await super().delete(path, DeleteOptions(missing_ok=False))


class TestCanNotDeleteTwice(Kit):
    made = StrictDelete


class WrappedErrors(MemoryDriver):
    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        try:
            return await super().write(target, body, options)
        except StorageError:
            raise
        except Exception as error:
            raise StorageError("it failed", path=str(target)) from error


class TestWrapsErrorsOfTheBody(Kit):
    made = WrappedErrors


class RisenMetadata(MemoryDriver):
    """Metadata outlive their object: an object of the same key gets them."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Mapping[str, str]] = {}

    @override
    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        with suppress(NotFoundError):
            self._kept[path] = (await self.stat(path, StatOptions())).metadata or {}
        await super().delete(path, options)

    @override
    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        kept = self._kept.get(str(target), {})
        return await super().write(
            target, body, evolve(options, metadata={**kept, **options.metadata})
        )


class TestMetadataOutliveTheirObject(Kit):
    made = RisenMetadata
    # `QUICK` with its many keys finds it with some versions of Python and not with others.
    state_machine_keys = ("a",)
    state_machine_profile = settings(QUICK, max_examples=500, stateful_step_count=50)


class TestDeclaredDeviation(Kit):
    made = WrongClass
    deviations: ClassVar = {
        "test_an_object_that_is_not_there_is_not_found[stat]": "its stat raises StorageError"
    }


class TestStaleDeviation(Kit):
    deviations: ClassVar = {"test_deleting_what_is_not_there_succeeds": "it did not, last year"}


class TestStaleDeviationOfOneCase(Kit):
    deviations: ClassVar = {"test_an_odd_key_is_kept_to_the_byte[plus]": "it did not, last year"}


class TestUnknownDeviation(Kit):
    deviations: ClassVar = {"test_that_was_renamed": "the reason"}


class TestUnknownCaseOfADeviation(Kit):
    deviations: ClassVar = {"test_an_odd_key_is_kept_to_the_byte[plum]": "the reason"}


class TestDeviationWithoutReason(Kit):
    deviations: ClassVar = {"test_an_odd_key_is_kept_to_the_byte[plus]": " "}
