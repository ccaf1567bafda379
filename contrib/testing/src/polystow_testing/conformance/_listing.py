"""Listing: order, prefixes, delimiters and pages, while keys come and go."""

from functools import partial

import pytest

from polystow import InvalidPathError, ListOptions, ListPage, NotFoundError, SupportsList
from polystow_testing.conformance._base import Conformance, bare_only, cases, representative
from polystow_testing.conformance._concurrency import together
from polystow_testing.conformance._subject import Subject, in_utf8_order

_KEYS = in_utf8_order(
    [
        "a.txt", "a0", "a/1", "a/2", "a/b/1", "a/b/2", "a/c/1", "ab", "b/1", "b/c/d/e", "c-1",
        "c-2", "c-2-3", "A", "Z/1", "ä", "\uffee", "\U00010000", "z",
    ]
)  # fmt: skip


async def _put_all(subject: Subject, keys: list[str]) -> None:
    await together([partial(subject.put, key.encode(), key) for key in keys])


class ListingTests(Conformance):
    """`list_page`, where the driver has it."""

    @pytest.fixture
    def lister(self, subject: Subject) -> SupportsList:
        """What lists."""
        if subject.capabilities.list is None:
            pytest.skip("the driver declares no list")
        return subject.capabilities.list

    @pytest.fixture
    async def listed(self, subject: Subject, lister: SupportsList) -> Subject:
        """A subject with some objects."""
        assert lister is not None
        await _put_all(subject, _KEYS)
        return subject

    @representative
    async def test_a_listing_is_sorted_by_the_bytes_of_the_keys(self, listed: Subject) -> None:
        assert await listed.keys() == _KEYS

    async def test_listed_objects_are_what_stat_tells(self, listed: Subject) -> None:
        items = [item async for page in listed.pages("a") for item in page.items]
        assert items
        for item in items:
            found = await listed.stat(item.path)
            for name in ("size", "etag", "checksum", "content_type", "metadata", "version"):
                told, known = getattr(item, name), getattr(found, name)
                assert told is None or told == known, f"{name} of {item.path} differs"

    @cases(
        one_letter="a", folder="a/", part_of_a_name="a/b", nested="a/b/", whole_key="a/1",
        with_hyphen="c-2", unicode="ä", nothing="nothing", beyond_all="zz",
    )  # fmt: skip
    async def test_a_prefix_selects_the_keys_that_begin_with_it(
        self, listed: Subject, case: str
    ) -> None:
        assert await listed.keys(case) == [key for key in _KEYS if key.startswith(case)]

    async def test_a_container_lists_alike_with_and_without_a_slash(
        self, listed: Subject, lister: SupportsList
    ) -> None:
        for path in (listed.container, f"{listed.container}/"):
            page = await lister.list_page(path, ListOptions(), None)
            assert [listed.key_of(item.path) for item in page.items] == _KEYS

    @pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
    @cases(
        top=("", "/"), folder=("a/", "/"), nested=("a/b/", "/"), no_slash=("a", "/"),
        whole_folder_name=("b/c", "/"), hyphen=("", "-"), two_characters=("c", "-2"),
        nothing=("nothing/", "/"),
    )  # fmt: skip
    async def test_a_delimiter_folds_what_lies_below_it(
        self, listed: Subject, case: tuple[str, str], page_size: int
    ) -> None:
        prefix, delimiter = case
        keys, folded = _fold(_KEYS, prefix, delimiter)
        items: list[str] = []
        prefixes: list[str] = []
        async for page in listed.pages(prefix, delimiter=delimiter, page_size=page_size):
            _check_page(page, page_size)
            items += [listed.key_of(item.path) for item in page.items]
            prefixes += [listed.key_of(path) for path in page.prefixes]
        assert items == keys
        assert prefixes == folded

    @representative
    async def test_a_folder_is_listed_page_by_page(self, listed: Subject) -> None:
        seen: list[str] = []
        async for page in listed.pages("a/", delimiter="/", start_after="a/1", page_size=1):
            _check_page(page, 1)
            seen += [listed.key_of(item.path) for item in page.items]
            seen += [listed.key_of(path) for path in page.prefixes]
        assert seen == ["a/2", "a/b/", "a/c/"]

    @cases(
        a_key="a/1", no_key="a/15", before_all="\t", the_last="\U00010000", after_all="\U0010fffe",
        folder="a/", case="Z",
    )  # fmt: skip
    async def test_start_after_leaves_out_that_key_and_all_before(
        self, listed: Subject, case: str
    ) -> None:
        expected = [key for key in _KEYS if key.encode() > case.encode()]
        assert await listed.keys(start_after=case) == expected
        assert await listed.keys(start_after=case, page_size=2) == expected

    async def test_start_after_works_together_with_a_prefix(self, listed: Subject) -> None:
        assert await listed.keys("a/", start_after="a/2") == ["a/b/1", "a/b/2", "a/c/1"]
        assert await listed.keys("a/", start_after="A") == ["a/1", "a/2", "a/b/1", "a/b/2", "a/c/1"]
        assert await listed.keys("a/", start_after="b") == []

    @pytest.mark.parametrize("page_size", [1, 3, len(_KEYS) - 1, len(_KEYS), len(_KEYS) + 1])
    async def test_pages_together_have_every_key_once(
        self, listed: Subject, page_size: int
    ) -> None:
        keys: list[str] = []
        async for page in listed.pages(page_size=page_size):
            _check_page(page, page_size)
            keys += [listed.key_of(item.path) for item in page.items]
        assert keys == _KEYS

    async def test_a_cursor_can_be_used_again(self, listed: Subject, lister: SupportsList) -> None:
        options = ListOptions(page_size=5)
        first = await lister.list_page(listed.path(""), options, None)
        assert first.cursor is not None
        once = await lister.list_page(listed.path(""), options, first.cursor)
        again = await lister.list_page(listed.path(""), options, first.cursor)
        assert [item.path for item in once.items] == [item.path for item in again.items]

    @bare_only
    async def test_a_listing_of_thousands_of_keys_is_complete(
        self, subject: Subject, lister: SupportsList
    ) -> None:
        assert lister is not None
        keys = [f"{number % 7}/{number:06d}" for number in range(self.listing_size)]
        await _put_all(subject, keys)
        assert await subject.keys() == sorted(keys)
        assert await subject.keys(page_size=301) == sorted(keys)
        assert await subject.keys("3/") == sorted(key for key in keys if key.startswith("3/"))
        # And once more, while keys come and go on both sides of the cursor.
        going = iter(keys[::25])
        coming = iter(f"{key}-new" for key in keys[::-25])
        seen: list[str] = []
        gone: set[str] = set()
        async for page in subject.pages(page_size=200):
            seen += [subject.key_of(item.path) for item in page.items]
            gone |= (changed := {next(going), next(going)})
            for key in changed:
                await subject.delete(subject.path(key))
            await subject.put(b"new", next(coming))
        assert seen == sorted(set(seen)), "a key came twice, or out of order"
        assert set(keys) - gone <= set(seen), "a key that stayed is lost"

    @pytest.mark.parametrize("page_size", [1, 7, 10])
    async def test_keys_that_stay_are_listed_once_while_others_come_and_go(
        self, subject: Subject, lister: SupportsList, page_size: int
    ) -> None:
        assert lister is not None
        staying = [f"k{number:03d}" for number in range(0, 60, 2)]
        going = [f"k{number:03d}x" for number in range(0, 60, 6)]
        await _put_all(subject, staying + going)
        seen: list[str] = []
        changes = iter([(gone, f"k{10 * number:03d}y") for number, gone in enumerate(going)])
        async for page in subject.pages(page_size=page_size):
            seen += [subject.key_of(item.path) for item in page.items]
            for gone, come in [change for change in [next(changes, None)] if change is not None]:
                await subject.delete(subject.path(gone))
                await subject.put(b"new", come)
        assert len(seen) == len(set(seen)), "a key came twice"
        assert seen == in_utf8_order(seen), "the order is lost between pages"
        assert set(staying) <= set(seen), "a key that stayed is lost"
        assert set(seen) <= {*staying, *going, *(f"k{10 * n:03d}y" for n in range(len(going)))}

    async def test_a_listing_goes_on_when_the_last_listed_key_is_gone(
        self, subject: Subject, lister: SupportsList
    ) -> None:
        keys = [f"k{number}" for number in range(6)]
        await _put_all(subject, keys)
        options = ListOptions(page_size=2)
        first = await lister.list_page(subject.path(""), options, None)
        for item in first.items:
            await subject.delete(item.path)
        rest: list[str] = []
        cursor = first.cursor
        while cursor is not None:
            page = await lister.list_page(subject.path(""), options, cursor)
            rest += [subject.key_of(item.path) for item in page.items]
            cursor = page.cursor
        assert rest == keys[len(first.items) :]

    @representative
    async def test_an_overwritten_object_is_listed_once_and_a_deleted_one_not(
        self, subject: Subject, lister: SupportsList
    ) -> None:
        assert lister is not None
        await _put_all(subject, ["a", "b", "c"])
        await subject.put(b"longer than before", "b")
        await subject.delete(subject.path("a"))
        items = [item async for page in subject.pages() for item in page.items]
        assert [(subject.key_of(item.path), item.size) for item in items] == [("b", 18), ("c", 1)]

    @representative
    async def test_listing_a_container_that_is_not_there_is_an_error(
        self, subject: Subject, lister: SupportsList
    ) -> None:
        place = subject.missing_container
        for path in (place, f"{place}/", f"{place}/prefix"):
            with subject.raises(NotFoundError, operation="list_page"):
                await lister.list_page(path, ListOptions(), None)

    async def test_listing_without_a_container_is_refused(
        self, subject: Subject, lister: SupportsList
    ) -> None:
        path = subject.container.removesuffix(subject.hint_container)
        with subject.raises(InvalidPathError, operation="list_page"):
            await lister.list_page(f"{path}/prefix" if path else "/prefix", ListOptions(), None)


def _check_page(page: ListPage, page_size: int) -> None:
    assert len(page.items) + len(page.prefixes) <= page_size, "the page has too many entries"


def _fold(keys: list[str], prefix: str, delimiter: str) -> tuple[list[str], list[str]]:
    plain: list[str] = []
    folded: list[str] = []
    for key in keys:
        if not key.startswith(prefix):
            continue
        cut = key.find(delimiter, len(prefix))
        if cut < 0:
            plain.append(key)
        elif key[: cut + len(delimiter)] not in folded:
            folded.append(key[: cut + len(delimiter)])
    return plain, in_utf8_order(folded)
